"""`atp trace`: all that belongs to one id, through events, ledger, answers and exceptions, in the order of time."""

import asyncio
import contextlib
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli import output
from cli.options import DEFAULT_POOL, JsonOption, NatsUrlOption, PoolOption, StoreUrlOption

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console

    from atp.store import Store, StoreSettings
    from cli.output import Report
    from cli.trace_rows import Row
    from cli.trace_search import Search, Story
    from consumers.connection import NatsSettings

SINCE_DEFAULT: Final = "24h"
TABLE_COLUMNS_MIN: Final = 120
SENTENCE_INDENT: Final = 4
REFUSALS: Final = "answers that refused, since they leave nothing behind: the service's log has them by their correlation"


def register(app: typer.Typer) -> None:
    app.command()(trace)


def trace(
    asked: Annotated[
        str, typer.Argument(metavar="ID", help="An order reference, reservation, shipment, transfer, event, correlation or exception.")
    ],
    *,
    since: Annotated[str, typer.Option("--since", metavar="SPAN", help="How far back: 90m, 24h, 7d.")] = SINCE_DEFAULT,
    everything: Annotated[bool, typer.Option("--all", help="All that is kept. It can take minutes.")] = False,
    pool: PoolOption = DEFAULT_POOL,
    store_url: StoreUrlOption = None,
    nats_url: NatsUrlOption = None,
    json: JsonOption = False,
) -> None:
    """Follows one id: what came in about it, what that changed, what was answered, what was wrong, and how it stands.

    It widens by itself: from an order to its reservations, their shipments, the events and the exceptions that name them. Exit 1 if
    nothing names the id in that span.
    """
    from datetime import UTC, datetime, timedelta

    from cli import config, exit_codes, words

    settings = config.load(store_url=store_url, nats_url=nats_url)
    start = None if everything else datetime.now(UTC) - timedelta(milliseconds=words.duration_ms(since))
    with output.progress_bar(hidden=json) as report:
        search, story = asyncio.run(_search(config.store_of(settings, pool), config.nats(settings), pool, asked, start, report))
    from cli.trace_rows import rows_of

    rows = rows_of(story)
    left_out = _left_out(search, start)
    if json:
        names = [{"kind": name.kind, "id": name.id} for name in search.thread.found]
        output.print_json({"id": asked, "since": start, "names": names, "rows": rows, "not_searched": left_out})
    else:
        _show(rows, search, start, left_out)
    if not rows:
        raise typer.Exit(exit_codes.REFUSED)


async def _search(
    where: "StoreSettings", nats: "NatsSettings", pool: str, asked: str, since: "datetime | None", report: "Report"
) -> "tuple[Search, Story]":
    from atp.errors import StoreUnavailableError
    from cli import history
    from cli.trace_names import Thread
    from cli.trace_search import Search

    async with contextlib.AsyncExitStack() as exits:
        js = await exits.enter_async_context(history.jetstream(nats))
        store: Store | None = None
        with contextlib.suppress(StoreUnavailableError):
            store = await exits.enter_async_context(history.connected(where))
        search = Search(js, store, pool, Thread(asked), since)
        with history.known_pool(pool):
            return search, await search.run(report)


def _left_out(search: "Search", since: "datetime | None") -> list[str]:
    """What was not searched."""
    left_out = [] if since is None else ["what is older (--all)"]
    if search.store_is_away:
        left_out.append("the store, which is away: its records, and what is not in JetStream yet")
    if search.thread.full:
        left_out.append(f"what more than the first {len(search.thread.found):,} names lead to")
    if search.unfinished:
        left_out.append("what the names that were found last lead to")
    return [*left_out, REFUSALS]


def show_rows(rows: "list[Row]", out: "Console") -> None:
    """A table, or where that were too narrow to read each sentence below what it is about."""
    from rich.padding import Padding

    cells = [(output.at(row.time_ms), row.where, row.what.replace("_", " "), row.who, row.sequence or row.revision or "") for row in rows]
    if out.width >= TABLE_COLUMNS_MIN:
        told = [(*cell, row.sentence) for cell, row in zip(cells, rows, strict=True)]
        out.print(output.table(["time", "where", "what", "who", "revision or sequence#", "sentence"], told))
        return
    for (when, where, *others), row in zip(cells, rows, strict=True):
        out.print("  ".join([when, f"{where:<9}", *(str(other) for other in others if other)]), style="dim")
        out.print(Padding(row.sentence, (0, 0, 0, SENTENCE_INDENT)), soft_wrap=False)


def _show(rows: "list[Row]", search: "Search", since: "datetime | None", left_out: list[str]) -> None:
    out = output.console()
    span = f"since {output.at(int(since.timestamp() * 1000))}" if since else "of all that is kept"
    if rows:
        show_rows(rows, out)
    else:
        out.print(f"Nothing {span} names {search.thread.asked}: correct the id, or look further back (--since 7d, --all).")
    led = [f"{name.kind} {name.bare}" for name in search.thread.found if name.bare != search.thread.asked]
    if led:
        out.print(f"It led to {', '.join(led)}.", style="dim")
    out.print(f"Searched: events, ledger, exceptions {span}. Not searched: {'; '.join(left_out)}.", style="dim")
