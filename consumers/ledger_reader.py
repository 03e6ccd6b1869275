"""Reads a pool's ledger back from JetStream, in order and checked for gaps: for opening, rebuild, verify and `atp ledger`."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy

from atp.errors import AtpError
from consumers import streams
from consumers.connection import AWAY
from consumers.ledger_writer import FIRST, LAST, decode_batch, position_of
from consumers.pull import passing_puller
from consumers.puller import NoDurableError, Pulled, Puller

_MESSAGES_ON_THE_WAY: Final = 16  # of up to RELAY_BATCH_BYTES_MAX each
_FETCH_S: Final = 1.0
_FOLLOW_RETRY_S: Final = 0.5


class LedgerGapError(AtpError):
    """Revisions are missing where the ledger should be contiguous, or a message is none of the ledger's."""


class _MissedError(Exception):
    """The reading consumer is gone or skipped a message: a new one takes over from the place reached."""


async def read_ledger(
    js: JetStreamContext, pool: str, after_revision: int = 0, *, follow: bool = False
) -> AsyncGenerator[list[bytes], None]:
    """The entries after a revision, as they were published together: up to the stream's end now, or for ever with `follow`.

    Leave it early only with `contextlib.aclosing`. Raises LedgerGapError; without `follow` also the nats errors of a server that is
    away (with it, it waits).
    """
    stream = streams.ledger_stream(pool)
    state = (await js.stream_info(stream)).state
    if state.first_seq > 1:
        raise LedgerGapError(f"the ledger stream begins at message {state.first_seq}; its beginning is gone")
    sequence = await _first_message_after(js, pool, after_revision, state.last_seq)
    reached = after_revision
    while follow or sequence <= state.last_seq:
        try:
            async for message in _messages(js, stream, sequence, None if follow else state.last_seq):
                entries, reached = _unpack(pool, message, reached)
                sequence += 1
                if entries:
                    yield entries
        except _MissedError:
            continue
        except AWAY:
            if not follow:
                raise
            await asyncio.sleep(_FOLLOW_RETRY_S)


def _unpack(pool: str, message: Pulled, reached: int) -> tuple[list[bytes], int]:
    """The entries of a message after the revision reached, and the revision reached with them."""
    if message.subject != streams.ledger_subject(pool):  # JetStream keeps it under the name that it had where it came from
        raise LedgerGapError(f"the ledger stream holds a message of {message.subject}, which no relay has put there (docs/security.md)")
    first, last = int(message.header(FIRST)), int(message.header(LAST))
    if first > reached + 1:
        raise LedgerGapError(f"the ledger goes from revision {reached} to {first}")
    entries = decode_batch(message.data)
    if len(entries) != last - first + 1:
        raise LedgerGapError(f"the message of revisions {first} to {last} holds {len(entries)} entries")
    return entries[max(0, reached + 1 - first) :], max(reached, last)


async def _first_message_after(js: JetStreamContext, pool: str, revision: int, last_sequence: int) -> int:
    """The stream sequence of the first message that reaches past a revision; one past the end if there is none."""
    low, high = 1, last_sequence + 1
    while revision > 0 and low < high:
        middle = (low + high) // 2
        message = await js.get_msg(streams.ledger_stream(pool), seq=middle)
        if position_of(message).revision > revision:
            high = middle
        else:
            low = middle + 1
    return low


async def _messages(js: JetStreamContext, stream: str, start: int, end: int | None) -> AsyncIterator[Pulled]:
    """Messages from a stream sequence on, none skipped. Raises _MissedError when a new consumer is needed."""
    config = ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=start)
    async with passing_puller(js, stream, config, _MESSAGES_ON_THE_WAY) as puller:
        expected = start
        while end is None or expected <= end:
            for message in await _take(puller):
                if message.sequence != expected:
                    raise _MissedError
                yield message
                expected += 1


async def _take(puller: Puller) -> list[Pulled]:
    try:
        return await puller.take(_FETCH_S)
    except NoDurableError as error:  # the server has forgotten the consumer, or is away: the next one will tell
        raise _MissedError from error
