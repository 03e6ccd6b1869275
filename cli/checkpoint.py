"""`atp checkpoint`: copies a pool that goes on working, so that making it again need not begin with the first entry."""

import asyncio
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from atp.words import counted
from cli import output
from cli.options import DEFAULT_POOL, JsonOption, NatsUrlOption, PoolOption, StoreUrlOption

if TYPE_CHECKING:
    from atp.checkpoint import Manifest

COPYING: Final = "copying keys"


def register(app: typer.Typer) -> None:
    app.command()(checkpoint)


def checkpoint(
    *,
    show: Annotated[bool, typer.Option("--list", help="Take none: show those that are there.")] = False,
    pool: PoolOption = DEFAULT_POOL,
    store_url: StoreUrlOption = None,
    nats_url: NatsUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Takes a checkpoint of a pool, which goes on working meanwhile. The latest two are kept.

    An emptied store, `atp rebuild` and the auditor begin with the latest one instead of the first entry. The role `auditor` takes them from
    time to time by itself.
    """
    if show:
        found = asyncio.run(_found(pool, nats_url))
        if as_json:
            output.print_json(found)
        else:
            _show_all(pool, found)
        return
    with output.progress_bar(hidden=as_json) as progress:
        taken = asyncio.run(_take(pool, store_url, nats_url, progress))
    if as_json:
        output.print_json(taken)
    else:
        _show(taken)


async def _take(pool: str, store_url: str | None, nats_url: str | None, progress: output.Report) -> "Manifest":
    from cli import config, history
    from consumers.checkpoint_taker import take
    from consumers.ledger_writer import last_position

    found = config.load(store_url=store_url, nats_url=nats_url)
    async with history.connected(config.store_of(found, pool)) as store, history.jetstream(config.nats(found)) as js:
        with history.known_pool(pool):
            await last_position(js, pool)
        return await take(js, store, pool, lambda done, total: progress(COPYING, done, total))


async def _found(pool: str, nats_url: str | None) -> list["Manifest"]:
    from cli import config, history
    from consumers import checkpoints

    async with history.jetstream(config.nats(config.load(nats_url=nats_url))) as js:
        return await checkpoints.manifests(js, pool)


def _show(taken: "Manifest") -> None:
    said = f"{counted(taken.keys, 'key')} with {counted(taken.fields, 'field')}, {taken.bytes / 1e6:.1f} MB, in {taken.took_s:.1f} s"
    output.console().print(f"Pool {taken.pool}: checkpoint of revision {taken.whole:,} taken: {said}.", style="green")


def _show_all(pool: str, found: list["Manifest"]) -> None:
    now = time.time()
    rows = [
        (one.whole, output.age(now - one.taken_ms / 1000), one.keys, one.fields, f"{one.bytes / 1e6:.1f}", one.version) for one in found
    ]
    columns = ["revision#", "taken ago", "keys#", "fields#", "MB#", "by version"]
    out = output.console()
    out.print(
        output.table(columns, rows, title=f"Pool {pool}") if found else f"Pool {pool} has no checkpoint: take one with `atp checkpoint`."
    )
