"""The `atp` command: one table of its commands. Each imports what it needs when it runs, so `atp --help` answers at once."""

import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from atp.words import counted
from cli import (
    checkpoint,
    drift,
    exceptions,
    exit_codes,
    feeds,
    ledger,
    race,
    rebuild,
    reservations,
    simulate,
    stock,
    sync,
    token,
    trace,
    verify,
)
from cli.addresses import DATA_DIR
from cli.options import FILE_VARIABLE, ConfigOption, NatsUrlOption, StoreUrlOption

app = typer.Typer(
    name="atp",
    epilog=exit_codes.EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # a traceback is for a log or an issue: plain
)


@app.command()
def up(
    data: Annotated[Path, typer.Option(help="The folder that keeps everything; it survives.")] = DATA_DIR,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Where the gRPC service listens; 0 takes a free port.")] = 0,
) -> None:
    """Starts the engine with its own Valkey and NATS, and a small pool to try things on. Ctrl-C drains and stops it all."""
    from cli.up import run

    run(data, port)


@app.callback()
def configured(config: ConfigOption = None) -> None:
    """How many can I promise, from where, by when: the promise engine of a retailer."""
    if config is not None:
        os.environ[FILE_VARIABLE] = str(config)
    # Read when gRPC is imported. Without it whoever cannot speak TLS writes a line into the service's log, in a form of gRPC's own.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")


@app.command()
def serve(
    store_url: StoreUrlOption = None,
    listen: Annotated[
        str | None, typer.Option(help="Where to listen, host:port; port 0 takes a free one (the default).", show_default=False)
    ] = None,
    nats_url: NatsUrlOption = None,
) -> None:
    """Runs the gRPC service in the foreground. It holds no state: any number may run."""
    from cli.serving import run

    run(store_url, nats_url, listen)


@app.command()
def consume(
    role: Annotated[
        str,
        typer.Argument(
            help="Which consumer: feeds, relay, sweeper, auditor, drift, webhooks, files, or all of them in one process (webhooks and "
            "files if they are configured)."
        ),
    ],
    store_url: StoreUrlOption = None,
    nats_url: NatsUrlOption = None,
) -> None:
    """Runs a consumer in the foreground: messages in, feeds into the store, ledger out of it. Any number of each may run."""
    from atp.store import Stores
    from cli import config
    from cli.observe import Process
    from cli.running import give_way, run_until_stopped
    from consumers import bootstrap

    give_way()
    found = config.load(store_url=store_url, nats_url=nats_url)
    stores, nats = config.stores(found) if bootstrap.needs_stores(role) else Stores(), config.nats(found)
    process = Process(found, stores, "consumers")
    show = partial(bootstrap.consume, metrics=process.metrics, readiness=process.readiness, tracer=process.tracer)
    rhythms = partial(show, cadence=config.checkpoint(found), drift=config.drift(found))
    run_until_stopped(lambda: rhythms(role, stores, nats, ways=config.ways_in(found)), process)


@app.command()
def provision(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A TOML file; cli/data/demo.toml shows all it can say.")],
    store_url: StoreUrlOption = None,
    nats_url: NatsUrlOption = None,
) -> None:
    """Makes streams, consumers and a pool's nodes, channels and sources as a file says. A second time changes nothing.

    Warns of each feed of the configuration whose source is not provisioned as its format needs it.
    """
    from cli import provisioning

    provisioning.run(file, store_url, nats_url)


@app.command()
def demo() -> None:
    """Provisions the small pool that `atp up` begins with, and its stock, on the servers of the configuration."""
    import asyncio

    from cli import config
    from cli import demo as pool
    from consumers.provision import provision as provision_pool

    found = config.load()
    typer.echo(asyncio.run(provision_pool(pool.PROVISIONING, partial(config.store_of, found), config.nats(found))))
    published = counted(asyncio.run(pool.load_demo(config.nats(found))), "event")
    typer.echo(f"{published} published; then: atp get {pool.SKU} --channel {pool.CHANNEL}")


@app.command("config")
def show_config() -> None:
    """Shows the configuration in force and where each setting comes from, or all that is wrong with it."""
    from cli import config, output

    rows = [(f"{table}.{name}", value, origin) for table, name, value, origin in config.shown(config.load())]
    output.console().print(output.table(["setting", "value", "from"], rows))


for module in (stock, reservations, ledger, exceptions, feeds, drift, sync, race, simulate, verify, checkpoint, rebuild, trace, token):
    module.register(app)


def main() -> None:
    """Runs a command. An expected error is one line and an exit code; a bug is a traceback."""
    try:
        app()
    except Exception as error:
        expected = exit_codes.from_error(error)
        if expected is None:
            raise
        typer.secho(f"atp: {expected}", fg=typer.colors.RED, err=True)
        sys.exit(expected.exit_code)


if __name__ == "__main__":
    main()
