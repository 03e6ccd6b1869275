"""A checkpoint: a pool's keys, copied while it went on working, and what must be known to make the pool from them.

The copy is of no one moment: each key is as it stood somewhere between two revisions. After-images are absolute, so whoever replays the
entries between the two over it has the pool exactly as it was at the second (docs/adr/0110).
"""

import hashlib
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from atp.ledger import image_value

SCHEMA: Final = 1


class Manifest(msgspec.Struct, frozen=True):
    """What closes a checkpoint, and makes it count. `after` is the revision at which the copy was begun, `whole` that at which it ended."""

    schema: int
    pool: str
    after: int  # entries are replayed from the one that follows this revision
    epoch: int  # at `after`
    time_ms: int  # at `after`
    whole: int  # only once entries up to this one have been replayed is the pool what it was
    entry: str  # the digest of that entry: of which ledger it is
    taken_ms: int  # when it was closed
    took_s: float
    version: str  # of the engine
    slot: int
    first: int  # the first message's sequence in the stream; the others follow without a gap
    messages: int
    keys: int
    fields: int
    bytes: int
    digest: str  # over all messages


class Record(NamedTuple):
    """Fields of one key: `words` are those of the command that writes them; `expiry_ms` is 0 for a key that stays."""

    command: bytes
    name: str
    expiry_ms: int
    words: list[bytes]


_decode_piece = msgspec.msgpack.Decoder(list[tuple[str, msgspec.Raw, int, list[msgspec.Raw]]]).decode
_decode_expiries = msgspec.msgpack.Decoder(list[tuple[msgspec.Raw, msgspec.Raw, int, msgspec.Raw]]).decode


def records(piece: bytes) -> Iterator[Record]:
    """What a piece holds, as the store copied it."""
    for command, name, expiry_ms, words in _decode_piece(piece):
        yield Record(command.encode(), image_value(name).decode(), expiry_ms, [image_value(word) for word in words])


def expiries(piece: bytes) -> Iterator[tuple[str, int]]:
    """The keys of a piece that vanish by themselves, and when."""
    return ((image_value(name).decode(), expiry_ms) for _, name, expiry_ms, _ in _decode_expiries(piece) if expiry_ms)


def entry_digest(entry: bytes) -> str:
    """By which an entry of the ledger is known again."""
    return hashlib.blake2b(entry, digest_size=16).hexdigest()


class Totals:
    """What a manifest says of all messages, counted while they are written or read."""

    def __init__(self) -> None:
        self.messages = 0
        self.bytes = 0
        self._hash = hashlib.blake2b(digest_size=32)

    def add(self, message: bytes) -> None:
        self.messages += 1
        self.bytes += len(message)
        self._hash.update(message)

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()
