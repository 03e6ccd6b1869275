"""What Prometheus is told of calls and stores, and that docs/observability.md lists just that."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from prometheus_client import CollectorRegistry

from atp.observed import Readiness
from atp.store import Store, Stores
from cli.embedded import StoreServer
from cli.observe import process_metrics
from cli.observe.heartbeat import Heartbeat
from inventory.availability.v1 import reservation_service_pb2 as rp
from inventory.availability.v1.reservation_pb2 import Want
from inventory.availability.v1.reservation_service_pb2_grpc import ReservationServiceStub
from service import bootstrap, bounds
from service.errors import ERRORS, PROBLEMS
from service.observers import Observers
from service.pools_in_use import PoolsInUse
from service.settings import ServiceSettings
from tests.conftest import start_store
from tests.contract.conftest import Engine, Shop, until
from tests.issuer import Issuer

PAGE = Path(__file__).resolve().parents[2] / "docs/observability.md"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StoreServer]:
    """A store of this test's own, to be killed."""
    with start_store("valkey", tmp_path) as server:
        yield server


@pytest.fixture
def own(runner: asyncio.Runner, server: StoreServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An engine that nobody has called, which looks at its pools all the time."""
    monkeypatch.setattr(bounds, "POOL_LOOK_S", 0.01)
    engine = Engine(runner, server.url)
    yield engine
    engine.close()


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


def calls(engine: Engine, method: str) -> dict[str, float]:
    """Calls of a method by outcome."""
    found = [sample for metric in engine.observers.metrics.collect() for sample in metric.samples if sample.name == "atp_calls_total"]
    return {sample.labels["outcome"]: sample.value for sample in found if sample.labels["method"] == method}


def of_stores(stores: Stores) -> CollectorRegistry:
    registry = CollectorRegistry()
    process_metrics.register(registry, stores, Heartbeat(lambda: None), Readiness())
    return registry


# --- calls --------------------------------------------------------------------------------------------------------------
def test_calls_are_counted_by_what_the_business_said_and_by_why_they_failed(own: Engine) -> None:
    shop = Shop(own)
    shop.reserve(("A", 1), rid="one")
    shop.reserve(("A", 1), rid="one")
    shop.reserve(("A", 1_000))
    shop.available(("A", 1))
    shop.get("one")
    with shop.fails("NOT_FOUND", "UNKNOWN_RESERVATION"):
        shop.confirm("none")
    with pytest.raises(grpc.aio.AioRpcError):
        own.raw("ReservationService/Reserve", b"\xff")
    told = {
        "Reserve": {"OK": 2, "INSUFFICIENT_STOCK": 1, "MALFORMED": 1},
        "BatchGetAvailability": {"OK": 1},
        "GetReservation": {"OK": 1},
        "Confirm": {"UNKNOWN_RESERVATION": 1},
    }
    own.run(until(lambda: {method: calls(own, method) for method in told} == told, f"they are {told}"))


def test_every_call_has_its_time_in_one_bucket_and_none_is_left_in_flight(own: Engine) -> None:
    shop = Shop(own)
    for _ in range(5):
        shop.reserve(("A", 1))
    registry = own.observers.metrics
    assert value(registry, "atp_call_seconds_count", method="Reserve") == 5
    assert value(registry, "atp_call_seconds_bucket", method="Reserve", le="+Inf") == 5
    assert 0 < (value(registry, "atp_call_seconds_sum", method="Reserve") or 0) < 5 * 20
    assert value(registry, "atp_calls_in_flight", method="Reserve") == 0


def test_a_caller_who_goes_away_is_counted_and_leaves_nothing_in_flight(own: Engine, server: StoreServer) -> None:
    shop, registry = Shop(own), own.observers.metrics
    server.pause()

    async def go_away() -> None:
        call = own.reservations.Reserve(rp.ReserveRequest(pool=shop.pool, channel="web", lines=[Want(sku="A", quantity=1)]), timeout=20)
        await until(lambda: value(registry, "atp_calls_in_flight", method="Reserve") == 1, "it is in flight")
        call.cancel()
        await until(lambda: calls(own, "Reserve") == {"CANCELLED": 1}, "it is counted")

    try:
        own.run(go_away())
    finally:
        server.resume()
    assert value(registry, "atp_calls_in_flight", method="Reserve") == 0


def test_labels_are_bounded_by_code(own: Engine) -> None:
    shop = Shop(own)
    for number in range(10):
        with pytest.raises(grpc.aio.AioRpcError):
            shop.available(("A", 1), pool=f"nobody-{number}")
    own.run(asyncio.sleep(0.05))
    texts = {text for metric in own.observers.metrics.collect() for sample in metric.samples for text in sample.labels.values()}
    assert not [text for text in texts if "nobody" in text]
    assert set(calls(own, "BatchGetAvailability")) == {"UNKNOWN_POOL"} <= set(ERRORS)


def test_callers_who_cannot_show_who_they_are_are_counted_by_what_is_wrong(engine: Engine, tmp_path: Path) -> None:
    observers, issuer = Observers(), Issuer(tmp_path)

    async def ask() -> None:
        settings = ServiceSettings(token=issuer.settings)
        async with (
            bootstrap.running(engine.stores, settings, observers=observers) as address,
            grpc.aio.insecure_channel(address) as channel,
        ):
            for authorization in ((), (("authorization", "Bearer no.such.token"),), (("authorization", f"Bearer {issuer.token(exp=1)}"),)):
                with pytest.raises(grpc.aio.AioRpcError):
                    await ReservationServiceStub(channel).Reserve(rp.ReserveRequest(), metadata=authorization)

    engine.run(ask())
    told = {problem: value(observers.metrics, "atp_auth_failures_total", problem=problem) for problem in PROBLEMS}
    assert told == {**dict.fromkeys(PROBLEMS, 0), "missing": 1, "malformed": 1, "expired": 1}
    assert value(observers.metrics, "atp_calls_total", method="Reserve", outcome="UNAUTHENTICATED") == 3


# --- pools --------------------------------------------------------------------------------------------------------------
def test_a_pool_that_is_called_is_told_with_its_revision_and_when_it_is_closed(own: Engine) -> None:
    shop, registry = Shop(own), own.observers.metrics
    revision = shop.reserve(("A", 1)).revision
    own.run(until(lambda: value(registry, "atp_pool_revision", pool=shop.pool) == revision, "its revision"))
    assert value(registry, "atp_pool_open", pool=shop.pool) == 1
    own.run(own.store.close_pool(shop.pool, 1))
    own.run(until(lambda: value(registry, "atp_pool_open", pool=shop.pool) == 0, "it is closed"))


def test_a_pool_that_takes_no_call_since_it_is_closed_is_told_too(own: Engine) -> None:
    shop, registry = Shop(own), own.observers.metrics
    own.run(own.store.close_pool(shop.pool, 1))
    with shop.fails("UNAVAILABLE", "POOL_NOT_OPEN"):
        shop.reserve(("A", 1))
    own.run(until(lambda: value(registry, "atp_pool_open", pool=shop.pool) == 0, "it is closed"))


def test_a_pool_that_nobody_calls_any_more_is_forgotten(own: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "POOL_KEPT_S", 0.02)
    pools = PoolsInUse(own.stores)
    shop = Shop(own)
    pools.called(shop.pool)
    looks = []
    for _ in range(3):
        own.run(pools.look())
        looks.append(list(pools.known))
    assert looks == [[shop.pool], [shop.pool], []]


def test_no_more_pools_are_named_than_the_bound_allows(own: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "POOLS_SHOWN_MAX", 2)
    shops = [Shop(own) for _ in range(3)]
    for shop in shops:
        shop.reserve(("A", 1))
    registry = own.observers.metrics
    own.run(until(lambda: value(registry, "atp_pool_open", pool=shops[1].pool) == 1, "the second"))
    assert value(registry, "atp_pool_open", pool=shops[2].pool) is None


# --- stores -------------------------------------------------------------------------------------------------------------
def test_a_store_tells_round_trips_failures_and_reconnects(own: Engine, server: StoreServer) -> None:
    shop, registry, store = Shop(own), of_stores(own.stores), own.store.where
    shop.reserve(("A", 1))
    assert value(registry, "atp_store_connected", store=store) == 1
    assert value(registry, "atp_store_round_trip_seconds_count", store=store, script="reserve") == 1
    server.kill()
    own.run(until(lambda: value(registry, "atp_store_connected", store=store) == 0, "it is away"))
    with pytest.raises(grpc.aio.AioRpcError):
        shop.reserve(("A", 1))
    assert value(registry, "atp_store_failures_total", store=store, reason="unavailable") == 1
    server.start()
    own.run(until(lambda: value(registry, "atp_store_connected", store=store) == 1, "it is back"))
    assert value(registry, "atp_store_reconnects_total", store=store) == 1
    assert value(registry, "atp_store_calls_in_flight", store=store) == 0


def test_two_stores_at_one_place_are_told_apart(runner: asyncio.Runner) -> None:
    async def names() -> set[str]:
        stores = Stores(Store("redis://127.0.0.1:1/1"), {"north": Store("redis://127.0.0.1:1/1"), "south": Store("redis://127.0.0.1:1")})
        samples = [sample for metric in of_stores(stores).collect() for sample in metric.samples if sample.name == "atp_store_connected"]
        await stores.close()
        return {sample.labels["store"] for sample in samples}

    assert runner.run(names()) == {"127.0.0.1:1/1", "127.0.0.1:1/1 #2", "127.0.0.1:1"}


# --- the page -----------------------------------------------------------------------------------------------------------
def documented(heading: str) -> set[str]:
    """The metrics in the table under a heading of the page."""
    _, _, section = PAGE.read_text().partition(f"\n## {heading}\n")
    assert section, f"there is no {heading!r} in the page"
    return set(re.findall(r"^\| `([a-z_]+)` \|", section.partition("\n## ")[0], re.MULTILINE))


def told(registry: CollectorRegistry) -> set[str]:
    return {
        f"{metric.name}_total" if metric.type == "counter" else f"{metric.name}_info" if metric.type == "info" else metric.name
        for metric in registry.collect()
    }


def test_the_page_lists_the_metrics_of_the_service(engine: Engine) -> None:
    assert documented("Metrics of the service") == told(engine.observers.metrics)


def test_the_page_lists_the_metrics_of_every_process(engine: Engine) -> None:
    assert documented("Metrics of every process") == told(of_stores(engine.stores))
