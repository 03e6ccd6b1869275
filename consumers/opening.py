"""Opens a pool for this run of its store server: only once JetStream's tail is in the store again, and under a new epoch.

Revisions are never used twice: what the store lost comes back from JetStream, what JetStream does not have yet goes there first, and
a fence keeps late publishes of earlier writers out.
"""

import asyncio
import contextlib
import logging
from typing import Final

from nats.js import JetStreamContext

from atp import limits
from atp.checkpoint import Manifest
from atp.errors import AtpError, RefusedError
from atp.model.status import Status
from atp.model.views import PoolInfo
from atp.store import Store
from consumers import restoring
from consumers.checkpoints import TornCheckpointError
from consumers.ledger_reader import LedgerGapError, read_ledger
from consumers.ledger_writer import PositionLostError
from consumers.publisher import Publisher

log = logging.getLogger(__name__)

_READ_ENTRIES: Final = limits.RELAY_BATCH_ENTRIES_MAX
TRIES_MAX: Final = 20
_LOOK_AGAIN_S: Final = 0.05
#: A checkpoint is loaded if it spares more entries than it has fields by this: an entry takes as long to replay as so many fields to load.
FIELDS_AN_ENTRY: Final = 10


class SplitHistoryError(AtpError):
    """The store and JetStream hold different entries of one revision: which of them happened is for a person to say."""

    def __init__(self, revision: int) -> None:
        super().__init__(
            f"the store's entry of revision {revision} is not the one in JetStream, so the store was written to while JetStream was "
            f"told otherwise. Keep a copy of the store, then empty it of this pool: it is made again from JetStream"
        )
        self.revision = revision


async def open_pool(js: JetStreamContext, store: Store, pool: str) -> PoolInfo:
    """Returns once the pool is open, by this call or another's.

    Raises SplitHistoryError, LedgerGapError, the errors of a server that is away, and PositionLostError, RefusedError or
    TornCheckpointError if others were quicker each time: the caller waits and calls again.
    """
    tries = 0
    while not (info := await store.pool_info(pool)).open:
        try:
            await _try_to_open(js, store, pool, info)
        except (PositionLostError, RefusedError, TornCheckpointError):
            # Another process opens it too, most likely: whoever was behind looks again.
            tries += 1
            if tries == TRIES_MAX:
                raise
            await asyncio.sleep(_LOOK_AGAIN_S)
    return info


async def _try_to_open(js: JetStreamContext, store: Store, pool: str, info: PoolInfo) -> None:
    # Connections that are older than a change of the server's history may still find the pool open: nothing may be written from here on.
    await store.close_pool(pool, info.epoch)
    info = await store.pool_info(pool)
    publisher = Publisher(js, store, pool)
    await publisher.learn()
    published = publisher.position.revision
    is_same = await _compare(js, store, pool, min(info.revision, published))
    if info.revision < published or info.loading:
        log.info("pool %s: the store is at revision %d, JetStream at %d: restoring", pool, info.revision, published)
        await _restore(js, store, pool, info, published, may_clear=is_same or info.revision == 0)
    while records := await store.ledger_after(pool, publisher.position.revision, _READ_ENTRIES):
        await publisher.publish(records)
    info = await store.pool_info(pool)
    if info.open:
        return
    if publisher.position.revision != info.revision:
        raise LedgerGapError(
            f"the store is at revision {info.revision}, but what it has of its ledger ends at {publisher.position.revision}"
        )
    await publisher.fence(info.epoch + 1)
    opened = await store.open(pool, info.epoch, publisher.position.revision)
    if opened.status == Status.OK:
        log.info("pool %s is open at revision %d, epoch %d", pool, opened.revision, info.epoch + 1)


async def _compare(js: JetStreamContext, store: Store, pool: str, revision: int) -> bool:
    """The last entry that both should have; false if the store no longer has it."""
    if revision == 0:
        return False
    kept = await store.ledger_after(pool, revision - 1, 1)
    if not kept or kept[0].revision != revision:
        return False
    async with contextlib.aclosing(read_ledger(js, pool, revision - 1)) as ledger:
        async for entries in ledger:
            if entries[0] != kept[0].entry:
                raise SplitHistoryError(revision)
            break
    return True


async def _restore(js: JetStreamContext, store: Store, pool: str, info: PoolInfo, published: int, *, may_clear: bool) -> None:
    """Replays what the store lacks: over a checkpoint if that is shorter, which takes the place of what is there.

    It may not where something of that could be the store's alone.
    """
    revision = info.revision
    found = await restoring.newest(js, pool, published, lambda manifest: _is_shorter(manifest, revision)) if may_clear else None
    if found or info.loading:
        await restoring.load(js, store, pool, found, revision)
        revision = found.after if found else 0
        log.info("pool %s: %d keys loaded; going on from revision %d", pool, found.keys if found else 0, revision)
    await restoring.replay(store, pool, read_ledger(js, pool, revision))


def _is_shorter(manifest: Manifest, revision: int) -> bool:
    return (manifest.after - revision) * FIELDS_AN_ENTRY > manifest.fields
