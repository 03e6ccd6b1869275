"""The role `feeds`: takes events from the shared durable, many at once, and acks each once its verdict is recorded."""

import asyncio
import contextlib
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg

from atp import limits
from atp.store import Stores
from consumers import streams
from consumers.connection import AWAY, Outage
from consumers.metrics import FeedMetrics
from consumers.puller import Puller
from consumers.settle import Message, PoolClosedError, Settler

TAKE_S: Final = 0.5
_STILL_AT_IT_S: Final = limits.FEED_ACK_WAIT_MS / 1000 / 3


async def apply_feeds(connection: Client, stores: Stores, metrics: FeedMetrics, stop: asyncio.Event) -> None:
    """Until the stop, and then until what came is settled."""
    worker = _Worker(Settler(connection.jetstream(), stores, metrics), stop)
    puller = Puller(connection, streams.INVENTORY, streams.FEEDS, limits.FEED_FETCH_MAX)
    outage = Outage("the feeds")
    while not stop.is_set():
        try:
            messages = await puller.take(TAKE_S)
        except AWAY as error:
            await outage.wait(error, stop)
        else:
            outage.over()
            await worker.settle_all(messages)
    with contextlib.suppress(*AWAY):
        await worker.settle_all(await puller.close())


class _Worker:
    def __init__(self, settler: Settler, stop: asyncio.Event) -> None:
        self._settler = settler
        self._stop = stop
        self._outage = Outage("applying events")

    async def settle_all(self, messages: list[Msg]) -> None:
        """Settles what was fetched, waiting while a server is away: nothing is given back, nothing else is fetched meanwhile.

        After a stop what could not be settled comes again when its ack is overdue.
        """
        left = messages
        telling = asyncio.create_task(self._keep(messages))
        try:
            while left:
                errors = await asyncio.gather(*(self._settle(message) for message in left))
                left = [message for message, error in zip(left, errors, strict=True) if error]
                if not left:
                    self._outage.over()
                elif self._stop.is_set():
                    return
                else:
                    await self._outage.wait(next(error for error in errors if error), self._stop)
        finally:
            telling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await telling

    async def _settle(self, message: Msg) -> Exception | None:
        """Acks the message once it is settled; the error, if it must wait for a server."""

        def name() -> str:
            return f"{streams.INVENTORY}:{message.metadata.sequence.stream}"

        try:
            await self._settler.settle(Message(message.subject, message.data, name, message.metadata.timestamp.timestamp()))
            await message.ack()
        except (PoolClosedError, *AWAY) as error:
            return error
        return None

    async def _keep(self, messages: list[Msg]) -> None:
        """Tells JetStream from time to time that these are in hand, so that they are not given to another."""
        while True:
            await asyncio.sleep(_STILL_AT_IT_S)
            for message in messages:
                if not message.is_acked:
                    with contextlib.suppress(*AWAY):
                        await message.in_progress()
