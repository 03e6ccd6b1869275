"""Events of every kind, good and bad, on real servers: each has its documented answer and harms no neighbour."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from atp import limits
from atp.exceptions import PublishedException
from atp.model.status import ExceptionReason
from atp.store import Store
from cli.embedded import NatsServer, StoreServer
from consumers.apply import apply_feeds
from consumers.feeds import canonical
from tests.e2e.consuming import Engine, consuming, engine, envelope, items, quick_store, receipt, until


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
async def running(pool: str, store_server: StoreServer, nats_server: NatsServer) -> AsyncIterator[Engine]:
    async with engine(pool, store_server, nats_server) as made, consuming("all", made, store_server, nats_server):
        yield made


# --- bad events ---------------------------------------------------------------------------------------------------
FULL = limits.FIGURE_MAX
BAD_EVENTS: dict[str, tuple[ExceptionReason, dict[str, Any] | bytes, str | None]] = {
    "malformed JSON": (ExceptionReason.MALFORMED, b'{"specversion": "1.0", ', None),
    "not JSON at all": (ExceptionReason.MALFORMED, b"<xml/>", None),
    "not text": (ExceptionReason.MALFORMED, b"\xff\xfe\x00", None),
    "an empty message": (ExceptionReason.MALFORMED, b"", None),
    "bytes that are no text in an attribute nobody reads": (ExceptionReason.MALFORMED, b'{"comment":"\xff"}', None),
    "a type that does not exist": (ExceptionReason.MALFORMED, envelope("gift", "wms", {}), "inv.{pool}.wms.gift"),
    "a missing field": (ExceptionReason.MALFORMED, envelope("receipt", "wms", {"node": "N1", "sequence": 1001}), None),
    "a field of the wrong type": (
        ExceptionReason.MALFORMED,
        envelope("receipt", "wms", {"node": "N1", "sequence": "1002", "lines": [{"sku": "A", "quantity": 1}]}),
        None,
    ),
    "no lines": (ExceptionReason.MALFORMED, receipt(1003, {}), None),
    "a zero quantity": (ExceptionReason.MALFORMED, receipt(1004, {"A": 0}), None),
    "a negative quantity": (ExceptionReason.MALFORMED, receipt(1005, {"A": -1}), None),
    "a huge quantity": (ExceptionReason.MALFORMED, receipt(1006, {"A": limits.QUANTITY_MAX + 1}), None),
    "a quantity past every integer": (ExceptionReason.MALFORMED, receipt(1007, {"A": 2**63}), None),
    "1,001 lines": (ExceptionReason.MALFORMED, receipt(1008, {f"S{number}": 1 for number in range(1001)}), None),
    "lines of a SKU that add up past the bound": (
        ExceptionReason.MALFORMED,
        envelope("receipt", "wms", {"node": "N1", "sequence": 1009, "lines": [{"sku": "A", "quantity": limits.QUANTITY_MAX}] * 2}),
        None,
    ),
    "a SKU with a line break": (ExceptionReason.MALFORMED, receipt(1010, {"A\n": 1}), None),
    "an adjustment that changes nothing": (
        ExceptionReason.MALFORMED,
        envelope("adjustment", "wms", {"node": "N1", "sequence": 1011, "lines": [{"sku": "A"}]}),
        None,
    ),
    "a snapshot with a SKU twice": (
        ExceptionReason.MALFORMED,
        envelope(
            "snapshot",
            "wms",
            {"node": "N1", "sequence": 1012, "as_of": datetime.now(UTC), "lines": [{"sku": "A", "on_hand": 1}] * 2},
        ),
        None,
    ),
    "a snapshot of a time to come": (
        ExceptionReason.MALFORMED,
        envelope(
            "snapshot",
            "wms",
            {"node": "N1", "sequence": 1013, "as_of": datetime.now(UTC) + timedelta(days=1), "lines": [{"sku": "A", "on_hand": 1}]},
        ),
        None,
    ),
    "items with a SKU twice": (ExceptionReason.MALFORMED, items(1014, "A", "A"), None),
    "over the size limit": (ExceptionReason.TOO_LARGE, receipt(1015, {"A": 1}, comment="x" * limits.EVENT_BYTES_MAX), None),
    "another source than the subject": (ExceptionReason.WRONG_SUBJECT, receipt(1016, {"A": 1}), "inv.{pool}.erp.receipt"),
    "another type than the subject": (ExceptionReason.WRONG_SUBJECT, receipt(1017, {"A": 1}), "inv.{pool}.wms.return"),
    "a subject too short": (ExceptionReason.WRONG_SUBJECT, receipt(1018, {"A": 1}), "inv.{pool}.wms"),
    "an unknown pool": (ExceptionReason.UNKNOWN_POOL, receipt(1019, {"A": 1}), "inv.nowhere.wms.receipt"),
    "a pool that cannot be": (ExceptionReason.UNKNOWN_POOL, receipt(1020, {"A": 1}), "inv.no!where.wms.receipt"),
    "an unknown source": (ExceptionReason.UNKNOWN_SOURCE, receipt(1021, {"A": 1}, source="oms"), None),
    "an unknown node": (ExceptionReason.UNKNOWN_NODE, receipt(1022, {"A": 1}, node="N9"), None),
    "a source that is not the node's authority": (ExceptionReason.NOT_AUTHORITY, receipt(1023, {"A": 1}, source="tills"), None),
    "a source that registers no items": (
        ExceptionReason.NOT_AUTHORITY,
        envelope("item_registered", "wms", {"sequence": 1, "lines": [{"sku": "B"}]}),
        None,
    ),
    "a sequence below the window": (ExceptionReason.SEQUENCE_BELOW_WINDOW, receipt(1, {"OLD": 5}), None),
    "a known sequence with other content": (ExceptionReason.SEQUENCE_CONFLICT, receipt(90, {"A": 6}), None),
    "a known shipment with other lines": (
        ExceptionReason.SHIPMENT_CONFLICT,
        envelope("shipment", "wms", {"node": "N1", "sequence": 1024, "shipment_id": "SHIP-1", "lines": [{"sku": "A", "quantity": 2}]}),
        None,
    ),
    "a figure past what can be counted": (ExceptionReason.QUANTITY_OUT_OF_RANGE, receipt(1025, {"FULL": limits.QUANTITY_MAX}), None),
}
OPENING_EVENTS = [
    items(1, "A", "OLD", "FULL"),
    receipt(90, {"A": 100}),
    *(receipt(number, {"OLD": 1}) for number in range(2, limits.WINDOW_DELTAS_MAX + 10)),
    receipt(91, {"FULL": limits.QUANTITY_MAX}),
    receipt(92, {"FULL": limits.QUANTITY_MAX}),
    envelope("shipment", "wms", {"node": "N1", "sequence": 93, "shipment_id": "SHIP-1", "lines": [{"sku": "A", "quantity": 1}]}),
]
OLD_UNITS = limits.WINDOW_DELTAS_MAX + 8


class Aftermath:
    """What all the bad events, sent between good ones, left behind."""

    def __init__(self) -> None:
        self.found: list[PublishedException] = []
        self.stock: dict[str, int] = {}
        self.applied = 0


async def _suffer(store_server: StoreServer, nats_server: NatsServer) -> Aftermath:
    after = Aftermath()
    async with running("bad", store_server, nats_server) as made:
        for event in OPENING_EVENTS:
            await made.send(event)
        await made.has("A", 99)
        await made.has("OLD", OLD_UNITS)
        await made.has("FULL", 2 * limits.QUANTITY_MAX)
        before = made.counters.applied
        for number, (_, event, subject) in enumerate(BAD_EVENTS.values()):
            await made.send(
                event, subject.format(pool=made.pool) if subject else None if isinstance(event, bytes) else _subject(made, event)
            )
            await made.send(receipt(2000 + number, {"A": 1}))
        await made.has("A", 99 + len(BAD_EVENTS))

        async def all_are_told() -> bool:
            return made.counters.exceptions.total() == len(BAD_EVENTS)

        await until(all_are_told, "an exception for each bad event")
        after.applied = made.counters.applied - before
        after.stock = {sku: (await made.row(sku)).on_hand for sku in ("A", "OLD", "FULL")}
        for pool in (made.pool, "nowhere", "_"):
            made.pool = pool
            after.found += [found for found in await made.exceptions() if not found.revision]  # the ledger's own are another matter
    return after


def _subject(made: Engine, event: dict[str, Any]) -> str:
    return f"inv.{made.pool}.{event['source']}.{event['type']}"


@pytest.fixture(scope="module")
def aftermath(store_server: StoreServer, nats_server: NatsServer) -> Aftermath:
    return asyncio.run(_suffer(store_server, nats_server))


@pytest.mark.parametrize("name", BAD_EVENTS)
def test_a_bad_event_becomes_an_exception_with_its_reason_and_its_original(name: str, aftermath: Aftermath) -> None:
    reason, event, _ = BAD_EVENTS[name]
    if isinstance(event, bytes):
        about = [found for found in aftermath.found if found.original_bytes == len(event) and not found.source]
    else:
        about = [found for found in aftermath.found if f'"{event["id"]}"' in found.original]
    assert [(found.reason, found.state) for found in about] == [(reason, "open")]
    assert about[0].sentence


def test_good_events_between_bad_ones_are_all_applied_and_nothing_else_is(aftermath: Aftermath) -> None:
    assert aftermath.stock == {"A": 99 + len(BAD_EVENTS), "OLD": OLD_UNITS, "FULL": 2 * limits.QUANTITY_MAX}
    assert aftermath.applied == len(BAD_EVENTS)


def test_what_is_not_text_is_kept_in_base64_and_what_is_too_large_is_kept_in_part(aftermath: Aftermath) -> None:
    encoded = [found for found in aftermath.found if found.original_encoding == "base64"]
    assert {found.original for found in encoded} == {"//4A", "eyJjb21tZW50Ijoi/yJ9"}
    (large,) = (found for found in aftermath.found if found.reason == ExceptionReason.TOO_LARGE)
    assert large.original_bytes > limits.EVENT_BYTES_MAX
    assert len(large.original) == limits.EVENT_BYTES_MAX


# --- good events --------------------------------------------------------------------------------------------------
def test_every_kind_of_event_moves_the_figures_it_should(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with running("kinds", store_server, nats_server) as made:
            await made.send(items(1, "A", "B"))
            await made.send(receipt(1, {"A": 100, "B": 10}))
            change = {"sku": "A", "on_hand": -5, "damaged": 3}
            await made.send(envelope("adjustment", "wms", {"node": "N1", "sequence": 2, "lines": [change, {**change, "on_hand": 1}]}))
            for sequence, disposition in ((3, "sellable"), (4, "damaged"), (5, "quality_hold")):
                lines = [{"sku": "A", "quantity": 2}]
                await made.send(envelope("return", "wms", {"node": "N1", "sequence": sequence, "disposition": disposition, "lines": lines}))
            as_of = datetime.now(UTC)
            counted = [{"sku": "B", "on_hand": 7, "damaged": 1}]
            await made.send(envelope("snapshot", "wms", {"node": "N1", "sequence": 6, "as_of": as_of, "lines": counted}))
            await made.has("A", 102)
            await made.has("B", 7)
            row = await made.row("A")
            assert (row.on_hand, row.damaged, row.quality_hold) == (102, 8, 2)
            assert await made.exceptions() == []

    asyncio.run(scenario())


def test_a_shipment_settles_the_reservation_it_names(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with running("ship", store_server, nats_server) as made:
            await made.send(items(1, "A"))
            await made.send(receipt(1, {"A": 10}))
            await made.has("A", 10)
            assert (await made.reserve("R1", "A", 4)).status == "OK"
            data = {"node": "N1", "sequence": 2, "shipment_id": "S1", "reservation_id": "R1", "lines": [{"sku": "A", "quantity": 4}]}
            await made.send(envelope("shipment", "wms", data))
            await made.has("A", 6)
            assert (await made.row("A")).reserved == 0
            told = await made.exception("ship:S1")
            assert told.reason == ExceptionReason.SHIPMENT_UNCONFIRMED
            assert "S1" in told.sentence

    asyncio.run(scenario())


def test_an_event_that_comes_again_is_known_and_changes_nothing(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with running("again", store_server, nats_server) as made:
            await made.send(items(1, "A"))
            event = receipt(1, {"A": 3})
            for copy in (event, event, {**event, "id": "another-id", "time": datetime.now(UTC)}):
                await made.send(copy)
            await made.has("A", 3)

            async def both_known() -> bool:
                return made.counters.duplicates == 2

            await until(both_known, "two duplicates")
            assert (await made.row("A")).on_hand == 3
            assert await made.exceptions() == []

    asyncio.run(scenario())


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
            assert await made.store.waiting(made.pool, "A") == await made.store.waiting(made.pool, "B") == {}

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
            work = asyncio.create_task(apply_feeds(made.connection, store, made.counters, stop))
            for number in range(3):
                await made.send(receipt(1 + number, {"A": 1}, id=f"crowd-{number}"))

            async def all_settled() -> bool:
                return made.counters.parked == 2 and made.counters.exceptions == {ExceptionReason.WAITING_FULL: 1}

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
            assert tries == 5

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


def test_an_emptied_store_makes_no_pool_unknown(tmp_path: Path, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        with quick_store(tmp_path) as store_server:
            async with engine("emptied", store_server, nats_server) as made:
                async with consuming("all", made, store_server, nats_server):
                    await made.send(items(1, "A"))
                    await made.send(receipt(1, {"A": 1}))
                    await made.has("A", 1)
                    await made.relayed()
                store_server.restart()  # keeps nothing
                async with consuming("feeds", made, store_server, nats_server):
                    await made.send(receipt(2, {"A": 2}))
                    await asyncio.sleep(0.5)
                    assert not made.counters.exceptions
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
            consumer = await made.js.consumer_info("INVENTORY", "feeds")
            assert (consumer.num_ack_pending, consumer.num_pending) == (0, 0)

    asyncio.run(scenario())
