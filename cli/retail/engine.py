"""An engine to try things on: the one that runs, or one of our own in a temporary folder, gone afterwards."""

import contextlib
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import typer

from atp.store import StoreSettings
from cli import addresses, config, exit_codes
from cli.embedded import HOST, NatsServer, ServerError, StoreServer, free_port
from cli.exit_codes import CommandError
from cli.retail.client import CallFailedError, UnknownOutcomeError
from cli.retail.feed import FeedError
from cli.supervisor import Command
from consumers.connection import NatsSettings

READY_TIMEOUT_S: Final = 30.0
INTERRUPTED: Final = 130  # what a shell says of a command ended by Ctrl-C


class SimulationError(Exception):
    """A run cannot begin or go on: the engine does not take what it needs."""


@dataclass(frozen=True, slots=True)
class Engine:
    """Where everything is; `own` if it was started for this alone, and then `pids` are its processes, by name."""

    address: str
    store: StoreSettings
    nats: NatsSettings
    own: bool
    pids: Mapping[str, int] = field(default_factory=dict)


@contextlib.contextmanager
def engine(address: str | None, store_url: str | None, nats_url: str | None) -> Iterator[Engine]:
    """The engine that the options name, or that `atp up` runs here; if there is neither, one of our own.

    Call it from the main thread: the servers end with the thread that started them.
    """
    found = config.load(store_url=store_url, nats_url=nats_url)
    if address or addresses.read_run() or config.is_told(found):
        yield Engine(addresses.address(address), config.store_of(found, ""), config.nats(found), own=False)
        return
    with tempfile.TemporaryDirectory(prefix="atp-") as folder:
        typer.echo("Nothing runs here: starting servers of our own, to be gone afterwards …", err=True)
        with own_engine(Path(folder)) as own:
            yield own


@contextlib.contextmanager
def own_engine(folder: Path) -> Iterator[Engine]:
    """An engine of our own that keeps data and logs in a folder; it ends with the block, or with the thread that started it."""
    with contextlib.ExitStack() as stack:
        yield _start(folder, stack)


def _start(folder: Path, stack: contextlib.ExitStack) -> Engine:
    store = stack.enter_context(StoreServer(folder / "store"))
    nats = stack.enter_context(NatsServer(folder / "nats"))
    listen = f"{HOST}:{free_port()}"
    consumers = Command("consumers", ["consume", "all", "--store-url", store.url, "--nats-url", nats.url], folder)
    service = Command("service", ["serve", "--store-url", store.url, "--listen", listen], folder)
    for command in (consumers, service):
        stack.callback(command.stop)
        command.start()
    _wait_until_serving(listen, [consumers, service])
    pids = {part.name: part.pid for part in (store, nats, consumers, service)}
    return Engine(listen, StoreSettings(store.url), NatsSettings(nats.url), own=True, pids=pids)


def _wait_until_serving(address: str, parts: list[Command]) -> None:
    import grpc
    from grpc_health.v1 import health_pb2 as health

    from atp_client.connection import NO_PROXY

    deadline = time.monotonic() + READY_TIMEOUT_S
    with grpc.insecure_channel(address, options=NO_PROXY) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health.HealthCheckRequest.SerializeToString,
            response_deserializer=health.HealthCheckResponse.FromString,
        )
        while time.monotonic() < deadline:
            _check_running(parts)
            with contextlib.suppress(grpc.RpcError):
                if check(health.HealthCheckRequest(), timeout=1).status == health.HealthCheckResponse.SERVING:
                    return
            time.sleep(0.05)
    raise ServerError(f"the service was not ready within {READY_TIMEOUT_S:g} s:\n" + "\n".join(part.log_tail() for part in parts))


def _check_running(parts: list[Command]) -> None:
    for part in parts:
        if not part.running:
            raise ServerError(f"{part.name} ended at once:\n{part.log_tail()}")


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """One line and an exit code for what can go wrong in a run, also inside a group of tasks; Ctrl-C ends in order."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("Stopped.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:
        cause: BaseException = error
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if isinstance(cause, FeedError | SimulationError | UnknownOutcomeError):
            raise CommandError(str(cause), exit_codes.UNREACHABLE) from error
        if isinstance(cause, CallFailedError):
            raise CommandError(str(cause), exit_codes.REFUSED) from error
        raise cause from None


def provisioning(pool: str, nodes: tuple[str, ...], channel: str) -> str:
    """A provisioning file of a pool whose nodes take the word of one WMS, and that sells all of them through one channel."""
    tables = [f'[pool]\nid = "{pool}"']
    tables += [f'[[nodes]]\nid = "{node}"\nkind = "distribution_centre"\ntime_zone = "Europe/London"\nauthority = "wms"' for node in nodes]
    tables.append(f'[[channels]]\nid = "{channel}"\nnodes = {json.dumps(nodes)}')
    tables += [f'[[sources]]\nid = "{source}"\nregisters_items = {items}' for source, items in (("wms", "false"), ("erp", "true"))]
    return "\n\n".join(tables) + "\n"


async def provision_pool(where: Engine, pool: str, nodes: tuple[str, ...], channel: str) -> None:
    """Makes a pool of our own in the engine."""
    from consumers.provision import provision

    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(provisioning(pool, nodes, channel))
        file.flush()
        await provision(Path(file.name), lambda _: where.store, where.nats)
