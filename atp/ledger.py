"""The ledger: one append-only entry per change, written by the script that makes the change."""

from typing import Any

import msgspec

SCHEMA = 1


class Fact(msgspec.Struct, array_like=True, frozen=True):
    """One term of one row moved by `delta` units. `day` is 0 for stock that is there now."""

    sku: str
    node: str
    day: int
    term: str
    delta: int


class RaisedException(msgspec.Struct, array_like=True, frozen=True):
    """An exception that the change raised, or resolved. The same `id` later is the same exception."""

    id: str
    reason: str
    state: str  # open | resolved
    sku: str
    node: str
    cause: str  # what a person looks up: reservation, shipment or event
    quantity: int  # units concerned: deficit, excess


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """One ledger entry. `images` are Redis commands on keys without the pool's prefix: applied in order they make the store."""

    schema: int
    revision: int
    epoch: int
    time_ms: int
    verb: str
    cause: str
    actor: str
    correlation: str
    facts: list[Fact]
    images: list[list[msgspec.Raw]]
    exceptions: list[RaisedException]


_decode_entry = msgspec.msgpack.Decoder(Entry).decode


def decode_entry(data: bytes) -> Entry:
    """Reads an entry as it stands in the stream; raises msgspec.DecodeError on anything else."""
    return _decode_entry(data)


def image_value(raw: msgspec.Raw) -> bytes:
    """One word of an image as the bytes that Redis stores: Lua writes binary strings as MessagePack text, numbers as numbers."""
    data = bytes(raw)
    head = data[0]
    if 0xA0 <= head <= 0xBF:
        return data[1:]
    for mark, width in ((0xD9, 1), (0xDA, 2), (0xDB, 4)):
        if head == mark:
            return data[1 + width :]
    number: Any = msgspec.msgpack.decode(data)
    return str(number).encode()


def reason_of(entry: Entry) -> str:
    """Why a person made this change, in their words; empty for a change that needs none."""
    if entry.verb != "repair":
        return ""
    images = ([image_value(word) for word in image] for image in entry.images)
    kept = next((words for command, key, *words in images if command == b"HSET" and key == f"rep:{entry.cause}".encode()), [])
    return dict(zip(kept[::2], kept[1::2], strict=True)).get(b"reason", b"").decode()
