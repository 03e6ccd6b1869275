"""The audit behind `atp verify`: reads ledger and store of a pool that may be live, and has `atp.audit` judge them."""

import hashlib
import time
from collections import deque
from typing import Final

from nats.js import JetStreamContext

from atp import limits
from atp.audit import Audit, VerifyReport, is_operational
from atp.checkpoint import Manifest
from atp.store import Store
from cli import history
from cli.history import History
from cli.output import Report
from consumers.audit_start import start_with
from consumers.ledger_reader import LedgerGapError

FOLLOWING: Final = "following the ledger"
COMPARING: Final = "comparing keys"


class Verification:
    def __init__(self, store: Store, ledger: History, pool: str, progress: Report) -> None:
        self._store = store
        self._ledger = ledger
        self._pool = pool
        self._progress = progress
        self._audit = Audit()
        #: Digests of the entries that the store may still have too, the last one JetStream's last.
        self._recent: deque[bytes] = deque(maxlen=limits.LEDGER_KEPT_MIN)

    async def begin(self, js: JetStreamContext, manifest: Manifest) -> None:
        """Behind a checkpoint, in which all must add up."""
        for _ in self._audit.begin(await start_with(js, manifest, _never, comparing=True)):
            pass

    async def run(self) -> VerifyReport:
        await self._follow_jetstream()
        await self._compare_streams()
        if not self._audit.broken:
            await self._compare_keys()
        return self._audit.report()

    async def _follow_jetstream(self) -> None:
        """All that was published; and that at least what the store believes to be."""
        info = await self._store.pool_info(self._pool)
        try:
            async for entries in self._ledger.published(self._audit.revision):
                for data in entries:
                    self._audit.follow(data)
                    self._recent.append(_digest(data))
                self._progress(FOLLOWING, self._audit.revision, info.revision)
        except LedgerGapError as error:
            self._audit.violation(9, "ledger", str(error))
            self._audit.broken = True
        if info.published > self._audit.revision and not self._audit.broken:
            said = f"the store takes all up to {info.published} to be in JetStream, whose last is {self._audit.revision}"
            self._audit.violation(9, "ledger", said)

    async def _compare_streams(self) -> None:
        """The entries that both have are the same: no revision was used twice."""
        last, kept = self._audit.revision, len(self._recent)
        at = last - kept
        while at < last and not self._audit.broken:
            records = await self._store.ledger_after(self._pool, at, history.PAGE_ENTRIES)
            for record in records:
                if record.revision <= last:
                    self._audit.count("entries in both")
                    if _digest(record.entry) != self._recent[record.revision - last - 1]:
                        self._audit.violation(
                            9, f"ledger {record.revision}", "the store and JetStream have different entries of this revision"
                        )
            if not records:
                return
            at = records[-1].revision

    async def _compare_keys(self) -> None:
        """Chunk by chunk, each at the revision it was read at, to which the ledger is followed first."""
        made = self._audit.replay.keys
        found = set(await self._store.scan_keys(self._pool)) | made.keys() | {"pool"}
        names = sorted(name for name in found if not is_operational(name))
        done = 0
        for group in history.chunks(names, lambda name: len(made.get(name, ()))):
            chunk = await history.read(self._store, self._pool, group)
            if not await self._follow_to(chunk.revision):
                return
            now_ms = int(time.time() * 1000)
            for name, stored in chunk.keys.items():
                self._audit.compare(name, stored, now_ms)
            done += len(group)
            self._progress(COMPARING, done, len(names))

    async def _follow_to(self, revision: int) -> bool:
        """Follows the ledger exactly to a revision of the store; false if that cannot be."""
        audit = self._audit
        async for entries in self._ledger.between(audit.revision, revision):
            for data in entries:
                audit.follow(data)
        if not audit.broken and audit.revision != revision:
            which = "has lost entries that JetStream has" if revision < audit.revision else "is ahead of a ledger that nobody has"
            audit.violation(9, "ledger", f"the store is at revision {revision}, the ledger at {audit.revision}: the store {which}")
        return audit.revision == revision and not audit.broken


async def _never() -> None:
    """Gives way to nobody: nothing else runs."""


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()
