"""The look behind `atp feeds`: what the store heard of each source at each node, and what waits for a person."""

import asyncio
import time
from collections import Counter
from typing import Final

import msgspec

from atp.errors import AtpError
from atp.model.heard import Heard
from atp.store import StoreSettings
from cli import history
from cli.exit_codes import REFUSED, UNREACHABLE, CommandError
from consumers import streams
from consumers.connection import AWAY, NatsSettings
from consumers.exceptions import LIST_MAX, list_exceptions
from consumers.known_feeds import KnownFeeds, SourceAtNode, authorities, read_feeds

_MINUTE_S: Final = 60


class FeedRow(msgspec.Struct, frozen=True, kw_only=True):
    """One source at one node, or what it says of none. What only a server that is away could tell is none."""

    source: str
    node: str
    last_heard_ms: int | None = None  # 0: never
    silent_s: float | None = None  # since then
    rhythm_s: int | None = None
    is_silent: bool | None = None  # for longer than its rhythm
    lag_s: float | None = None
    sequence: int | None = None  # the highest
    missing: list[tuple[int, int]] = []  # from, to
    missing_events: int | None = None
    applied: int | None = None
    duplicates: int | None = None
    parked: int | None = None
    refused: int | None = None  # became exceptions when they came
    per_minute: float | None = None
    open_exceptions: int | None = None
    order: str = ""
    authority: list[str] = []  # of what at the node: figures; without a node items and locations

    @property
    def events(self) -> int:
        return (self.applied or 0) + (self.duplicates or 0) + (self.parked or 0) + (self.refused or 0)


class FeedsLook(msgspec.Struct, frozen=True):
    """A pool's feeds at one time; `store_away` and `nats_away` say why something is not known, or nothing."""

    pool: str
    time_ms: int
    store_away: str
    nats_away: str
    messages_waiting: int | None
    exceptions_cut: bool  # more are open than were counted
    feeds: list[FeedRow]


class _Nats(msgspec.Struct, frozen=True):
    """What NATS knows: messages that no worker has taken, and open exceptions by source and node."""

    waiting: int
    open: Counter[SourceAtNode]
    cut: bool


async def look(where: StoreSettings, nats: NatsSettings, pool: str, before: FeedsLook | None = None) -> FeedsLook:
    """Asks both servers; after the look `before`, rates are those since then.

    Raises CommandError if neither answers, and for a pool that there is not.
    """
    asking = asyncio.create_task(_ask_store(where, pool))
    try:
        told = await _ask_nats(nats, pool)
    finally:
        feeds = await asking
    if isinstance(feeds, str) and isinstance(told, str):
        raise CommandError(f"neither server can be reached. {feeds} {told}", UNREACHABLE)
    if isinstance(feeds, KnownFeeds) and not feeds.sources and isinstance(told, str):
        raise CommandError(f"the store has no pool {pool}, and whether it was provisioned only NATS could say. {told}", REFUSED)
    now_s = time.time()
    known = feeds if isinstance(feeds, KnownFeeds) else None
    counted = told.open if isinstance(told, _Nats) else None
    rows = _rows(known, counted, now_s)
    if before:
        rows = _rates_since(rows, before, now_s)
    return FeedsLook(
        pool=pool,
        time_ms=int(now_s * 1000),
        store_away="" if known else str(feeds),
        nats_away=told if isinstance(told, str) else "",
        messages_waiting=told.waiting if isinstance(told, _Nats) else None,
        exceptions_cut=isinstance(told, _Nats) and told.cut,
        feeds=rows,
    )


async def _ask_store(where: StoreSettings, pool: str) -> KnownFeeds | str:
    """What it knows, or why it does not answer."""
    try:
        async with history.connected(where) as store:
            return await read_feeds(store, pool)
    except (AtpError, OSError) as error:
        return f"The store: {error}."


async def _ask_nats(where: NatsSettings, pool: str) -> _Nats | str:
    """What it knows, or why it does not answer. Raises CommandError for a pool that nobody provisioned."""
    try:
        async with history.jetstream(where) as js:
            with history.known_pool(pool):
                durable = await js.consumer_info(streams.INVENTORY, streams.feed_durable(pool))
            found = await list_exceptions(js, pool=pool, state="open")
    except CommandError as error:
        if error.exit_code != UNREACHABLE:
            raise
        return str(error)
    except AWAY as error:
        return f"NATS: {str(error) or type(error).__name__}."
    return _Nats(durable.num_pending or 0, Counter((one.source, one.node) for one in found if one.source), len(found) == LIST_MAX)


def _rows(known: KnownFeeds | None, open_exceptions: Counter[SourceAtNode] | None, now_s: float) -> list[FeedRow]:
    """All that are promised, were heard or have exceptions, by name."""
    names = set(open_exceptions or ())
    if known:
        names |= known.heard.keys() | {
            (figure, node.id) for node in known.nodes.values() for figure in authorities(node).values() if figure
        }
        names |= {(source, "") for source in known.sources.keys() - {source for source, _ in names}}
    return [_row(name, known, None if open_exceptions is None else open_exceptions[name], now_s) for name in sorted(names)]


def _row(name: SourceAtNode, known: KnownFeeds | None, open_exceptions: int | None, now_s: float) -> FeedRow:
    source, node = name
    if known is None:
        return FeedRow(source=source, node=node, open_exceptions=open_exceptions)
    promised, heard = known.sources.get(source), known.heard.get(name)
    last_ms, rhythm_s = known.last_ms(source, node), promised.rhythm_s if promised else 0
    silent_s = known.silent_s(source, node, now_s) if last_ms else None
    row = FeedRow(
        source=source,
        node=node,
        last_heard_ms=last_ms,
        silent_s=silent_s,
        rhythm_s=rhythm_s,
        is_silent=rhythm_s > 0 and (silent_s is None or silent_s > rhythm_s),
        open_exceptions=open_exceptions,
        order=promised.order if promised else "",
        authority=_authority_of(known, source, node),
    )
    return _with_events(row, heard) if heard else row


def _with_events(row: FeedRow, heard: Heard) -> FeedRow:
    span_s = max(_MINUTE_S, (heard.last_ms - heard.first_ms) / 1000)
    return msgspec.structs.replace(
        row,
        lag_s=(heard.last_ms - heard.event_ms) / 1000,
        sequence=heard.sequence,
        missing=heard.gaps,
        missing_events=heard.missing_events,
        applied=heard.counts.applied,
        duplicates=heard.counts.duplicate,
        parked=heard.counts.parked,
        refused=heard.counts.exceptions,
        per_minute=heard.counts.all * _MINUTE_S / span_s,
    )


def _rates_since(rows: list[FeedRow], before: FeedsLook, now_s: float) -> list[FeedRow]:
    events = {(row.source, row.node): row.events for row in before.feeds}
    minutes = max(now_s - before.time_ms / 1000, 0.001) / _MINUTE_S
    return [
        msgspec.structs.replace(row, per_minute=(row.events - events.get((row.source, row.node), 0)) / minutes)
        if row.per_minute is not None
        else row
        for row in rows
    ]


def _authority_of(known: KnownFeeds, source: str, node: str) -> list[str]:
    """What a source's word counts for."""
    if not node:
        promised = known.sources.get(source)
        registers = {"items": promised.registers_items, "locations": promised.registers_locations} if promised else {}
        return [what for what, is_registered in registers.items() if is_registered]
    if node not in known.nodes:
        return []
    return [figure for figure, authority in authorities(known.nodes[node]).items() if authority == source]
