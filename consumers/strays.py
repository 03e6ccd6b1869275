"""Finds the events that name no provisioned pool. No pool's durable is given them, so that nobody would see them.

JetStream says which subjects there are; only those that belong to nobody are read. It needs no store and no durable of its own: which of
them were told already stands in the exceptions.
"""

import asyncio
import contextlib
import logging
from typing import Final

from nats.js import JetStreamContext

from atp import canonical
from atp.canonical import ContentError
from atp.model.status import ExceptionReason
from consumers import exceptions, streams
from consumers.connection import AWAY, Outage, pause
from consumers.heard import Settled
from consumers.inventory_reader import Received, messages_between
from consumers.message import Message
from consumers.metrics import FeedMetrics
from consumers.pools import Pools, has_ledger
from consumers.refused import exception_of
from consumers.settle import Settler

log = logging.getLogger(__name__)

_LOOK_S: Final = 2.0
_PER_LOOK_MAX: Final = 1_000  # of a subject: whatever anybody sends, the events of the pools come first
_NO_TEXT: Final = "\ufffd"  # what Python and the server put in the place of bytes that are no text


class StraySettler(Settler):
    """Settles what names no provisioned pool. It asks no store: JetStream knows which pools there are."""

    async def verdict(self, message: Message) -> Settled:
        raise _verdict_on(message)


def _verdict_on(message: Message) -> ContentError:
    try:
        return ContentError(ExceptionReason.UNKNOWN_POOL, "", canonical.decode(message.subject, message.data).event)
    except ContentError as error:
        return error


class Strays:
    """The search for them, by any number of workers."""

    def __init__(self, js: JetStreamContext, pools: Pools, metrics: FeedMetrics) -> None:
        self._js = js
        self._pools = pools
        self._settler = StraySettler(js, metrics)
        self._next: dict[str, int] = {}  # by subject: from which place of the stream on it is still to be read

    async def look(self, stop: asyncio.Event) -> None:
        """Until the stop."""
        outage = Outage("the search for strays")
        while not stop.is_set():
            try:
                await self._look()
            except AWAY as error:
                await outage.wait(error, stop)
                continue
            except Exception:  # what anybody may send must not end the feeds of all
                log.exception("strays cannot be looked for")
            else:
                outage.over()
            await pause(stop, _LOOK_S)

    async def _look(self) -> None:
        state = (await self._js.stream_info(streams.INVENTORY, subjects_filter=">")).state
        found = {_asked(subject) for subject in state.subjects or {} if not streams.is_fed(subject, self._pools.names)}
        self._next = {subject: place for subject, place in self._next.items() if subject in found}
        for subject in sorted(found):
            await self._read(subject, state.last_seq + 1)

    async def _read(self, subject: str, end: int) -> None:
        """Settles what came on a subject up to a place, or the first of it."""
        first, left = self._next.get(subject, 1), _PER_LOOK_MAX
        async with contextlib.aclosing(messages_between(self._js, subject, first, end)) as messages:
            async for message in messages:
                await self._settle(message)
                self._next[subject] = message.sequence + 1
                left -= 1
                if not left:
                    return
        self._next[subject] = end

    async def _settle(self, message: Received) -> None:
        pool = canonical.pool_of_subject(message.subject)
        if streams.is_fed(message.subject, {pool}) and (pool in self._pools.names or await has_ledger(self._js, pool)):
            return  # provisioned since the pools were last asked for: its own durable has what came before, too
        stray = Message(f"{streams.INVENTORY}:{message.sequence}", message.subject, message.data, message.time.timestamp())
        if not await self._is_told(stray):
            await self._settler.settle(stray)

    async def _is_told(self, stray: Message) -> bool:
        """By whoever looked before; unless a person has had it sent again, or its source has."""
        exception = exception_of(stray.name, stray.subject, stray.data, _verdict_on(stray))
        known = await exceptions.show(self._js, exception.pool, exception.id)
        return known is not None and known.time.timestamp() >= stray.taken_s and known.resolution != "retried"


def _asked(subject: str) -> str:
    """How JetStream is asked for a subject: what cannot be asked for by its name is found among all that it stands for."""
    words = ["*" if _NO_TEXT in word else word for word in subject.split(".")]
    return ".".join([*words[: words.index(">")], ">"] if ">" in words else words)
