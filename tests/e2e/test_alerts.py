"""Every alert is made to fire, on the metrics of real processes at real servers, and to fall silent again where that can be done."""

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from atp.model.verbs import LOCATION_STATES, Adjust, Figures, Provision, SetLocationState, SourceConfig
from cli.embedded import NatsServer, StoreServer
from consumers import apply, files
from consumers.checkpoint_taker import take
from service import bounds
from tests.alerting import Firing, firing
from tests.contract.conftest import Engine as Service
from tests.contract.conftest import Shop
from tests.e2e.consuming import (
    CONTEXT,
    DEADLINE_S,
    adjust,
    consuming,
    engine,
    envelope,
    items,
    publish_as_a_relay_that_dies,
    quick_store,
    receipt,
    running,
    shows,
    stock,
    until,
)
from tests.e2e.test_auditor import audited, bring_up, write_behind_its_back
from tests.e2e.test_drift import books, watching
from tests.e2e.test_files import Drop, line, make_streams
from tests.e2e.test_files import watching as watching_files
from tests.e2e.test_heard import heartbeat
from tests.e2e.test_webhooks import receiving
from tests.promql import Scrape, scrape

BACKLOG = 10_001  # one more than the alerts bear
BETWEEN_SCRAPES_S = 0.1  # reading one takes the time of those who are to get on meanwhile: they share the event loop


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes look at what they show all the time."""
    monkeypatch.setattr(apply, "WATCH_S", 0.05)
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


class Clock:
    """Tells a process and its observer a time that the test sets forward."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def time(self) -> float:
        return time.time() + self.ahead_s


class Prometheus:
    """Scrapes the processes of a test, and evaluates the alerts over what it has."""

    def __init__(self, processes: list[CollectorRegistry], clock: Clock | None = None) -> None:
        self._processes = processes
        self._clock = clock or Clock()
        self._scrapes: list[Scrape] = []

    def look(self, name: str, **labels: str) -> list[Firing]:
        """What an alert finds now, of what has these labels."""
        self._scrapes.append(scrape(self._clock.time(), [generate_latest(process).decode() for process in self._processes]))
        return [found for found in firing(name, self._scrapes) if labels.items() <= found.labels.items()]

    async def fires(self, name: str, **labels: str) -> Firing:
        async def true() -> list[Firing]:
            await asyncio.sleep(BETWEEN_SCRAPES_S)
            return self.look(name, **labels)

        found: list[Firing] = await until(true, f"{name} fires for {labels}", DEADLINE_S)
        assert len(found) == 1, "it is told once, whatever number of processes sees it"
        return found[0]

    async def quiet(self, name: str, **labels: str) -> None:
        async def true() -> bool:
            await asyncio.sleep(BETWEEN_SCRAPES_S)
            return not self.look(name, **labels)

        await until(true, f"{name} is quiet for {labels}", DEADLINE_S)


def played(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scenario())


@asynccontextmanager
async def promising(pool: str, rhythm_s: int, store: StoreServer, nats: NatsServer) -> Any:
    """A pool whose warehouse promises not to be silent for longer, with all roles running, and two processes that take events in."""
    async with running(pool, store, nats) as made, consuming("feeds", made, store, nats):
        wms = SourceConfig("wms", False, rhythm_s=rhythm_s)
        assert (await made.store.write(pool, Provision(CONTEXT, [], [], [wms]))).status == "OK"
        await until(lambda: _is(made.metric("atp_feed_rhythm_seconds", pool=pool, node="") == 2 * rhythm_s), "its promise is known")
        yield made, Prometheus(made.metrics)


async def _is(true: bool) -> bool:
    return true


# --- feeds --------------------------------------------------------------------------------------------------------
def test_a_source_that_stops_is_silent_after_its_rhythm_and_so_is_its_node(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with promising("silent-source", 4, store_server, nats_server) as (made, seen):
            await made.send(heartbeat("wms", "N1"))
            await made.send(heartbeat("tills", "N2"))  # promises nothing
            await seen.quiet("SourceNeverHeard", pool=made.pool)
            await seen.quiet("SourceSilent", pool=made.pool)
            found = await seen.fires("SourceSilent", pool=made.pool)
            assert found.labels["source"] == "wms"
            assert found.summary.startswith("wms has been silent for ")
            node = await seen.fires("NodeSilent", pool=made.pool)
            assert node.summary.startswith("Nothing was heard of N1 from wms for ")
            await made.send(heartbeat("wms"))  # for all its nodes
            await seen.quiet("NodeSilent", pool=made.pool)
            await seen.quiet("SourceSilent", pool=made.pool)

    played(scenario)


def test_one_node_may_be_silent_while_its_source_is_heard(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with promising("silent-node", 3, store_server, nats_server) as (made, seen):
            await made.send(heartbeat("wms", "N2"))

            async def true() -> list[Firing]:
                await made.send(heartbeat("wms", "N1"))
                assert not seen.look("SourceSilent", pool=made.pool)
                return list(seen.look("NodeSilent", pool=made.pool))

            (found,) = await until(true, "N2 is silent")
            assert (found.labels["node"], found.value >= 3) == ("N2", True)

    played(scenario)


def test_a_source_that_was_never_heard(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with promising("never-heard", 3_600, store_server, nats_server) as (made, seen):
            found = await seen.fires("SourceNeverHeard", pool=made.pool)
            assert (found.labels["source"], found.value) == ("wms", 3_600)
            await made.send(heartbeat("wms"))
            await seen.quiet("SourceNeverHeard", pool=made.pool)

    played(scenario)


def test_a_node_that_was_never_heard_though_its_source_is(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with promising("never-there", 3_600, store_server, nats_server) as (made, seen):
            await seen.fires("SourceNeverHeard", pool=made.pool)
            await seen.quiet("NodeNeverHeard", pool=made.pool)  # it is told once
            others = [SourceConfig("tills", False, rhythm_s=3_600), SourceConfig("erp", True, True, rhythm_s=3_600)]
            assert (await made.store.write(made.pool, Provision(CONTEXT, [], [], others))).status == "OK"
            for source in ("wms", "tills", "erp"):  # the word of wms counts at N1, that of the tills here, that of the ERP nowhere
                await made.send(heartbeat(source, "N2"))
                await seen.quiet("SourceNeverHeard", pool=made.pool, source=source)
            found = await seen.fires("NodeNeverHeard", pool=made.pool)
            assert (found.labels["source"], found.labels["node"]) == ("wms", "N1")
            for sequence, state, tells in [(1, "closed", seen.quiet), (2, "active", seen.fires)]:
                spoken = SetLocationState(CONTEXT, state, "erp", "N1", sequence, 1, LOCATION_STATES.index(state))
                assert (await made.store.write(made.pool, spoken)).status == "OK"
                await tells("NodeNeverHeard", pool=made.pool)
            await made.send(heartbeat("wms"))  # for all its nodes
            await seen.quiet("NodeNeverHeard", pool=made.pool)

    played(scenario)


def test_events_that_never_came(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with running("gaps", store_server, nats_server) as made:
            seen = Prometheus(made.metrics)
            await made.send(heartbeat("wms", "N1", 1))
            await made.send(heartbeat("wms", "N1", 4))
            found = await seen.fires("SequenceGaps", pool=made.pool)
            assert found.summary.startswith("2 events of wms at N1 were counted there and never came here")
            await made.send(heartbeat("wms", "N1", 3))
            await made.send(heartbeat("wms", "N1", 2))
            await seen.quiet("SequenceGaps", pool=made.pool)

    played(scenario)


def test_events_that_wait_to_be_taken_in(store_server: StoreServer, tmp_path: Path) -> None:
    async def scenario() -> None:
        # A broker of its own: the consumers of other tests would take in what waits here.
        with NatsServer(tmp_path, sync_interval="10s") as own_nats:
            async with engine("waiting", store_server, own_nats) as made:
                await made.store.close_pool(made.pool, (await made.store.pool_info(made.pool)).epoch)
                for start in range(0, BACKLOG + 1_000, 1_000):
                    await asyncio.gather(*(made.send(receipt(start + number, {"A": 1})) for number in range(1_000)))
                async with consuming("feeds", made, store_server, own_nats):
                    found = await Prometheus(made.metrics).fires("EventsWaiting", pool=made.pool)
                    assert found.value >= BACKLOG

    played(scenario)


def test_events_that_count_late(store_server: StoreServer, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    class Later:
        """The clock of the consumers, minutes after events were taken."""

        @staticmethod
        def time() -> float:
            return time.time() + 150

    async def scenario() -> None:
        async with running("late", store_server, nats_server) as made:
            seen = Prometheus(made.metrics)
            await made.send(heartbeat("wms", "N1"))
            await shows(made, 1, "atp_feed_event_age_seconds_count", pool=made.pool)
            await seen.quiet("EventsLate", pool=made.pool)
            monkeypatch.setattr("consumers.metrics.time", Later)
            await made.send(heartbeat("wms", "N1"))
            found = await seen.fires("EventsLate", pool=made.pool)
            assert found.value > 60

    played(scenario)


def test_files_that_stay_where_they_were_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(files, "time", clock)
    monkeypatch.setattr(files, "LOOK_S", 0.02)

    async def scenario() -> None:
        with NatsServer(tmp_path / "nats", sync_interval="10s") as own_nats:
            drop = Drop(tmp_path, own_nats)
            await make_streams(drop)
            async with watching_files(drop) as metrics:
                seen = Prometheus([metrics], clock)
                drop.put("taken.csv", line("e1"))
                await drop.gone("taken.csv")
                clock.ahead_s = 3_600
                await seen.quiet("FilesWaiting")
                own_nats.kill()
                drop.put("stays.csv", line("e2"))
                await until(lambda: _is(metrics.get_sample_value("atp_incoming_files", {"feed": "erp"}) == 1), "it is seen")
                await seen.quiet("FilesWaiting")
                clock.ahead_s += 1_000
                found = await seen.fires("FilesWaiting", feed="erp")
                assert 1_000 <= found.value < 1_900
                own_nats.start()
                await drop.gone("stays.csv")
                await seen.quiet("FilesWaiting")

    played(scenario)


def test_a_file_under_the_name_of_one_that_was_taken_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, move = Clock(), files._move
    monkeypatch.setattr(files, "time", clock)
    monkeypatch.setattr(files, "LOOK_S", 0.02)

    async def scenario() -> None:
        with NatsServer(tmp_path / "nats", sync_interval="10s") as own_nats:
            drop = Drop(tmp_path, own_nats)
            await make_streams(drop)

            def move_late_and_drop_the_next(*args: Any) -> bool:
                is_same = move(*args)
                own_nats.kill()
                clock.ahead_s = 1_000
                drop.put("stock.csv", line("e2"))
                return is_same

            monkeypatch.setattr(files, "_move", move_late_and_drop_the_next)
            async with watching_files(drop) as metrics:
                seen = Prometheus([metrics], clock)
                drop.put("stock.csv", line("e1"))
                await until(lambda: _is(clock.ahead_s > 0), "the first is taken")
                await seen.quiet("FilesWaiting")
                monkeypatch.undo()
                own_nats.start()
                await until(lambda: _is((drop.folder / "done/stock.csv.2").exists()), "the second is taken")

    played(scenario)


def test_a_drop_folder_that_nobody_can_look_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(files, "time", clock)

    async def scenario() -> None:
        with NatsServer(tmp_path / "nats", sync_interval="10s") as own_nats:
            drop = Drop(tmp_path, own_nats)
            drop.folder.write_text("a file where the folder should be")
            async with watching_files(drop) as metrics:
                seen = Prometheus([metrics], clock)
                await until(lambda: _is(metrics.get_sample_value("atp_incoming_files", {"feed": "erp"}) == 0), "it is at work")
                await seen.quiet("FilesWaiting")
                clock.ahead_s = 1_000
                await seen.fires("FilesWaiting", feed="erp")
                drop.folder.unlink()
                await seen.quiet("FilesWaiting")

    played(scenario)


def test_webhooks_that_are_not_signed_as_agreed(tmp_path: Path) -> None:
    async def scenario() -> None:
        with NatsServer(tmp_path, sync_interval="10s") as own_nats:
            async with receiving(own_nats) as receiver:
                seen = Prometheus([receiver.metrics])
                assert (await receiver.deliver(line("e1").strip())).status == 200
                assert (await receiver.deliver("no event")).status == 400
                await seen.quiet("WebhooksRefused")
                assert (await receiver.deliver(line("e2").strip(), secret="another")).status == 401
                found = await seen.fires("WebhooksRefused")
                assert found.summary.startswith("1 messages for wms were refused in the last hour")

    played(scenario)


def test_a_pool_that_nobody_listens_for_audits_or_compares(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with engine("unheard", store_server, nats_server) as made, consuming("relay", made, store_server, nats_server):
            seen = Prometheus(made.metrics)
            await shows(made, 1, "atp_pool_open", pool=made.pool)
            await seen.fires("NobodyListens", pool=made.pool)
            await seen.fires("NobodyAudits", pool=made.pool)
            await seen.fires("NobodyCompares", pool=made.pool)
            async with consuming("feeds", made, store_server, nats_server), consuming("auditor", made, store_server, nats_server):
                await seen.quiet("NobodyListens", pool=made.pool)
                await seen.quiet("NobodyAudits", pool=made.pool)
            async with consuming("drift", made, store_server, nats_server):
                await seen.quiet("NobodyCompares", pool=made.pool)

    played(scenario)


# --- stock --------------------------------------------------------------------------------------------------------
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

    played(scenario)


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

    played(scenario)


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

    played(scenario)


# --- the engine ---------------------------------------------------------------------------------------------------
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

    played(scenario)


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

    played(scenario)


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

    played(scenario)


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

    played(scenario)


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
