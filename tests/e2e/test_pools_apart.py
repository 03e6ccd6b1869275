"""Pools come and go, each for itself: one whose store is away holds up no other, one that is not provisioned yet loses nothing."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from nats.js.api import AckPolicy, ConsumerConfig

from atp.model.status import ExceptionReason
from cli.embedded import NatsServer, StoreServer
from consumers import streams
from consumers.opening import open_pool
from consumers.provision import apply_pool, apply_streams
from tests.e2e.consuming import Engine, consuming, engine, items, pool_file, quick_store, receipt, running, shows


@pytest.fixture(scope="module")
def store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with quick_store(tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One of its own: the consumers of these tests serve every pool that it knows."""
    with NatsServer(tmp_path_factory.mktemp("nats"), sync_interval="10s") as server:
        yield server


async def receive(made: Engine, first: int, last: int) -> None:
    """Sends a receipt of one unit under each sequence, and waits for none."""
    for number in range(first, last + 1):
        await made.connection.publish(f"inv.{made.pool}.wms.receipt", msgspec.json.encode(receipt(number, {"A": 1})))
    await made.connection.flush()


def test_a_pool_whose_store_is_killed_holds_up_no_other_and_loses_and_doubles_nothing(
    tmp_path: Path, store_server: StoreServer, nats_server: NatsServer
) -> None:
    many = streams.FEED_ACK_PENDING_MAX + 100  # more than JetStream gives out of one durable

    async def scenario() -> None:
        with StoreServer(tmp_path) as dying:
            async with (
                engine("north", dying, nats_server) as north,
                engine("south", store_server, nats_server) as south,
                consuming("all", south, store_server, nats_server, {"north": dying}),
            ):
                for made in (north, south):
                    await made.send(items(1, "A"))
                    await receive(made, 1, 20)
                    await made.has("A", 20)
                dying.kill()
                await receive(north, 21, many)
                await receive(south, 21, 60)
                await south.has("A", 60)
                dying.start()
                await north.has("A", many)
                await receive(south, 61, 61)
                await south.has("A", 61)
                await shows(south, many + 61 + 2, "atp_feed_events_total", verdict="applied")
                assert await north.exceptions() == await south.exceptions() == []

    asyncio.run(scenario())


def test_an_event_for_a_pool_that_is_not_provisioned_is_told_and_applied_once_it_is(
    store_server: StoreServer, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        async with running("now", store_server, nats_server) as now, engine("later", store_server, nats_server, provisioned=False) as later:
            await later.send(items(1, "A"), "inv.later.erp.item_registered")
            await later.send(receipt(1, {"A": 7}, id="early"))
            told = await later.exception("event:wms/early")
            assert told.reason == ExceptionReason.UNKNOWN_POOL
            assert '"early"' in told.original
            assert now.metric("atp_feed_events_total", pool="other", verdict="UNKNOWN_POOL") == 2
            await apply_streams(later.js, later.pool)
            await open_pool(later.js, later.store, later.pool)
            await apply_pool(later.store, pool_file(later.pool))
            await later.has("A", 7)

    asyncio.run(scenario())


def test_a_pool_of_an_earlier_version_goes_on_where_its_events_were_settled(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with engine("upgraded", store_server, nats_server, provisioned=False) as made:
            await made.js.add_stream(streams.inventory())
            earlier = ConsumerConfig(durable_name=streams.FEEDS_OF_ALL_POOLS, ack_policy=AckPolicy.EXPLICIT)
            await made.js.add_consumer(streams.INVENTORY, earlier)
            await receive(made, 1, 5)
            taken = await made.js.pull_subscribe_bind(streams.FEEDS_OF_ALL_POOLS, streams.INVENTORY)
            for message in await taken.fetch(3):
                await message.ack_sync()
            await apply_streams(made.js, made.pool)
            info = await made.js.consumer_info(streams.INVENTORY, streams.feed_durable(made.pool))
            assert info.num_pending == 2
            assert {item.outcome for item in await apply_streams(made.js, made.pool)} == {"unchanged"}

    asyncio.run(scenario())
