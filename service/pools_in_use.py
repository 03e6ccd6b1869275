"""The pools that are called, and what their stores say of them now and then: for metrics."""

import asyncio

from atp.errors import AtpError
from atp.model.views import PoolInfo
from atp.store import Store, Stores
from service import bounds


class PoolsInUse:
    """Pools that were called in the last POOL_KEPT_S and that their store knows: at most POOLS_SHOWN_MAX."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._looks_kept = round(bounds.POOL_KEPT_S / bounds.POOL_LOOK_S)
        self._looks_left: dict[str, int] = {}
        self.known: dict[str, PoolInfo] = {}  # as at the last look; a pool whose store is away is not among them

    def called(self, pool: str) -> None:
        """Notes a call whose pool exists."""
        if pool in self._looks_left or len(self._looks_left) < bounds.POOLS_SHOWN_MAX:
            self._looks_left[pool] = self._looks_kept

    async def follow(self) -> None:
        """Looks again and again, until cancelled."""
        while True:
            await asyncio.sleep(bounds.POOL_LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Asks each pool's store once."""
        self._looks_left = {pool: left - 1 for pool, left in self._looks_left.items() if left}
        known: dict[str, PoolInfo] = {}
        away: set[Store] = set()
        for pool in list(self._looks_left):
            store = self._stores.of(pool)
            if store in away:
                continue
            try:
                async with asyncio.timeout(bounds.HEALTH_PROBE_TIMEOUT_S):
                    known[pool] = await store.pool_info(pool)
            except (AtpError, TimeoutError):
                away.add(store)  # its other pools would only take as long
        self.known = known
