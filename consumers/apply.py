"""The role `feeds`: takes events from the durable of each pool, many at once, and acks each once its verdict is recorded.

Each pool has its own place to wait in: one whose store is away holds up no other.
"""

import asyncio
import contextlib
import logging
from collections import deque
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from atp import canonical, limits
from atp.observed import Tracer
from atp.store import Stores
from consumers import streams
from consumers.connection import AWAY, Outage, pause
from consumers.heard import Hearing
from consumers.known_feeds import read_feeds
from consumers.metrics import OTHER, FeedMetrics
from consumers.pools import Pools, has_ledger
from consumers.puller import Puller
from consumers.settle import Message, PoolClosedError, Settler, StoreSettler, StraySettler

log = logging.getLogger(__name__)

TAKE_S: Final = 0.5
BATCHES_MAX: Final = 2  # in hand of a pool at a time: while the store works on one, the next is read and the last is acked
WATCH_S: Final = 5.0
_STILL_AT_IT_S: Final = limits.FEED_ACK_WAIT_MS / 1000 / 3


async def apply_feeds(
    connection: Client, stores: Stores, pools: Pools, metrics: FeedMetrics, stop: asyncio.Event, tracer: Tracer | None = None
) -> None:
    """Until the stop, and then until what came is settled."""
    js = connection.jetstream()
    settler = StoreSettler(js, stores, metrics, tracer)

    async def feed(pool: str) -> None:
        hearing = Hearing(stores.of(pool), pool)
        worker = Worker(settler, f"the feed of pool {pool}", stop, hearing)
        async with hearing.telling():
            await worker.work(connection, streams.feed_durable(pool))

    async with asyncio.TaskGroup() as group:
        group.create_task(pools.for_each(feed, "feed", stop))
        group.create_task(StrayWorker(js, pools, metrics, stop).work(connection, streams.STRAYS))
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
        durables = {pool: streams.feed_durable(pool) for pool in pools.names} | {OTHER: streams.STRAYS}
        for pool, durable in durables.items():
            with contextlib.suppress(*AWAY):
                metrics.wait(pool, await js.consumer_info(streams.INVENTORY, durable))
        await pause(stop, WATCH_S)


class Worker:
    """Takes what one durable has, and settles it."""

    def __init__(self, settler: Settler, name: str, stop: asyncio.Event, hearing: Hearing | None = None) -> None:
        self._settler = settler
        self._stop = stop
        self._hearing = hearing
        self._outage = Outage(name)

    async def work(self, connection: Client, durable: str) -> None:
        puller = Puller(connection, streams.INVENTORY, durable, limits.FEED_FETCH_MAX)
        under_way: deque[asyncio.Task[None]] = deque()
        async with asyncio.TaskGroup() as group:
            while not self._stop.is_set():
                try:
                    messages = await puller.take(TAKE_S)
                except AWAY as error:
                    await self._outage.wait(error, self._stop)
                    continue
                if messages:
                    under_way.append(group.create_task(self.settle_all(messages, under_way[-1] if under_way else None)))
                elif not under_way:
                    self._outage.over()
                while under_way and (under_way[0].done() or len(under_way) == BATCHES_MAX):
                    await under_way.popleft()
        with contextlib.suppress(*AWAY):
            await self.settle_all(await puller.close())

    async def settle_all(self, messages: list[Msg], before: "asyncio.Task[None] | None" = None) -> None:
        """Settles what was fetched, waiting while a server is away: nothing is given back, nothing else is fetched meanwhile.

        What was fetched `before` has been sent to the store when this begins, or goes first if it must wait: what comes in order is not
        shuffled here, since a window tells only so many events apart. After a stop what could not be settled comes again when its ack is
        overdue.
        """
        if before and self._outage.lasts:
            await asyncio.wait([before])
        left = messages
        telling = asyncio.create_task(self._keep(messages))
        try:
            while left:
                errors = await asyncio.gather(*(self._settle(message) for message in left))
                if self._hearing:
                    self._hearing.batch_settled()
                left = [message for message, error in zip(left, errors, strict=True) if error]
                if not left:
                    self._outage.over()
                elif self._stop.is_set():
                    return
                else:
                    if before:
                        await asyncio.wait([before])
                    await self._outage.wait(next(error for error in errors if error), self._stop)
        finally:
            telling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await telling

    async def _settle(self, message: Msg) -> Exception | None:
        """Acks the message once it is settled; the error, if it must wait for a server."""
        try:
            event = await self._read(message)
            settled = await self._settler.settle(event)
            if self._hearing:
                self._hearing.note(settled, event.taken_s)
            await message.ack()
        except (PoolClosedError, *AWAY) as error:
            return error
        return None

    async def _read(self, message: Msg) -> Message:
        found = message.metadata
        traceparent = (message.headers or {}).get("traceparent", "")
        name = f"{streams.INVENTORY}:{found.sequence.stream}"
        return Message(name, message.subject, message.data, found.timestamp.timestamp(), traceparent)

    async def _keep(self, messages: list[Msg]) -> None:
        """Tells JetStream from time to time that these are in hand, so that they are not given to another."""
        while True:
            await asyncio.sleep(_STILL_AT_IT_S)
            for message in messages:
                if not message.is_acked:
                    with contextlib.suppress(*AWAY):
                        await message.in_progress()


class StrayWorker(Worker):
    """Looks through the subjects of all events for those that no pool's durable is given, and settles them.

    They come without their content: JetStream is asked for that of strays alone.
    """

    def __init__(self, js: JetStreamContext, pools: Pools, metrics: FeedMetrics, stop: asyncio.Event) -> None:
        super().__init__(StraySettler(js, metrics), "the search for strays", stop)
        self._js = js
        self._pools = pools

    async def settle_all(self, messages: list[Msg], before: "asyncio.Task[None] | None" = None) -> None:
        strays = []
        for message in messages:
            if streams.is_fed(message.subject, self._pools.names):
                with contextlib.suppress(*AWAY):  # then it comes again
                    await message.ack()
            else:
                strays.append(message)
        if strays:
            await super().settle_all(strays, before)

    async def _settle(self, message: Msg) -> Exception | None:
        pool = canonical.pool_of_subject(message.subject)
        try:
            if not streams.is_fed(message.subject, {pool}) or not await has_ledger(self._js, pool):
                return await super()._settle(message)
            await message.ack()  # provisioned since the pools were last asked for: its own durable has what came before, too
        except AWAY as error:
            return error
        return None

    async def _read(self, message: Msg) -> Message:
        """With its content, or with none if the stream has let it go meanwhile."""
        event = await super()._read(message)
        try:
            kept = await self._js.get_msg(streams.INVENTORY, message.metadata.sequence.stream)
        except NotFoundError:
            return event
        return event._replace(data=kept.data or b"")
