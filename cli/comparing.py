"""Compares two stores of one pool key by key, each key at one revision: one that may go on working, and one that is made to follow it."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from typing import Final

from nats.js import JetStreamContext

from atp import limits
from atp.audit import difference, is_operational
from atp.audit.contents import CLOCKS_APART_MS
from atp.checkpoint import Manifest, expiries
from atp.replay import Expiries, Key
from atp.store import Store
from atp.store.bulk import Contents
from cli.history import READ_FIELDS_MAX, READ_KEYS_MAX, History
from consumers import restoring

DIFFERENCES_MAX: Final = 20
INDEXES: Final = ("exp", "opn")  # may be large: compared in parts
_LEDGERED: Final = (b"rev", b"epoch", b"time")  # the fields of `pool` that entries make

#: Told how far it is, and how far it goes.
Progress = Callable[[int, int], None]


class Made:
    """A pool in the making, in a store that was empty: its revision, and when the ledger has its keys vanish."""

    def __init__(self, store: Store, pool: str) -> None:
        self.store = store
        self.revision = 0
        self.replayed = 0  # entries
        self.expiries = Expiries()
        self._pool = pool

    async def load(self, js: JetStreamContext, manifest: Manifest, progress: Progress) -> None:
        """Begins with a checkpoint."""
        messages = 0

        def note(pieces: list[bytes]) -> None:
            nonlocal messages
            messages += 1
            for piece in pieces:
                for name, expiry_ms in expiries(piece):
                    self.expiries.set(name, expiry_ms)
            progress(messages, manifest.messages)

        await restoring.load(js, self.store, self._pool, manifest, 0, note)
        self.revision = manifest.after

    async def replay(self, ledger: AsyncGenerator[list[bytes], None], progress: Progress | None = None, goal: int = 0) -> None:
        """Takes the entries that follow."""

        def note(entries: list[bytes]) -> None:
            for entry in entries:
                self.expiries.follow(entry)
            self.revision += len(entries)  # the store takes none but the next
            self.replayed += len(entries)
            if progress:
                progress(self.revision, goal)

        await restoring.replay(self.store, self._pool, ledger, note)


class Comparison:
    """`differing` tells of each key that differs, up to a bound."""

    def __init__(self, pool: str, theirs: Store, ours: Made, ledger: History, progress: Progress) -> None:
        self._pool = pool
        self._theirs = theirs
        self._ours = ours
        self._ledger = ledger
        self._progress = progress
        self.keys = 0
        self.fields = 0
        self.differing: list[str] = []

    async def run(self) -> bool:
        """Whether all is equal."""
        found = {*await self._theirs.scan_keys(self._pool), *await self._ours.store.scan_keys(self._pool), "pool"}
        names = sorted(name for name in found if not is_operational(name) and name not in INDEXES)
        for index in INDEXES:
            if not await self._compare_index(index):
                return False
        return await self._compare_keys(names) and not self.differing

    async def _compare_keys(self, names: list[str]) -> bool:
        """Whether it could be done. While one group is compared the next is read."""
        reading = asyncio.create_task(self._read(names))
        try:
            done = 0
            while done < len(names):
                theirs = await reading
                done += len(theirs.flat)
                reading = asyncio.create_task(self._read(names[done : done + READ_KEYS_MAX]))
                if not await self._follow(theirs.revision):
                    return False
                ours = await self._ours.store.bulk.read(self._pool, list(theirs.flat))
                self._compare_group(theirs, ours)
                self._progress(done, len(names))
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        return True

    async def _read(self, names: list[str]) -> Contents:
        return await self._theirs.bulk.read(self._pool, names[:READ_KEYS_MAX], READ_FIELDS_MAX)

    async def _follow(self, revision: int) -> bool:
        """Brings ours to exactly the revision of a read of theirs."""
        if self._ours.revision < revision:
            await self._ours.replay(self._ledger.between(self._ours.revision, revision))
        if self._ours.revision != revision:
            self._note(f"the live store is at revision {revision}, the ledger ends at {self._ours.revision}")
        return self._ours.revision == revision

    def _compare_group(self, theirs: Contents, ours: Contents) -> None:
        now_ms = int(time.time() * 1000)
        for name, stored in theirs.flat.items():
            made = ours.flat[name]
            self.keys += 1
            self.fields += len(stored) // 2
            if stored != made and (fields := theirs.key(name)) != (others := ours.key(name)):  # in any order
                self._compare_key(name, fields, others, now_ms)
            elif theirs.expiries[name] != ours.expiries[name]:
                self._compare_expiries(name, theirs.expiries[name], ours.expiries[name], now_ms)

    def _compare_key(self, name: str, stored: Key, made: Key, now_ms: int) -> None:
        if name == "pool":
            stored, made = ({field: key.get(field, b"") for field in _LEDGERED} for key in (stored, made))
        if stored == made:
            return
        if stored or not self._ours.expiries.passed(name, now_ms + CLOCKS_APART_MS):
            self._note(f"{name}: {difference(name, stored, made)}")

    def _compare_expiries(self, name: str, stored_ms: int, made_ms: int, now_ms: int) -> None:
        """A store that is made again keeps what is past its retention, or nearly, for a while."""
        is_put_off = min(stored_ms, made_ms) > 0 and max(stored_ms, made_ms) <= now_ms + limits.RESTORED_KEPT_MS + CLOCKS_APART_MS
        if not is_put_off:
            self._note(f"{name}: it vanishes at {stored_ms or 'no time'}, by the ledger at {made_ms or 'no time'} (ms)")

    async def _compare_index(self, name: str) -> bool:
        """Part by part, each from the score on that the part before ended with."""
        lowest, at_most = "-inf", READ_FIELDS_MAX
        self.keys += 1
        while True:
            revision, theirs = await self._theirs.bulk.index(self._pool, name, lowest, at_most)
            if not await self._follow(revision):
                return False
            _, ours = await self._ours.store.bulk.index(self._pool, name, lowest, at_most)
            self.fields += len(theirs) // 2
            if theirs != ours:
                stored, made = (dict(zip(flat[::2], flat[1::2], strict=True)) for flat in (theirs, ours))
                self._note(f"{name}: {difference(name, stored, made)}")
                return True
            if len(theirs) < 2 * at_most:
                return True
            last = theirs[-1].decode()
            lowest, at_most = (last, READ_FIELDS_MAX) if last != lowest else (last, 2 * at_most)

    def _note(self, sentence: str) -> None:
        if len(self.differing) < DIFFERENCES_MAX:
            self.differing.append(sentence)
        elif len(self.differing) == DIFFERENCES_MAX:
            self.differing.append("… and more")
