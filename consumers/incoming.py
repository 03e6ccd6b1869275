"""A message of another system, taken into the stream: its events by the intake, what cannot be read of it as exceptions."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import islice
from typing import BinaryIO, Final, NamedTuple

from nats.js import JetStreamContext

from atp import canonical, limits
from atp.canonical import ContentError
from atp.errors import IntakeUnavailableError
from atp.events import Event, node_of
from atp.exceptions import PublishedException, sentence
from atp.intake import Intake, Taken, in_order
from atp.model.status import ExceptionReason
from consumers import exceptions
from consumers.connection import AWAY
from consumers.feeds import ADAPTERS, FeedSettings, Mistake
from consumers.refused import original_of

log = logging.getLogger(__name__)

_CHUNK: Final = 64  # events and mistakes that are read at once, aside from the event loop
_TOLD_MAX: Final = 10  # mistakes that a tally says in words
_FAULT_BYTES: Final = limits.EVENT_BYTES_MAX  # of a message that an adapter fails at, for whoever looks into it


class Tally(NamedTuple):
    """What became of a message: events taken, mistakes, and the first of these in words."""

    taken: int
    mistakes: int
    told: list[str]
    is_our_fault: bool


class Incoming:
    """Takes messages, whole ones or files that are too long to be held."""

    def __init__(self, intake: Intake, js: JetStreamContext) -> None:
        self._intake = intake
        self._js = js

    async def take(self, feed: FeedSettings, name: str, file: BinaryIO, stop: asyncio.Event) -> Tally | None:
        """Returns once JetStream has all of it, its mistakes too; none after a stop. `name` tells a person which message it was.

        Taken a second time, whole or after half of it, it is the same events and the same exceptions. Raises IntakeUnavailableError.
        """

        async def one(found: Event | Mistake) -> Taken | Mistake:
            if isinstance(found, Mistake):
                await self._publish(feed, name, found)
                return found
            try:
                return await self._intake.take(feed.pool, found)
            except ContentError as error:
                return await one(Mistake(f"event {found.id}", canonical.encode(found), error))

        taken = mistakes = faults = 0
        told: list[str] = []
        async with contextlib.aclosing(_read(feed, file, stop)) as items, contextlib.aclosing(in_order(items, one)) as results:
            async for result in results:
                if isinstance(result, Taken):
                    taken += 1
                    continue
                mistakes += 1
                faults += result.error.reason == ExceptionReason.INTERNAL
                if len(told) < _TOLD_MAX:
                    told.append(_in_words(result))
        return None if stop.is_set() else Tally(taken, mistakes, told, bool(faults))

    async def _publish(self, feed: FeedSettings, name: str, mistake: Mistake) -> None:
        exception = _exception(feed, name, mistake)
        try:
            await exceptions.publish(self._js, exception, f"{exception.id}.{exception.reason}")
        except AWAY as error:
            raise IntakeUnavailableError(f"JetStream does not take exceptions: {error}", outcome_unknown=True) from error


async def _read(feed: FeedSettings, file: BinaryIO, stop: asyncio.Event) -> AsyncGenerator[Event | Mistake, None]:
    """What a message says, read piece by piece in a thread; a bug of the adapter is a mistake of its own, and the end."""
    found = ADAPTERS[feed.adapter].read(file, feed)
    while not stop.is_set():
        try:
            chunk = await asyncio.to_thread(lambda: list(islice(found, _CHUNK)))
        except OSError:
            raise
        except Exception as error:
            log.exception("the adapter %s failed", feed.adapter)
            file.seek(0)
            yield Mistake("the whole", file.read(_FAULT_BYTES), ContentError(ExceptionReason.INTERNAL, f"{error!r}."[:500]))
            return
        for one in chunk:
            yield one
        if len(chunk) < _CHUNK:
            return


def _in_words(mistake: Mistake) -> str:
    detail = mistake.error.detail
    return detail if detail.startswith(f"{mistake.place}:") else f"{mistake.place}: {detail}"


def _exception(feed: FeedSettings, name: str, mistake: Mistake) -> PublishedException:
    """The same document again is the same exception, wherever it stands."""
    event = mistake.error.event
    mark = blake2b(mistake.original or f"{name} {mistake.place}".encode(), digest_size=8).hexdigest()
    original = original_of(mistake.original)
    reason, detail = mistake.error.reason, f"{name}, {_in_words(mistake)}"
    return PublishedException(
        id=f"feed:{feed.name}/{mark}",
        pool=feed.pool,
        reason=reason,
        state="open",
        sentence=sentence(reason, pool=feed.pool, source=feed.source, cause=name, detail=detail),
        time=datetime.now(UTC),
        node=node_of(event) if event else "",
        source=feed.source,
        cause=event.id if event else name,
        original=original.text,
        original_encoding="base64" if original.encoding == "base64" else "text",
        original_bytes=len(mistake.original),
    )
