"""Events over gRPC: each is in the stream as NATS would have brought it, or refused with what is wrong with it."""

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from atp import events, limits
from atp_client import Accepted, AsyncAtpClient, AtpClient, RefusedEvent, TimedOutError, UnavailableError
from cli.embedded import NatsServer
from inventory.availability.v1 import inventory_event_pb2 as pb
from inventory.availability.v1 import inventory_service_pb2 as ip
from service import bounds
from tests.contract.conftest import Shop
from tests.contract.intake import ACCEPTED, LINE, NOW, REFUSED, STAMP, adjust, canonical_of, event, failure, stream_of, violations
from tests.contract.test_client import calling
from tests.contract.test_client_retries import way_to

TOLD_LINE = {"sku": "A", "quantity": 2}

#: Each kind with all that it can say, and what is to be in the stream.
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "item_registered": (
        pb.ItemRegistered(
            lines=[
                pb.ItemLine(
                    sku="A",
                    safety_stock=3,
                    gtins=["96385074"],
                    aliases=["OLD-A"],
                    base_unit="each",
                    packs={"case": 12},
                    category="tea",
                    cost=pb.Money(amount=0, currency="EUR"),
                    price=pb.Money(amount=499, currency="EUR"),
                    tax_code="food",
                )
            ]
        ),
        {
            "lines": [
                {
                    "sku": "A",
                    "safety_stock": 3,
                    "gtins": ["96385074"],
                    "aliases": ["OLD-A"],
                    "base_unit": "each",
                    "packs": {"case": 12},
                    "category": "tea",
                    "cost": {"amount": 0, "currency": "EUR"},
                    "price": {"amount": 499, "currency": "EUR"},
                    "tax_code": "food",
                }
            ]
        },
    ),
    "item_state_changed": (
        pb.ItemStateChanged(lines=[pb.ItemStateLine(sku="A", state=pb.ItemStateLine.STATE_DISCONTINUED)], reason="old"),
        {"lines": [{"sku": "A", "state": "discontinued"}], "reason": "old"},
    ),
    "location_registered": (
        pb.LocationRegistered(kind="store", time_zone="Europe/Paris"),
        {"node": "N1", "kind": "store", "time_zone": "Europe/Paris"},
    ),
    "location_state_changed": (
        pb.LocationStateChanged(state=pb.LocationStateChanged.STATE_CLOSED, reason="fire"),
        {"node": "N1", "state": "closed", "reason": "fire"},
    ),
    "receipt": (
        pb.Receipt(lines=[pb.QuantityLine(alias="OLD-A", unit="case", quantity=2)], document="PO1"),
        {"node": "N1", "lines": [{"alias": "OLD-A", "unit": "case", "quantity": 2}], "document": "PO1"},
    ),
    "pick": (pb.Pick(lines=[LINE], reservation_id="r1"), {"node": "N1", "lines": [TOLD_LINE], "reservation_id": "r1"}),
    "pick_reversed": (pb.PickReversed(lines=[LINE], order_reference="o1"), {"node": "N1", "lines": [TOLD_LINE], "order_reference": "o1"}),
    "pick_short": (pb.PickShort(lines=[LINE], order_reference="o1"), {"node": "N1", "lines": [TOLD_LINE], "order_reference": "o1"}),
    "pack": (
        pb.Pack(lines=[LINE], order_reference="o1", package_id="p1"),
        {"node": "N1", "lines": [TOLD_LINE], "order_reference": "o1", "package_id": "p1"},
    ),
    "shipment": (
        pb.Shipment(lines=[LINE], reservation_id="r1", shipment_id="s1"),
        {"node": "N1", "lines": [TOLD_LINE], "reservation_id": "r1", "shipment_id": "s1"},
    ),
    "order_cancelled": (
        pb.OrderCancelled(order_reference="o1", lines=[LINE], reason="changed"),
        {"order_reference": "o1", "lines": [TOLD_LINE], "reason": "changed"},
    ),
    "transfer_out": (
        pb.TransferOut(transfer_id="t1", to_node="N2", lines=[LINE]),
        {"node": "N1", "transfer_id": "t1", "to_node": "N2", "lines": [TOLD_LINE]},
    ),
    "transfer_in": (
        pb.TransferIn(transfer_id="t1", from_node="N2", lines=[LINE]),
        {"node": "N1", "transfer_id": "t1", "from_node": "N2", "lines": [TOLD_LINE]},
    ),
    "adjustment": (
        pb.Adjustment(lines=[pb.ChangeLine(sku="A", on_hand=-3, damaged=2, quality_hold=1)], reason="broken"),
        {"node": "N1", "lines": [{"sku": "A", "on_hand": -3, "damaged": 2, "quality_hold": 1}], "reason": "broken"},
    ),
    "status_change": (
        pb.StatusChange(lines=[pb.MoveLine(sku="A", quantity=2, to=pb.BUCKET_DAMAGED, **{"from": pb.BUCKET_QUALITY_HOLD})], reason="seen"),
        {"node": "N1", "lines": [{"sku": "A", "quantity": 2, "from": "quality_hold", "to": "damaged"}], "reason": "seen"},
    ),
    "return": (
        pb.Return(lines=[LINE], disposition=pb.BUCKET_SELLABLE, order_reference="o1"),
        {"node": "N1", "lines": [TOLD_LINE], "disposition": "sellable", "order_reference": "o1"},
    ),
    "sale": (
        pb.Sale(lines=[LINE], order_reference="o1", transaction_id="x1"),
        {"node": "N1", "lines": [TOLD_LINE], "order_reference": "o1", "transaction_id": "x1"},
    ),
    "sale_return": (
        pb.Return(lines=[LINE], disposition=pb.BUCKET_DAMAGED),
        {"node": "N1", "lines": [TOLD_LINE], "disposition": "damaged"},
    ),
    "cycle_count": (
        pb.CycleCount(as_of=STAMP, lines=[pb.LevelLine(sku="A", on_hand=0)]),
        {"node": "N1", "as_of": NOW, "lines": [{"sku": "A", "on_hand": 0}]},
    ),
    "snapshot": (
        pb.Snapshot(
            as_of=STAMP,
            scope=pb.SNAPSHOT_SCOPE_FULL,
            part=2,
            parts=3,
            lines=[pb.LevelLine(sku="A", unit="case", on_hand=-7, damaged=0, quality_hold=1, own_reserved=2)],
        ),
        {
            "node": "N1",
            "as_of": NOW,
            "scope": "full",
            "part": 2,
            "parts": 3,
            "lines": [{"sku": "A", "unit": "case", "on_hand": -7, "damaged": 0, "quality_hold": 1, "own_reserved": 2}],
        },
    ),
    "heartbeat": (pb.Heartbeat(), {"node": "N1"}),
}


@pytest.fixture
def shop(fed_shop: Shop) -> Shop:
    return Shop(fed_shop.engine)


def test_every_kind_is_told() -> None:
    assert set(KINDS) == set(events.TYPES) == {field.name for field in pb.InventoryEvent.DESCRIPTOR.oneofs_by_name["kind"].fields}


def test_each_kind_is_in_the_stream_with_all_that_it_said(shop: Shop, nats: NatsServer) -> None:
    results = adjust(shop, *(event(f"e-{kind}", kind, body) for kind, (body, _) in KINDS.items()), metadata=(("x-correlation-id", "c1"),))
    assert [result.outcome for result in results] == [ACCEPTED] * len(KINDS), results
    expected = {canonical_of(f"e-{kind}", kind, data, correlation="c1").id: (kind, data) for kind, (_, data) in KINDS.items()}
    found = {one.id: one for one in stream_of(shop, nats)}
    assert set(found) == set(expected)
    for name, (kind, data) in expected.items():
        assert found[name] == canonical_of(name, kind, data, correlation="c1")


def test_an_event_that_names_its_conversation_keeps_it(shop: Shop, nats: NatsServer) -> None:
    adjust(shop, event("e1", correlation="its-own"), metadata=(("x-correlation-id", "the-calls"),))
    assert [one.correlation for one in stream_of(shop, nats)] == ["its-own"]


def test_bad_events_among_good_ones_are_refused_with_what_is_wrong_and_harm_nobody(shop: Shop, nats: NatsServer) -> None:
    line = pb.QuantityLine
    lines = [line(sku="A"), line(sku="A", quantity=1), line(sku="A B", quantity=1), line(sku="A", quantity=10**9 + 1)]
    bad = {
        "nothing": (
            pb.InventoryEvent(item_registered=pb.ItemRegistered(lines=[pb.ItemLine(packs={"a b": 1}, cost=pb.Money(currency="€"))])),
            {
                "id": "must be set",
                "source": "must be set",
                "time": "must be set",
                "item_registered.lines[0].sku": "must be set",
                "item_registered.lines[0].packs": "must be 1 to 32 of A-Z a-z 0-9 _ -",
                "item_registered.lines[0].cost.currency": "must be three capitals",
            },
        ),
        "no kind": (pb.InventoryEvent(id="b1", source="wms", time=STAMP), {"kind": f"must be one of {', '.join(events.TYPES)}"}),
        "no time": (event("b2", time=Timestamp(seconds=10**15)), {"time": "expected `datetime`, got `null`"}),
        "no node": (event("b3", node=""), {"node": "must be set"}),
        "a node that cannot be": (event("b4", node="N 1"), {"node": "must be 1 to 32 of A-Z a-z 0-9 _ -"}),
        "lines": (
            event("b5", body=pb.Receipt(lines=lines)),
            {
                "receipt.lines[0].quantity": "must be set",
                "receipt.lines[2].sku": "must be 1 to 64 printable characters without spaces",
                "receipt.lines[3].quantity": "expected `int` <= 1000000000",
            },
        ),
        "too many lines": (event("b6", body=pb.Receipt(lines=[LINE] * 201)), {"receipt.lines": "expected `array` of length <= 200"}),
        "a disposition that is none": (
            event("b7", "return", pb.Return(lines=[LINE], disposition=9)),
            {"return.disposition": "invalid enum value '9'"},
        ),
        "what its types cannot say": (
            event("b8", "transfer_out", pb.TransferOut(transfer_id="t", to_node="N1", lines=[LINE])),
            {"node": "is both ends of the transfer"},
        ),
        "nobody": (
            event("b9", "pick", pb.Pick(lines=[LINE])),
            {"pick.order_reference": "is missing: it, or reservation_id, says for whom"},
        ),
        "a negative sequence": (event("b10", sequence=-1), {"sequence": "expected `int` >= 0"}),
    }
    asked = [one for number, (wrong, _) in enumerate(bad.values()) for one in (event(f"good-{number}"), wrong)]
    results = adjust(shop, *asked)
    assert [result.outcome for result in results] == [ACCEPTED, REFUSED] * len(bad)
    assert [violations(result) for result in results[1::2]] == [wrong for _, wrong in bad.values()]
    assert {result.refusal.reason for result in results[1::2]} == {ip.Refusal.REASON_MALFORMED}
    assert {one.id for one in stream_of(shop, nats)} == {f"good-{number}" for number in range(len(bad))}


def test_a_line_of_many_wrong_ones_is_told_up_to_the_bound(shop: Shop) -> None:
    (result,) = adjust(shop, event("b1", body=pb.Receipt(lines=[pb.QuantityLine(sku="A")] * 200)))
    assert list(violations(result)) == [f"receipt.lines[{number}].quantity" for number in range(bounds.VIOLATIONS_MAX)]


def test_an_event_larger_than_the_stream_takes_is_refused_by_name(shop: Shop) -> None:
    aliases = [f"{number}{'x' * 60}" for number in range(20)]
    large = pb.ItemRegistered(lines=[pb.ItemLine(sku=f"S{number}", aliases=aliases) for number in range(300)])
    results = adjust(shop, event("large", "item_registered", large), event("small"))
    assert [result.outcome for result in results] == [REFUSED, ACCEPTED]
    assert results[0].refusal.reason == ip.Refusal.REASON_TOO_LARGE


def test_an_event_that_is_sent_again_is_taken_again_as_the_same(shop: Shop, nats: NatsServer) -> None:
    (first,), (again,) = adjust(shop, event("e1")), adjust(shop, event("e1"))
    assert 0 < first.stream_sequence < again.stream_sequence
    assert [one.id for one in stream_of(shop, nats)] == ["e1", "e1"]


def test_a_thousand_events_are_taken_in_their_order(shop: Shop, nats: NatsServer) -> None:
    results = adjust(shop, *(event(f"e{number}") for number in range(limits.ADJUST_EVENTS_MAX)))
    assert {result.outcome for result in results} == {ACCEPTED}
    by_place = {result.stream_sequence: f"e{number}" for number, result in enumerate(results)}
    assert [one.id for one in stream_of(shop, nats)] == [by_place[place] for place in sorted(by_place)]


@pytest.mark.parametrize(
    ("number", "pool", "wrong"),
    [
        (0, None, {"events": "must have 1 to 1000 entries, has 0"}),
        (1001, None, {"events": "must have 1 to 1000 entries, has 1001"}),
        (1, "a b", {"pool": "must be 1 to 32 of A-Z a-z 0-9 _ -"}),
    ],
)
def test_a_call_wrong_in_itself_is_told_every_field(shop: Shop, number: int, pool: str | None, wrong: dict[str, str]) -> None:
    failed = failure(adjust, shop, *[event("e", "heartbeat", pb.Heartbeat())] * number, pool=pool)
    assert (failed.code, failed.reason, failed.violations) == ("INVALID_ARGUMENT", "INVALID_REQUEST", wrong)


# --- the client ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", [AtpClient, AsyncAtpClient])
def test_the_client_tells_what_became_of_each_event(kind: type[AtpClient | AsyncAtpClient], shop: Shop) -> None:
    with calling(kind, shop.engine, shop.engine.address, pool=shop.pool) as client:
        accepted, refused = client.adjust([event("e1"), event("e2", node="")])
        assert isinstance(accepted, Accepted)
        assert (accepted.stream_sequence > 0, bool(accepted)) == (True, True)
        assert isinstance(refused, RefusedEvent)
        assert (refused.reason, refused.violations, bool(refused)) == ("MALFORMED", (("node", "must be set"),), False)


IN_THE_ANSWER = b"must be one of"  # of an event that says nothing


def test_the_client_sends_events_again_whose_answer_was_lost(shop: Shop, nats: NatsServer) -> None:
    with way_to(shop.engine, IN_THE_ANSWER, times=1) as way, calling(AtpClient, shop.engine, way.address, pool=shop.pool) as client:
        result, _ = client.adjust([event("e1"), pb.InventoryEvent()])
    assert (way.lost, bool(result)) == (1, True)
    assert [one.id for one in stream_of(shop, nats)] == ["e1", "e1"]


def test_the_client_says_that_events_may_have_been_taken(shop: Shop) -> None:
    with (
        way_to(shop.engine, IN_THE_ANSWER, times=1_000_000) as way,
        calling(AtpClient, shop.engine, way.address, pool=shop.pool, timeout_s=1) as client,
        pytest.raises((UnavailableError, TimedOutError)) as raised,
    ):
        client.adjust([event("e1"), pb.InventoryEvent()])
    assert (raised.value.outcome_unknown, raised.value.same_call) == (True, {})
    assert str(raised.value).endswith("send the same call again.")
