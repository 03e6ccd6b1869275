"""Health of the service: SERVING while a store answers, NOT_SERVING while none does."""

import asyncio
import logging
from typing import Final

from grpc_health.v1 import health, health_pb2

from atp.errors import StoreUnavailableError
from atp.store import Store, Stores
from service import bounds
from service.methods import SERVICES

_NAMES: Final = (health.OVERALL_HEALTH, *SERVICES)
#: SERVING from the start to the stop, whatever the stores do: by it a client learns to go elsewhere, and still hears from us of a store.
TAKES_CALLS: Final = "takes-calls"
_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
_PROBE_POOL: Final = "-"  # any name will do: that it is answered is what matters
_log = logging.getLogger(__name__)


class StoreHealth:
    """Keeps a health servicer true to what the stores say."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._serving: bool | None = None
        self._stopping = False
        self.servicer = health.aio.HealthServicer()

    async def follow(self) -> None:
        """Looks at the stores again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(bounds.HEALTH_PROBE_S)

    async def look(self) -> None:
        """Asks each store once, and tells."""
        if self._serving is None:
            await self.servicer.set(TAKES_CALLS, _SERVING)
        serving = any(await asyncio.gather(*map(_answers, self._stores)))
        if serving != self._serving:
            self._serving = serving
            _log.log(logging.INFO if serving else logging.WARNING, "a store answers" if serving else "no store answers")
            for name in _NAMES:
                await self.servicer.set(name, _SERVING if serving else _NOT_SERVING)

    def why_not(self) -> str:
        """Why calls should go elsewhere; empty if they should come."""
        if self._stopping:
            return "it is stopping: calls under way are finished, new ones should go elsewhere"
        return "" if self._serving else "no store answers"

    async def stop(self) -> None:
        """NOT_SERVING from now on."""
        self._stopping = True
        await self.servicer.enter_graceful_shutdown()


async def _answers(store: Store) -> bool:
    if not store.connected:
        return False
    try:
        async with asyncio.timeout(bounds.HEALTH_PROBE_TIMEOUT_S):
            await store.pool_info(_PROBE_POOL)
    except (StoreUnavailableError, TimeoutError):
        return False
    return True
