"""The stream `CHECKPOINT-<pool>`: checkpoints written message by message, found again, and read only if they are whole.

There are slots, and each message has its subject in its slot, where it takes the place of the one before. Whoever takes a checkpoint
says in place of the oldest manifest that one is begun, and closes with the manifest; each message names the one it must follow, so of
two that take one the first is stopped. What is not closed, or no longer as it was closed, does not count.
"""

import contextlib
import logging
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec
import nats.errors
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy, Header
from nats.js.errors import BadRequestError, NotFoundError

from atp.checkpoint import SCHEMA, Manifest, Totals
from atp.errors import AtpError
from consumers import streams
from consumers.connection import AWAY
from consumers.ledger_writer import decode_batch, encode_batch
from consumers.pull import passing_puller
from consumers.puller import Pulled

log = logging.getLogger(__name__)

TAKING_S: Final = 60.0  # after its last message, one that was not closed is taken for given up
_MESSAGES_ON_THE_WAY: Final = 16
_WAIT_S: Final = 5.0
_WRONG_LAST_SEQUENCE: Final = 10071
#: What stands in place of a manifest.
_BEGUN: Final = b"begun"
_GIVEN_UP: Final = b"given up"

_encode_manifest = msgspec.json.Encoder().encode
_decode_manifest = msgspec.json.Decoder(Manifest).decode


class CheckpointError(AtpError):
    """A checkpoint cannot be taken now; those that are there stand."""


class BeingTakenError(CheckpointError):
    """Another process takes one: there will soon be one."""


class TornCheckpointError(AtpError):
    """A checkpoint is not as it was when it was closed: a message is missing, or another than it was."""


# --- writing ----------------------------------------------------------------------------------------------------------
class Writer:
    """One checkpoint on its way into the stream. Raises BeingTakenError once another process has begun one."""

    def __init__(self, js: JetStreamContext, pool: str, slot: int, sequence: int) -> None:
        self._js = js
        self._pool = pool
        self._sequence = sequence
        self.slot = slot
        self.first = 0
        self.totals = Totals()

    @classmethod
    async def begin(cls, js: JetStreamContext, pool: str) -> "Writer":
        """Takes the slot whose content is the oldest. Raises BeingTakenError if another process is at it."""
        try:
            last = (await js.stream_info(streams.checkpoint_stream(pool))).state.last_seq
        except NotFoundError as error:
            raise CheckpointError(f"JetStream keeps no checkpoints of pool {pool}: provision it again (atp provision FILE)") from error
        if last and (since := await _being_taken(js, pool, last)):
            raise BeingTakenError(f"a checkpoint of pool {pool} is being taken (its last message is of {since:%H:%M:%S} UTC): wait for it")
        newest = [manifest.slot for manifest in await manifests(js, pool)][: streams.CHECKPOINT_SLOTS - 1]
        writer = cls(js, pool, next(slot for slot in range(streams.CHECKPOINT_SLOTS) if slot not in newest), last)
        await writer._publish(streams.MANIFEST, _BEGUN)
        writer.first = writer._sequence + 1
        return writer

    async def add(self, pieces: Sequence[bytes]) -> None:
        message = encode_batch(pieces)
        await self._publish(self.totals.messages, message)
        self.totals.add(message)

    async def close(self, manifest: Manifest) -> None:
        """From now on it counts."""
        await self._publish(streams.MANIFEST, _encode_manifest(manifest))

    async def give_up(self) -> None:
        """Lets the next one be begun at once; as far as that can be said now."""
        with contextlib.suppress(BeingTakenError, *AWAY):
            await self._publish(streams.MANIFEST, _GIVEN_UP)

    async def _publish(self, part: int | str, data: bytes) -> None:
        subject = streams.checkpoint_subject(self._pool, self.slot, part)
        headers = {Header.EXPECTED_LAST_SEQUENCE.value: str(self._sequence)}
        try:
            self._sequence = (await self._js.publish(subject, data, headers=headers)).seq
        except BadRequestError as error:
            if error.err_code != _WRONG_LAST_SEQUENCE:
                raise
            raise BeingTakenError(f"another process has begun a checkpoint of pool {self._pool}: this one is given up") from error


async def _being_taken(js: JetStreamContext, pool: str, last: int) -> datetime | None:
    """When the last message came, if it ends no checkpoint and is not old."""
    message = await js.get_msg(streams.checkpoint_stream(pool), seq=last)
    is_ended = (message.subject or "").endswith(f".{streams.MANIFEST}") and message.data != _BEGUN
    if is_ended or message.time is None or (datetime.now(UTC) - message.time).total_seconds() > TAKING_S:
        return None
    return message.time


# --- reading ----------------------------------------------------------------------------------------------------------
async def manifests(js: JetStreamContext, pool: str) -> list[Manifest]:
    """Checkpoints that were closed, the newest first; none where nobody has provisioned the stream."""
    found: list[tuple[int, Manifest]] = []
    for slot in range(streams.CHECKPOINT_SLOTS):
        try:
            message = await js.get_last_msg(streams.checkpoint_stream(pool), streams.checkpoint_subject(pool, slot, streams.MANIFEST))
        except NotFoundError:
            continue
        if manifest := _manifest(pool, slot, message.data or b""):
            found.append((message.seq or 0, manifest))
    return [manifest for _, manifest in sorted(found, key=lambda one: one[0], reverse=True)]


def _manifest(pool: str, slot: int, data: bytes) -> Manifest | None:
    if data in {_BEGUN, _GIVEN_UP}:
        return None
    try:
        manifest = _decode_manifest(data)
    except msgspec.DecodeError as error:
        log.warning("pool %s: the checkpoint in slot %d is passed over: its manifest cannot be read: %s", pool, slot, error)
        return None
    if (manifest.schema, manifest.pool, manifest.slot) != (SCHEMA, pool, slot):
        log.warning("pool %s: the checkpoint in slot %d is passed over: it is of schema %d", pool, slot, manifest.schema)
        return None
    return manifest


async def check(js: JetStreamContext, manifest: Manifest) -> None:
    """Reads all of it, so that nothing is begun with what is torn. Raises TornCheckpointError."""
    totals = Totals()
    async for message in _messages(js, manifest):
        totals.add(message.data)
    if totals.digest != manifest.digest:
        raise TornCheckpointError("a message of it is not as it was written")


async def read(js: JetStreamContext, manifest: Manifest) -> AsyncGenerator[list[bytes], None]:
    """The pieces, message by message. Leave it early only with `contextlib.aclosing`. Raises TornCheckpointError."""
    async for message in _messages(js, manifest):
        yield decode_batch(message.data)


async def _messages(js: JetStreamContext, manifest: Manifest) -> AsyncGenerator[Pulled, None]:
    stream, end = streams.checkpoint_stream(manifest.pool), manifest.first + manifest.messages
    config = ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=manifest.first)
    async with passing_puller(js, stream, config, _MESSAGES_ON_THE_WAY) as puller:
        expected = manifest.first
        while expected < end:
            messages = await puller.take(_WAIT_S)
            if not messages:
                raise nats.errors.TimeoutError
            for message in messages[: end - expected]:  # those behind are the manifest, and others' checkpoints
                subject = streams.checkpoint_subject(manifest.pool, manifest.slot, expected - manifest.first)
                if message.sequence != expected or message.subject != subject:
                    raise TornCheckpointError(f"message {expected - manifest.first + 1} of its {manifest.messages} is missing")
                yield message
                expected += 1
