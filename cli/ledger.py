"""`atp ledger`: every change of a pool in words, as it was made or as it happens."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from atp.words import counted
from cli import output
from cli.options import DEFAULT_POOL, JsonOption, NatsUrlOption, PoolOption, StoreUrlOption

if TYPE_CHECKING:
    from atp.ledger import Entry
    from atp.store import StoreSettings
    from consumers.connection import NatsSettings

ROWS_SHOWN_MAX: Final = 6
LAST_DEFAULT: Final = 20
#: Terms by the words of the glossary.
_TERMS: Final = {"on_hand": "on hand", "quality_hold": "quality hold", "shipped_unbooked": "shipped unbooked", "in_transit": "in transit"}


def register(app: typer.Typer) -> None:
    app.command()(ledger)


def ledger(
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens from now on, until Ctrl-C.")] = False,
    start: Annotated[int | None, typer.Option("--from", metavar="REVISION", min=1, help="Start here.", show_default=False)] = None,
    last: Annotated[int, typer.Option("--last", min=0, help="Without --from: how many of the latest to show.")] = LAST_DEFAULT,
    sku: Annotated[str, typer.Option("--sku", help="Only what moved units of this SKU.", show_default=False)] = "",
    pool: PoolOption = DEFAULT_POOL,
    store_url: StoreUrlOption = None,
    nats_url: NatsUrlOption = None,
    json: JsonOption = False,
) -> None:
    """Shows each change of a pool: its revision, time, verb and cause, and the units it moved.

    Reads what is in JetStream, and what only the store has yet. With --json: one document a line.
    """
    from cli import config

    out = output.console()

    async def show() -> None:
        if follow:
            entries = _following(nats, pool, start, last, sku)
        else:
            entries = _until_now(config.store_of(found, pool), nats, pool, start, last, sku)
        async with contextlib.aclosing(entries) as wanted:
            async for entry in wanted:
                if json:
                    output.print_json_line(as_plain(entry))
                else:
                    out.print(in_words(entry))

    found = config.load(store_url=store_url, nats_url=nats_url)
    nats = config.nats(found)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(show())


async def _until_now(
    where: "StoreSettings", nats: "NatsSettings", pool: str, start: int | None, last: int, sku: str
) -> AsyncGenerator["Entry", None]:
    """The entries from `start` on, else the last ones, that concern a SKU (or all): JetStream's and the store's."""
    from atp.ledger import decode_entry
    from cli import history
    from consumers.ledger_writer import learn

    async with history.connected(where) as store, history.jetstream(nats) as js:
        with history.known_pool(pool):
            position, _ = await learn(js, pool)
        upto = max((await store.pool_info(pool)).revision, position.revision)
        after = start - 1 if start else 0 if sku else max(0, upto - last)
        latest: deque[Entry] = deque(maxlen=last)
        async for batch in history.History(js, pool, store).between(after, upto):
            for entry in filter(lambda entry: concerns(entry, sku), map(decode_entry, batch)):
                if start:
                    yield entry
                else:
                    latest.append(entry)
        for entry in latest:
            yield entry


async def _following(nats: "NatsSettings", pool: str, start: int | None, last: int, sku: str) -> AsyncGenerator["Entry", None]:
    """The same as they are published, for ever."""
    from atp.ledger import decode_entry
    from cli import history
    from consumers.ledger_reader import read_ledger
    from consumers.ledger_writer import learn

    async with history.jetstream(nats) as js:
        with history.known_pool(pool):
            position, _ = await learn(js, pool)
        after = start - 1 if start else max(0, position.revision - last)
        async with contextlib.aclosing(read_ledger(js, pool, after, follow=True)) as batches:
            async for batch in batches:
                for entry in filter(lambda entry: concerns(entry, sku), map(decode_entry, batch)):
                    yield entry


def concerns(entry: "Entry", sku: str) -> bool:
    """Whether an entry moved units of a SKU, or raised an exception about it; no SKU: any."""
    return not sku or any(fact.sku == sku for fact in entry.facts) or any(raised.sku == sku for raised in entry.exceptions)


def in_words(entry: "Entry") -> str:
    """One line: revision, time, verb and cause, what was moved where, the exceptions raised, and why a person did it."""
    from atp.ledger import reason_of

    rows: dict[tuple[str, str], list[str]] = {}
    for fact in entry.facts:
        rows.setdefault((fact.sku, fact.node), []).append(f"{_TERMS.get(fact.term, fact.term)} {fact.delta:+,}")
    told = [f"{sku} at {node}: {', '.join(terms)}" for (sku, node), terms in list(rows.items())[:ROWS_SHOWN_MAX]]
    if len(rows) > ROWS_SHOWN_MAX:
        told.append(counted(len(rows) - ROWS_SHOWN_MAX, "more row"))
    told += [f"! {raised.reason} {raised.id} {raised.state}" for raised in entry.exceptions]
    if reason := reason_of(entry):
        told.append(f"because: {reason}")
    by = f" by {entry.actor}" if entry.actor else ""
    return f"{entry.revision:>8}  {output.at(entry.time_ms)}  {f'{entry.verb} {entry.cause}{by}':<44}  {'; '.join(told)}".rstrip()


def as_plain(entry: "Entry") -> dict[str, Any]:
    """An entry for scripts: all but its after-images, which are the store's business."""
    import msgspec

    from atp.ledger import reason_of

    plain = {name: getattr(entry, name) for name in ("revision", "epoch", "time_ms", "verb", "cause", "actor", "correlation")}
    plain["reason"] = reason_of(entry)
    for name in ("facts", "exceptions"):
        plain[name] = [msgspec.structs.asdict(item) for item in getattr(entry, name)]
    return plain
