"""Each alert of the engine is made to fire, on metrics of real processes, and to fall silent where it can: pool, ledger, rules, service."""

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from atp.model.verbs import Adjust, Figures
from cli.embedded import NatsServer, StoreServer
from consumers.checkpoint_taker import take
from service import bounds
from tests.contract.conftest import Engine as Service
from tests.contract.conftest import Shop
from tests.e2e.consuming import CONTEXT, consuming, engine, publish_as_a_relay_that_dies, quick_store, shows, stock
from tests.e2e.scraping import BACKLOG, Prometheus
from tests.e2e.test_auditor import audited, bring_up, write_behind_its_back


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service looks at its pools all the time."""
    monkeypatch.setattr(bounds, "POOL_LOOK_S", 0.01)


@pytest.fixture(scope="module")
def store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with quick_store(tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One of its own: the consumers of these tests serve every pool that it knows."""
    with NatsServer(tmp_path_factory.mktemp("nats"), sync_interval="10s") as server:
        yield server


# --- a pool and its ledger -----------------------------------------------------------------------------------------
def test_a_pool_whose_store_is_away_is_not_open(tmp_path: Path, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        with StoreServer(tmp_path) as own_server:
            async with engine("shut", own_server, nats_server) as made, consuming("relay", made, own_server, nats_server):
                seen = Prometheus(made.metrics)
                await shows(made, 1, "atp_pool_open", pool=made.pool)
                await seen.quiet("PoolNotOpen", pool=made.pool)
                own_server.kill()
                await seen.fires("PoolNotOpen", pool=made.pool)
                own_server.start()
                await seen.quiet("PoolNotOpen", pool=made.pool)

    asyncio.run(scenario())


def test_a_store_and_a_ledger_that_tell_two_stories(tmp_path: Path, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        with quick_store(tmp_path) as own_server:
            async with engine("split", own_server, nats_server) as made, consuming("relay", made, own_server, nats_server):
                seen = Prometheus(made.metrics)
                await stock(made)
                await made.relayed()
                await seen.quiet("SplitHistory", pool=made.pool)
                await made.store._command("HSET", f"{{{made.pool}}}:pool", "run", "an-earlier-run", "rev", 1_000)
                await seen.fires("SplitHistory", pool=made.pool)
                await made.store._command("FLUSHALL")
                await seen.quiet("SplitHistory", pool=made.pool)

    asyncio.run(scenario())


def test_a_counter_that_is_no_sum_and_a_rule_that_was_broken(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with engine("bent", store_server, nats_server) as made, consuming("auditor", made, store_server, nats_server):
            seen = Prometheus(made.metrics)
            await stock(made)
            await publish_as_a_relay_that_dies(made)
            await audited(made)
            await seen.quiet("CountsNotSums", pool=made.pool)
            await seen.quiet("AuditViolations", pool=made.pool)
            await write_behind_its_back(made, reserved=5)
            await seen.fires("CountsNotSums", pool=made.pool)
            await seen.fires("AuditViolations", pool=made.pool, rule="2")
            await shows(made, 1, "atp_exceptions_open", pool=made.pool, reason="RULE_BROKEN")
            await seen.quiet("ExceptionsWaiting", pool=made.pool)  # it has alerts of its own

    asyncio.run(scenario())


def test_a_rule_that_was_broken_before_an_auditor_began_waits_for_a_person(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with engine("bent-before", store_server, nats_server) as made:
            await stock(made)
            await publish_as_a_relay_that_dies(made)
            await write_behind_its_back(made, reserved=5)
            async with consuming("auditor", made, store_server, nats_server):
                await made.exception("rule:2")
            made.metrics.clear()
            await write_behind_its_back(made, reserved=0)
            await bring_up(made)
            await take(made.js, made.store, made.pool)
            async with consuming("auditor", made, store_server, nats_server):
                seen = Prometheus(made.metrics)
                await audited(made)
                await seen.quiet("AuditViolations", pool=made.pool)
                await seen.fires("ExceptionsWaiting", pool=made.pool, reason="RULE_BROKEN")

    asyncio.run(scenario())


# --- the service --------------------------------------------------------------------------------------------------
@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def test_a_ledger_that_no_relay_carries(runner: asyncio.Runner, store_server: StoreServer) -> None:
    service = Service(runner, store_server.url)
    shop, seen = Shop(service), Prometheus([service.observers.metrics])
    sequence = itertools.count(1_000)

    async def change(number: int) -> None:
        events = (
            Adjust(CONTEXT, f"e{at}", "receipt", "wms", "N3", at, 1, [Figures("C", 1, 0, 0)]) for at in itertools.islice(sequence, number)
        )
        for result in await asyncio.gather(*(service.store.write(shop.pool, event) for event in events)):
            assert result.status == "OK"

    shop.available(("A", 1))
    service.run(seen.quiet("RelayBacklog", pool=shop.pool))
    for _ in range(11):
        service.run(change(1_000))
    found = service.run(seen.fires("RelayBacklog", pool=shop.pool))
    assert found.value >= BACKLOG
    service.run(service.store.published(shop.pool, 11_000))
    service.run(seen.quiet("RelayBacklog", pool=shop.pool))
    service.close()


def test_holds_that_are_refused_since_the_ledger_is_behind(runner: asyncio.Runner, store_server: StoreServer) -> None:
    service = Service(runner, store_server.url, bounds={"LEDGER_BACKLOG_MAX": 8})
    shop, seen = Shop(service), Prometheus([service.observers.metrics])

    def refused() -> None:
        with shop.fails("RESOURCE_EXHAUSTED", "LEDGER_BACKLOG"):
            shop.reserve(("A", 1))

    while shop.reserve(("A", 1)).revision < 8:
        pass
    refused()
    service.run(seen.quiet("HoldsRefused"))
    refused()
    service.run(seen.fires("HoldsRefused"))
    service.close()


def test_a_checkout_that_is_slow(runner: asyncio.Runner, tmp_path: Path) -> None:
    with quick_store(tmp_path) as own_server:
        service = Service(runner, own_server.url)
        shop, seen = Shop(service), Prometheus([service.observers.metrics])
        shop.reserve(("A", 1))
        service.run(seen.quiet("CheckoutSlow"))
        own_server.pause()
        runner.get_loop().call_later(0.6, own_server.resume)
        shop.reserve(("A", 1))
        found = service.run(seen.fires("CheckoutSlow", method="Reserve"))
        assert found.value > 0.25
        service.close()
