"""What the role `auditor` does beside auditing: takes a checkpoint of each pool whenever one is due."""

import asyncio
import logging
import time
from typing import Final, NamedTuple

from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from atp.errors import RefusedError
from atp.store import Stores
from consumers import checkpoints, ledger_writer, streams
from consumers.checkpoint_taker import take
from consumers.checkpoints import BeingTakenError, CheckpointError
from consumers.connection import AWAY, Outage, pause
from consumers.ledger_reader import LedgerGapError
from consumers.metrics import CheckpointMetrics
from consumers.pools import Pools

log = logging.getLogger(__name__)

LOOK_S: Final = 10.0  # between looks at whether one is due
AGAIN_S: Final = 300.0  # after one that came to nothing, or that another process takes


class Cadence(NamedTuple):
    """When a checkpoint is due: so long after the last, or so many entries behind it, if there are any; 0: not for that reason."""

    hours: float = 6.0
    entries: int = 1_000_000


async def keep_checkpoints(
    js: JetStreamContext, stores: Stores, pools: Pools, metrics: CheckpointMetrics, cadence: Cadence, stop: asyncio.Event
) -> None:
    """Until the stop. Any number may run: of two that begin at a time, one gives way."""
    await pools.for_each(lambda pool: _Keeper(js, stores, pool, metrics, cadence).run(stop), "checkpoints", stop)


class _Keeper:
    def __init__(self, js: JetStreamContext, stores: Stores, pool: str, metrics: CheckpointMetrics, cadence: Cadence) -> None:
        self._js = js
        self._store = stores.of(pool)
        self._pool = pool
        self._metrics = metrics
        self._cadence = cadence

    async def run(self, stop: asyncio.Event) -> None:
        outage = Outage(f"the checkpoints of pool {self._pool}")
        while not stop.is_set():
            rest_s = LOOK_S
            try:
                if await self._is_due():
                    await self._take(stop)
            except AWAY as error:
                await outage.wait(error, stop)
                continue
            except BeingTakenError as error:
                rest_s = AGAIN_S
                log.info("pool %s: %s", self._pool, error)
            except (CheckpointError, LedgerGapError, RefusedError) as error:
                rest_s = AGAIN_S
                if not stop.is_set():
                    log.warning("pool %s has no new checkpoint, the next try is in %d s: %s", self._pool, AGAIN_S, error)
            except Exception:
                # Whatever is wrong with one pool, the other pools and the other roles go on.
                rest_s = AGAIN_S
                log.exception("the checkpoints of pool %s failed; the next try is in %d s", self._pool, AGAIN_S)
            outage.over()
            await pause(stop, rest_s)

    async def _is_due(self) -> bool:
        try:
            stream = await self._js.stream_info(streams.checkpoint_stream(self._pool))
        except NotFoundError as error:
            raise CheckpointError(f"JetStream keeps none: provision pool {self._pool} again (atp provision FILE)") from error
        found = await checkpoints.manifests(self._js, self._pool)
        whole, since_s = 0, stream.created.timestamp() if stream.created else time.time()
        if found:
            whole, since_s = found[0].whole, found[0].taken_ms / 1000
            self._metrics.stands(found[0])
        behind = (await ledger_writer.last_position(self._js, self._pool)).revision - whole
        hours, entries = self._cadence
        return behind > 0 and (0 < entries <= behind or 0 < hours * 3600 <= time.time() - since_s)

    async def _take(self, stop: asyncio.Event) -> None:
        taken = await take(self._js, self._store, self._pool, stop=stop)
        self._metrics.stands(taken)
        said = (taken.whole, taken.keys, taken.bytes / 1e6, taken.took_s)
        log.info("pool %s: checkpoint of revision %d taken: %d keys, %.1f MB, %.1f s", self._pool, *said)
