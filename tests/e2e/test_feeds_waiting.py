"""Events that must wait: for their item, for a server that is away, for the fault of one event; and a consumer that is told to end."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from atp import canonical
from atp.exceptions import PublishedException
from atp.ledger import decode_entry
from atp.model.status import ExceptionReason
from atp.store import Store, Stores
from cli.embedded import NatsServer, StoreServer
from consumers.apply import apply_feeds
from consumers.metrics import FeedMetrics
from consumers.pools import Pools
from consumers.settle import TRIES_MAX
from tests.e2e.consuming import (
    consuming,
    engine,
    items,
    ledger_of,
    quick_store,
    receipt,
    running,
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


# --- events that wait ---------------------------------------------------------------------------------------------
def test_an_event_that_overtook_its_items_waits_and_is_applied_when_they_are_known(
    store_server: StoreServer, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        async with running("early", store_server, nats_server) as made:
            await made.send(receipt(1, {"A": 5, "B": 6}, id="early"))
            waiting = await made.exception("wait:wms/early/A")
            assert waiting.reason == ExceptionReason.UNKNOWN_SKU
            assert '"early"' in waiting.original
            await made.send(items(1, "A"))
            await made.exception("wait:wms/early/B")
            await made.exception("wait:wms/early/A", "resolved")
            await made.send(items(2, "B"))
            await made.has("A", 5)
            await made.has("B", 6)
            await made.exception("wait:wms/early/B", "resolved")
            assert await made.exceptions("open") == []
            assert await made.waiting("A") == await made.waiting("B") == []

    asyncio.run(scenario())


def test_the_ledger_and_exceptions_name_the_source_and_the_conversation_of_an_event(
    store_server: StoreServer, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        async with running("named", store_server, nats_server) as made:
            await made.send(receipt(1, {"A": 5}, id="early", correlation="talk-1"))
            assert (await made.exception("wait:wms/early/A")).correlation == "talk-1"
            await made.send(items(1, "A", correlation="talk-2"))
            await made.has("A", 5)
            await made.exception("wait:wms/early/A", "resolved")
            await made.send(receipt(2, {"A": 1}, node="N9", id="astray", correlation="talk-3"))
            assert (await made.exception("event:wms/astray")).correlation == "talk-3"
            entries = [decode_entry(entry) for entry in await ledger_of(made)]
            said = {(entry.verb, entry.actor, entry.correlation) for entry in entries if entry.verb not in {"open", "provision"}}
            register = ("item_registered", "erp", "talk-2")
            assert said == {("park", "wms", "talk-1"), register, ("receipt", "wms", "talk-1"), ("unpark", "wms", "talk-1")}

    asyncio.run(scenario())


def test_another_event_under_an_id_that_waits_is_not_dropped_but_told(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with running("same-id", store_server, nats_server) as made:
            await made.send(receipt(1, {"A": 5}, id="doc"))
            await made.exception("wait:wms/doc/A")
            await made.send(receipt(1, {"A": 5}, id="doc"))  # the same again is nothing new
            await made.send(receipt(2, {"A": 7}, id="doc"))
            told = await made.exception("event:wms/doc")
            assert (told.reason, '"quantity":7' in told.original) == (ExceptionReason.SEQUENCE_CONFLICT, True)
            await made.send(items(1, "A"))
            await made.has("A", 5)

    asyncio.run(scenario())


async def publish_raw(port: int, command: bytes) -> None:
    """What no client library would send, but the server takes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b'CONNECT {"verbose":false}\r\n' + command + b"\r\nPING\r\n")
    while b"PONG" not in await reader.readline():
        continue
    writer.close()
    await writer.wait_closed()


def test_a_subject_that_is_no_text_is_told_and_leaves_nobody_deaf(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with running("deaf", store_server, nats_server) as made:
            await made.send(items(1, "A"))
            await publish_raw(nats_server.port, b"PUB inv.deaf.\xff\xfe.receipt 2\r\nhi")
            await made.send(receipt(1, {"A": 5}))
            await made.has("A", 5)
            await until(lambda: made.exceptions("open"), "the message is told")
            await made.reserve("R", "A", 1)
            await made.relayed()

    asyncio.run(scenario())


def test_a_header_that_reads_like_a_servers_word_does_not_hide_an_event(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with running("headers", store_server, nats_server) as made:
            await made.send(items(1, "A"))
            for sequence, status in enumerate(("503", "100", "408", "ok"), 1):
                event = msgspec.json.encode(receipt(sequence, {"A": 1}))
                await made.js.publish(f"inv.{made.pool}.wms.receipt", event, headers={"Status": status})
            await made.has("A", 4)

    asyncio.run(scenario())


def test_a_waiting_event_whose_turn_shows_it_to_be_wrong_becomes_an_exception_and_waits_no_more(
    store_server: StoreServer, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        async with running("late-verdict", store_server, nats_server) as made:
            await made.send(receipt(1, {"A": 5}, id="first"))
            await made.send(receipt(1, {"A": 6}, id="second"))
            await made.exception("wait:wms/first/A")
            await made.exception("wait:wms/second/A")
            await made.send(items(1, "A"))
            await made.exception("wait:wms/first/A", "resolved")
            await made.exception("wait:wms/second/A", "resolved")
            (left,) = await made.exceptions("open")
            assert left.reason == ExceptionReason.SEQUENCE_CONFLICT
            assert (await made.row("A")).on_hand in {5, 6}

    asyncio.run(scenario())


def test_events_past_the_room_to_wait_in_become_exceptions(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with engine("crowd", store_server, nats_server) as made:
            store = Store(store_server.url, bounds={"WAITING_PER_SKU_MAX": 2})
            await store.start()
            stop = asyncio.Event()
            made.metrics.append(CollectorRegistry())
            pools = Pools(made.js)
            pools.names = {made.pool}
            work = asyncio.create_task(apply_feeds(made.connection, Stores(store), pools, FeedMetrics(made.metrics[-1]), stop))
            for number in range(3):
                await made.send(receipt(1 + number, {"A": 1}, id=f"crowd-{number}"))

            async def all_settled() -> bool:
                return (made.settled("parked"), made.settled(ExceptionReason.WAITING_FULL)) == (2, 1)

            await until(all_settled, "two wait, one is refused")
            stop.set()
            await work
            await store.close()

    asyncio.run(scenario())


# --- trouble ------------------------------------------------------------------------------------------------------
def test_a_fault_that_one_event_meets_is_told_after_a_few_tries_and_stops_nobody(
    store_server: StoreServer, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0
    sound = canonical.decode

    def faulty(subject: str, data: bytes) -> canonical.Feed:
        nonlocal tries
        if b"poison" in data:
            tries += 1
            raise ZeroDivisionError("a bug")
        return sound(subject, data)

    async def scenario() -> None:
        monkeypatch.setattr(canonical, "decode", faulty)
        async with running("poison", store_server, nats_server) as made:
            await made.send(items(1, "A"))
            await made.send(receipt(1, {"A": 1}, id="poison"))
            await made.send(receipt(2, {"A": 2}))
            await made.has("A", 2)

            async def told() -> list[PublishedException]:
                return await made.exceptions()

            (exception,) = await until(told, "the fault is told")
            assert exception.reason == ExceptionReason.INTERNAL
            assert "poison" in exception.original
            assert tries == 1 + TRIES_MAX, "with the others, and then by itself"

    asyncio.run(scenario())


def test_while_the_store_is_away_events_wait_and_are_then_applied_once_each(tmp_path: Path, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        with StoreServer(tmp_path) as store_server:
            async with running("outage", store_server, nats_server) as made:
                await made.send(items(1, "A"))
                await made.send(receipt(1, {"A": 1}))
                await made.has("A", 1)
                store_server.kill()
                for number in range(2, 40):
                    await made.send(receipt(number, {"A": 1}))
                await asyncio.sleep(0.5)
                store_server.start()
                await made.has("A", 39)
                await made.relayed()
                assert await made.exceptions() == []
                assert (await made.store.pool_info(made.pool)).epoch == 2

    asyncio.run(scenario())


def test_while_nats_is_away_the_consumers_wait_and_go_on_by_themselves(tmp_path: Path, store_server: StoreServer) -> None:
    async def scenario() -> None:
        with NatsServer(tmp_path) as nats_server:
            async with running("nats-away", store_server, nats_server) as made:
                await made.send(items(1, "A"))
                await made.send(receipt(1, {"A": 9}))
                await made.has("A", 9)
                nats_server.kill()
                assert (await made.reserve("R1", "A", 1)).status == "OK", "writes go on"
                nats_server.start()
                await made.relayed()

                async def sent() -> bool:
                    await made.send(receipt(2, {"A": 1}))
                    return True

                await until(sent, "NATS takes events again")
                await made.has("A", 10)

    asyncio.run(scenario())


def test_an_emptied_store_makes_no_pool_unknown(tmp_path: Path, nats_server: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    async def waits() -> bool:
        return "the feed of pool emptied waits: " in caplog.text

    async def scenario() -> None:
        with quick_store(tmp_path) as store_server:
            async with engine("emptied", store_server, nats_server) as made:
                async with consuming("all", made, store_server, nats_server):
                    await made.send(items(1, "A"))
                    await made.send(receipt(1, {"A": 1}))
                    await made.has("A", 1)
                    await made.relayed()
                store_server.restart()  # keeps nothing
                caplog.clear()
                async with consuming("feeds", made, store_server, nats_server):
                    await made.send(receipt(2, {"A": 2}))
                    await until(waits, "the event was tried")
                    assert await made.exceptions() == []
                    async with consuming("relay", made, store_server, nats_server):
                        await made.has("A", 3)
                assert await made.exceptions() == []

    asyncio.run(scenario())


def test_a_consumer_that_is_told_to_end_settles_what_it_has_and_leaves_nothing_unrelayed(
    store_server: StoreServer, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        async with engine("drain", store_server, nats_server) as made:
            async with consuming("all", made, store_server, nats_server):
                await made.send(items(1, "A"))
                for number in range(1, 300):
                    await made.connection.publish(f"inv.{made.pool}.wms.receipt", msgspec.json.encode(receipt(number, {"A": 1})))
                await made.connection.flush()
                await made.has("A", 299)
            info = await made.store.pool_info(made.pool)
            assert info.published == info.revision
            consumer = await made.js.consumer_info("INVENTORY", "feeds-drain")
            assert (consumer.num_ack_pending, consumer.num_pending) == (0, 0)

    asyncio.run(scenario())
