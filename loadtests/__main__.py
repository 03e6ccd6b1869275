"""`make peak`, `python -m loadtests`: a shaped peak on an engine of its own or on one that runs, and a verdict."""

import asyncio
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import typer
from rich.console import Console

from cli import client, config, exit_codes, output
from cli.exit_codes import CommandError
from cli.options import DEFAULT_CHANNEL, DEFAULT_POOL, NatsUrlOption, StoreUrlOption
from cli.retail.engine import Engine, own_engine, readable_errors
from loadtests import books, mix, report, shapes, world
from loadtests.verdict import Bounds, Run, judge, passed
from loadtests.watch import Load, watch

SKUS: Final = 2_000
HOT: Final = 5
USERS: Final = 2 * mix.TEAM
DURATION_S: Final = 60
_DEFAULTS: Final = Bounds()


class Shape(StrEnum):
    BASELINE = "baseline"
    FLASH_SALE = "flash-sale"


assert set(Shape) == set(shapes.SHAPES)


class Sold(NamedTuple):
    """What the users buy, and where."""

    sku_file: Path
    pool: str
    channel: str


class Place(NamedTuple):
    """Where the load goes. With an engine, whose store we may read, what is sold was made for this run, and `supply` is what there is."""

    address: str
    sold: Sold
    engine: Engine | None = None
    supply: dict[str, int] | None = None


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog=exit_codes.EPILOG)
def peak(
    *,
    shape: Annotated[Shape, typer.Option(help="How the number of users moves.")] = Shape.FLASH_SALE,
    users: Annotated[int, typer.Option(min=mix.TEAM, help="Users at rest; a flash sale has eight times as many.")] = USERS,
    duration: Annotated[int, typer.Option(min=5, help="Seconds.")] = DURATION_S,
    processes: Annotated[int, typer.Option(min=1, help="Processes of locust.")] = 1,
    out: Annotated[Path | None, typer.Option(help="The folder for reports and logs; without it, a new temporary one.")] = None,
    host: Annotated[str | None, typer.Option(help="A service that runs, host:port; without it, servers of our own are started.")] = None,
    store_url: StoreUrlOption = None,
    nats_url: NatsUrlOption = None,
    sku_file: Annotated[Path | None, typer.Option(exists=True, help="With --host: sell these of --pool, the most wanted first.")] = None,
    pool: Annotated[str, typer.Option(help="With --sku-file: the pool that is sold from.")] = DEFAULT_POOL,
    channel: Annotated[str, typer.Option(help="With --sku-file: the channel that is sold through.")] = DEFAULT_CHANNEL,
    p50_ms: Annotated[float, typer.Option(help="What half of the calls of a method may take.")] = _DEFAULTS.p50_ms,
    p99_ms: Annotated[float, typer.Option(help="What 99 of 100 may take.")] = _DEFAULTS.p99_ms,
    error_share: Annotated[float, typer.Option(min=0, max=1, help="Which share of the calls may fail.")] = _DEFAULTS.error_share,
    baskets_share: Annotated[float, typer.Option(min=0, max=1, help="Which share must start in time.")] = _DEFAULTS.baskets_share,
) -> None:
    """Puts an engine under the load of a peak: checkouts, an OMS and a warehouse. Exit 1 if a criterion failed."""
    if problem := mix.users_problem(users, processes):
        raise CommandError(problem, exit_codes.USAGE)
    folder = out or Path(tempfile.mkdtemp(prefix="atp-peak-"))
    folder.mkdir(parents=True, exist_ok=True)
    bounds = Bounds(error_share=error_share, p50_ms=p50_ms, p99_ms=p99_ms, baskets_share=baskets_share)
    sold = Sold(sku_file, pool, channel) if sku_file else None
    with readable_errors(), _place(folder, host, store_url, nats_url, sold) as place:
        load = Load(
            address=place.address,
            pool=place.sold.pool,
            channel=place.sold.channel,
            sku_file=place.sold.sku_file,
            hot=HOT,
            shape=shape.value,
            users=users,
            duration_s=duration,
            processes=processes,
            folder=folder,
            own=host is None,
        )
        if host is not None:
            _try(place)
        ok = _run(load, place, bounds)
    raise typer.Exit(exit_codes.OK if ok else exit_codes.REFUSED)


@contextmanager
def _place(folder: Path, host: str | None, store_url: str | None, nats_url: str | None, sold: Sold | None) -> Iterator[Place]:
    """Servers of our own; or those that run, with a pool of our own on them unless it is said what to sell."""
    if host is None:
        _say("Starting servers of our own …")
        with own_engine(folder / "engine") as engine:
            yield _stocked(engine, folder)
    elif sold is not None:
        yield Place(host, sold)
    else:
        found = config.load(store_url=store_url, nats_url=nats_url)
        yield _stocked(Engine(host, config.store_of(found, ""), config.nats(found), own=False), folder)


def _stocked(engine: Engine, folder: Path) -> Place:
    """A pool for this run alone: the ledger of another would not add up to what its users count."""
    pool = f"peak-{secrets.token_hex(4)}"
    _say(f"Making the pool {pool}: {SKUS:,} SKUs at {len(world.NODES)} nodes, {HOT} of them few and hot …")
    skus = world.names(SKUS, HOT)
    stock = world.supply(skus, HOT)
    asyncio.run(world.make(engine, pool, skus, stock))
    sku_file = folder / "skus.txt"
    sku_file.write_text("\n".join(skus))
    return Place(engine.address, Sold(sku_file, pool, world.CHANNEL), engine, world.there(stock))


def _try(place: Place) -> None:
    """One call before the load: a wrong address, token or certificate is told at once. Raises CommandError."""
    with place.sold.sku_file.open() as skus, client.connect(place.address, place.sold.pool, place.sold.channel) as stock:
        stock.availability([skus.readline().strip()])


def _run(load: Load, place: Place, bounds: Bounds) -> bool:
    """Runs the load, shows what came of it, and says whether it was good."""
    _say(f"{load.shape}: {load.users} users at rest, {load.duration_s} s, {load.processes} process(es) of locust …")
    watched = watch(load, place.engine.pids if place.engine else {}, Console(stderr=True))
    found = None
    if place.engine:
        _say("Reading the whole ledger back …")
        with output.progress_bar() as progress:
            found = asyncio.run(books.read(place.engine, load.pool, progress))
    cores = os.cpu_count() or 1
    lines = judge(
        Run(
            calls=watched.summary.calls,
            counts=watched.summary.counts,
            generator=watched.busiest,
            machine=watched.machine,
            cores=cores,
            generator_exit=watched.exit_code,
            books=found,
            supply=place.supply,
        ),
        bounds,
    )
    out = output.console()
    for table in (report.calls(watched.summary), report.processor(watched.used, watched.machine, cores), report.criteria(lines)):
        out.print(table)
        out.print()
    for error, times in watched.summary.errors.items():
        out.print(f"{times:,} × {error}", style="red")
    ok = passed(lines)
    out.print("The engine kept to all of it." if ok else "A criterion failed.", style="green" if ok else "bold red")
    out.print(f"Charts: {load.report}; logs and figures beside it.")
    return ok


def _say(what: str) -> None:
    typer.echo(what, err=True)


def main() -> None:
    """An expected error is one line and an exit code; a bug is a traceback."""
    try:
        app()
    except Exception as error:
        expected = exit_codes.from_error(error)
        if expected is None:
            raise
        typer.secho(f"peak: {expected}", fg=typer.colors.RED, err=True)
        sys.exit(expected.exit_code)


if __name__ == "__main__":
    main()
