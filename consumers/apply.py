"""The role `feeds`: takes events from the durable of each pool, many at once, and acks each once its verdict is recorded.

Each pool has its own place to wait in: one whose store is away holds up no other.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from nats.js import JetStreamContext

from atp import limits
from atp.observed import Tracer
from atp.store import Stores
from consumers import streams
from consumers.connection import AWAY, Client, Outage, pause
from consumers.heard import Hearing, Settled
from consumers.known_feeds import read_feeds
from consumers.message import Message
from consumers.metrics import FeedMetrics
from consumers.pools import Pools
from consumers.puller import Pulled, Puller
from consumers.settle import Settler, StoreSettler
from consumers.strays import Strays

log = logging.getLogger(__name__)

TAKE_S: Final = 0.5
BATCHES_MAX: Final = 2  # in hand of a pool at a time: while the store works on one, the next is read and the last is acked
ASIDE_MAX: Final = 8  # batches that take long, beside them
_LONG_S: Final = 0.5
WATCH_S: Final = 5.0
_STILL_AT_IT_S: Final = limits.FEED_ACK_WAIT_MS / 1000 / 3
_IN_PROGRESS: Final = b"+WPI"


async def apply_feeds(
    connection: Client, stores: Stores, pools: Pools, metrics: FeedMetrics, stop: asyncio.Event, tracer: Tracer | None = None
) -> None:
    """Until the stop, and then until what came is settled."""
    js = connection.jetstream()
    settler = StoreSettler(js, stores, metrics, tracer)

    async def feed(pool: str) -> None:
        hearing = Hearing(stores.of(pool), pool)
        worker = Worker(connection, settler, f"the feed of pool {pool}", stop, hearing)
        async with hearing.telling():
            await worker.work(streams.feed_durable(pool))

    async with asyncio.TaskGroup() as group:
        group.create_task(pools.for_each(feed, "feed", stop))
        group.create_task(Strays(js, pools, metrics).look(stop))
        group.create_task(_watch(js, pools, metrics, stop))
        group.create_task(_watch_feeds(stores, pools, metrics, stop))


async def _watch_feeds(stores: Stores, pools: Pools, metrics: FeedMetrics, stop: asyncio.Event) -> None:
    """Shows what was heard of each source, by all workers together; of a pool whose store is away nothing is known."""

    async def show(pool: str) -> None:
        try:
            metrics.feeds.found(pool, await read_feeds(stores.of(pool), pool))
        except AWAY:
            metrics.feeds.lost(pool)
        except Exception:  # what is wrong with one pool must not end the feeds of all
            log.exception("pool %s: what was heard cannot be shown", pool)
            metrics.feeds.lost(pool)

    while not stop.is_set():
        await asyncio.gather(*map(show, pools.names))
        await pause(stop, WATCH_S)


async def _watch(js: JetStreamContext, pools: Pools, metrics: FeedMetrics, stop: asyncio.Event) -> None:
    """Shows what waits in JetStream, for all workers together."""
    while not stop.is_set():
        for pool in pools.names:
            with contextlib.suppress(*AWAY):
                metrics.wait(pool, await js.consumer_info(streams.INVENTORY, streams.feed_durable(pool)))
        await pause(stop, WATCH_S)


class Batches:
    """What a worker has in hand, in order: BATCHES_MAX at a time.

    One that takes long without a server being away, since a full snapshot is being ended, stands aside for those behind it.
    """

    def __init__(self) -> None:
        self._in_turn: deque[asyncio.Task[None]] = deque()
        self._aside: set[asyncio.Task[None]] = set()

    def add(self, batch: asyncio.Task[None]) -> None:
        self._in_turn.append(batch)

    @property
    def last(self) -> asyncio.Task[None] | None:
        """That which was taken last, if it is in its turn still."""
        return self._in_turn[-1] if self._in_turn else None

    async def room(self, may_stand_aside: Callable[[], bool]) -> None:
        """Waits until another may be taken."""
        self._forget_done()
        while len(self._in_turn) >= BATCHES_MAX:
            done, _ = await asyncio.wait(self._in_turn, timeout=_LONG_S, return_when=asyncio.FIRST_COMPLETED)
            if not done and may_stand_aside() and len(self._aside) < ASIDE_MAX:
                self._aside.add(self._in_turn.popleft())
            self._forget_done()

    def _forget_done(self) -> None:
        self._in_turn = deque(batch for batch in self._in_turn if not batch.done())
        self._aside = {batch for batch in self._aside if not batch.done()}


class Worker:
    """Takes what one durable has, and settles it."""

    def __init__(self, connection: Client, settler: Settler, name: str, stop: asyncio.Event, hearing: Hearing) -> None:
        self._connection = connection
        self._settler = settler
        self._stop = stop
        self._hearing = hearing
        self._outage = Outage(name)

    async def work(self, durable: str) -> None:
        puller = Puller(self._connection, streams.INVENTORY, durable, limits.FEED_FETCH_MAX)
        under_way = Batches()
        async with asyncio.TaskGroup() as group:
            while not self._stop.is_set():
                try:
                    messages = await puller.take(TAKE_S)
                except AWAY as error:
                    await self._outage.wait(error, self._stop)
                    continue
                if messages:
                    under_way.add(group.create_task(self.settle_all(messages, under_way.last)))
                elif not under_way.last:
                    self._outage.over()
                await under_way.room(lambda: not self._outage.lasts)
        with contextlib.suppress(*AWAY):
            await self.settle_all(await puller.close())

    async def settle_all(self, messages: list[Pulled], before: "asyncio.Task[None] | None" = None) -> None:
        """Settles what was fetched, waiting while a server is away: nothing is given back, nothing else is fetched meanwhile.

        What was fetched `before` has been sent to the store when this begins, or goes first if it must wait: what comes in order is not
        shuffled here, since a window tells only so many events apart. After a stop what could not be settled comes again when its ack is
        overdue.
        """
        if before and self._outage.lasts:
            await asyncio.wait([before])
        left = {message.reply: _read(message) for message in messages}
        telling = asyncio.create_task(self._keep(left))
        try:
            while left:
                error = await self._settle(left)
                if not error:
                    self._outage.over()
                elif self._stop.is_set():
                    return
                else:
                    if before:
                        await asyncio.wait([before])
                    await self._outage.wait(error, self._stop)
        finally:
            telling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await telling

    async def _settle(self, left: dict[str, Message]) -> Exception | None:
        """Acks the messages that can be settled, and takes them off; the error, if any must wait for a server."""
        settled = await self._settler.settle_all(list(left.values()))
        acks = []
        for (reply, message), one in zip(left.items(), settled, strict=True):
            if isinstance(one, Settled):
                acks.append(reply)
                self._hearing.note(one, message.taken_s)
        self._hearing.batch_settled()
        try:
            if acks:
                await self._connection.publish_empty(acks)
        except AWAY as error:
            return error
        for reply in acks:
            del left[reply]
        return next((one for one in settled if isinstance(one, Exception)), None)

    async def _keep(self, left: dict[str, Message]) -> None:
        """Tells JetStream from time to time that these are in hand, so that they are not given to another."""
        while True:
            await asyncio.sleep(_STILL_AT_IT_S)
            for reply in list(left):
                with contextlib.suppress(*AWAY):
                    await self._connection.publish(reply, _IN_PROGRESS)


def _read(pulled: Pulled) -> Message:
    sequence, taken_s = pulled.place
    traceparent = pulled.header("traceparent") if pulled.headers else ""
    return Message(f"{streams.INVENTORY}:{sequence}", pulled.subject, pulled.data, taken_s, traceparent)
