"""Brings what a source has counted into the stream, as the parts of one snapshot, and follows them until the store has them all.

The same lines, for the same node, source and place, are the same events: a second run sends what is not there yet, and nothing changes
twice.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec
from nats.js import JetStreamContext

from atp import canonical, events
from atp.canonical import Items
from atp.errors import AtpError, InvalidRequestError, Violation
from atp.intake import Intake, Taken, in_order
from atp.model.verbs import Count, SourceConfig
from atp.store import Store
from atp.words import counted
from consumers import exceptions, streams
from consumers.counted import Counted
from consumers.known_feeds import KnownFeeds, read_feeds

STALLED_S: Final = 60.0  # without any progress nobody is at work
_LOOK_S: Final = 0.1
_LOOK_PART_S: Final = 20e-6  # more for each part: a look reads which of them have come
_KEYS_READ: Final = 500
_ID_BYTES: Final = 12
_SNAP: Final = 3  # sequence, fingerprint and figures of one snapshot in a window

_decode: Final = msgspec.msgpack.Decoder().decode

#: Told what is being done, how far it is, and how far it goes.
Report = Callable[[str, int, int], None]
SENDING: Final = "sending parts"
APPLYING: Final = "applying parts"


class SyncRefusedError(AtpError):
    """The snapshot cannot be taken as it is said."""


class StalledError(AtpError):
    """Parts that were sent are not applied by anybody."""


class Target(msgspec.Struct, frozen=True):
    """Whose count it is, and of what."""

    pool: str
    node: str
    source: str
    as_of: datetime
    full: bool
    sequence: int


class Missing(msgspec.Struct, frozen=True):
    """A part that the store does not have, and why, as far as it is known."""

    part: int
    event_id: str
    reason: str
    sentence: str


class Synced(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. Without waiting, what was applied is not known."""

    pool: str
    node: str
    source: str
    scope: str
    as_of: datetime
    sequence: int
    authority: str  # of on hand at the node: if it is another, what was counted is kept for comparison
    lines: int
    parts: int
    sent: int
    there: int  # parts that the store had already
    waited: bool
    missing: list[Missing]
    seconds: float
    lines_a_second: float


class _Snapshot:
    """The count as events."""

    def __init__(self, target: Target, counted: Counted) -> None:
        self.target = target
        self.counted = counted
        self.parts = len(counted.parts)
        said = (target.pool, target.node, target.source, target.as_of.isoformat(), target.full, target.sequence, counted.digest)
        self._name = f"sync-{blake2b(repr(said).encode(), digest_size=_ID_BYTES).hexdigest()}"

    def event_id(self, index: int) -> str:
        return f"{self._name}-{index + 1}"

    def event(self, index: int) -> events.Snapshot:
        target, lines = self.target, self.counted.part(index)
        data = (
            events.SnapshotData(
                node=target.node,
                sequence=target.sequence,
                as_of=target.as_of,
                scope="full",
                part=index + 1,
                parts=self.parts,
                lines=lines,
            )
            if target.full
            else events.SnapshotData(node=target.node, sequence=target.sequence, as_of=target.as_of, lines=lines)
        )
        return events.Snapshot(specversion="1.0", id=self.event_id(index), source=target.source, time=target.as_of, data=data)

    def request(self, index: int) -> Count:
        """As the store is told of it. What packs hold changes nothing of what identifies it."""
        event = self.event(index)
        units = {(line.sku, line.unit): 1 for line in event.data.lines if line.unit}
        request = canonical.request_of(event, Items({}, units))
        assert isinstance(request, Count)
        return request


def check(target: Target, feeds: KnownFeeds) -> None:
    """Raises InvalidRequestError and SyncRefusedError, with what to do next."""
    if not feeds.sources:
        raise SyncRefusedError(f"the store has no pool {target.pool}: correct the name, or have it provisioned (atp provision FILE)")
    source, node = feeds.sources.get(target.source), feeds.nodes.get(target.node)
    if source is None:
        raise SyncRefusedError(f"pool {target.pool} has no source {target.source}: there are {_named(feeds.sources)}")
    if node is None:
        raise SyncRefusedError(f"pool {target.pool} has no node {target.node}: there are {_named(feeds.nodes)}")
    _check_place(target, source)


def _check_place(target: Target, source: SourceConfig) -> None:
    if source.order == "id":
        raise SyncRefusedError(
            f"source {target.source} is provisioned with the order id: without a sequence or a time nobody can tell which of its events "
            "are contained in a count, and which come after it. Provision it with the order that it has"
        )
    if source.order == "sequence" and not target.sequence:
        what = f"must be said: source {target.source} counts its events, so its count has a place among them (--sequence N)"
        raise InvalidRequestError([Violation("sequence", what)])
    if source.order == "time" and target.sequence:
        what = f"must not be said: the place of a count of source {target.source} is its as_of"
        raise InvalidRequestError([Violation("sequence", what)])


def _named(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


class _Met(NamedTuple):
    """The snapshots that a SKU has met: the fingerprint of the one at our place, if there is one, and the figures that later ones have."""

    here: int | None
    later: int


def _met_by(snaps: list[int], place: int) -> _Met:
    here: int | None = None
    later = 0
    for sequence, mark, figures in zip(*[iter(snaps)] * _SNAP, strict=True):
        if sequence == place:
            here = mark
        elif sequence > place:
            later |= figures
    return _Met(here, later)


class Sync:
    """One snapshot on its way."""

    def __init__(self, store: Store, js: JetStreamContext, intake: Intake, target: Target, counted: Counted, report: Report) -> None:
        self._store = store
        self._js = js
        self._intake = intake
        self._target = target
        self._snapshot = _Snapshot(target, counted)
        self._report = report
        self._place = 0
        self._sequence = 0  # of the last message in the stream

    async def run(self, *, wait: bool, began_s: float) -> Synced:
        """`began_s`, of the monotonic clock, is when reading began.

        Raises what `check` does, IntakeUnavailableError and StalledError, and the errors of servers that are away.
        """
        target, snapshot = self._target, self._snapshot
        feeds = await read_feeds(self._store, target.pool)
        check(target, feeds)
        self._check_event()
        first = snapshot.request(0)
        self._place = first.moment if feeds.sources[target.source].order == "time" else first.sequence
        to_send = await self._plan()
        await self._send(to_send)
        missing = await self._follow() if wait else []
        told = await self._told(missing) if missing else []
        seconds = time.monotonic() - began_s
        return Synced(
            pool=target.pool,
            node=target.node,
            source=target.source,
            scope="full" if target.full else "partial",
            as_of=target.as_of,
            sequence=target.sequence,
            authority=feeds.nodes[target.node].authority,
            lines=snapshot.counted.lines,
            parts=snapshot.parts,
            sent=len(to_send),
            there=snapshot.parts - len(to_send),
            waited=wait,
            missing=told,
            seconds=seconds,
            lines_a_second=snapshot.counted.lines / seconds,
        )

    def _check_event(self) -> None:
        """What is wrong with all parts is wrong with the first."""
        if found := canonical.violations_of(self._snapshot.event(0)):
            raise InvalidRequestError(found)

    # --- sending --------------------------------------------------------------------------------------------------
    async def _plan(self) -> list[int]:
        """The parts that the store does not have. Raises SyncRefusedError if another snapshot has their place."""
        target, indices = self._target, range(self._snapshot.parts)
        full = await self._full()
        if full > self._place:
            raise SyncRefusedError(
                f"a later full snapshot of {target.source} at {target.node} is complete already (its place is {full}, that of this one "
                f"{self._place}): it would change nothing"
            )
        come = await self._come() if target.full and full < self._place else set(indices)
        there = []
        async for index, met in self._met(indices):
            if met.here is None:
                continue
            if self._snapshot.request(index).fingerprint != met.here:
                raise SyncRefusedError(
                    f"another snapshot of {target.source} at {target.node} has the same place, and says other of SKU "
                    f"{self._snapshot.counted.skus[index]}: say a later {'--sequence' if target.sequence else '--as-of'}"
                )
            there.append(index)
        missing = sorted(set(indices).difference(come.intersection(there)))
        # Whoever was to complete it may have died, and nobody be left to do it again.
        return missing or ([] if not target.full or full == self._place else [indices[-1]])

    async def _send(self, indices: Sequence[int]) -> None:
        async def each() -> AsyncIterator[int]:
            for index in indices:
                yield index

        async def take(index: int) -> Taken:
            return await self._intake.take(self._target.pool, self._snapshot.event(index))

        done = 0
        async with contextlib.aclosing(in_order(each(), take)) as taken:
            async for one in taken:
                done += 1
                self._sequence = max(self._sequence, one.sequence)
                self._report(SENDING, done, len(indices))

    # --- following ------------------------------------------------------------------------------------------------
    async def _follow(self) -> list[int]:
        """The parts that are not in the store when all of them have had their verdict."""
        left, changed = list(range(self._snapshot.parts)), time.monotonic()
        while True:
            settled = await self._settled()  # before the store is looked at: it has what is settled
            before, left = len(left), await self._left(left, everything=settled)
            if not left or settled:
                return left
            self._report(APPLYING, self._snapshot.parts - len(left), self._snapshot.parts)
            changed = time.monotonic() if len(left) < before else changed
            if time.monotonic() - changed > STALLED_S:
                parts = counted(self._snapshot.parts, "part")
                raise StalledError(
                    f"nothing was applied for {STALLED_S:.0f} s, {len(left)} of {parts} left: is the role feeds "
                    "running (atp consume feeds), and the pool open? The stream has all of them; the same command again goes on waiting"
                )
            await asyncio.sleep(_LOOK_S + self._snapshot.parts * _LOOK_PART_S)

    async def _settled(self) -> bool:
        """Whether all that was sent had its verdict."""
        durable = await self._js.consumer_info(streams.INVENTORY, streams.feed_durable(self._target.pool))
        return durable.ack_floor is not None and durable.ack_floor.stream_seq >= self._sequence

    async def _left(self, indices: list[int], *, everything: bool) -> list[int]:
        """Those of the parts that the store does not have; unless everything is wanted only the first of them are looked at."""
        if self._target.full:
            if await self._full() >= self._place:
                return []
            come = await self._come()
            left = [index for index in indices if index not in come]
            return left or indices[-1:]  # all are there, and the snapshot is not complete yet
        some = len(indices) if everything else _KEYS_READ
        left = [index async for index, met in self._met(indices[:some]) if met.here is None and not self._is_superseded(index, met)]
        return left + indices[some:]

    def _is_superseded(self, index: int, met: "_Met") -> bool:
        if not met.later:
            return False
        line = self._snapshot.request(index).lines[0]
        return line.named & met.later == line.named

    # --- what the store has ---------------------------------------------------------------------------------------
    async def _full(self) -> int:
        """The place of the last full snapshot that is complete; 0 while this one is being completed."""
        of = f"{self._target.node} {self._target.source}"
        key, parts = f"syn:{of}", f"prt:{of} {self._place}"
        _, found = await self._store.read_keys(self._target.pool, [key, parts])
        full = int(found.get(key, {}).get(b"full", 0))
        return 0 if full == self._place and parts in found else full

    async def _come(self) -> set[int]:
        """The parts of this one that have come, while it is not complete."""
        key = f"prt:{self._target.node} {self._target.source} {self._place}"
        _, found = await self._store.read_keys(self._target.pool, [key])
        return {int(part) - 1 for part in found.get(key, {}) if part != b"parts"}

    async def _met(self, indices: Sequence[int]) -> AsyncIterator[tuple[int, "_Met"]]:
        """What the first SKU of each part has met: a part is applied whole."""
        field = f"{self._target.node} {self._target.source}".encode()
        for start in range(0, len(indices), _KEYS_READ):
            some = indices[start : start + _KEYS_READ]
            names = [f"win:{self._snapshot.counted.skus[index]}" for index in some]
            _, found = await self._store.read_keys(self._target.pool, names)
            for index, name in zip(some, names, strict=True):
                window = found.get(name, {}).get(field)
                yield index, _met_by(_decode(window)[2] if window else [], self._place)

    async def _told(self, indices: Sequence[int]) -> list[Missing]:
        """Why parts are not there: the exceptions of their events."""
        found = await exceptions.list_exceptions(self._js, pool=self._target.pool, state="open")
        ours = f"{self._target.source}/"  # what waits for a SKU names its event behind its source, and the SKU behind that
        by_id = {one.cause.removeprefix(ours).split("/")[0]: one for one in found if one.source == self._target.source}
        missing = []
        for index in indices:
            event_id = self._snapshot.event_id(index)
            one = by_id.get(event_id)
            missing.append(Missing(index + 1, event_id, one.reason if one else "", one.sentence if one else ""))
        return missing
