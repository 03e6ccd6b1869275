"""Each alert of the feeds is made to fire, on metrics of real processes, and to fall silent: silence, gaps, what waits or comes late."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from atp.model.verbs import LOCATION_STATES, Provision, SetLocationState, SourceConfig
from cli.embedded import NatsServer, StoreServer
from consumers import apply
from tests.alerting import Firing
from tests.e2e.consuming import CONTEXT, consuming, engine, quick_store, receipt, running, shows, until
from tests.e2e.scraping import BACKLOG, Prometheus, is_true
from tests.e2e.test_heard import heartbeat


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes look at what they show all the time."""
    monkeypatch.setattr(apply, "WATCH_S", 0.05)


@pytest.fixture(scope="module")
def store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with quick_store(tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One of its own: the consumers of these tests serve every pool that it knows."""
    with NatsServer(tmp_path_factory.mktemp("nats"), sync_interval="10s") as server:
        yield server


@asynccontextmanager
async def promising(pool: str, rhythm_s: int, store: StoreServer, nats: NatsServer) -> Any:
    """A pool whose warehouse promises not to be silent for longer, with all roles running, and two processes that take events in."""
    async with running(pool, store, nats) as made, consuming("feeds", made, store, nats):
        wms = SourceConfig("wms", False, rhythm_s=rhythm_s)
        assert (await made.store.write(pool, Provision(CONTEXT, [], [], [wms]))).status == "OK"
        await until(lambda: is_true(made.metric("atp_feed_rhythm_seconds", pool=pool, node="") == 2 * rhythm_s), "its promise is known")
        yield made, Prometheus(made.metrics)


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

    asyncio.run(scenario())


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

    asyncio.run(scenario())


def test_a_source_that_was_never_heard(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with promising("never-heard", 3_600, store_server, nats_server) as (made, seen):
            found = await seen.fires("SourceNeverHeard", pool=made.pool)
            assert (found.labels["source"], found.value) == ("wms", 3_600)
            await made.send(heartbeat("wms"))
            await seen.quiet("SourceNeverHeard", pool=made.pool)

    asyncio.run(scenario())


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

    asyncio.run(scenario())


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

    asyncio.run(scenario())


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

    asyncio.run(scenario())


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

    asyncio.run(scenario())


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

    asyncio.run(scenario())
