"""Reads back what came in: messages of the stream INVENTORY by time and pool, each asked for by its place, many at once.

Whoever reads so needs no consumer on the stream, and so no right by which events could be taken away from the feeds.
"""

from collections.abc import AsyncGenerator, Callable
from datetime import datetime
from typing import Final, NamedTuple

from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg
from nats.js.errors import NotFoundError

from consumers import streams
from consumers.connection import together

_AT_ONCE: Final = 16
_CHUNK_MESSAGES: Final = 512  # places that one of them looks through before it reports


class Received(NamedTuple):
    """A message as it came, its place in the stream and when JetStream took it."""

    sequence: int
    time: datetime
    subject: str
    data: bytes


async def first_since(js: JetStreamContext, stream: str, since: datetime | None) -> int:
    """The place of the first message of a stream that is not older; one past the end if there is none."""
    state = (await js.stream_info(stream)).state
    low, high = max(1, state.first_seq), state.last_seq + 1
    while since is not None and low < high:
        middle = (low + high) // 2
        found = await _next(js, stream, middle, ">")
        if found is None or (found.time or since) >= since:
            high = middle
        else:
            low = (found.seq or middle) + 1
    return low


async def read_inventory(
    js: JetStreamContext, pool: str, since: datetime | None, keep: Callable[[bytes], bool], report: Callable[[int, int], None]
) -> list[Received]:
    """The messages of a pool from a time on (none: all there are) whose bytes are to be kept, in order.

    `report` is told how many places of the stream have been looked through, and of how many.
    """
    start = await first_since(js, streams.INVENTORY, since)
    end = (await js.stream_info(streams.INVENTORY)).state.last_seq + 1
    chunks = iter([(at, min(at + _CHUNK_MESSAGES, end)) for at in range(start, end, _CHUNK_MESSAGES)])
    kept: list[Received] = []
    done = 0

    async def work() -> None:
        nonlocal done
        for first, last in chunks:
            kept.extend([message async for message in messages_between(js, f"inv.{pool}.>", first, last) if keep(message.data)])
            done += last - first
            report(done, end - start)

    await together(work() for _ in range(_AT_ONCE))
    return sorted(kept)


async def messages_between(js: JetStreamContext, subject: str, first: int, last: int) -> AsyncGenerator[Received, None]:
    """Messages on a subject from one place up to another, which is not among them."""
    at = first
    while at < last:
        found = await _next(js, streams.INVENTORY, at, subject)
        if found is None or found.seq is None or found.seq >= last:
            return
        assert found.time is not None, "JetStream says when it took each message"
        yield Received(found.seq, found.time, found.subject or "", found.data or b"")
        at = found.seq + 1


async def _next(js: JetStreamContext, stream: str, sequence: int, subject: str) -> RawStreamMsg | None:
    """The first message on a subject from a place on."""
    try:
        return await js.get_msg(stream, seq=sequence, subject=subject, next=True)
    except NotFoundError:
        return None
