"""The role `drift`: compares what sources say with the stock again and again, and says where they differ and where they agree again."""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Final, NamedTuple

from nats.js import JetStreamContext
from nats.js.errors import BadRequestError

from atp.drift import Drifts, NodeSource, Sums, Tolerance, in_own_units
from atp.exceptions import PublishedException, State, sentence
from atp.model.status import ExceptionReason
from atp.store import Stores
from atp.words import counted
from consumers import exceptions
from consumers.connection import AWAY, Outage, pause
from consumers.drift_reader import DriftReader
from consumers.metrics import DriftMetrics
from consumers.pools import Pools

log = logging.getLogger(__name__)

REST_S: Final = 0.02  # between pages: nobody waits for it
AGAIN_S: Final = 5.0  # while a pool is not open


class DriftSettings(NamedTuple):
    """How often pools are compared, 0 for never, and what nobody need look at."""

    every_minutes: float = 15.0
    tolerance: Tolerance = Tolerance()


async def watch_drift(
    js: JetStreamContext, stores: Stores, pools: Pools, metrics: DriftMetrics, settings: DriftSettings, stop: asyncio.Event
) -> None:
    """Until the stop. Any number may run: all find the same, and of two that tell it at a time one is heard."""
    if settings.every_minutes:
        await pools.for_each(lambda pool: _Watcher(js, stores, pool, metrics, settings).run(stop), "drift", stop)


class _Watcher:
    def __init__(self, js: JetStreamContext, stores: Stores, pool: str, metrics: DriftMetrics, settings: DriftSettings) -> None:
        self._js = js
        self._store = stores.of(pool)
        self._pool = pool
        self._metrics = metrics
        self._settings = settings

    async def run(self, stop: asyncio.Event) -> None:
        outage = Outage(f"the drift of pool {self._pool}")
        while not stop.is_set():
            rest_s = self._settings.every_minutes * 60
            try:
                if found := await self._compare(stop):
                    self._metrics.found(self._pool, found.sums)
                    await self._tell(found)
                else:
                    rest_s = min(rest_s, AGAIN_S)
            except AWAY as error:
                await outage.wait(error, stop)
                continue
            except Exception:
                # Whatever is wrong with one pool, the other pools and the other roles go on.
                log.exception("the drift of pool %s was not found out; the next try is in its turn", self._pool)
            outage.over()
            await pause(stop, rest_s)

    async def _compare(self, stop: asyncio.Event) -> Drifts | None:
        """One pass; none if the stop comes first, or the pool is not open: it may be half there."""
        if not (await self._store.pool_info(self._pool)).open:
            return None
        found = Drifts(self._settings.tolerance)
        async for _ in DriftReader(self._store, self._pool, found, rest_s=REST_S).pages():
            if stop.is_set():
                return None
        return found

    # --- telling --------------------------------------------------------------------------------------------------
    async def _tell(self, found: Drifts) -> None:
        for where, sums in found.sums.items():
            await self._tell_of(where, sums)
        open_ones = await exceptions.list_standing(self._js, pool=self._pool, state="open", reason=ExceptionReason.DRIFT)
        for one in (one.exception for one in open_ones):
            if (one.node, one.source) not in found.sums:  # nothing is said any more that could differ
                await self._tell_of((one.node, one.source), Sums())

    async def _tell_of(self, where: NodeSource, sums: Sums) -> None:
        """Once as long as it stands; and that it stands no longer. What a person has ended is told again once it had been well."""
        known = await exceptions.standing(self._js, self._pool, exception_id(where))
        if sums.beyond and (known is None or (known.exception.state == "resolved" and not known.exception.resolution)):
            await self._publish(where, "open", sums, known)
        elif not sums.beyond and known and (known.exception.state == "open" or known.exception.resolution):
            await self._publish(where, "resolved", sums, known)

    async def _publish(self, where: NodeSource, state: State, sums: Sums, known: exceptions.Standing | None) -> None:
        node, source = where
        sku = sums.worst.sku if sums.worst else known.exception.sku if known else ""
        told = PublishedException(
            id=exception_id(where),
            pool=self._pool,
            reason=ExceptionReason.DRIFT,
            state=state,
            sentence=sentence(ExceptionReason.DRIFT, state, node=node, source=source, detail=in_words(sums, sku)),
            time=datetime.now(UTC),
            sku=sku,
            node=node,
            source=source,
            cause=source,
            quantity=sums.units,
        )
        behind = known.sequence if known else 0
        try:
            await exceptions.publish(self._js, told, f"{self._pool}.{told.id}.{behind}.{state}", after=behind)
        except BadRequestError:
            log.info("pool %s: another process has told of %s", self._pool, told.id)


def exception_id(where: NodeSource) -> str:
    node, source = where
    return f"drift:{node}:{source}"


def in_words(sums: Sums, sku: str) -> str:
    """How much differs, for people."""
    worth = [f"{in_own_units(one.gross, currency):,.2f} {currency}" for currency, one in sorted(sums.worth.items())]
    without = f"{sums.without_cost:,} without a known cost" if sums.without_cost else ""
    value = ", ".join([*worth, without] if without else worth)
    return f"a difference of {counted(sums.units, 'unit')} over {counted(sums.beyond, 'SKU')} ({value}), {sku} the most"
