"""What the consumers tell Prometheus, on real servers: every figure as the events, the relay and the servers made it."""

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.metrics import MetricWrapperBase

from atp import limits
from atp.ledger import decode_entry
from cli.embedded import NatsServer, StoreServer
from consumers.apply import BATCHES_MAX
from consumers.metrics import ConsumerMetrics
from tests.e2e.consuming import (
    consuming,
    engine,
    envelope,
    items,
    ledger_of,
    quick_store,
    receipt,
    running,
    shows,
    stock,
    until,
)


@pytest.fixture(scope="module")
def store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with quick_store(tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One of its own: the consumers of these tests serve every pool that it knows."""
    with NatsServer(tmp_path_factory.mktemp("nats"), sync_interval="10s") as server:
        yield server


# --- feeds --------------------------------------------------------------------------------------------------------
def test_events_are_counted_by_pool_source_type_and_verdict(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with running("counted", store_server, nats_server) as made:
            await made.send(items(1, "A"))
            event = receipt(1, {"A": 5})
            await made.send(event)
            await made.has("A", 5)
            await made.send(event)
            await made.send(receipt(2, {"B": 1}))
            await made.send(receipt(3, {"A": 1}, node="N9"))
            for verdict, source, kind in [
                ("applied", "erp", "item_registered"),
                ("applied", "wms", "receipt"),
                ("duplicate", "wms", "receipt"),
                ("parked", "wms", "receipt"),
                ("UNKNOWN_NODE", "wms", "receipt"),
            ]:
                await shows(made, 1, "atp_feed_events_total", pool=made.pool, source=source, type=kind, verdict=verdict)
            assert made.metric("atp_feed_event_age_seconds_count", pool=made.pool) == 5

    asyncio.run(scenario())


def test_names_that_nobody_provisioned_make_no_labels(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with running("bounded", store_server, nats_server) as made:
            await made.send(items(1, "A"))
            await shows(made, 1, "atp_feed_events_total", verdict="applied")
            await made.send(receipt(1, {"A": 1}), "inv.nowhere.wms.receipt")
            await made.send(receipt(1, {"A": 1}, source="stranger"))
            await made.send(b"{}", f"inv.{made.pool}.another.receipt")
            await made.send(envelope("gift", "erp", {}))
            await shows(made, 1, "atp_feed_events_total", pool="other", source="other", type="receipt", verdict="UNKNOWN_POOL")
            await shows(made, 1, "atp_feed_events_total", pool=made.pool, source="other", type="receipt", verdict="UNKNOWN_SOURCE")
            await shows(made, 1, "atp_feed_events_total", pool=made.pool, source="other", type="receipt", verdict="MALFORMED")
            await shows(made, 1, "atp_feed_events_total", pool=made.pool, source="erp", type="other", verdict="MALFORMED")

    asyncio.run(scenario())


def test_what_waits_for_a_closed_pool_is_shown(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with engine("waiting", store_server, nats_server) as made:
            info = await made.store.pool_info(made.pool)
            await made.store.close_pool(made.pool, info.epoch)
            most = BATCHES_MAX * limits.FEED_FETCH_MAX
            for number in range(most + 7):
                await made.send(receipt(number + 1, {"A": 1}))
            async with consuming("feeds", made, store_server, nats_server):

                async def is_shown() -> bool:
                    in_hand = made.metric("atp_feed_messages_in_hand", pool=made.pool)
                    waiting = made.metric("atp_feed_messages_waiting", pool=made.pool)
                    return bool(0 < in_hand <= most and in_hand + waiting == most + 7)

                await until(is_shown, "what is in hand, and what waits behind it")
                assert made.metric("atp_feed_messages_redelivered", pool=made.pool) == 0

    asyncio.run(scenario())


def test_a_source_that_falls_silent_shows_when_it_was_last_heard(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with running("silent", store_server, nats_server) as made:
            began = time.time()
            await made.send(items(1, "A"))
            await made.send(receipt(1, {"A": 1}))
            await made.has("A", 1)
            ended = time.time()
            await made.send(items(2, "B"))
            await shows(made, 3, "atp_feed_events_total", verdict="applied")
            last = "atp_feed_last_event_timestamp_seconds"
            assert began <= made.metric(last, pool=made.pool, source="wms") <= ended <= made.metric(last, pool=made.pool, source="erp")

    asyncio.run(scenario())


# --- relay --------------------------------------------------------------------------------------------------------
def test_a_relay_counts_what_it_publishes_and_shows_the_pool_as_it_finds_it(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with engine("relayed", store_server, nats_server) as made:
            await stock(made, 10)
            for number in range(3):
                await made.reserve(f"R{number}", "A", 1)
            async with consuming("relay", made, store_server, nats_server):
                revision = await made.relayed()
                await shows(made, 0, "atp_relay_backlog_entries", pool=made.pool)
                verbs = [decode_entry(entry).verb for entry in await ledger_of(made)]
                for verb in set(verbs):
                    assert made.metric("atp_relay_entries_total", pool=made.pool, verb=verb) == verbs.count(verb)
                assert made.metric("atp_relay_publish_seconds_count", pool=made.pool) >= 1
                figures = [made.metric(f"atp_pool_{name}", pool=made.pool) for name in ("open", "epoch", "revision")]
                assert figures == [1, 1, revision]
                assert made.metric("atp_relay_active", pool=made.pool) == 1
                assert made.metric("atp_nats_connected") == 1

    asyncio.run(scenario())


def test_of_two_relays_one_is_active_and_the_other_stands_by(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with engine("two-relays", store_server, nats_server) as made:
            await stock(made, 10)
            async with consuming("relay", made, store_server, nats_server), consuming("relay", made, store_server, nats_server):
                for number in range(10):
                    revision = (await made.reserve(f"R{number}", "A", 1)).revision
                    await made.relayed(revision)
                await shows(made, 1, "atp_relay_active", pool=made.pool)

    asyncio.run(scenario())


def test_a_store_that_is_away_shows_its_pools_closed_and_its_backlog_when_it_is_back(tmp_path: Path, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        with StoreServer(tmp_path) as store_server:
            async with engine("closed", store_server, nats_server) as made, consuming("all", made, store_server, nats_server):
                await shows(made, 1, "atp_pool_open", pool=made.pool)
                swept = made.metric("atp_sweeper_last_sweep_timestamp_seconds", pool=made.pool)
                assert swept <= time.time()
                store_server.kill()
                await shows(made, 0, "atp_pool_open", pool=made.pool)
                store_server.start()
                await shows(made, 1, "atp_pool_open", pool=made.pool)
                await shows(made, 2, "atp_pool_epoch", pool=made.pool)

    asyncio.run(scenario())


def test_a_pool_that_cannot_go_on_shows_it_until_it_does(tmp_path: Path, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        with quick_store(tmp_path) as store_server:
            async with engine("split-shown", store_server, nats_server) as made, consuming("relay", made, store_server, nats_server):
                await stock(made)
                await made.relayed()
                assert made.metric("atp_relay_split", pool=made.pool) == 0
                await made.store._command("HSET", f"{{{made.pool}}}:pool", "run", "an-earlier-run", "rev", 1_000)
                await shows(made, 1, "atp_relay_split", pool=made.pool)
                await made.store._command("FLUSHALL")
                await shows(made, 0, "atp_relay_split", pool=made.pool)

    asyncio.run(scenario())


def test_nats_that_comes_back_is_counted(tmp_path: Path, store_server: StoreServer) -> None:
    async def scenario() -> None:
        with NatsServer(tmp_path) as nats_server:
            async with running("nats-back", store_server, nats_server) as made:
                nats_server.kill()
                await shows(made, 0, "atp_nats_connected")
                nats_server.start()
                await shows(made, 1, "atp_nats_connected")
                assert made.metric("atp_nats_reconnects_total") == 1

    asyncio.run(scenario())


# --- the page -----------------------------------------------------------------------------------------------------
def test_the_page_lists_the_metrics_of_the_consumers_with_their_labels() -> None:
    registry = CollectorRegistry()
    ConsumerMetrics(registry)
    page = (Path(__file__).resolve().parents[2] / "docs/observability.md").read_text()
    section = page.partition("\n## Metrics of the consumers\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(atp_[a-z_]+)` \| ([^|]*)\|", section, re.MULTILINE)
    listed = {name: re.findall(r"`(\w+)`", labels) for name, labels in rows}
    names = {metric.name + "_total" * (metric.type == "counter") for metric in registry.collect()}
    assert names == set(listed)
    for metric in (each for each in registry._collector_to_names if isinstance(each, MetricWrapperBase)):
        name = metric._name + "_total" * isinstance(metric, Counter)
        assert list(metric._labelnames) == listed[name], name
