"""Where the service and its servers are: the option, else the environment, else what `atp up` wrote into ./.atp."""

import os
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from cli.exit_codes import UNREACHABLE, USAGE, CommandError

DATA_DIR: Final = Path(".atp")
RUN_FILE: Final = "run.json"

#: Options that several commands share; a command passes what it got to the function of the same name below.
StoreUrlOption = Annotated[
    str | None,
    typer.Option("--store-url", envvar="ATP_STORE_URL", help="The Redis or Valkey server, redis://host:port.", show_default=False),
]
NatsUrlOption = Annotated[
    str | None, typer.Option("--nats-url", envvar="ATP_NATS_URL", help="The NATS server, nats://host:port.", show_default=False)
]
AddressOption = Annotated[
    str | None, typer.Option("--address", envvar="ATP_ADDRESS", help="The gRPC service, host:port.", show_default=False)
]


class Run(msgspec.Struct, frozen=True):
    """What `atp up` started: addresses, and the process of each part, `up` itself among them."""

    store_url: str
    nats_url: str
    address: str
    pids: dict[str, int]


def write_run(data_dir: Path, run: Run) -> None:
    """Tells the other commands where everything is. The file appears whole or not at all."""
    path = data_dir / RUN_FILE
    draft = path.with_suffix(".new")
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(run)))
    draft.replace(path)


def read_run(data_dir: Path = DATA_DIR) -> Run | None:
    """What runs in a data folder; none if nothing does, or if the `atp up` that wrote it is gone."""
    try:
        run = msgspec.json.decode((data_dir / RUN_FILE).read_bytes(), type=Run)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return run if _is_alive(run.pids.get("up", 0)) else None


def store_url(option: str | None) -> str:
    from atp.store.address import parse

    url = option or _running("--store-url", "ATP_STORE_URL").store_url
    try:
        parse(url)
    except ValueError as error:
        raise CommandError(str(error), USAGE) from error
    return url


def nats_url(option: str | None) -> str:
    return option or _running("--nats-url", "ATP_NATS_URL").nats_url


def address(option: str | None) -> str:
    return option or _running("--address", "ATP_ADDRESS").address


def _running(option: str, variable: str) -> Run:
    run = read_run()
    if run is None:
        raise CommandError(f"nothing runs in {DATA_DIR}: start it with `atp up`, or say {option} (or {variable})", UNREACHABLE)
    return run


def _is_alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
