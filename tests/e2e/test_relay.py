"""The ledger's way to JetStream and back: whole, once, in order, whatever dies in between."""

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from atp.errors import InvalidRequestError
from atp.ledger import decode_entry
from atp.model.status import ExceptionReason
from atp.model.verbs import Confirm
from atp.store import Store, Stores
from cli.embedded import NatsServer, StoreServer
from consumers import bootstrap, ledger_writer, streams
from consumers.ledger_reader import LedgerGapError, read_ledger
from consumers.ledger_writer import PositionLostError
from consumers.metrics import ConsumerMetrics
from consumers.publisher import Publisher, StaleStoreError
from consumers.relay import PoolRelay
from tests.e2e.consuming import (
    CONTEXT,
    adjust,
    assert_whole,
    consuming,
    engine,
    ledger_of,
    publish_as_a_relay_that_dies,
    quick_store,
    stock,
    until,
)


@pytest.fixture(scope="module")
def store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with quick_store(tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One of its own: a relay serves every pool that it knows."""
    with NatsServer(tmp_path_factory.mktemp("nats"), sync_interval="10s") as server:
        yield server


def test_every_change_reaches_jetstream_once_and_in_order(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with engine("order", store_server, nats_server) as made, consuming("relay", made, store_server, nats_server):
            await stock(made, 10_000)
            for wave in range(5):
                await asyncio.gather(*(made.reserve(f"R{wave}-{number}", "A", 1) for number in range(400)))
            assert await made.relayed() > 2000
            await assert_whole(made)

    asyncio.run(scenario())


def test_two_relays_publish_one_ledger(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with (
            engine("two", store_server, nats_server) as made,
            consuming("relay", made, store_server, nats_server),
            consuming("relay", made, store_server, nats_server),
        ):
            await stock(made, 10_000)
            for wave in range(20):
                await asyncio.gather(*(made.reserve(f"R{wave}-{number}", "A", 1) for number in range(50)))
            await made.relayed()
            await assert_whole(made)

    asyncio.run(scenario())


def test_a_relay_that_died_between_publishing_and_telling_the_store_is_taken_over_without_a_double_or_a_loss(
    store_server: StoreServer, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        async with engine("killed", store_server, nats_server) as made:
            await stock(made, 5)
            await made.reserve("R1", "A", 5)
            await adjust(made, 2, -3)  # overcommitted: an exception that the dead relay did not publish
            await publish_as_a_relay_that_dies(made)
            assert await made.exceptions() == []
            async with consuming("relay", made, store_server, nats_server):
                await made.relayed()
                told = await made.exception("over:N1:A")
                assert (told.reason, told.quantity) == (ExceptionReason.OVERCOMMITTED, 3)
                await adjust(made, 3, 1)
                await made.relayed()
                await assert_whole(made)

    asyncio.run(scenario())


def test_an_overcommitted_sku_names_the_orders_at_risk_newest_first_until_stock_covers_them(
    store_server: StoreServer, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        async with engine("risk", store_server, nats_server) as made, consuming("relay", made, store_server, nats_server):
            await stock(made, 200)
            for number in range(105):
                await made.reserve(f"R{number:03}", "A", 1, order=f"O{number:03}")
                await asyncio.sleep(0.001)  # the next millisecond: newest first is by creation
            await made.store.write(made.pool, Confirm(CONTEXT, "R104", "k", 1, False))
            await adjust(made, 2, -190)
            told = await made.exception("over:N1:A")
            assert (told.sku, told.node, told.quantity, told.state) == ("A", "N1", 95, "open")
            assert [order.order_reference for order in told.orders_at_risk] == [f"O{number:03}" for number in range(104, 4, -1)]
            assert told.orders_at_risk[0].state == "CONFIRMED"
            assert told.more_at_risk
            await adjust(made, 3, 190)
            resolved = await made.exception("over:N1:A", "resolved")
            assert resolved.orders_at_risk == []

    asyncio.run(scenario())


def test_a_relay_keeps_up_and_is_never_far_behind(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with engine("quick", store_server, nats_server) as made, consuming("relay", made, store_server, nats_server):
            await stock(made)
            await made.relayed()
            loop = asyncio.get_running_loop()
            delays = []
            for number in range(20):
                revision = (await made.reserve(f"R{number}", "A", 1)).revision
                began = loop.time()
                await made.relayed(revision)
                delays.append(loop.time() - began)
            assert sorted(delays)[len(delays) // 2] < 0.25, "far more than it takes, for a busy machine"

    asyncio.run(scenario())


def test_a_late_publish_from_before_an_opening_is_refused(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with engine("fence", store_server, nats_server) as made:
            await stock(made)
            old, _ = await ledger_writer.learn(made.js, made.pool)
            late = await made.store.ledger_after(made.pool, old.revision, 500)
            publisher = Publisher(made.js, made.store, made.pool)
            await publisher.learn()
            await publisher.fence(2)
            with pytest.raises(PositionLostError):
                await ledger_writer.append(made.js, made.pool, old, [record.entry for record in late], 1)
            await publisher.learn()
            with pytest.raises(StaleStoreError):
                await publisher.publish(late)
            assert await ledger_of(made) == []

    asyncio.run(scenario())


def test_the_sweeper_gives_back_a_hold_that_is_due_although_nobody_writes(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with engine("sweep", store_server, nats_server) as made, consuming("sweeper", made, store_server, nats_server):
            await stock(made)
            held = await made.reserve("R1", "A", 1, ttl_ms=1_000)

            async def given_back() -> bool:
                records = await made.store.ledger_after(made.pool, held.revision, 10)
                return [decode_entry(record.entry).verb for record in records] == ["expire"]

            await until(given_back, "the hold has expired")

    asyncio.run(scenario())


def test_a_relay_that_is_told_to_end_carries_all_that_is_there_first(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with engine("end", store_server, nats_server) as made:
            await stock(made, 10_000)
            await asyncio.gather(*(made.reserve(f"R{number}", "A", 1) for number in range(1_500)))
            stop = asyncio.Event()
            stop.set()
            await PoolRelay(made.js, made.store, made.pool, ConsumerMetrics(CollectorRegistry())).run(stop)
            info = await made.store.pool_info(made.pool)
            assert info.published == info.revision > 1_500

    asyncio.run(scenario())


def test_servers_that_are_not_there_yet_are_waited_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        with StoreServer(tmp_path / "store") as store_server, NatsServer(tmp_path / "nats") as nats_server:
            async with engine("first", store_server, nats_server) as made:
                await stock(made)
            store_server.stop()
            nats_server.stop()
            ready, stop = asyncio.Event(), asyncio.Event()
            work = asyncio.create_task(
                bootstrap.consume("all", Stores(Store(store_server.url)), nats_server.url, stop=stop, on_ready=ready.set)
            )
            await asyncio.sleep(0.3)
            assert not ready.is_set()
            nats_server.start()
            store_server.start()
            await asyncio.wait_for(ready.wait(), 20)
            async with engine("first", store_server, nats_server, provisioned=False) as made:
                await made.relayed()
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work

    asyncio.run(scenario())


def test_a_role_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="feeds, relay, sweeper, auditor, drift, webhooks, files or all"):
        asyncio.run(bootstrap.consume("cook", Stores(Store("redis://127.0.0.1:1")), "nats://127.0.0.1:1"))


# --- reading ------------------------------------------------------------------------------------------------------
def test_the_ledger_can_be_read_from_any_revision_and_followed(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with engine("read", store_server, nats_server) as made, consuming("relay", made, store_server, nats_server):
            await stock(made)
            for number in range(30):
                await made.reserve(f"R{number}", "A", 1)
                await asyncio.sleep(0.003)
            revision = await made.relayed()
            for after in (0, 1, revision // 2, revision - 1, revision):
                read = [decode_entry(entry).revision for entry in await ledger_of(made, after)]
                assert read == list(range(after + 1, revision + 1))
            async with contextlib.aclosing(read_ledger(made.js, made.pool, revision, follow=True)) as following:
                coming = asyncio.ensure_future(anext(following))
                await asyncio.sleep(0.1)
                assert not coming.done()
                await made.reserve("R-next", "A", 1)
                (entry,) = await asyncio.wait_for(coming, 10)
                assert decode_entry(entry).cause == "R-next"

    asyncio.run(scenario())


def test_a_gap_in_the_ledger_is_an_error(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with engine("gap", store_server, nats_server) as made:
            await stock(made)
            position = await publish_as_a_relay_that_dies(made)
            entry = (await ledger_of(made))[-1]
            skipped = position._replace(revision=position.revision + 1)
            await ledger_writer.append(made.js, made.pool, skipped, [entry], 1)
            with pytest.raises(LedgerGapError, match=f"from revision {position.revision} to {position.revision + 2}"):
                await ledger_of(made)

    asyncio.run(scenario())


def test_nobody_can_delete_from_a_ledger(store_server: StoreServer, nats_server: NatsServer) -> None:
    from nats.js.errors import APIError

    async def scenario() -> None:
        async with engine("kept", store_server, nats_server) as made:
            await stock(made)
            await publish_as_a_relay_that_dies(made)
            with pytest.raises(APIError):
                await made.js.delete_msg(streams.ledger_stream(made.pool), 1)
            with pytest.raises(APIError):
                await made.js.purge_stream(streams.ledger_stream(made.pool))

    asyncio.run(scenario())


def test_what_is_told_says_when(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with engine("when", store_server, nats_server) as made, consuming("relay", made, store_server, nats_server):
            await stock(made, 1)
            await made.reserve("R1", "A", 1)
            await adjust(made, 2, -1)
            told = await made.exception("over:N1:A")
            assert abs((datetime.now(UTC) - told.time).total_seconds()) < 60
            assert told.revision == await made.relayed()

    asyncio.run(scenario())
