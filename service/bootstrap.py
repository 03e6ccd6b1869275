"""The composition root of the gRPC face: makes the parts, runs them, and ends them in order."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from atp.intake import Intake
from atp.store import Stores
from service import bounds, listen, tls
from service.auth import Authenticate, authenticator
from service.call import LOCAL, Identity
from service.grpc_shell import MethodsHandler
from service.health import StoreHealth
from service.inventory import NoIntake
from service.listen import ListenError
from service.methods import SERVICES, methods
from service.metrics import ServiceMetrics
from service.observers import Observers
from service.pools_in_use import PoolsInUse
from service.settings import ServiceSettings

_OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    ("grpc.so_reuseport", 0),  # else a second server takes half the calls of the first, silently
    # By itself gRPC drops calls it has not handed over beyond 1,000, with a bare CANCELLED.
    ("grpc.server.max_pending_requests", bounds.CALLS_MAX),
    ("grpc.server.max_pending_requests_hard_limit", 2 * bounds.CALLS_MAX),
    ("grpc.server_handshake_timeout_ms", round(bounds.HANDSHAKE_S * 1000)),
    ("grpc.http2.min_ping_interval_without_data_ms", bounds.KEEPALIVE_MS_MIN),  # by itself gRPC drops who asks more than every 5 minutes
    ("grpc.max_receive_message_length", bounds.REQUEST_BYTES_MAX),
    ("grpc.max_send_message_length", bounds.RESPONSE_BYTES_MAX),
)


def build(
    stores: Stores, intake: Intake, authenticate: Authenticate, observers: Observers
) -> tuple[grpc.aio.Server, StoreHealth, PoolsInUse]:
    """A server, not yet started or bound to an address, the health that health and reflection tell to anyone, and the pools it knows of."""
    server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=bounds.CALLS_MAX)
    table = methods(stores, intake)
    metrics = ServiceMetrics(table.values(), stores, observers.metrics)
    server.add_generic_rpc_handlers((MethodsHandler(table, authenticate, metrics, observers.tracer),))
    store_health = StoreHealth(stores)
    observers.readiness.answered_by(store_health.why_not)
    health_pb2_grpc.add_HealthServicer_to_server(store_health.servicer, server)
    reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    return server, store_health, metrics.pools


@contextlib.asynccontextmanager
async def running(
    stores: Stores,
    settings: ServiceSettings,
    *,
    intake: Intake | None = None,
    identity: Identity = LOCAL,
    observers: Observers | None = None,
) -> AsyncIterator[str]:
    """Serves while the block runs, at the address it is given; at its end it says so, and finishes the calls under way.

    Every caller is `identity` where the settings know no callers; without an intake no events are taken. Raises ListenError and
    SettingsError.
    """
    address = listen.address(settings)
    credentials = tls.credentials(settings.tls) if settings.tls else None
    server, store_health, pools = build(stores, intake or NoIntake(), authenticator(settings, identity), observers or Observers())
    try:
        port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    except RuntimeError as error:
        why = "something else listens there, or it is no address of this machine"
        raise ListenError(f"cannot listen on {address}: {why}. Choose another: --listen, or service.listen") from error
    await store_health.look()
    await server.start()
    following = [asyncio.create_task(part.follow(), name=name) for name, part in (("health", store_health), ("pools", pools))]
    try:
        yield f"{address.rpartition(':')[0]}:{port}"
    finally:
        await store_health.stop()
        await asyncio.sleep(bounds.NOTICE_S)
        await server.stop(bounds.DRAIN_S)
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)


def _run_in_batches() -> None:
    """Asks Linux not to let one of our threads interrupt another at every wake-up: a fifth more calls on a core (docs/adr/0005)."""
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(PermissionError):  # a sandbox may forbid it: slower, nothing else
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


async def serve(
    stores: Stores,
    settings: ServiceSettings,
    on_ready: Callable[[str], None],
    *,
    intake: Intake | None = None,
    observers: Observers | None = None,
) -> None:
    """Serves until cancelled, then drains and closes the stores. `on_ready` is told the address once calls are taken.

    A store that is away does not keep the service from starting: calls to its pools fail with STORE_UNAVAILABLE until it is there, and
    health says NOT_SERVING while all are away. Nor does an intake that is away: it keeps events out, and nothing else. Raises ListenError
    and SettingsError.
    """
    _run_in_batches()
    try:
        await stores.start()
        async with running(stores, settings, intake=intake, observers=observers) as address:
            on_ready(address)
            await asyncio.Event().wait()
    finally:
        await stores.close()
