"""One incoming event to its final verdict: applied, known, parked until its SKU is registered, or an exception."""

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from nats.js import JetStreamContext

from atp import canonical, limits
from atp.canonical import ContentError, Feed
from atp.events import Event, Heartbeat
from atp.exceptions import digest
from atp.model.status import ExceptionReason, Status
from atp.model.verbs import Count, Park, Result, Unpark
from atp.observed import Tracer, busy_with
from atp.store import Stores
from consumers import exceptions, full_snapshot, item_names
from consumers.connection import AWAY, together
from consumers.heard import Settled
from consumers.item_names import UnknownItemError
from consumers.message import Message
from consumers.metrics import APPLIED, DUPLICATE, PARKED, FeedMetrics
from consumers.pools import has_ledger
from consumers.refused import exception_of
from consumers.runs import Plain, in_runs

log = logging.getLogger(__name__)

UNSETTLED: Final = "unsettled"  # a server is away: it comes again
TRIES_MAX: Final = 5
_TRY_PAUSE_S: Final = 0.05
#: Events of many lines take the store long: of one pool no more are sent to it at a time than it surely answers within a call's deadline.
_LARGE_LINES: Final = 20
_LARGE_AT_ONCE: Final = 16
_NO_WAITING: Final = contextlib.nullcontext()

#: Answers of the store that are verdicts on what the event says: sending it again cannot help.
_CONTENT: Final = {
    Status.UNKNOWN_SOURCE,
    Status.UNKNOWN_NODE,
    Status.NOT_AUTHORITY,
    Status.UNKNOWN_ORDER,
    Status.SEQUENCE_MISSING,
    Status.SEQUENCE_CONFLICT,
    Status.SEQUENCE_BELOW_WINDOW,
    Status.SHIPMENT_CONFLICT,
    Status.QUANTITY_OUT_OF_RANGE,
    Status.WAITING_FULL,
}
#: Answers of the store that are the whole verdict on a plain event.
_VERDICTS: Final[dict[str, str]] = {Status.OK: APPLIED, Status.DUPLICATE: DUPLICATE}

_TOO_MANY: Final = f"its ledger entry could pass {limits.LEDGER_ENTRY_BYTES_MAX} bytes: send its lines in two or more events."


class PoolClosedError(Exception):
    """The pool is not open for the run of its store: the event waits with the store."""


class Settler(ABC):
    """Raises PoolClosedError and the errors of a server that is away; then nothing is settled and the message is tried again later."""

    def __init__(self, js: JetStreamContext, metrics: FeedMetrics, tracer: Tracer | None = None) -> None:
        self._js = js
        self._metrics = metrics
        self._tracer = tracer

    async def settle_all(self, messages: list[Message]) -> list[Settled | Exception]:
        """What became of each; for one that must wait for a server the error that says so."""
        return await asyncio.gather(*map(self._settle_or_wait, messages))

    async def _settle_or_wait(self, message: Message) -> Settled | Exception:
        try:
            return await self.settle(message)
        except (PoolClosedError, *AWAY) as error:
            return error

    @abstractmethod
    async def verdict(self, message: Message) -> Settled:
        """APPLIED, DUPLICATE or PARKED, once the store has it; ContentError if a person must see it."""

    async def settle(self, message: Message) -> Settled:
        """Returns once the verdict is recorded."""
        busy_with.set(message)
        span = self._tracer.begin("event", message.traceparent) if self._tracer else None
        settled = Settled(UNSETTLED, None)
        try:
            settled = await self._settle(message)
        finally:
            if span is not None:
                span.end(settled.verdict, message.log_fields())
        self._metrics.settled(message.subject, settled.verdict, message.taken_s)
        return settled

    async def _settle(self, message: Message) -> Settled:
        """The verdict, once it is recorded. A bug that one event meets is tried a few times, then it is an exception of its own."""
        for tried in range(1, TRIES_MAX + 1):
            try:
                return await self.verdict(message)
            except (PoolClosedError, *AWAY):
                raise
            except ContentError as error:
                return await self._publish(message, error)
            except Exception as error:
                log.exception("message %s, try %d of %d", message.name, tried, TRIES_MAX)
                if tried == TRIES_MAX:
                    return await self._publish(message, ContentError(ExceptionReason.INTERNAL, f"{error!r}."[:500]))
            await asyncio.sleep(_TRY_PAUSE_S * tried)
        raise AssertionError("unreachable: the last try returns")

    async def _publish(self, message: Message, verdict: ContentError) -> Settled:
        exception = exception_of(message.name, message.subject, message.data, verdict)
        await exceptions.publish(self._js, exception, f"{digest(message.name)}.{verdict.reason}")
        return Settled(verdict.reason, verdict.event)


class StoreSettler(Settler):
    """Settles the events of provisioned pools."""

    def __init__(self, js: JetStreamContext, stores: Stores, metrics: FeedMetrics, tracer: Tracer | None = None) -> None:
        super().__init__(js, metrics, tracer)
        self._stores = stores
        self._large: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(_LARGE_AT_ONCE))

    async def settle_all(self, messages: list[Message]) -> list[Settled | Exception]:
        """Sends plain events to the store many in a call; its answer settles them, unless it is odd. All else goes one by one, in turn."""
        if self._tracer is not None:  # each event is a span of its own, and what it asks of the store a part of that
            return await super().settle_all(messages)
        found: dict[int, Settled | Exception] = {}
        work: list[Coroutine[Any, Any, None]] = []
        for run in in_runs(messages):
            work += [self._settle_together(calls, found) for calls in run.calls()]
            if run.other is not None:
                work.append(self._settle_alone(run.other, messages[run.other], found))
        await asyncio.gather(*work)
        return [found[place] for place in range(len(messages))]

    async def _settle_alone(self, place: int, message: Message, found: dict[int, Settled | Exception]) -> None:
        found[place] = await self._settle_or_wait(message)

    async def _settle_together(self, call: Sequence[Plain], found: dict[int, Settled | Exception]) -> None:
        """Settles what one call to the store settles; what is odd about any of them is found out by itself."""
        pool = call[0].feed.pool
        results: list[Result | None] = [None] * len(call)
        try:
            results = [*await self._stores.of(pool).write_all(pool, [plain.request for plain in call])]
        except AWAY as error:
            found.update((plain.place, error) for plain in call)
            return
        except Exception:  # a bug that one of them meets is that one's alone
            log.exception("%d events of pool %s in one call: now one by one", len(call), pool)
        odd = []
        for plain, result in zip(call, results, strict=True):
            if result is not None and (verdict := _VERDICTS.get(result.status)):
                found[plain.place] = Settled(verdict, plain.feed.event)
                self._metrics.settled(plain.message.subject, verdict, plain.message.taken_s)
            else:
                odd.append(self._settle_alone(plain.place, plain.message, found))
        await asyncio.gather(*odd)

    async def verdict(self, message: Message) -> Settled:
        feed = canonical.decode(message.subject, message.data)
        if isinstance(feed.event, Heartbeat):
            return Settled(APPLIED, feed.event)
        while True:
            try:
                result = await self._apply(feed)
            except UnknownItemError as missing:
                if parked := await self._park(message, feed, missing):
                    return parked
                continue  # it has become known meanwhile
            await self._wake(feed.pool, result.waiting, message.taken_s)
            if result.complete:
                await self._complete(feed)
            return Settled(APPLIED if result.status == Status.OK else DUPLICATE, feed.event, result.complete)

    async def _apply(self, feed: Feed) -> Result:
        """Raises UnknownItemError for an item that is not registered yet, ContentError for a verdict on content."""
        store = self._stores.of(feed.pool)
        request = canonical.request_of(feed.event, await item_names.look_up(store, feed))
        assert request is not None, "a heartbeat asks nothing of the store"
        async with self._large[feed.pool] if len(canonical.lines_of(feed.event)) > _LARGE_LINES else _NO_WAITING:
            result = await store.write(feed.pool, request)
        if result.status == Status.UNKNOWN_SKU:
            raise UnknownItemError(result.detail[0], is_alias=False)
        return await self._judge(feed, result)

    async def _complete(self, feed: Feed) -> None:
        """Ends a full snapshot, all parts of which have come."""
        store = self._stores.of(feed.pool)
        part = canonical.request_of(feed.event, await item_names.look_up(store, feed))
        assert isinstance(part, Count), "only a count has parts"
        try:
            without_place = await full_snapshot.complete(store, feed.pool, part)
        except full_snapshot.IncompleteError as error:
            raise PoolClosedError(f"pool {feed.pool}: {error}") from error
        if without_place:
            skus = [sku for some in without_place.values() for sku in some]
            raise ContentError(ExceptionReason(next(iter(without_place))), f"what the full snapshot left out: {_named(skus)}", feed.event)

    async def _park(self, message: Message, feed: Feed, missing: UnknownItemError) -> Settled | None:
        """Has the event wait for its item; None if the item has become known meanwhile."""
        store, name = self._stores.of(feed.pool), missing.name
        key = f"{feed.event.source}/{feed.event.id}/{name}"
        park = Park(canonical.context_of(feed.event), name, key, message.data.decode(), missing.is_alias)
        result = await store.write(feed.pool, park)
        if result.status == Status.SKU_KNOWN:
            return None
        if (await self._judge(feed, result)).status == Status.OK:
            return Settled(PARKED, feed.event, waits_as=key)
        kept = await store.parked(feed.pool, name, key)
        if kept is None:
            return None  # what waited has just had its turn
        if not _same(canonical.read(kept.encode()), feed.event):
            raise ContentError(ExceptionReason.SEQUENCE_CONFLICT, "another event waits under the same id", feed.event)
        return Settled(DUPLICATE, feed.event, waits_as=key)

    async def _judge(self, feed: Feed, result: Result) -> Result:
        """The result, if it is OK or DUPLICATE; ContentError if it is a verdict on content."""
        status = Status(result.status)
        if status in {Status.OK, Status.DUPLICATE}:
            return result
        if status == Status.POOL_NOT_OPEN:
            raise PoolClosedError(f"pool {feed.pool} is not open")
        if status == Status.UNKNOWN_POOL:
            # A store that was emptied does not know its pools until they are open again; JetStream does.
            if await has_ledger(self._js, feed.pool):
                raise PoolClosedError(f"pool {feed.pool} is not in the store yet")
            raise ContentError(ExceptionReason.UNKNOWN_POOL, "", feed.event)
        if status in _CONTENT:
            raise ContentError(ExceptionReason(status), _named(result.detail), feed.event)
        if status == Status.TOO_MANY_ROWS:
            raise ContentError(ExceptionReason.TOO_LARGE, _TOO_MANY, feed.event)
        raise AssertionError(f"a feed verb answered {status}")

    async def _wake(self, pool: str, names: list[str], now_s: float) -> None:
        """Settles what waited for these SKUs and aliases; each event leaves the waiting room with its verdict, or waits for another."""
        for name in names:
            async for waiting in self._stores.of(pool).waiting(pool, name):
                await together(self._wake_one(pool, name, key, original, now_s) for key, original in waiting.items())

    async def _wake_one(self, pool: str, name: str, key: str, original: str, now_s: float) -> None:
        data = original.encode()
        event = canonical.read(data)
        settled = await self.settle(Message(f"wait:{pool}:{key}", canonical.subject_of(pool, event), data, now_s))
        if settled.waits_as == key:
            return  # a later registration has taken the name away again, or an item has it as the other kind of name
        result = await self._stores.of(pool).write(pool, Unpark(canonical.context_of(event), name, key))
        if result.status not in {Status.OK, Status.DUPLICATE}:
            raise PoolClosedError(f"pool {pool}: {result.status}")


def _same(one: Event, other: Event) -> bool:
    """Whether two events say the same, whatever their envelopes."""
    return one.data == other.data


def _named(names: list[str]) -> str:
    """Names for a sentence, not more than a person reads."""
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
