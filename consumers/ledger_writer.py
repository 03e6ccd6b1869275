"""The way into `LEDGER-<pool>`: contiguous batches, each allowed only behind the message the writer saw last.

A message is a MessagePack array of entries (each a bin, as the store has it) on `ledger.<pool>`, with the headers below. JetStream
refuses it unless the stream's last message is the one expected, so of two writers one learns that it has lost its place.
A fence is a message without entries: it takes the place that a late publish of an earlier writer would need.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec
from nats.js import JetStreamContext
from nats.js.api import Header, RawStreamMsg
from nats.js.errors import BadRequestError, NotFoundError

from atp import limits
from atp.model.views import LedgerRecord
from consumers import streams

FIRST: Final = "Atp-First"  # revision of the first entry
LAST: Final = "Atp-Last"  # revision of the last entry; first - 1 in a fence
EPOCH: Final = "Atp-Epoch"  # epoch of the last entry; of the opening that follows a fence

WRONG_LAST_SEQUENCE: Final = 10071  # what JetStream says where a message does not follow the one expected
_NO_MESSAGE: Final = 10037
_ENTRY_FRAME_BYTES: Final = 5

encode_batch = msgspec.msgpack.Encoder().encode
decode_batch = msgspec.msgpack.Decoder(list[bytes]).decode


class PositionLostError(Exception):
    """Another writer was first: the position must be learnt again."""


class Position(NamedTuple):
    """Where a pool's stream ends: its last message, the last revision in it and the epoch; all 0 while it is empty."""

    sequence: int
    revision: int
    epoch: int


class EntryHead(msgspec.Struct, array_like=True, frozen=True):
    """The first fields of an entry; the rest is skipped unread."""

    schema: int
    revision: int
    epoch: int
    time_ms: int
    verb: str


decode_head = msgspec.msgpack.Decoder(EntryHead).decode


async def last_position(js: JetStreamContext, pool: str) -> Position:
    """Where the stream ends. Raises NotFoundError if it is not provisioned."""
    return (await learn(js, pool))[0]


async def learn(js: JetStreamContext, pool: str) -> tuple[Position, list[bytes]]:
    """Where the stream ends, and the entries of its last message. Raises NotFoundError if the stream is not provisioned."""
    try:
        message = await js.get_last_msg(streams.ledger_stream(pool), streams.ledger_subject(pool))
    except NotFoundError as error:
        if error.err_code != _NO_MESSAGE:
            raise
        return Position(0, 0, 0), []
    return position_of(message), decode_batch(message.data or b"")


def position_of(message: RawStreamMsg) -> Position:
    """The position behind one message of the stream."""
    headers = message.headers or {}
    return Position(message.seq or 0, int(headers[LAST]), int(headers[EPOCH]))


async def append(js: JetStreamContext, pool: str, position: Position, entries: Sequence[bytes], epoch: int) -> Position:
    """Publishes entries that follow the position (none: a fence) and returns the new one. Raises PositionLostError."""
    last = position.revision + len(entries)
    headers = {
        FIRST: str(position.revision + 1),
        LAST: str(last),
        EPOCH: str(epoch),
        # Of the subject, not of the stream: it is the only one there, and older servers take an expected 0 only here.
        Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(position.sequence),
    }
    try:
        ack = await js.publish(streams.ledger_subject(pool), encode_batch(entries), headers=headers)
    except BadRequestError as error:
        if error.err_code != WRONG_LAST_SEQUENCE:
            raise
        raise PositionLostError(f"another writer is past revision {position.revision}") from error
    return Position(ack.seq, last, epoch)


def batches(records: Sequence[LedgerRecord]) -> Iterator[list[LedgerRecord]]:
    """The records in batches of at most RELAY_BATCH_ENTRIES_MAX entries and RELAY_BATCH_BYTES_MAX bytes, in order."""
    batch: list[LedgerRecord] = []
    size = 0
    for record in records:
        record_bytes = len(record.entry) + _ENTRY_FRAME_BYTES
        if batch and (len(batch) >= limits.RELAY_BATCH_ENTRIES_MAX or size + record_bytes > limits.RELAY_BATCH_BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += record_bytes
    if batch:
        yield batch
