"""Events and snapshots over gRPC: each is in the stream as NATS would have brought it, or refused with what is wrong with it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from atp import canonical, events, limits
from atp.errors import IntakeUnavailableError
from atp.intake import Taken
from atp_client import Accepted, AsyncAtpClient, AtpClient, RefusedEvent, TimedOutError, UnavailableError
from cli.embedded import NatsServer, StoreServer
from consumers import streams
from consumers.connection import connect_once
from consumers.intake import JetStreamIntake
from inventory.availability.v1 import inventory_event_pb2 as pb
from inventory.availability.v1 import inventory_service_pb2 as ip
from service import bounds
from service.call import LOCAL, Identity, Scope
from tests.contract.conftest import Engine, Failure, Shop, told
from tests.contract.test_client import calling
from tests.contract.test_client_retries import way_to
from tests.e2e.reading import in_stream

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STAMP = Timestamp(seconds=int(NOW.timestamp()))
LINE, TOLD_LINE = pb.QuantityLine(sku="A", quantity=2), {"sku": "A", "quantity": 2}
NOBODY = "is missing: it, or reservation_id, says for whom"
REFUSED, ACCEPTED = ip.EventResult.OUTCOME_REFUSED, ip.EventResult.OUTCOME_ACCEPTED

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


def event(name: str, kind: str = "receipt", body: Any = None, **changed: Any) -> pb.InventoryEvent:
    said: dict[str, Any] = {"id": name, "source": "wms", "sequence": 7, "node": "N1", "time": STAMP, **changed}
    return pb.InventoryEvent(**said, **{kind: body or pb.Receipt(lines=[LINE])})


def canonical_of(name: str, kind: str, data: dict[str, Any], **others: Any) -> events.Event:
    said = {"type": kind, "specversion": "1.0", "id": name, "source": "wms", "time": NOW, **others, "data": {"sequence": 7, **data}}
    found: events.Event = msgspec.convert(said, events.Event)
    return found


# --- the servers --------------------------------------------------------------------------------------------------
async def make_stream(server: NatsServer) -> None:
    client = await connect_once(server.url, "test")
    await client.jetstream().add_stream(streams.inventory())
    await client.close()


@pytest.fixture(scope="module")
def nats(runner: asyncio.Runner, nats_server: NatsServer) -> NatsServer:
    runner.run(make_stream(nats_server))
    return nats_server


@contextlib.contextmanager
def serving(runner: asyncio.Runner, store: StoreServer, server: NatsServer, identity: Identity = LOCAL) -> Iterator[Shop]:
    """A shop behind a service whose events go to this NATS."""
    intake = JetStreamIntake()
    runner.run(intake.connect(server.url, "atp service"))
    engine = Engine(runner, store.url, identity=identity, intake=intake)
    yield Shop(engine)
    engine.close()
    runner.run(intake.close())


@pytest.fixture(scope="module")
def open_shop(runner: asyncio.Runner, valkey: StoreServer, nats: NatsServer) -> Iterator[Shop]:
    with serving(runner, valkey, nats) as shop:
        yield shop


@pytest.fixture
def shop(open_shop: Shop) -> Shop:
    return Shop(open_shop.engine)


def stream_of(shop: Shop, server: NatsServer) -> list[events.Event]:
    found: list[events.Event] = shop.engine.runner.run(in_stream(server, shop.pool))
    return found


def adjust(shop: Shop, *told_events: pb.InventoryEvent, pool: str | None = None, **options: Any) -> list[ip.EventResult]:
    request = ip.AdjustRequest(pool=shop.pool if pool is None else pool, events=told_events)
    return list(shop.engine.call(shop.engine.inventory.Adjust, request, **options).results)


def violations(result: ip.EventResult) -> dict[str, str]:
    return {wrong.field: wrong.description for wrong in result.refusal.violations}


def failure(call: Any, *args: Any, **options: Any) -> Failure:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        call(*args, **options)
    return told(raised.value)


# --- Adjust -------------------------------------------------------------------------------------------------------
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


# --- who may ------------------------------------------------------------------------------------------------------
def test_a_caller_speaks_for_itself_and_for_the_sources_it_was_given(runner: asyncio.Runner, valkey: StoreServer, nats: NatsServer) -> None:
    oms = Identity("oms", frozenset({Scope.FEED}), sources=frozenset({"shop"}))
    with serving(runner, valkey, nats, oms) as shop:
        results = adjust(shop, event("e1", source="oms"), event("e2", source="wms"), event("e3", source="shop"))
        assert [result.outcome for result in results] == [ACCEPTED, REFUSED, ACCEPTED]
        assert results[1].refusal.reason == ip.Refusal.REASON_SOURCE_FORBIDDEN
        assert violations(results[1]) == {"source": "wms is not among those that oms speaks for"}
        assert sorted(one.id for one in stream_of(shop, nats)) == ["e1", "e3"]
        failed = failure(sync, shop, [part(shop, source="wms")])
        assert (failed.code, failed.reason, failed.metadata) == ("PERMISSION_DENIED", "SOURCE_FORBIDDEN", {"source": "wms"})


def test_a_caller_without_the_scope_or_for_other_pools_is_refused(runner: asyncio.Runner, valkey: StoreServer, nats: NatsServer) -> None:
    for identity, reason in (
        (Identity("wms", frozenset({Scope.READ, Scope.RESERVE})), "SCOPE_MISSING"),
        (Identity("wms", frozenset({Scope.FEED}), frozenset({"another"})), "POOL_FORBIDDEN"),
    ):
        with serving(runner, valkey, nats, identity) as shop:
            assert failure(adjust, shop, event("e1")).reason == reason
            assert failure(sync, shop, [part(shop)]).reason == reason
            assert stream_of(shop, nats) == []


# --- Sync ---------------------------------------------------------------------------------------------------------
def levels(*skus: str, on_hand: int = 5) -> list[pb.LevelLine]:
    return [pb.LevelLine(sku=sku, on_hand=on_hand) for sku in skus]


def part(shop: Shop, *skus: str, **changed: Any) -> ip.SyncRequest:
    """The first part of a snapshot, with its head."""
    said: dict[str, Any] = {"pool": shop.pool, "id": "count-1", "source": "wms", "sequence": 7, "node": "N1", "time": STAMP, "as_of": STAMP}
    return ip.SyncRequest(**{**said, "lines": levels(*skus or ("A",)), **changed})


def more(*skus: str) -> ip.SyncRequest:
    return ip.SyncRequest(lines=levels(*skus))


def sync(shop: Shop, parts: Iterable[ip.SyncRequest], **options: Any) -> ip.SyncResponse:
    async def told_parts() -> AsyncIterator[ip.SyncRequest]:
        for one in parts:
            yield one

    async def send() -> ip.SyncResponse:
        return await shop.engine.inventory.Sync(told_parts(), **{"timeout": 20, **options})

    return shop.engine.runner.run(send())


FULL = pb.SNAPSHOT_SCOPE_FULL


def test_a_full_snapshot_goes_in_as_the_parts_it_came_in(shop: Shop, nats: NatsServer) -> None:
    answer = sync(shop, [part(shop, "A", "B", scope=FULL, parts=2), more("C")], metadata=(("x-correlation-id", "c1"),))
    assert (answer.parts_accepted, answer.lines_accepted, answer.complete) == (2, 3, True)
    said = {"node": "N1", "as_of": NOW, "scope": "full", "parts": 2}
    assert stream_of(shop, nats) == [
        canonical_of("count-1.1", "snapshot", {**said, "lines": [{"sku": sku, "on_hand": 5} for sku in "AB"]}, correlation="c1"),
        canonical_of("count-1.2", "snapshot", {**said, "part": 2, "lines": [{"sku": "C", "on_hand": 5}]}, correlation="c1"),
    ]
    again = sync(shop, [part(shop, "A", "B", scope=FULL, parts=2), more("C")])
    assert (again.parts_accepted, again.complete) == (2, True)


def test_a_partial_snapshot_has_as_many_parts_as_come(shop: Shop, nats: NatsServer) -> None:
    answer = sync(shop, [part(shop, "A"), more("B"), more("C")])
    assert (answer.parts_accepted, answer.lines_accepted, answer.complete) == (3, 3, True)
    assert [(one.data.scope, one.data.part, one.data.parts) for one in stream_of(shop, nats)] == [("partial", 1, 1)] * 3  # type: ignore[union-attr]  # snapshots


def test_an_empty_node_is_a_full_snapshot_without_lines(shop: Shop, nats: NatsServer) -> None:
    empty = part(shop, scope=FULL)
    del empty.lines[:]
    assert sync(shop, [empty]).complete
    assert [canonical.lines_of(one) for one in stream_of(shop, nats)] == [[]]


def test_a_part_with_wrong_lines_is_refused_whole_and_makes_it_complete_when_it_is_sent_again(shop: Shop, nats: NatsServer) -> None:
    parts = [part(shop, "A", scope=FULL, parts=3), more("B", "C C", "D", "D"), more("E")]
    answer = sync(shop, parts)
    assert (answer.parts_accepted, answer.parts_refused, answer.complete) == (2, 1, False)
    (refused,) = answer.refused
    assert (refused.part, refused.refusal.reason) == (2, ip.Refusal.REASON_MALFORMED)
    assert [wrong.field for wrong in refused.refusal.violations] == ["lines[1].sku"]
    assert [one.id for one in stream_of(shop, nats)] == ["count-1.1", "count-1.3"]
    again = sync(shop, [parts[0], more("B", "C", "D"), parts[2]])
    assert (again.parts_accepted, again.complete) == (3, True)


def test_a_full_snapshot_is_not_complete_with_parts_missing_or_beyond_those_announced(shop: Shop) -> None:
    answer = sync(shop, [part(shop, "A", scope=FULL, parts=3), more("B")])
    assert (answer.parts_accepted, answer.parts_refused, answer.complete) == (2, 0, False)
    beyond = sync(shop, [part(shop, "A", id="count-2", sequence=8, scope=FULL), more("B")])
    assert (beyond.parts_accepted, beyond.parts_refused, beyond.complete) == (1, 1, False)
    assert [(wrong.field, wrong.description) for wrong in beyond.refused[0].refusal.violations] == [
        ("part", "must be 1 to 1, the number of parts")
    ]


def test_a_long_snapshot_is_taken_whole(shop: Shop, nats: NatsServer) -> None:
    skus = [f"S{number}" for number in range(100 * limits.EVENT_LINES_MAX)]
    pieces = [skus[start : start + limits.EVENT_LINES_MAX] for start in range(0, len(skus), limits.EVENT_LINES_MAX)]
    answer = sync(shop, [part(shop, *pieces[0], scope=FULL, parts=100), *(more(*piece) for piece in pieces[1:])])
    assert (answer.parts_accepted, answer.lines_accepted, answer.complete) == (100, len(skus), True)
    assert sorted(line.sku for one in stream_of(shop, nats) for line in canonical.lines_of(one)) == sorted(skus)


def test_a_head_that_is_wrong_is_told_every_field_before_anything_is_taken(shop: Shop, nats: NatsServer) -> None:
    failed = failure(sync, shop, [part(shop, pool="a b", id="x" * 58, node="N 1"), more("B")])
    assert (failed.code, failed.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert failed.violations == {
        "pool": "must be 1 to 32 of A-Z a-z 0-9 _ -",
        "id": "must be 1 to 57 printable characters without spaces",
        "node": "must be 1 to 32 of A-Z a-z 0-9 _ -",
    }
    assert set(failure(sync, shop, []).violations or {}) == {"pool", "id", "source", "time", "node", "as_of"}
    assert stream_of(shop, nats) == []


def test_a_message_that_is_none_ends_a_snapshot(shop: Shop) -> None:
    async def send() -> bytes:
        async def bodies() -> AsyncIterator[bytes]:
            yield part(shop).SerializeToString()
            yield b"\xff"

        call: Any = shop.engine.channel.stream_unary("/inventory.availability.v1.InventoryService/Sync")
        return await call(bodies(), timeout=20)

    failed = failure(lambda: shop.engine.runner.run(send()))
    assert (failed.reason, failed.metadata) == ("MALFORMED", {"message": "inventory.availability.v1.SyncRequest"})


def test_a_caller_who_falls_silent_is_not_waited_for_for_ever(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "STREAM_TIMEOUT_S", 0.3)

    async def send(*first: ip.SyncRequest) -> ip.SyncResponse:
        async def parts() -> AsyncIterator[ip.SyncRequest]:
            for one in first:
                yield one
            await asyncio.sleep(30)

        return await shop.engine.inventory.Sync(parts())

    for first in ((), (part(shop),)):
        assert failure(lambda: shop.engine.runner.run(send(*first))).reason == "CALL_TIMEOUT"  # noqa: B023 (called at once)


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


# --- without NATS -------------------------------------------------------------------------------------------------
def test_a_service_that_was_not_told_of_nats_says_so(engine: Engine) -> None:
    failed = failure(adjust, Shop(engine), event("e1"))
    assert (failed.code, failed.reason, failed.metadata) == ("UNAVAILABLE", "INTAKE_UNAVAILABLE", {"outcome_unknown": "false"})
    assert failed.retry_ms == 1_000


class Faltering:
    """An intake that is away from its second event on."""

    def __init__(self) -> None:
        self.taken = 0

    async def take(self, pool: str, event: events.Event) -> Taken:
        if self.taken:
            raise IntakeUnavailableError("NATS is away")
        self.taken += 1
        return Taken(self.taken)


def test_a_call_that_is_cut_off_says_that_some_of_its_events_may_have_been_taken(runner: asyncio.Runner, valkey: StoreServer) -> None:
    engine = Engine(runner, valkey.url, intake=Faltering())
    failed = failure(adjust, Shop(engine), event("e1"), event("e2"))
    assert (failed.reason, failed.metadata) == ("INTAKE_UNAVAILABLE", {"outcome_unknown": "true"})
    engine.close()


def test_while_nats_is_away_no_event_is_taken_and_everything_else_goes_on(
    runner: asyncio.Runner, valkey: StoreServer, tmp_path: Path
) -> None:
    with NatsServer(tmp_path, sync_interval="10s") as server:
        runner.run(make_stream(server))
        with serving(runner, valkey, server) as shop:
            assert adjust(shop, event("e1"))[0].outcome == ACCEPTED
            server.kill()
            for call, argument in ((adjust, event("e2")), (sync, [part(shop)])):
                failed = failure(call, shop, argument)
                assert (failed.code, failed.reason) == ("UNAVAILABLE", "INTAKE_UNAVAILABLE")
            assert shop.reserve(("A", 1), rid="r1").reservation_id == "r1"
            server.start()

            def taken() -> bool:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    return adjust(shop, event("e2"))[0].outcome == ACCEPTED
                return False

            deadline = time.monotonic() + 20
            while not taken():
                assert time.monotonic() < deadline
                runner.run(asyncio.sleep(0.01))
            assert [one.id for one in stream_of(shop, server)] == ["e1", "e2"]
