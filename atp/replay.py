"""Makes the contents of a pool again from its ledger, in memory: what the store must hold, key by key, at every revision."""

import heapq
from collections.abc import Sequence

import msgspec

from atp.checkpoint import Manifest, Record
from atp.ledger import Entry, image_value
from atp.limits import RESTORED_KEPT_MS

#: A key stays this long after its expiry, for a store whose clock is behind, or that was made again and keeps old records for a while.
EXPIRED_KEPT_MS = RESTORED_KEPT_MS
_SLACK = 1_000  # so that a small heap is not made again all the time

#: Commands that say when a key vanishes, by how they stand in an entry.
_OF_EXPIRY = {msgspec.msgpack.encode(command.decode()): command for command in (b"PEXPIREAT", b"PERSIST", b"DEL")}

Key = dict[bytes, bytes]  # a HASH by field, a ZSET by member with its score as text


class _Images(msgspec.Struct, array_like=True):
    """An entry of which nothing but the images is wanted."""

    schema: int
    revision: int
    epoch: int
    time_ms: int
    verb: msgspec.Raw
    cause: msgspec.Raw
    actor: msgspec.Raw
    correlation: msgspec.Raw
    facts: msgspec.Raw
    images: list[list[msgspec.Raw]]


_decode_images = msgspec.msgpack.Decoder(_Images).decode


class ReplayError(Exception):
    """The ledger cannot be replayed: an entry is missing, comes twice, or says what no store could do."""


class Expiries:
    """When each key vanishes, by the ledger."""

    def __init__(self) -> None:
        self._times: dict[str, int] = {}
        self._soonest: list[tuple[int, str]] = []  # a heap; what no longer agrees with the times is dropped when it comes up

    def __getitem__(self, name: str) -> int:
        """Milliseconds since the epoch, 0 for a key that stays."""
        return self._times.get(name, 0)

    def set(self, name: str, time_ms: int) -> None:
        self._times[name] = time_ms
        heapq.heappush(self._soonest, (time_ms, name))

    def remove(self, name: str) -> None:
        if self._times.pop(name, None) and len(self._soonest) > 2 * len(self._times) + _SLACK:
            self._soonest = [(time_ms, name) for name, time_ms in self._times.items()]
            heapq.heapify(self._soonest)

    def passed(self, name: str, time_ms: int) -> bool:
        """Whether the store may have let the key go at `time_ms`."""
        return 0 < self[name] <= time_ms

    def due(self, time_ms: int) -> list[str]:
        """Keys past their expiry, the earliest first."""
        found: dict[str, int] = {}
        while self._soonest and self._soonest[0][0] <= time_ms:
            expiry, name = heapq.heappop(self._soonest)
            if self._times.get(name) == expiry:
                found[name] = expiry
        for name, expiry in found.items():
            heapq.heappush(self._soonest, (expiry, name))
        return list(found)

    def follow(self, data: bytes) -> None:
        """Takes the next entry as it stands in the ledger, for those who need no contents: hardly any of it is read."""
        for image in _decode_images(data).images:
            command = _OF_EXPIRY.get(bytes(image[0]))
            if command == b"PEXPIREAT":
                self.set(image_value(image[1]).decode(), int(image_value(image[2])))
            elif command:
                self.remove(image_value(image[1]).decode())


class Replay:
    """A pool's keys, without the prefix, after `revision`; `pool` and `ledger` are not among them: the first is in the attributes here."""

    def __init__(self) -> None:
        self.revision = 0
        self.epoch = 0
        self.time_ms = 0
        self.keys: dict[str, Key] = {}
        self.expiries = Expiries()
        self.dropped: set[str] = set()  # names of keys past their expiry that are not kept here any more

    def begin(self, manifest: Manifest) -> None:
        """Goes on from a checkpoint, whose records are put in: from its revision `whole` on the keys are what they were."""
        self.revision, self.epoch, self.time_ms = manifest.after, manifest.epoch, manifest.time_ms

    def put(self, record: Record) -> None:
        """Takes a record of the checkpoint that it begins with."""
        self._run([record.command, record.name.encode(), *record.words])
        if record.expiry_ms:
            self.expiries.set(record.name, record.expiry_ms)

    def apply(self, entry: Entry) -> None:
        """Takes the next entry. Raises ReplayError if it does not follow, or holds a command that the ledger does not have."""
        if entry.revision != self.revision + 1:
            raise ReplayError(f"revision {entry.revision} follows {self.revision}: {_what_happened(entry.revision, self.revision)}")
        for name in self.expiries.due(entry.time_ms - EXPIRED_KEPT_MS):
            self._delete(name)
            self.dropped.add(name)
        for image in entry.images:
            try:
                self._run([image_value(word) for word in image])
            except (IndexError, ValueError, msgspec.DecodeError) as error:
                raise ReplayError(f"revision {entry.revision} holds an image that cannot be read: {error}") from error
        self.revision, self.epoch, self.time_ms = entry.revision, entry.epoch, entry.time_ms

    def forget(self, name: str) -> None:
        """Lets a key go before its time, for those who will not ask for it."""
        self._delete(name)

    def _run(self, words: Sequence[bytes]) -> None:
        command, name, rest = words[0], words[1].decode(), words[2:]
        if command == b"HSET":
            self.dropped.discard(name)
            self.keys.setdefault(name, {}).update(zip(rest[::2], rest[1::2], strict=True))
        elif command == b"ZADD":
            self.keys.setdefault(name, {}).update(zip(rest[1::2], rest[::2], strict=True))
        elif command in {b"HDEL", b"ZREM"}:
            self._remove(name, rest)
        elif command == b"PEXPIREAT":
            if name in self.keys:
                self.expiries.set(name, int(rest[0]))
        elif command == b"PERSIST":
            self.expiries.remove(name)
        elif command == b"DEL":
            self._delete(name)
        else:
            raise ValueError(f"{command!r} is no command of the ledger")

    def _remove(self, name: str, members: Sequence[bytes]) -> None:
        key = self.keys.get(name, {})
        for member in members:
            key.pop(member, None)
        if not key:
            self._delete(name)  # Redis keeps no empty key

    def _delete(self, name: str) -> None:
        self.keys.pop(name, None)
        self.expiries.remove(name)


def _what_happened(revision: int, before: int) -> str:
    return "it came twice" if revision <= before else f"{revision - before - 1} missing"
