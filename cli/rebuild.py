"""`atp rebuild`: makes a pool's store again from a checkpoint and the ledger, or the ledger alone, and compares it with the live one."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from atp.words import counted
from cli import exit_codes, output
from cli.embedded import StoreServer
from cli.options import DEFAULT_POOL, JsonOption, NatsUrlOption, OriginOption, PoolOption, StoreUrlOption
from cli.output import Report

if TYPE_CHECKING:
    from cli.rebuilding import Compared, Rebuilt


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
    origin: OriginOption = "latest",
    deep: Annotated[bool, typer.Option("--deep", help="Prove the checkpoint too: make another store from the first entry.")] = False,
    into: Annotated[
        str | None, typer.Option("--into", help="An empty store to rebuild in; without it, one that is thrown away.", show_default=False)
    ] = None,
    store_url: StoreUrlOption = None,
    nats_url: NatsUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Makes a pool's store again from its latest checkpoint and the ledger behind it, and compares every key with the live one.

    The live pool may go on working. With --into it is a recovery too: consumers that are started on that store open the pool there.
    Exit 1 if any key differs.
    """
    from cli import config
    from cli.rebuilding import rebuild_pool

    found = config.load(store_url=store_url, nats_url=nats_url)
    store, nats = config.store_of(found, pool), config.nats(found)
    beside = _temporary_store if deep else None

    async def run(progress: Report) -> "Rebuilt":
        if into is not None:
            return await rebuild_pool(store, nats, pool, into, progress, origin=origin, beside=beside, must_compare=False)
        async with _temporary_store() as url:
            return await rebuild_pool(store, nats, pool, url, progress, origin=origin, beside=beside)

    with output.progress_bar(hidden=as_json) as progress:
        rebuilt = asyncio.run(run(progress))
    if as_json:
        output.print_json(rebuilt)
    else:
        _show(rebuilt)
    raise typer.Exit(exit_codes.REFUSED if rebuilt.equal is False else exit_codes.OK)


def _show(rebuilt: "Rebuilt") -> None:
    out = output.console()
    if loaded := rebuilt.checkpoint:
        begun = f"from the checkpoint of revision {loaded.revision:,}, taken {output.age(loaded.age_s)} ago"
        contents = f"{counted(loaded.keys, 'key')} with {counted(loaded.fields, 'field')}"
        out.print(f"Pool {rebuilt.pool}, {begun}: {contents} loaded in {loaded.load_s:.1f} s.")
    else:
        out.print(f"Pool {rebuilt.pool}, from the first entry on.")
    out.print(f"{counted(rebuilt.entries, 'entry', 'entries')} replayed in {rebuilt.replay_s:.1f} s, up to revision {rebuilt.revision:,}.")
    if proof := rebuilt.proof:
        out.print(f"Another store: {counted(proof.entries, 'entry', 'entries')} replayed from the first on in {proof.replay_s:.1f} s.")
        _show_comparison(proof.compared, "of both where the checkpoint is whole, compared with each other")
    if rebuilt.compared:
        _show_comparison(rebuilt.compared, "compared with the live store")
    else:
        out.print("The live store cannot be reached: the rebuilt one was not compared with it.", style="yellow")
    for sentence in rebuilt.differing:
        out.print(sentence, style="red")


def _show_comparison(compared: "Compared", how: str) -> None:
    verdict, style = ("all are equal", "green") if compared.equal else ("they differ, as told below", "bold red")
    contents = f"{counted(compared.keys, 'key')} with {counted(compared.fields, 'field')}"
    output.console().print(f"{contents} {how}: {verdict}. That took {compared.seconds:.1f} s.", style=style)
