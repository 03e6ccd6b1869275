"""The role `relay`: opens each pool for the run of its store, then carries its ledger to JetStream as it grows."""

import asyncio
import contextlib
import logging
from datetime import UTC, datetime
from typing import Final

from nats.js import JetStreamContext

from atp import limits
from atp.errors import AtpError, RefusedError, StoreRefusedError, StoreUnavailableError
from atp.exceptions import PublishedException, State, sentence
from atp.model.status import ExceptionReason, Status
from atp.seldom import Seldom
from atp.store import Store, Stores
from consumers import exceptions
from consumers.connection import AWAY, Outage, pause
from consumers.ledger_reader import LedgerGapError
from consumers.ledger_writer import PositionLostError
from consumers.metrics import ConsumerMetrics
from consumers.opening import SplitHistoryError, open_pool
from consumers.pools import Pools
from consumers.publisher import Publisher, StaleStoreError

log = logging.getLogger(__name__)

IDLE_S: Final = 0.02  # between looks at a ledger that has nothing new
GATHER_S: Final = 0.01  # after a batch that was not full: the next one has time to fill
STANDBY_S: Final = 1.0  # after another relay was first


async def relay(js: JetStreamContext, stores: Stores, pools: Pools, metrics: ConsumerMetrics, stop: asyncio.Event) -> None:
    """Until the stop, and then until what the ledgers hold is in JetStream."""
    await pools.for_each(lambda pool: PoolRelay(js, stores.of(pool), pool, metrics).run(stop), "relay", stop)


class PoolRelay:
    """One pool. Any number of relays may run: JetStream lets one at a time go on, the others stand by."""

    def __init__(self, js: JetStreamContext, store: Store, pool: str, metrics: ConsumerMetrics) -> None:
        self._js = js
        self._store = store
        self._pool = pool
        self._metrics = metrics
        self._publisher = Publisher(js, store, pool, metrics.relay)
        self._seldom = Seldom()

    async def run(self, stop: asyncio.Event) -> None:
        outage = Outage(f"the relay of pool {self._pool}")
        while not await self._relay_once(stop, outage):
            if stop.is_set():
                log.warning("pool %s: stopped before all of its ledger was in JetStream; the next relay goes on", self._pool)
                return

    async def _relay_once(self, stop: asyncio.Event, outage: Outage) -> bool:
        """Starts from what JetStream has and relays until the stop (true) or until something is in the way (false)."""
        try:
            await self._work(stop, outage)
        except PositionLostError as error:
            log.debug("pool %s: %s", self._pool, error)
            await pause(stop, STANDBY_S)
        except (RefusedError, *AWAY) as error:
            await outage.wait(error, stop)
        except (SplitHistoryError, LedgerGapError, StaleStoreError) as error:
            self._metrics.relay.split.labels(self._pool).set(1)
            with contextlib.suppress(*AWAY):
                await tell_split(self._js, self._pool, error)
            await outage.wait(error, stop)
        except Exception as error:
            # Whatever is wrong with one pool, the others and the feeds go on.
            log.exception("the relay of pool %s failed", self._pool)
            await outage.wait(error, stop)
        else:
            return True
        return False

    async def _work(self, stop: asyncio.Event, outage: Outage) -> None:
        try:
            await self._start()
            outage.over()
            await self._go_on(stop)
        finally:
            self._metrics.relay.active.labels(self._pool).set(0)
            self._metrics.pools.open.labels(self._pool).set(0)

    async def _start(self) -> None:
        info = await open_pool(self._js, self._store, self._pool)
        await self._publisher.learn()
        position = self._publisher.position
        if info.revision < position.revision or info.epoch < position.epoch:
            info = await self._store.pool_info(self._pool)
        if info.open and info.epoch < position.epoch:
            raise StaleStoreError(
                f"the pool was opened at another store, and this one is still open as it was before: what is written here reaches nobody. "
                f"Lead all processes to the other, which is at epoch {position.epoch}, and stop this one, at epoch {info.epoch}"
            )
        if info.open and info.revision < position.revision:
            raise SplitHistoryError(position.revision)
        await self._tell_store()
        self._metrics.relay.split.labels(self._pool).set(0)
        await resolve_split(self._js, self._pool)

    async def _go_on(self, stop: asyncio.Event) -> None:
        """Relays until the stop, and then up to where the ledger stood at it. Raises RefusedError once the pool is not open."""
        publisher = self._publisher
        until: int | None = None
        while until is None or publisher.position.revision < until:
            info = await self._store.pool_info(self._pool)
            records = await self._store.ledger_after(self._pool, publisher.position.revision, limits.RELAY_BATCH_ENTRIES_MAX)
            if not info.open or info.revision < publisher.position.revision:
                raise RefusedError(Status.POOL_NOT_OPEN, [self._pool])
            self._metrics.pools.found(self._pool, info)
            if records:
                await publisher.publish(records)
                await self._tell_store()
            self._metrics.relay.backlog.labels(self._pool).set(max(0, info.revision - publisher.position.revision))
            if stop.is_set():
                until = info.revision if until is None else until
            elif len(records) < limits.RELAY_BATCH_ENTRIES_MAX:
                await pause(stop, GATHER_S if records else IDLE_S)

    async def _tell_store(self) -> None:
        """What JetStream has. A store that takes no writes now learns of it later: all that it holds is carried all the same."""
        try:
            await self._store.published(self._pool, self._publisher.position.revision)
        except StoreUnavailableError as error:
            if isinstance(error, StoreRefusedError) or not self._store.connected:
                raise
            if self._seldom.may_say(str(error)):
                log.warning("pool %s: the relay goes on, and %s", self._pool, error)


async def tell_split(js: JetStreamContext, pool: str, error: AtpError) -> None:
    """Publishes that a pool cannot go on; once, as long as it stands as it is."""
    text = sentence(ExceptionReason.SPLIT_HISTORY, pool=pool, detail=str(error))
    known = await exceptions.show(js, pool, ExceptionReason.SPLIT_HISTORY)
    if known is None or known.state != "open" or known.sentence != text:
        await _publish_split(js, pool, "open", text)


async def resolve_split(js: JetStreamContext, pool: str) -> None:
    """Publishes that a pool goes on, if it was said that it cannot."""
    known = await exceptions.show(js, pool, ExceptionReason.SPLIT_HISTORY)
    if known is not None and known.state == "open":
        await _publish_split(js, pool, "resolved", sentence(ExceptionReason.SPLIT_HISTORY, "resolved", pool=pool))


async def _publish_split(js: JetStreamContext, pool: str, state: State, text: str) -> None:
    now = datetime.now(UTC)
    reason = ExceptionReason.SPLIT_HISTORY
    told = PublishedException(id=reason, pool=pool, reason=reason, state=state, sentence=text, time=now)
    await exceptions.publish(js, told, f"{pool}.{reason}.{now.timestamp()}")
