"""The role `sweeper`: gives back holds that are due, so that stock is free again although nobody writes."""

import asyncio
import logging
import time
from typing import Final

from atp.model.status import Status
from atp.model.verbs import Context, Expire
from atp.store import ScriptError, Store, Stores
from consumers.connection import AWAY, Outage, pause
from consumers.metrics import ConsumerMetrics
from consumers.pools import Pools

log = logging.getLogger(__name__)

PERIOD_S: Final = 0.2
_EXPIRE = Expire(Context("sweeper"))


async def sweep(stores: Stores, pools: Pools, metrics: ConsumerMetrics, stop: asyncio.Event) -> None:
    """Until the stop. A pool that is not open answers so, and is asked again the next time; a store that is away harms no other."""
    await asyncio.gather(*(_sweep_store(stores, store, pools, metrics, stop) for store in stores))


async def _sweep_store(stores: Stores, store: Store, pools: Pools, metrics: ConsumerMetrics, stop: asyncio.Event) -> None:
    outage = Outage("the sweeper")
    while not stop.is_set():
        try:
            for pool in sorted(name for name in pools.names if stores.of(name) is store):
                if await _swept(store, pool):
                    metrics.last_sweep.labels(pool).set(time.time())
        except AWAY as error:
            await outage.wait(error, stop)
        else:
            outage.over()
            await pause(stop, PERIOD_S)


async def _swept(store: Store, pool: str) -> bool:
    """Whether all holds of the pool that were due are given back."""
    try:
        return (await store.write(pool, _EXPIRE)).status == Status.OK
    except ScriptError:
        log.exception("pool %s cannot be swept", pool)  # the other pools go on
        return False
