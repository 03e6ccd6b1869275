"""Carries one pool's ledger from the store to JetStream, one batch in flight, with the exceptions of each batch right behind it.

So only the last message of the stream can be one whose exceptions are not all published: who takes over publishes those again.
"""

import time
from collections import Counter
from collections.abc import Sequence

from nats.js import JetStreamContext

from atp.errors import AtpError
from atp.model.views import LedgerRecord
from atp.store import Store
from consumers import ledger_writer
from consumers.ledger_reader import LedgerGapError
from consumers.ledger_writer import Position
from consumers.metrics import RelayMetrics
from consumers.raised import publish_raised


class StaleStoreError(AtpError):
    """The store that answers is older than the pool's last opening: what it holds must not be published."""


class Publisher:
    """One writer of a pool's stream. Its place comes from JetStream, never from the store."""

    def __init__(self, js: JetStreamContext, store: Store, pool: str, metrics: RelayMetrics | None = None) -> None:
        """`metrics` if this writer is a relay."""
        self._js = js
        self._store = store
        self._pool = pool
        self._metrics = metrics
        self.position = Position(0, 0, 0)

    async def learn(self) -> None:
        """Takes the place behind the stream's last message, whose writer may have died before its exceptions were out."""
        self.position, entries = await ledger_writer.learn(self._js, self._pool)
        await publish_raised(self._js, self._store, self._pool, entries)

    async def publish(self, records: Sequence[LedgerRecord]) -> None:
        """Publishes entries that follow the position, then their exceptions. Raises PositionLostError if another writer was first."""
        for batch in ledger_writer.batches(records):
            epoch = self._check(batch)
            entries = [record.entry for record in batch]
            began = time.perf_counter()
            self.position = await ledger_writer.append(self._js, self._pool, self.position, entries, epoch)
            if self._metrics:
                verbs = Counter(ledger_writer.decode_head(entry).verb for entry in entries)
                self._metrics.published(self._pool, verbs, time.perf_counter() - began)
            await publish_raised(self._js, self._store, self._pool, [record.entry for record in batch if record.exceptions])

    async def fence(self, epoch: int) -> None:
        """Takes the next place in the stream, so that nothing sent before can land there; `epoch` is that of the opening to come."""
        self.position = await ledger_writer.append(self._js, self._pool, self.position, [], epoch)

    def _check(self, batch: Sequence[LedgerRecord]) -> int:
        """The epoch of the last entry, if the batch follows the position without a gap and is not of a time before it."""
        expected = self.position.revision + 1
        first, last = (ledger_writer.decode_head(record.entry) for record in (batch[0], batch[-1]))
        if first.revision != expected or last.revision != expected + len(batch) - 1:
            raise LedgerGapError(f"JetStream has the ledger up to revision {expected - 1}, the store goes on at {first.revision}")
        if first.epoch < self.position.epoch:
            raise StaleStoreError(f"the store offers revision {expected} of epoch {first.epoch}, but {self.position.epoch} was opened")
        return last.epoch
