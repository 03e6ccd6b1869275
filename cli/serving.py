"""The gRPC service with its way in: the one place where the two faces meet."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import typer

from atp.intake import Intake
from cli import config
from cli.observe import Process
from cli.running import run_until_stopped
from consumers import intake
from consumers.connection import NatsSettings
from service import bootstrap
from service.observers import Observers


def run(store_url: str | None, nats_url: str | None, listen: str | None) -> None:
    """Serves until asked to stop. Without an address of NATS it takes no events, and does all else."""
    found = config.load(store_url=store_url, nats_url=nats_url, service_listen=listen)
    stores, settings, nats = config.stores(found), config.service(found), config.nats_if_told(found)
    process = Process(found, stores, "service")
    observers = Observers(process.metrics, process.readiness, process.tracer)

    def ready(address: str) -> None:
        typer.echo(f"serving on {address}")

    async def serve() -> None:
        async with _intake(nats) as way_in:
            await bootstrap.serve(stores, settings, ready, intake=way_in, observers=observers)

    run_until_stopped(serve, process)


@asynccontextmanager
async def _intake(nats: NatsSettings | None) -> AsyncIterator[Intake | None]:
    if nats is None:
        yield None
        return
    async with intake.reaching(nats, "atp service") as way_in:
        yield way_in
