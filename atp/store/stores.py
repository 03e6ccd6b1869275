"""Which store has which pool: a pool is whole in one of them, and any number of pools may share one."""

import asyncio
from collections.abc import Iterator, Mapping

from atp.store.store import Store


class Stores:
    """All stores of an installation. A pool that is not named is in the default one, which knows whether there is such a pool.

    A process that works on no store has none.
    """

    def __init__(self, default: Store | None = None, pools: Mapping[str, Store] | None = None) -> None:
        self._default = default
        self._pools = dict(pools or {})

    def of(self, pool: str) -> Store:
        store = self._pools.get(pool, self._default)
        assert store is not None, "a process without stores asks for none"
        return store

    def __iter__(self) -> Iterator[Store]:
        """Each store once."""
        return iter({id(store): store for store in (self._default, *self._pools.values()) if store is not None}.values())

    async def start(self) -> None:
        """Connects to each, or goes on trying in the background: one that is away keeps none of the others waiting."""
        await asyncio.gather(*(store.start() for store in self))

    async def close(self) -> None:
        await asyncio.gather(*(store.close() for store in self))

    @property
    def connected(self) -> bool:
        """Whether calls can be sent to any of them now."""
        return any(store.connected for store in self)
