"""Events of every kind, good and bad, on real servers: each has its documented answer and harms no neighbour."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from atp import limits
from atp.exceptions import PublishedException
from atp.model.status import ExceptionReason
from cli.embedded import NatsServer, StoreServer
from tests.e2e.consuming import (
    envelope,
    items,
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


# --- bad events ---------------------------------------------------------------------------------------------------
FULL = limits.FIGURE_MAX
LONG_SKUS = [f"{number:03}" + "𝒜" * 61 for number in range(limits.EVENT_LINES_MAX)]
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
    "lines that fill more than a ledger entry": (ExceptionReason.TOO_LARGE, receipt(1027, dict.fromkeys(LONG_SKUS, 1), id="𝒜" * 64), None),
    "another source than the subject": (ExceptionReason.WRONG_SUBJECT, receipt(1016, {"A": 1}), "inv.{pool}.erp.receipt"),
    "another type than the subject": (ExceptionReason.WRONG_SUBJECT, receipt(1017, {"A": 1}), "inv.{pool}.wms.return"),
    "a subject too short": (ExceptionReason.WRONG_SUBJECT, receipt(1018, {"A": 1}), "inv.{pool}.wms"),
    "an unknown pool": (ExceptionReason.UNKNOWN_POOL, receipt(1019, {"A": 1}), "inv.nowhere.wms.receipt"),
    "a pool that cannot be": (ExceptionReason.UNKNOWN_POOL, receipt(1020, {"A": 1}), "inv.no!where.wms.receipt"),
    "an unknown source": (ExceptionReason.UNKNOWN_SOURCE, receipt(1021, {"A": 1}, source="oms"), None),
    "an unknown node": (ExceptionReason.UNKNOWN_NODE, receipt(1022, {"A": 1}, node="N9"), None),
    "no sequence from a source that counts": (ExceptionReason.SEQUENCE_MISSING, receipt(0, {"A": 1}), None),
    "a pack that the item does not have": (
        ExceptionReason.UNKNOWN_UNIT,
        envelope("receipt", "wms", {"node": "N1", "sequence": 1023, "lines": [{"sku": "A", "quantity": 1, "unit": "case"}]}),
        None,
    ),
    "a cancellation of an order that nobody knows": (
        ExceptionReason.UNKNOWN_ORDER,
        envelope("order_cancelled", "wms", {"sequence": 1026, "order_reference": "O-nobody"}),
        None,
    ),
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
    items(1, "A", "OLD", "FULL", *LONG_SKUS),
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
        before = made.settled("applied")
        for number, (_, bad, subject) in enumerate(BAD_EVENTS.values()):
            await made.send(bad, subject.format(pool=made.pool) if subject else None)
            await made.send(receipt(2000 + number, {"A": 1}))
        await made.has("A", 99 + len(BAD_EVENTS))

        async def all_are_told() -> bool:
            return sum(made.settled(reason) for reason in ExceptionReason) == len(BAD_EVENTS)

        await until(all_are_told, "an exception for each bad event")
        after.applied = made.settled("applied") - before
        after.stock = {sku: (await made.row(sku)).on_hand for sku in ("A", "OLD", "FULL")}
        for pool in (made.pool, "nowhere", "_"):
            made.pool = pool
            after.found += [found for found in await made.exceptions() if not found.revision]  # the ledger's own are another matter
    return after


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
    (large,) = (found for found in aftermath.found if found.original_bytes > limits.EVENT_BYTES_MAX)
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
                return made.settled("duplicate") == 2

            await until(both_known, "two duplicates")
            assert (await made.row("A")).on_hand == 3
            assert await made.exceptions() == []

    asyncio.run(scenario())
