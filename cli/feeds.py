"""`atp feeds`: what was heard of each source at each node, how late, and what is missing."""

import asyncio
import contextlib
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from atp.words import counted
from cli import output
from cli.options import DEFAULT_POOL, JsonOption, NatsUrlOption, PoolOption, StoreUrlOption

if TYPE_CHECKING:
    from rich.console import Console

    from cli.feeds_look import FeedRow, FeedsLook

WATCH_S: Final = 2.0
GAPS_SHOWN_MAX: Final = 3
_COLUMNS: Final = (
    "source",
    "node",
    "heard",
    "rhythm#",
    "lag#",
    "sequence#",
    "missing",
    "twice#",
    "a minute#",
    "exceptions#",
    "order",
    "authority",
)
#: In a narrower terminal what was provisioned is left out, and what says nothing: words would be broken.
_ALL_COLUMNS_MIN: Final = 110
_ATTENTION: Final = "bold red"
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"))


def register(app: typer.Typer) -> None:
    app.command()(feeds)


def feeds(
    *,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again and again until Ctrl-C; rates are then those since the last look.")
    ] = False,
    pool: PoolOption = DEFAULT_POOL,
    store_url: StoreUrlOption = None,
    nats_url: NatsUrlOption = None,
    json: JsonOption = False,
) -> None:
    """Shows what was heard of each source at each node: when, how late, which sequences are missing, and how many exceptions are open.

    A server that is away is named; what only it knows is left out. Without --watch `a minute` is the mean over the time heard.
    """
    from cli import config
    from cli.feeds_look import look

    found = config.load(store_url=store_url, nats_url=nats_url)
    where, nats = config.store_of(found, pool), config.nats(found)
    out = output.console()

    async def show() -> None:
        seen = await look(where, nats, pool)
        _show(out, seen, json=json, again=watch)
        while watch:
            await asyncio.sleep(WATCH_S)
            seen = await look(where, nats, pool, seen)
            _show(out, seen, json=json, again=True)

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(show())


def _show(out: "Console", seen: "FeedsLook", *, json: bool, again: bool) -> None:
    if json:
        (output.print_json_line if again else output.print_json)(seen)
        return
    if again:
        out.clear()
    for away, unknown in ((seen.store_away, "when anything was heard"), (seen.nats_away, "what waits and which exceptions are open")):
        if away:
            out.print(f"Not known: {unknown}. {away}", style=_ATTENTION)
    columns, rows = list(_COLUMNS), [_cells(row) for row in seen.feeds]
    if out.width < _ALL_COLUMNS_MIN:
        told = columns.index("order")
        columns, rows = output.filled(columns[:told], [row[:told] for row in rows])
    out.print(output.table(columns, rows) if rows else f"Nothing is known of any feed of pool {seen.pool}.")
    if seen.messages_waiting:
        out.print(f"Waiting for a worker: {counted(seen.messages_waiting, 'message')}. What they say was not heard yet.", style=_ATTENTION)
    if seen.exceptions_cut:
        out.print("Of the exceptions only the newest were counted: atp exceptions list", style="dim")


def _cells(row: "FeedRow") -> list[object]:
    from atp.model.verbs import FIGURE_BITS

    return [
        row.source,
        row.node or output.NOTHING,
        _heard(row),
        _duration(row.rhythm_s) if row.rhythm_s else output.NOTHING,
        output.NOTHING if row.lag_s is None else _duration(row.lag_s),
        row.sequence or output.NOTHING,
        _missing(row),
        output.NOTHING if row.duplicates is None else row.duplicates,
        output.NOTHING if row.per_minute is None else f"{row.per_minute:,.1f}",
        output.NOTHING if row.open_exceptions is None else _attention(f"{row.open_exceptions:,}", when=row.open_exceptions > 0),
        row.order or output.NOTHING,
        "all figures" if len(row.authority) == len(FIGURE_BITS) else ", ".join(row.authority) or output.NOTHING,
    ]


def _heard(row: "FeedRow") -> object:
    if row.last_heard_ms is None:
        return "?"
    ago = "never" if row.silent_s is None else f"{_duration(row.silent_s)} ago"
    return _attention(f"{ago}, silent" if row.is_silent and row.last_heard_ms else ago, when=bool(row.is_silent))


def _missing(row: "FeedRow") -> object:
    if not row.missing:
        return output.NOTHING
    shown = [f"{first:,}" if first == last else f"{first:,}–{last:,}" for first, last in row.missing[:GAPS_SHOWN_MAX]]
    more = ", …" if len(row.missing) > GAPS_SHOWN_MAX else ""
    return _attention(f"{row.missing_events:,}: {', '.join(shown)}{more}", when=True)


def _attention(text: str, *, when: bool) -> Text:
    return Text(text, style=_ATTENTION if when else "")


def _duration(seconds: float) -> str:
    """`40s`, `12m`, `3h`, `2d`: as much as a person wants to know; below 0 a clock that is ahead."""
    size, sign = abs(seconds), "-" if seconds < 0 else ""
    for unit_s, unit in _UNITS:
        if size >= 2 * unit_s:
            return f"{sign}{size / unit_s:.0f}{unit}"
    return f"{sign}{size:.0f}s"
