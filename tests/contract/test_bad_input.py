"""Bad input, by name: each is answered as documented, and changes nothing else in the pool."""

import uuid
from collections.abc import Callable

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from atp import limits
from inventory.availability.v1 import reservation_service_pb2 as rp
from tests.contract.conftest import Engine, Shop

#: Calls that are wrong in themselves, and the violations that they are answered with.
INVALID: dict[str, tuple[Callable[[Shop], object], dict[str, str]]] = {
    "a zero quantity": (lambda shop: shop.reserve(("A", 0)), {"lines[0].quantity": "must be 1 to 1000000000, is 0"}),
    "a negative quantity": (lambda shop: shop.reserve(("A", 1), ("B", -1)), {"lines[1].quantity": "must be 1 to 1000000000, is -1"}),
    "a huge quantity": (lambda shop: shop.reserve(("A", 10**9 + 1)), {"lines[0].quantity": "must be 1 to 1000000000, is 1000000001"}),
    "the hugest quantity": (lambda shop: shop.reserve(("A", 2**63 - 1)), {"lines[0].quantity": f"must be 1 to 1000000000, is {2**63 - 1}"}),
    "a huge sum": (lambda shop: shop.reserve(("A", 10**9), ("A", 1)), {"lines": "A adds up to 1000000001, more than 1000000000"}),
    "a negative quantity asked about": (lambda shop: shop.available(("A", -1)), {"lines[0].quantity": "must be 0 to 1000000000, is -1"}),
    "an empty basket": (lambda shop: shop.reserve(), {"lines": "must have 1 to 1000 entries, has 0"}),
    "1,001 lines": (lambda shop: shop.reserve(*[("A", 1)] * 1_001), {"lines": "must have 1 to 1000 entries, has 1001"}),
    "501 lines asked about": (lambda shop: shop.available(*[("A", 1)] * 501), {"lines": "must have 1 to 500 entries, has 501"}),
    "nothing asked about": (lambda shop: shop.available(), {"lines": "must have 1 to 500 entries, has 0"}),
    "rows over the bound, nodes named": (
        lambda shop: shop.reserve(*((f"S{n}", 1) for n in range(1_000)), nodes=["N1", "N2", "N3"]),
        {"lines": "lines × nodes must be at most 2000, is 3000"},
    ),
    "a TTL too short": (lambda shop: shop.reserve(("A", 1), ttl_ms=999), {"ttl_ms": "must be 1000 to 2678400000, is 999"}),
    "a TTL too long": (lambda shop: shop.reserve(("A", 1), ttl_ms=2_678_400_001), {"ttl_ms": "must be 1000 to 2678400000, is 2678400001"}),
    "a negative TTL": (lambda shop: shop.extend("r", -1), {"ttl_ms": "must be 1000 to 2678400000, is -1"}),
    "a pool of impossible form": (lambda shop: shop.reserve(("A", 1), pool="a}b"), {"pool": "must be 1 to 32 of A-Z a-z 0-9 _ -"}),
    "a SKU of impossible form": (
        lambda shop: shop.reserve(("A B", 1)),
        {"lines[0].sku": "must be 1 to 64 printable characters without spaces"},
    ),
    "an id too long": (
        lambda shop: shop.reserve(("A", 1), rid="r" * 65),
        {"reservation_id": "must be 1 to 64 printable characters without spaces"},
    ),
    "a node named twice": (lambda shop: shop.reserve(("A", 1), nodes=["N1", "N1"]), {"nodes": "must not name a node twice"}),
    "a line named twice": (lambda shop: shop.release("r", (1, 1), (1, 1)), {"lines[1].number": "1 stands twice"}),
    "a line number of 0": (lambda shop: shop.release("r", (0, 1)), {"lines[0].number": "must be 1 to 2000, is 0"}),
    "no shipment": (lambda shop: shop.fulfil("r", shipment=""), {"shipment_id": "must be 1 to 64 printable characters without spaces"}),
    "a shipment before time began": (
        lambda shop: shop.fulfil("r", ship_time=Timestamp(seconds=-1)),
        {"ship_time": f"must be 0 to {2**47}, is -1000"},
    ),
    "no reservation": (lambda shop: shop.get(""), {"reservation_id": "must be 1 to 64 printable characters without spaces"}),
    "no order": (lambda shop: shop.list(""), {"order_reference": "must be 1 to 64 printable characters without spaces"}),
    "a negative page": (lambda shop: shop.list("o", page_size=-1), {"page_size": "must not be negative"}),
    "a page token made up": (
        lambda shop: shop.list("o", page_token="next"),
        {"page_token": "must be the next_page_token of an answer for this pool and order_reference"},
    ),
    "everything at once": (
        lambda shop: shop.reserve(("A", 0), pool="", channel=""),
        {
            "pool": "must be 1 to 32 of A-Z a-z 0-9 _ -",
            "channel": "must be 1 to 32 of A-Z a-z 0-9 _ -",
            "lines[0].quantity": "must be 1 to 1000000000, is 0",
        },
    ),
}

#: Calls that name what is not there, what the answer is about, and under which key it says so.
UNKNOWN: dict[str, tuple[Callable[[Shop], object], str, dict[str, str]]] = {
    "reserve in an unknown pool": (lambda shop: shop.reserve(("A", 1), pool="nowhere"), "UNKNOWN_POOL", {"pool": "nowhere"}),
    "confirm in an unknown pool": (lambda shop: shop.confirm("r", pool="nowhere"), "UNKNOWN_POOL", {"pool": "nowhere"}),
    "ask about an unknown pool": (lambda shop: shop.available(("A", 1), pool="nowhere"), "UNKNOWN_POOL", {"pool": "nowhere"}),
    "reserve through an unknown channel": (lambda shop: shop.reserve(("A", 1), channel="app"), "UNKNOWN_CHANNEL", {"channel": "app"}),
    "ask about an unknown channel": (lambda shop: shop.available(("A", 1), channel="app"), "UNKNOWN_CHANNEL", {"channel": "app"}),
    "reserve at unknown nodes": (lambda shop: shop.reserve(("A", 1), nodes=["N8", "N3", "N9"]), "UNKNOWN_NODE", {"nodes": "N8 N9"}),
    "ask about an unknown node": (lambda shop: shop.available(("A", 1), nodes=["N9"]), "UNKNOWN_NODE", {"nodes": "N9"}),
    "explain an unknown node": (lambda shop: shop.explain("A", "N9"), "UNKNOWN_NODE", {"nodes": "N9"}),
    "reserve unknown SKUs": (lambda shop: shop.reserve(("A", 1), ("X", 1), ("Y", 1)), "UNKNOWN_SKU", {"skus": "X Y"}),
    "explain an unknown SKU": (lambda shop: shop.explain("X", "N1"), "UNKNOWN_SKU", {"skus": "X"}),
    "confirm nothing": (lambda shop: shop.confirm("r"), "UNKNOWN_RESERVATION", {"reservation_id": "r"}),
    "release nothing": (lambda shop: shop.release("r"), "UNKNOWN_RESERVATION", {"reservation_id": "r"}),
    "extend nothing": (lambda shop: shop.extend("r"), "UNKNOWN_RESERVATION", {"reservation_id": "r"}),
    "fulfil nothing": (lambda shop: shop.fulfil("r"), "UNKNOWN_RESERVATION", {"reservation_id": "r"}),
    "get nothing": (lambda shop: shop.get("r"), "UNKNOWN_RESERVATION", {"reservation_id": "r"}),
}


@pytest.mark.parametrize("name", INVALID)
def test_a_call_wrong_in_itself_is_told_every_field(shop: Shop, name: str) -> None:
    call, violations = INVALID[name]
    with shop.fails("INVALID_ARGUMENT", "INVALID_REQUEST", count=str(len(violations))) as failure:
        call(shop)
    assert failure.violations == violations


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_name_is_not_found_and_named(shop: Shop, name: str) -> None:
    call, reason, metadata = UNKNOWN[name]
    with shop.fails("NOT_FOUND", reason, **metadata) as failure:
        call(shop)
    assert failure.metadata == metadata


def test_nodes_outside_the_channel_are_named(shop: Shop) -> None:
    for call in (shop.reserve, shop.available):
        with shop.fails("INVALID_ARGUMENT", "NODE_NOT_IN_CHANNEL", nodes="N3"):
            call(("A", 1), nodes=["N1", "N3"])


def test_rows_over_the_bound_through_the_channels_own_nodes(engine: Engine, shop: Shop) -> None:
    skus = {f"S{number}": 0 for number in range(limits.RESERVATION_LINES_MAX)}
    engine.run(shop.register(skus))
    engine.run(shop.add_channel("wide", ["N1", "N2", "N3"]))
    with shop.fails("INVALID_ARGUMENT", "TOO_MANY_ROWS", channel="wide"):
        shop.reserve(*((sku, 1) for sku in skus), channel="wide")


def test_more_units_than_the_engine_counts_to_are_merely_short(shop: Shop) -> None:
    with shop.unchanged():
        answer = shop.reserve(("A", limits.QUANTITY_MAX))
    assert [(line.sku, line.requested, line.available) for line in answer.shortfalls] == [("A", limits.QUANTITY_MAX, 15)]


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"channel": "shop"}, "channel"),
        ({"order_reference": "o2"}, "order_reference"),
        ({"ttl_ms": 5_000}, "ttl_ms"),
        ({"partial": True}, "partial"),
        ({"nodes": ["N1"]}, "nodes"),
        ({"channel": "shop", "nodes": ["N2"]}, "channel nodes"),
    ],
)
def test_a_reused_reservation_id_is_told_what_differs(shop: Shop, change: dict, differs: str) -> None:
    shop.reserve(("A", 1), rid="r1")
    with shop.fails("ALREADY_EXISTS", "KEY_REUSED", differs=differs):
        shop.reserve(("A", 1), rid="r1", **change)
    with shop.fails("ALREADY_EXISTS", "KEY_REUSED", differs="lines"):
        shop.reserve(("A", 2), rid="r1")


def test_a_reused_operation_key_is_told_what_differs(shop: Shop) -> None:
    shop.reserve(("A", 3), rid="r1")
    shop.extend("r1", 1_000, key="k1")
    shop.release("r1", (1, 1), key="k2")
    for call, differs in (
        (lambda: shop.extend("r1", 2_000, key="k1"), "ttl_ms"),
        (lambda: shop.release("r1", (1, 2), key="k2"), "lines"),
        (lambda: shop.confirm("r1", key="k1"), "verb"),
    ):
        with shop.fails("ALREADY_EXISTS", "KEY_REUSED", differs=differs):
            call()


def test_a_reused_shipment_is_told_what_differs(shop: Shop) -> None:
    for rid in ("r1", "r2"):
        shop.reserve(("A", 3), rid=rid)
        shop.confirm(rid)
    shop.fulfil("r1", (1, 1), shipment="s1")
    with shop.fails("ALREADY_EXISTS", "KEY_REUSED", differs="lines"):
        shop.fulfil("r1", (1, 2), shipment="s1")
    with shop.fails("ALREADY_EXISTS", "KEY_REUSED", differs="reservation_id"):
        shop.fulfil("r2", (1, 1), shipment="s1")


def uuid7_at(ms: int) -> str:
    return str(uuid.UUID(int=ms << 80 | 0x7 << 76 | 0b10 << 62 | 42))


@pytest.mark.parametrize("away_ms", [-limits.RETENTION_MS - 1, limits.ID_AHEAD_MS_MAX + 1])
def test_a_uuid7_older_than_the_retention_or_too_far_ahead_is_stale(shop: Shop, away_ms: int) -> None:
    rid = uuid7_at(shop.engine.now_ms + away_ms)
    with shop.fails("FAILED_PRECONDITION", "RESERVATION_ID_STALE", reservation_id=rid):
        shop.reserve(("A", 1), rid=rid)


@pytest.mark.parametrize("away_ms", [-limits.RETENTION_MS, limits.ID_AHEAD_MS_MAX])
def test_a_uuid7_just_within_is_fine(shop: Shop, away_ms: int) -> None:
    rid = uuid7_at(shop.engine.now_ms + away_ms)
    assert shop.reserve(("A", 1), rid=rid).reservation_id == rid


def test_lines_that_are_not_there(shop: Shop) -> None:
    shop.reserve(("A", 1), rid="r1")
    shop.confirm("r1")
    for verb in (shop.release, shop.fulfil):
        with shop.fails("NOT_FOUND", "UNKNOWN_LINE", lines="2 3"):
            verb("r1", (2, 1), (1, 1), (3, 0))


def test_a_shipment_from_two_nodes(shop: Shop) -> None:
    shop.reserve(("A", 12), rid="r1")
    shop.confirm("r1")
    with shop.fails("FAILED_PRECONDITION", "SHIPMENT_SPANS_NODES", nodes="N1 N2"):
        shop.fulfil("r1")


def test_an_order_has_room_for_a_hundred_reservations(shop: Shop) -> None:
    shop.engine.run(shop.receive("A", "N1", limits.ORDER_RESERVATIONS_MAX))
    for _ in range(limits.ORDER_RESERVATIONS_MAX):
        shop.reserve(("A", 1), order_reference="o1")
    with shop.fails("FAILED_PRECONDITION", "ORDER_FULL", order_reference="o1"):
        shop.reserve(("A", 1), order_reference="o1")
    assert len(shop.list("o1", page_size=100).reservations) == limits.ORDER_RESERVATIONS_MAX


def test_a_reservation_keeps_a_bounded_number_of_results_and_room_for_its_end(shop: Shop) -> None:
    shop.reserve(("A", 2), rid="r1")
    for number in range(limits.OPERATIONS_FOR_ANY):
        shop.extend("r1", key=f"e{number}")
    for call in (lambda: shop.extend("r1", key="another"), lambda: shop.release("r1", (1, 1))):
        with shop.fails("FAILED_PRECONDITION", "OPERATIONS_FULL", reservation_id="r1"):
            call()
    shop.confirm("r1")
    assert [line.open for line in shop.get("r1").reservation.lines] == [2]
    assert shop.release("r1").moves[0].quantity == 2


def test_a_page_token_is_good_for_its_own_order_only(shop: Shop) -> None:
    for _ in range(2):
        shop.reserve(("A", 1), order_reference="o1")
    token = shop.list("o1", page_size=1).next_page_token
    with shop.fails("INVALID_ARGUMENT", "INVALID_REQUEST") as failure:
        shop.list("o2", page_token=token)
    assert failure.violations is not None
    assert list(failure.violations) == ["page_token"]


@pytest.mark.parametrize("body", [b"{}", b'{"pool": "de"}', b"\xff", rp.ReserveRequest(pool="de").SerializeToString() + b"\x0a"])
def test_a_body_that_is_no_such_message(engine: Engine, shop: Shop, body: bytes) -> None:
    with shop.fails("INVALID_ARGUMENT", "MALFORMED", message="inventory.availability.v1.ReserveRequest"):
        engine.raw("ReservationService/Reserve", body)


def test_text_that_is_not_utf8(engine: Engine, shop: Shop) -> None:
    with shop.fails("INVALID_ARGUMENT", "MALFORMED"):
        engine.raw("AvailabilityService/ExplainAvailability", b"\x0a\x02\xc3\x28")


def test_a_request_over_the_size_limit_is_refused_by_the_transport(engine: Engine, shop: Shop) -> None:
    with shop.unchanged(), pytest.raises(grpc.aio.AioRpcError) as raised:
        shop.available(("x" * 1_100_000, 1))
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_method_that_does_not_exist(engine: Engine) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        engine.raw("ReservationService/Steal", b"")
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
