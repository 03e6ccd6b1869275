"""The way in: whoever brings an event, over gRPC, a webhook or a file, has it taken into the stream INVENTORY here."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Iterable, Iterator
from hashlib import blake2b
from itertools import islice
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from atp import canonical, events, limits
from atp.canonical import ContentError
from atp.model.status import ExceptionReason

T = TypeVar("T")
ResultT = TypeVar("ResultT")


class Taken(NamedTuple):
    """An event that the stream has, on disk: its place there, and whether it was there already (the stream remembers two minutes)."""

    sequence: int
    known: bool


class Intake(Protocol):
    """Takes events into the stream."""

    async def take(self, pool: str, event: events.Event) -> Taken:
        """Returns once the stream has it. Raises IntakeUnavailableError, and ContentError TOO_LARGE."""


class Packed(NamedTuple):
    """An event as it is published. `message_id` is the same when the same event comes again."""

    subject: str
    data: bytes
    message_id: str


def pack(pool: str, event: events.Event) -> Packed:
    """An event on its subject. Raises ContentError TOO_LARGE.

    The message's id is of all that the event says but its correlation: a call that is sent again has another one, and is the same event;
    an event that was corrected under its old id is another, and must not be swallowed.
    """
    data = canonical.encode(event)
    if len(data) > limits.EVENT_BYTES_MAX:
        detail = f"it has {len(data)} bytes, an event has at most {limits.EVENT_BYTES_MAX}: send it in parts."
        raise ContentError(ExceptionReason.TOO_LARGE, detail, event)
    subject = canonical.subject_of(pool, event)
    said = canonical.encode(msgspec.structs.replace(event, correlation="")) if event.correlation else data
    return Packed(subject, data, blake2b(subject.encode() + b" " + said, digest_size=16).hexdigest())


def in_parts(lines: Iterable[T]) -> Iterator[list[T]]:
    """As many lines at a time as an event has at most."""
    rest = iter(lines)
    while part := list(islice(rest, limits.EVENT_LINES_MAX)):
        yield part


async def in_order(items: AsyncIterable[T], work: Callable[[T], Coroutine[Any, Any, ResultT]]) -> AsyncGenerator[ResultT, None]:
    """What work on each item gives, in their order, INTAKE_AT_ONCE_MAX at once; close it, so that nothing is left running."""
    under_way: deque[asyncio.Task[ResultT]] = deque()
    try:
        async for item in items:
            if len(under_way) == limits.INTAKE_AT_ONCE_MAX:
                yield await under_way.popleft()
            under_way.append(asyncio.create_task(work(item)))
        while under_way:
            yield await under_way.popleft()
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
