"""Where the NATS face is put together: connects, runs the roles asked for, and drains them when it is told to end."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry

from atp.errors import InvalidRequestError, Violation
from atp.observed import Readiness, Tracer
from atp.store import Stores
from consumers import ways_in
from consumers.apply import apply_feeds
from consumers.auditor import audit
from consumers.checkpoint_role import Cadence, keep_checkpoints
from consumers.connection import Client, NatsSettings, Outage, close, connect, pause
from consumers.drift_role import DriftSettings, watch_drift
from consumers.metrics import ConsumerMetrics
from consumers.pools import Pools
from consumers.relay import relay
from consumers.sweeper import sweep
from consumers.ways_in import WaysIn, take_in

log = logging.getLogger(__name__)

ROLES: Final = ("feeds", "relay", "sweeper", "auditor", "drift", *ways_in.ROLES)
_READY_POLL_S: Final = 0.05


async def consume(
    role: str,
    stores: Stores,
    nats: NatsSettings | str,
    *,
    stop: asyncio.Event | None = None,
    on_ready: Callable[[], None] | None = None,
    metrics: CollectorRegistry | None = None,
    readiness: Readiness | None = None,
    tracer: Tracer | None = None,
    ways: WaysIn | None = None,
    cadence: Cadence | None = None,
    drift: DriftSettings | None = None,
) -> None:
    """Runs one of ROLES, or `all` of them, until `stop` is set or the call is cancelled; then drains and closes the stores.

    Of webhooks and files `all` are those that `ways` tells of.

    Draining: nothing more is fetched, what is in hand is finished, and a relay publishes what the ledgers hold. Servers that are away
    are waited for, at the start and later. `on_ready` is called once NATS and a store can be reached; `metrics` is where its metrics are
    registered, by one call at a time; `readiness` is told who can say whether they can be reached now; `tracer` gets a
    span of each event; `cadence` says when checkpoints are due, `drift` when pools are compared. Raises InvalidRequestError for another
    role.
    """
    if role not in {*ROLES, "all"}:
        raise InvalidRequestError([Violation("role", f"must be one of {', '.join(ROLES)} or all, is {role!r}")])
    ways = ways or WaysIn()
    ways.check({role})
    stop = stop or asyncio.Event()
    rhythms = (cadence or Cadence(), drift or DriftSettings())
    face = _Face(role, stop, ConsumerMetrics(metrics or CollectorRegistry()), readiness or Readiness(), tracer, ways, rhythms)
    work = asyncio.create_task(face.run(stores, nats, on_ready or _nobody), name=f"consume {role}")
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        stop.set()
        await work
        raise


def needs_stores(role: str) -> bool:
    """Whether a role works on a store; the others end in JetStream, and need no right to any."""
    return role not in ways_in.ROLES


def _nobody() -> None:
    """Nobody asked to be told."""


class _Face:
    def __init__(
        self,
        role: str,
        stop: asyncio.Event,
        metrics: ConsumerMetrics,
        readiness: Readiness,
        tracer: Tracer | None,
        ways: WaysIn,
        rhythms: tuple[Cadence, DriftSettings],
    ) -> None:
        self._role = role
        self._roles = set(ROLES) - set(ways_in.ROLES) | ways.configured if role == "all" else {role}
        self._ways = ways
        self._stop = stop
        self._metrics = metrics
        self._readiness = readiness
        self._tracer = tracer
        self._cadence, self._drift = rhythms

    async def run(self, stores: Stores, nats: NatsSettings | str, on_ready: Callable[[], None]) -> None:
        try:
            await stores.start()
            if connection := await self._connect(nats):
                self._metrics.nats.connection = connection
                self._readiness.answered_by(partial(self._why_not_ready, connection, stores))
                try:
                    await self._work(connection, stores, on_ready)
                finally:
                    await close(connection)
        finally:
            await stores.close()

    async def _connect(self, nats: NatsSettings | str) -> Client | None:
        """The connection, or none if the stop came first."""
        connecting = asyncio.create_task(connect(nats, f"atp {self._role}"))
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({connecting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return connecting.result() if connecting.done() else None
        finally:
            connecting.cancel()
            stopping.cancel()
            await asyncio.gather(connecting, stopping, return_exceptions=True)

    async def _work(self, connection: Client, stores: Stores, on_ready: Callable[[], None]) -> None:
        """The intake ends at the stop; the relay a little later, so that it carries what the intake has made."""
        js = connection.jetstream()
        pools = Pools(js)
        intake_done = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            ready = group.create_task(self._tell_ready(stores, on_ready))
            intake = [ready]
            if needs_stores(self._role):
                intake.append(group.create_task(pools.follow(self._stop)))
            if self._roles & set(ways_in.ROLES):
                intake.append(group.create_task(take_in(self._roles, connection, self._ways, self._metrics.incoming, self._stop)))
            if "feeds" in self._roles:
                intake.append(group.create_task(apply_feeds(connection, stores, pools, self._metrics.feeds, self._stop, self._tracer)))
            if "sweeper" in self._roles:
                intake.append(group.create_task(sweep(stores, pools, self._metrics, self._stop)))
            if "auditor" in self._roles:
                alone = self._roles == {"auditor"}
                intake.append(group.create_task(audit(js, pools, self._metrics, self._stop, alone=alone)))
                keeping = keep_checkpoints(js, stores, pools, self._metrics.checkpoints, self._cadence, self._stop)
                intake.append(group.create_task(keeping))
            if "drift" in self._roles:
                intake.append(group.create_task(watch_drift(js, stores, pools, self._metrics.drift, self._drift, self._stop)))
            if "relay" in self._roles:
                group.create_task(relay(js, stores, pools, self._metrics, intake_done))
            await asyncio.wait(intake)
            intake_done.set()

    def _why_not_ready(self, connection: Client, stores: Stores) -> str:
        if self._stop.is_set():
            return "it is stopping: what is in hand is finished"
        if not connection.is_connected:
            return "NATS is away"
        return "" if stores.connected or not needs_stores(self._role) else "no store can be reached"

    async def _tell_ready(self, stores: Stores, on_ready: Callable[[], None]) -> None:
        outage = Outage("the start")
        while not self._stop.is_set():
            if stores.connected or not needs_stores(self._role):
                outage.over()
                log.info("running: %s", ", ".join(sorted(self._roles)))
                on_ready()
                return
            await pause(self._stop, _READY_POLL_S)
