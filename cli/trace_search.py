"""Searches events, ledger, exceptions and records for a story: from one id to all that belongs to it, in the order of time."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from atp import canonical, ledger
from atp.canonical import ContentError
from atp.errors import RefusedError
from atp.events import Event
from atp.exceptions import PublishedException
from atp.ledger import Entry
from atp.model.reservation import OperationRecord
from atp.model.shipment import Settlement
from atp.model.views import Reservation
from atp.store import Store
from cli import trace_names
from cli.history import PAGE_ENTRIES
from cli.output import Report
from cli.trace_names import Name, Thread
from consumers import exceptions, inventory_reader, ledger_writer, streams
from consumers.inventory_reader import Received
from consumers.ledger_reader import read_ledger

PASSES_MAX: Final = 5
_RECORDS: Final = {"reservation": "rsv", "order": "ord", "shipment": "shp", "transfer": "trf"}
_decode_operation = msgspec.msgpack.Decoder(OperationRecord).decode
_decode_settlement = msgspec.msgpack.Decoder(Settlement).decode
_decode_head = msgspec.msgpack.Decoder(tuple[str, int, int, int]).decode


class Came(NamedTuple):
    """A message of the stream of events; `event` is there if it could be read."""

    message: Received
    event: Event | None


class Answered(NamedTuple):
    """The first answer to one call, kept with the record of the reservation, or of the shipment."""

    reservation_id: str
    key: str
    answer: OperationRecord


class Held(NamedTuple):
    """A reservation, with when its hold was to end at first."""

    found: Reservation
    first_expire_ms: int


class Story(NamedTuple):
    """All that was found, each in the order in which it was kept; what is not settled lies beyond `settled_upto`."""

    came: list[Came]
    entries: list[Entry]
    told: list[PublishedException]
    answers: list[Answered]
    held: list[Held]
    settled_upto: int


class Search:
    """One search, in one pool, from a time on (none: all that is kept)."""

    def __init__(self, js: JetStreamContext, store: Store | None, pool: str, thread: Thread, since: datetime | None) -> None:
        """`store` is none if it is away: then records and what is not in JetStream yet are left out."""
        self._js = js
        self._store = store
        self._pool = pool
        self._since = since
        self.thread = thread
        self.unfinished = False
        self._met: set[Name] = set()  # events

    @property
    def store_is_away(self) -> bool:
        return self._store is None

    async def run(self, report: Report) -> Story:
        """Looks again where names were found later than there was looked; raises the nats errors of a stream that is not there."""
        records = await self._records()
        looks: dict[str, Callable[[Report], Any]] = {"ledger": self._ledger, "events": self._events, "exceptions": self._exceptions}
        looked: dict[str, int] = {}
        found: dict[str, Any] = {}
        for _ in range(PASSES_MAX):
            for what, look in looks.items():
                if looked.get(what) != self._known(what):
                    looked[what] = self._known(what)
                    found[what] = await look(report)
            records = await self._records()
            if all(looked[what] == self._known(what) for what in looks):
                break
        else:
            self.unfinished = True
        return Story(found["events"], found["ledger"], found["exceptions"], *records, await self._settled_upto())

    def _known(self, what: str) -> int:
        """How many names there are to look for: an event that was met among the events brings no other to light by its own."""
        names = self.thread.found.keys()
        return len(names - self._met) if what == "events" else len(names)

    # --- streams --------------------------------------------------------------------------------------------------
    async def _events(self, report: Report) -> list[Came]:
        def looked(done: int, total: int) -> None:
            report("events", done, total)

        messages = await inventory_reader.read_inventory(self._js, self._pool, self._since, self.thread.may_be_in_json, looked)
        return [came for message in messages if (came := self._came(message))]

    def _came(self, message: Received) -> Came | None:
        try:
            event: Event | None = canonical.read(message.data)
        except ContentError as error:
            event = error.event
        if event is None:
            return Came(message, None) if self.thread.is_asked_for_in(message.data) else None
        names = trace_names.of_event(event)
        if not self.thread.matches(names):
            return None
        self._met.add(names[0])
        self.thread.widen(names)
        return Came(message, event)

    async def _ledger(self, report: Report) -> list[Entry]:
        position = await ledger_writer.last_position(self._js, self._pool)
        found: list[Entry] = []
        after = await self._revision_before()
        first = after
        async with contextlib.aclosing(read_ledger(self._js, self._pool, after)) as batches:
            async for entries in batches:
                found += self._of_story(entries)
                after += len(entries)
                report("ledger", after - first, position.revision - first)
        while self._store and (records := await self._store.ledger_after(self._pool, after, PAGE_ENTRIES)):
            found += self._of_story([record.entry for record in records])
            after = records[-1].revision
        return found

    async def _revision_before(self) -> int:
        """The last revision that was published before the span."""
        stream = streams.ledger_stream(self._pool)
        first = await inventory_reader.first_since(self._js, stream, self._since)
        if first <= 1:
            return 0
        return ledger_writer.position_of(await self._js.get_msg(stream, seq=first - 1)).revision

    def _of_story(self, entries: list[bytes]) -> Iterator[Entry]:
        since_ms = int(self._since.timestamp() * 1000) if self._since else 0
        for data in entries:
            if not self.thread.may_name(data):
                continue
            entry = ledger.decode_entry(data)
            if entry.time_ms >= since_ms and self.thread.matches(trace_names.of_entry(entry)):
                self.thread.widen(trace_names.leads_to(entry))
                yield entry

    async def _exceptions(self, report: Report) -> list[PublishedException]:
        found: list[PublishedException] = []
        start = await inventory_reader.first_since(self._js, streams.EXCEPTIONS, self._since)
        async for told, done, total in exceptions.read_history(self._js, self._pool, start):
            report("exceptions", done, total)
            names = trace_names.of_exception(told)
            unread = told.id.startswith("message:") and self.thread.is_asked_for_in(told.original.encode())
            if unread or self.thread.matches(names):
                self.thread.widen(trace_names.led_to_by(told))
                found.append(told)
        return found

    async def _settled_upto(self) -> int:
        """The place in the stream of events up to which all of the pool have had their verdict."""
        try:
            consumer = await self._js.consumer_info(streams.INVENTORY, streams.feed_durable(self._pool))
        except NotFoundError:
            return 0
        floor = consumer.ack_floor
        idle = not consumer.num_pending and not consumer.num_ack_pending
        last = (await self._js.stream_info(streams.INVENTORY)).state.last_seq
        return last if idle else (floor.stream_seq if floor else 0)

    # --- records --------------------------------------------------------------------------------------------------
    async def _records(self) -> tuple[list[Answered], list[Held]]:
        """Follows what the store's records name, and reads what it keeps of answers."""
        if self._store is None:
            return [], []
        read: dict[str, dict[bytes, bytes]] = {}
        while names := [name for name in self._record_names() if name not in read]:
            _, contents = await self._store.read_keys(self._pool, names[:PAGE_ENTRIES])
            for name in names[:PAGE_ENTRIES]:
                read[name] = contents.get(name, {})
                self.thread.widen(_named_by_record(name, read[name]))
        answers = [answer for name, fields in read.items() for answer in _answers(name, fields)]
        held = [await self._held(name[4:], fields) for name, fields in read.items() if name.startswith("rsv:") and fields]
        return answers, [one for one in held if one]

    def _record_names(self) -> list[str]:
        """Keys of what is followed; of what was asked for, of every kind that it could be."""
        asked = [f"{kind}:{self.thread.asked}" for kind in _RECORDS.values()]
        followed = [f"{_RECORDS[name.kind]}:{name.id}" for name in self.thread.found if name.kind in _RECORDS]
        return list(dict.fromkeys([*asked, *followed]))

    async def _held(self, reservation_id: str, fields: dict[bytes, bytes]) -> Held | None:
        assert self._store is not None, "records are read from a store"
        try:
            found = await self._store.get_reservation(self._pool, reservation_id)
        except RefusedError:
            return None  # its time was over meanwhile
        return Held(found, _decode_head(fields[b"head"])[2])


def _named_by_record(key: str, fields: dict[bytes, bytes]) -> Iterator[Name]:
    """What a record is of, if there is one, and what it names."""
    kind, _, rest = key.partition(":")
    if not fields:
        return
    yield Name(next(what for what, prefix in _RECORDS.items() if prefix == kind), rest)
    if kind == "ord":
        yield from (Name("reservation", reservation.decode()) for reservation in fields)
    elif kind == "rsv" and (order := fields.get(b"ord")):
        yield Name("order", order.decode())
    elif kind == "shp" and (reservation := fields.get(b"rsv")):
        yield Name("reservation", reservation.decode())


def _answers(key: str, fields: dict[bytes, bytes]) -> Iterator[Answered]:
    kind, _, rest = key.partition(":")
    if kind == "rsv":
        for name, value in fields.items():
            if name.startswith(b"o:"):
                yield Answered(rest, name[2:].decode(), _decode_operation(value))
    elif kind == "shp" and b"first" in fields:
        first = _decode_settlement(fields[b"first"])
        answer = OperationRecord("fulfil", 0, first.revision, first.time_ms, first.state, 0, first.moved)
        yield Answered(fields[b"rsv"].decode(), rest, answer)
