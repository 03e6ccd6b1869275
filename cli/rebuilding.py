"""The work behind `atp rebuild`: replays a pool's ledger into an empty store and compares it with the live one."""

import contextlib
import time

import msgspec

from atp.audit import difference, is_operational
from atp.audit.contents import CLOCKS_APART_MS
from atp.errors import StoreUnavailableError
from atp.ledger import decode_entry, image_value
from atp.replay import Expiries, Key
from atp.store import Store, StoreSettings
from cli import exit_codes, history
from cli.exit_codes import CommandError
from cli.history import History
from cli.output import Report
from consumers.connection import NatsSettings
from consumers.ledger_reader import LedgerGapError

DIFFERENCES_MAX = 20
USUAL_FIELDS = 16  # of a key: rows and windows have one a node, reservations a few and one a line
INDEXES = frozenset({"exp", "opn"})  # may be large: read alone
REPLAYING = "replaying the ledger"
COMPARING = "comparing keys"
_LEDGERED = (b"rev", b"epoch", b"time")  # the fields of `pool` that entries make


class Rebuilt(msgspec.Struct, frozen=True):
    """What came of a rebuild. `equal` is None if there was no live store to compare with; `differing` tells of each key that differs."""

    pool: str
    revision: int
    entries: int
    replay_s: float
    keys_compared: int
    equal: bool | None
    differing: list[str]


async def rebuild_pool(
    where: StoreSettings | str,
    nats: NatsSettings | str,
    pool: str,
    into: StoreSettings | str,
    progress: Report,
    *,
    must_compare: bool = True,
) -> Rebuilt:
    """Replays the whole ledger into an empty store, and compares with the live one, which may go on working.

    Raises CommandError if the other store has keys of the pool already; StoreUnavailableError for a live store that is away, unless it
    need not be compared with.
    """
    async with contextlib.AsyncExitStack() as stack:
        target = await stack.enter_async_context(history.connected(into))
        js = await stack.enter_async_context(history.jetstream(nats))
        try:
            live: Store | None = await stack.enter_async_context(history.connected(where))
        except StoreUnavailableError:
            if must_compare:
                raise
            live = None
        if await target.scan_keys(pool):
            raise CommandError(f"the other store has keys of pool {pool} already: rebuild into an empty one", exit_codes.USAGE)
        return await _Rebuild(live, target, History(js, pool, live), pool, progress).run()


class _Rebuild:
    def __init__(self, live: Store | None, target: Store, ledger: History, pool: str, progress: Report) -> None:
        self._live = live
        self._target = target
        self._ledger = ledger
        self._pool = pool
        self._progress = progress
        self._expiries = Expiries()
        self._revision = 0
        self._large: dict[str, int] = {}  # fields of records that were written with many
        self._differing: list[str] = []

    async def run(self) -> Rebuilt:
        began = time.monotonic()
        goal = (await self._live.pool_info(self._pool)).revision if self._live else 0
        try:
            async for entries in self._ledger.published():
                await self._replay(entries)
                self._progress(REPLAYING, self._revision, goal)
        except LedgerGapError as error:
            raise CommandError(f"the ledger cannot be replayed: {error}", exit_codes.REFUSED) from error
        replay_s = time.monotonic() - began
        compared = await self._compare(self._live) if self._live else 0
        equal = None if self._live is None else not self._differing
        return Rebuilt(self._pool, self._revision, self._revision, replay_s, compared, equal, self._differing)

    async def _replay(self, entries: list[bytes]) -> None:
        await self._target.replay(self._pool, entries)
        for data in entries:
            entry = decode_entry(data)
            self._expiries.apply(entry)
            self._revision = entry.revision
            for image in entry.images:
                if len(image) > 2 * USUAL_FIELDS:
                    self._large[image_value(image[1]).decode()] = len(image) // 2

    async def _compare(self, live: Store) -> int:
        """Chunk by chunk: reads the live store, brings the rebuilt one to exactly that revision, reads it too."""
        found = {*await live.scan_keys(self._pool), *await self._target.scan_keys(self._pool), "pool"}
        names = sorted(name for name in found if not is_operational(name))
        done = 0
        for group in history.chunks(names, self._size):
            theirs = await history.read(live, self._pool, group)
            async for entries in self._ledger.between(self._revision, theirs.revision):
                await self._replay(entries)
            ours = await history.read(self._target, self._pool, group)
            if ours.revision != theirs.revision:
                self._note(f"the live store is at revision {theirs.revision}, the ledger ends at {ours.revision}")
                return done
            now_ms = int(time.time() * 1000)
            for name in group:
                self._compare_key(name, theirs.keys[name], ours.keys[name], now_ms)
            done += len(group)
            self._progress(COMPARING, done, len(names))
        return done

    def _size(self, name: str) -> int:
        return history.READ_FIELDS_MAX if name in INDEXES else self._large.get(name, USUAL_FIELDS)

    def _compare_key(self, name: str, stored: Key, made: Key, now_ms: int) -> None:
        if name == "pool":
            stored, made = ({field: key.get(field, b"") for field in _LEDGERED} for key in (stored, made))
        has_expired = not stored and self._expiries.passed(name, now_ms + CLOCKS_APART_MS)
        if stored != made and not has_expired:
            self._note(f"{name}: {difference(name, stored, made)}")

    def _note(self, sentence: str) -> None:
        if len(self._differing) < DIFFERENCES_MAX:
            self._differing.append(sentence)
        elif len(self._differing) == DIFFERENCES_MAX:
            self._differing.append("… and more")
