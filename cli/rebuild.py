"""`atp rebuild`: makes a pool's store again from nothing but its ledger, and compares it key by key with the live one."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import exit_codes, output
from cli.embedded import StoreServer
from cli.options import DEFAULT_POOL, JsonOption, NatsUrlOption, PoolOption, StoreUrlOption
from cli.output import Report

if TYPE_CHECKING:
    from cli.rebuilding import Rebuilt


@contextlib.asynccontextmanager
async def _temporary_store() -> AsyncIterator[str]:
    """An embedded server that keeps nothing on disk, for as long as the block runs."""
    with tempfile.TemporaryDirectory(prefix="atp-rebuild-") as folder:
        server = StoreServer(Path(folder), fsync="no", options={"appendonly": "no"})
        with server:
            yield server.url


def register(app: typer.Typer) -> None:
    app.command()(rebuild)


def rebuild(
    *,
    pool: PoolOption = DEFAULT_POOL,
    into: Annotated[
        str | None, typer.Option("--into", help="An empty store to rebuild in; without it, one that is thrown away.", show_default=False)
    ] = None,
    store_url: StoreUrlOption = None,
    nats_url: NatsUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Makes a pool's store again from nothing but its ledger, and compares every key with the live one.

    The live pool may go on working. With --into it is a recovery too: consumers that are started on that store open the pool there.
    Exit 1 if any key differs.
    """
    from cli import config
    from cli.rebuilding import rebuild_pool

    found = config.load(store_url=store_url, nats_url=nats_url)
    store, nats = config.store_of(found, pool), config.nats(found)

    async def run(progress: Report) -> "Rebuilt":
        if into is not None:
            return await rebuild_pool(store, nats, pool, into, progress, must_compare=False)
        async with _temporary_store() as url:
            return await rebuild_pool(store, nats, pool, url, progress)

    with output.progress_bar(hidden=as_json) as progress:
        rebuilt = asyncio.run(run(progress))
    if as_json:
        output.print_json(rebuilt)
    else:
        _show(rebuilt)
    raise typer.Exit(exit_codes.REFUSED if rebuilt.equal is False else exit_codes.OK)


def _show(rebuilt: "Rebuilt") -> None:
    out = output.console()
    out.print(f"Pool {rebuilt.pool}: {rebuilt.entries:,} entries replayed in {rebuilt.replay_s:.1f} s.")
    if rebuilt.equal is None:
        out.print("The live store cannot be reached: the rebuilt one was compared with nothing.", style="yellow")
    elif rebuilt.equal:
        out.print(f"{rebuilt.keys_compared:,} keys compared with the live store: all are equal.", style="green")
    else:
        out.print(f"{rebuilt.keys_compared:,} keys compared with the live store. These differ:", style="bold red")
        for sentence in rebuilt.differing:
            out.print(sentence, style="red")
