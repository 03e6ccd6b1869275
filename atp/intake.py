"""The way in: whoever brings an event, over gRPC, a webhook or a file, has it taken into the stream INVENTORY here."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple, Protocol, TypeVar

from atp import canonical, events, limits
from atp.canonical import ContentError
from atp.model.status import ExceptionReason

T = TypeVar("T")
ResultT = TypeVar("ResultT")


class Taken(NamedTuple):
    """An event that the stream has, on disk, and its place there. One that comes again has another place; the store finds it known."""

    sequence: int


class Intake(Protocol):
    """Takes events into the stream."""

    async def take(self, pool: str, event: events.Event) -> Taken:
        """Returns once the stream has it. Raises IntakeUnavailableError, and ContentError TOO_LARGE."""


class Packed(NamedTuple):
    """An event as it is published."""

    subject: str
    data: bytes


def pack(pool: str, event: events.Event) -> Packed:
    """An event on its subject. Raises ContentError TOO_LARGE."""
    data = canonical.encode(event)
    if len(data) > limits.EVENT_BYTES_MAX:
        detail = f"it has {len(data)} bytes, an event has at most {limits.EVENT_BYTES_MAX}: send it in parts."
        raise ContentError(ExceptionReason.TOO_LARGE, detail, event)
    return Packed(canonical.subject_of(pool, event), data)


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
