"""Each alert of the stock is made to fire, on metrics of real processes, and to fall silent: overcommitted, needing a person, drifting."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from cli.embedded import NatsServer, StoreServer
from tests.e2e.consuming import adjust, consuming, engine, envelope, items, quick_store, receipt, running, shows, stock
from tests.e2e.scraping import Prometheus
from tests.e2e.test_drift import books, watching


@pytest.fixture(scope="module")
def store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with quick_store(tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One of its own: the consumers of these tests serve every pool that it knows."""
    with NatsServer(tmp_path_factory.mktemp("nats"), sync_interval="10s") as server:
        yield server


def test_more_is_promised_than_is_there(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with running("overcommitted", store_server, nats_server) as made, consuming("auditor", made, store_server, nats_server):
            seen = Prometheus(made.metrics)
            await stock(made, 10)
            await made.reserve("R", "A", 10)
            await adjust(made, 2, -4)
            found = await seen.fires("Overcommitted", pool=made.pool)
            assert "more is promised than is there, in 1 places" in found.summary
            await seen.quiet("ExceptionsWaiting", pool=made.pool)
            await adjust(made, 3, 4)
            await seen.quiet("Overcommitted", pool=made.pool)

    asyncio.run(scenario())


def test_an_exception_that_waits_for_a_person(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with running("exception", store_server, nats_server) as made:
            seen = Prometheus(made.metrics)
            await made.send(receipt(1, {"A": 1}, node="N9"))
            await made.send(receipt(1, {"B": 1}))
            found = await seen.fires("ExceptionsWaiting", pool=made.pool, reason="UNKNOWN_NODE")
            assert found.summary == "1 exceptions of pool exception wait for a person, reason UNKNOWN_NODE."
            await seen.fires("ExceptionsWaiting", pool=made.pool, reason="UNKNOWN_SKU")
            await made.send(items(1, "B"))
            await seen.quiet("ExceptionsWaiting", pool=made.pool, reason="UNKNOWN_SKU")

    asyncio.run(scenario())


def test_another_source_that_tells_another_stock(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with engine("drifts", store_server, nats_server) as made, consuming("feeds", made, store_server, nats_server):
            lines = [{"sku": "A", "cost": {"amount": 50_000, "currency": "EUR"}}, {"sku": "B"}]
            await made.send(envelope("item_registered", "erp", {"sequence": 1, "lines": lines}))
            await made.send(receipt(1, {"A": 10, "B": 200}))
            await made.has("B", 200)
            async with watching(made, store_server, nats_server), consuming("auditor", made, store_server, nats_server):
                seen = Prometheus(made.metrics)
                await books(made, 2, datetime.now(UTC), A=10, B=200)
                await shows(made, 2, "atp_drift_compared", pool=made.pool)
                await seen.quiet("StockDrifts", pool=made.pool)
                await seen.quiet("StockDriftsUnits", pool=made.pool)
                await books(made, 3, datetime.now(UTC), A=7, B=50)
                found = await seen.fires("StockDrifts", pool=made.pool)
                assert found.summary == "What erp says of the stock at N1 differs from what is promised from by 1500 EUR (pool drifts)."
                assert "by 153 units" in (await seen.fires("StockDriftsUnits", pool=made.pool)).summary
                await shows(made, 1, "atp_exceptions_open", pool=made.pool, reason="DRIFT")
                await seen.quiet("ExceptionsWaiting", pool=made.pool)  # it has alerts of its own
                await books(made, 4, datetime.now(UTC), A=10, B=200)
                await seen.quiet("StockDrifts", pool=made.pool)
                await seen.quiet("StockDriftsUnits", pool=made.pool)

    asyncio.run(scenario())
