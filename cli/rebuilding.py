"""The work behind `atp rebuild`: a store made from a checkpoint and the entries behind it, or from all entries, and its comparison."""

import contextlib
import time
from collections.abc import Callable
from typing import Final

import msgspec
from nats.js import JetStreamContext

from atp.checkpoint import Manifest
from atp.errors import StoreUnavailableError
from atp.store import Store, StoreSettings
from cli import exit_codes, history
from cli.comparing import Comparison, Made, Progress
from cli.exit_codes import CommandError
from cli.history import LATEST, History
from cli.output import Report
from consumers.connection import NatsSettings
from consumers.ledger_reader import LedgerGapError

LOADING: Final = "loading the checkpoint"
REPLAYING: Final = "replaying the ledger"
COMPARING: Final = "comparing keys"
PROVING: Final = "replaying from the first entry"

#: Makes another empty store, for as long as the block runs.
EmptyStore = Callable[[], contextlib.AbstractAsyncContextManager[str]]


class Loaded(msgspec.Struct, frozen=True):
    """The checkpoint that a rebuild began with."""

    revision: int  # at which it is whole
    after: int  # behind which entries were replayed
    age_s: float
    version: str  # of the engine that took it
    keys: int
    fields: int
    load_s: float  # reading it twice included: before anything is loaded all of it is checked


class Compared(msgspec.Struct, frozen=True):
    """How much was compared."""

    keys: int
    fields: int
    seconds: float
    equal: bool


class Proof(msgspec.Struct, frozen=True):
    """A store made from the first entry, beside one made from a checkpoint, both at the revision at which that is whole."""

    entries: int
    replay_s: float
    compared: Compared


class Rebuilt(msgspec.Struct, frozen=True):
    """What came of a rebuild. `compared` and `equal` are None if there was no live store; `differing` tells of each key that differs."""

    pool: str
    revision: int
    checkpoint: Loaded | None
    entries: int  # replayed behind the checkpoint, or from the first
    replay_s: float
    proof: Proof | None
    compared: Compared | None
    equal: bool | None
    differing: list[str]


async def rebuild_pool(
    where: StoreSettings | str,
    nats: NatsSettings | str,
    pool: str,
    into: StoreSettings | str,
    progress: Report,
    *,
    origin: str = LATEST,
    beside: EmptyStore | None = None,
    must_compare: bool = True,
) -> Rebuilt:
    """Makes the pool in an empty store, and compares it with the live one, which may go on working.

    It begins with the latest checkpoint that is whole, if there is one; `origin` may also be START, or the revision of a checkpoint.
    With `beside` the checkpoint is proved too: another store is made from the first entry. Raises CommandError if the empty store has keys
    of the pool, or there is no such checkpoint; StoreUnavailableError for a live store that is away, unless it need not be compared with.
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
        try:
            return await _Rebuild(js, pool, live, progress).run(Made(target, pool), origin, beside)
        except LedgerGapError as error:
            raise CommandError(f"the ledger cannot be replayed: {error}", exit_codes.REFUSED) from error


class _Rebuild:
    def __init__(self, js: JetStreamContext, pool: str, live: Store | None, progress: Report) -> None:
        self._js = js
        self._pool = pool
        self._live = live
        self._ledger = History(js, pool, live)
        self._report = progress
        self._differing: list[str] = []

    async def run(self, made: Made, origin: str, beside: EmptyStore | None) -> Rebuilt:
        began = time.monotonic()
        with history.known_pool(self._pool):
            manifest = await history.checkpoint(self._js, self._pool, origin)
        loaded = proof = None
        if manifest:
            await made.load(self._js, manifest, self._progress(LOADING))
            age_s = max(0.0, time.time() - manifest.taken_ms / 1000)
            seconds = time.monotonic() - began
            loaded = Loaded(manifest.whole, manifest.after, age_s, manifest.version, manifest.keys, manifest.fields, seconds)
        if beside:
            if manifest is None:
                raise CommandError(f"pool {self._pool} has no checkpoint to prove: take one (atp checkpoint)", exit_codes.REFUSED)
            async with beside() as url, history.connected(url) as other:
                proof = await self._prove(made, Made(other, self._pool), manifest)
        began = time.monotonic()
        goal = (await self._live.pool_info(self._pool)).revision if self._live else 0
        await made.replay(self._ledger.published(made.revision), self._progress(REPLAYING), goal)
        replay_s = time.monotonic() - began
        compared = await self._compare(self._live, made) if self._live else None
        equal = None if compared is None and not self._differing else not self._differing
        return Rebuilt(self._pool, made.revision, loaded, made.replayed, replay_s, proof, compared, equal, self._differing)

    async def _prove(self, made: Made, other: Made, manifest: Manifest) -> Proof:
        """Brings the store that was begun with the checkpoint to where that is whole, and another one from the first entry."""
        ledger = History(self._js, self._pool, None)
        await made.replay(ledger.between(made.revision, manifest.whole))
        began = time.monotonic()
        await other.replay(ledger.between(0, manifest.whole), self._progress(PROVING), manifest.whole)
        replay_s = time.monotonic() - began
        return Proof(other.revision, replay_s, await self._compare(made.store, other))

    async def _compare(self, theirs: Store, ours: Made) -> Compared:
        began = time.monotonic()
        comparison = Comparison(self._pool, theirs, ours, self._ledger, self._progress(COMPARING))
        equal = await comparison.run()
        self._differing += comparison.differing
        return Compared(comparison.keys, comparison.fields, time.monotonic() - began, equal)

    def _progress(self, what: str) -> Progress:
        return lambda done, total: self._report(what, done, total)
