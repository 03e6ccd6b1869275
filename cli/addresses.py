"""What `atp up` started, as it tells the other commands; and where the gRPC service is."""

import os
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from cli.exit_codes import UNREACHABLE, CommandError

DATA_DIR: Final = Path(".atp")
RUN_FILE: Final = "run.json"
RUN_PATH: Final = DATA_DIR / RUN_FILE

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


def address(option: str | None) -> str:
    """Where the service is: the option, else what `atp up` wrote. Raises CommandError if nothing runs."""
    run = read_run()
    if option or run:
        return option or run.address  # type: ignore[union-attr]  # one of them is there
    raise CommandError(f"nothing runs in {DATA_DIR}: start it with `atp up`, or say --address (or ATP_ADDRESS)", UNREACHABLE)


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
