"""What can be promised and why, over gRPC."""

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from atp import limits
from atp.model.stock import ItemRecord, StockRow
from atp.model.views import AvailabilityLine
from inventory.availability.v1 import availability_service_pb2 as ap
from inventory.availability.v1.reservation_pb2 import Want
from inventory.availability.v1.reservation_service_pb2 import ReserveRequest
from service import availability_answer, bounds
from tests.contract.conftest import Shop


def figures(line: ap.AvailabilityLine) -> tuple[int, bool, dict[str, int]]:
    return line.available, line.fulfillable, {node.node: node.available for node in line.nodes}


def test_lines_come_in_order_with_figures_in_all_and_per_node(shop: Shop) -> None:
    answer = shop.available(("B", 2), ("A", 15), ("C", 1))
    assert [line.sku for line in answer.lines] == ["B", "A", "C"]
    assert {line.status for line in answer.lines} == {ap.SKU_STATUS_KNOWN}
    assert [figures(line) for line in answer.lines] == [
        (2, True, {"N1": 2}),  # of 3 units 1 is safety stock
        (15, True, {"N1": 10, "N2": 5}),
        (0, False, {}),
    ]
    assert answer.read_time.ToMilliseconds() == shop.engine.now_ms


def test_one_unknown_sku_harms_no_neighbour(shop: Shop) -> None:
    odd = ["nowhere", "", "two words", "x" * 1_000, "a"]
    answer = shop.available(("A", 1), *((sku, 1) for sku in odd), ("B", 1))
    assert [line.sku for line in answer.lines] == ["A", *odd, "B"]
    assert figures(answer.lines[0]) == (15, True, {"N1": 10, "N2": 5})
    assert figures(answer.lines[-1]) == (2, True, {"N1": 2})
    for line in answer.lines[1:-1]:
        assert (line.status, figures(line)) == (ap.SKU_STATUS_UNKNOWN_SKU, (0, False, {}))
        assert line.revision == answer.lines[0].revision


@pytest.mark.parametrize(("quantity", "fulfillable"), [(0, True), (1, True), (15, True), (16, False), (limits.QUANTITY_MAX, False)])
def test_a_line_is_fulfillable_if_the_quantity_can_be_had_from_one_node_or_several(shop: Shop, quantity: int, fulfillable: bool) -> None:
    assert shop.available(("A", quantity)).lines[0].fulfillable is fulfillable


def test_no_quantity_asks_for_one_unit(shop: Shop) -> None:
    assert not shop.available(("C", 0)).lines[0].fulfillable


def test_a_sku_that_stands_twice_is_answered_for_the_sum(shop: Shop) -> None:
    assert [line.fulfillable for line in shop.available(("A", 8), ("B", 1), ("A", 8)).lines] == [False, True, False]
    assert [line.fulfillable for line in shop.available(("A", 8), ("A", 7)).lines] == [True, True]


def test_nodes_named_are_the_only_ones_looked_at(shop: Shop) -> None:
    assert figures(shop.available(("A", 6), nodes=["N2"]).lines[0]) == (5, False, {"N2": 5})


def test_a_channel_sells_from_its_own_nodes(shop: Shop) -> None:
    assert figures(shop.available(("A", 1), channel="shop").lines[0]) == (5, True, {"N2": 5})


def test_a_line_says_at_which_revision_it_was_read(shop: Shop) -> None:
    before = shop.available(("A", 1)).lines[0].revision
    held = shop.reserve(("A", 1))
    assert shop.available(("A", 1)).lines[0].revision == held.revision == before + 1


def test_five_hundred_skus_are_answered_in_one_call(shop: Shop) -> None:
    answer = shop.available(*((f"sku-{number}", 1) for number in range(499)), ("A", 1))
    assert len(answer.lines) == limits.AVAILABILITY_SKUS_MAX
    assert answer.lines[-1].available == 15


def test_nothing_of_a_blocked_item_can_be_promised_and_the_line_says_why(shop: Shop) -> None:
    assert shop.available(("A", 1)).lines[0].state == ap.ITEM_STATE_ACTIVE
    shop.engine.run(shop.set_item("A", "blocked"))
    blocked, other = shop.available(("A", 1), ("B", 1)).lines
    assert (blocked.state, *figures(blocked)) == (ap.ITEM_STATE_BLOCKED, 0, False, {"N1": 0, "N2": 0})
    assert (other.state, *figures(other)) == (ap.ITEM_STATE_ACTIVE, 2, True, {"N1": 2})
    assert shop.reserve(("A", 1)).shortfalls[0].available == 0
    told = shop.explain("A", "N1")
    assert (told.item_state, told.node_state, told.available) == (ap.ITEM_STATE_BLOCKED, ap.NODE_STATE_ACTIVE, 0)
    assert sum(term.contribution for term in told.terms) == 10, "the terms stand as they are"
    shop.engine.run(shop.set_item("A", "active"))
    assert shop.available(("A", 1)).lines[0].available == 15


def test_a_discontinued_item_is_sold_to_the_last_unit(shop: Shop) -> None:
    shop.engine.run(shop.set_item("B", "discontinued"))
    line = shop.available(("B", 3)).lines[0]
    assert (line.state, *figures(line)) == (ap.ITEM_STATE_DISCONTINUED, 3, True, {"N1": 3})
    told = shop.explain("B", "N1")
    assert (told.item_state, told.available, {term.name: term.contribution for term in told.terms}["safety_stock"]) == (
        ap.ITEM_STATE_DISCONTINUED,
        3,
        0,
    )


def test_nothing_can_be_promised_from_a_node_that_is_shut_and_the_row_says_so(shop: Shop) -> None:
    shop.engine.run(shop.set_node("N1", "blocked"))
    line = shop.available(("A", 6)).lines[0]
    assert figures(line) == (5, False, {"N1": 0, "N2": 5})
    assert {node.node: node.shut for node in line.nodes} == {"N1": True, "N2": False}
    assert [move.node for move in shop.reserve(("A", 5)).moves] == ["N2"]
    shop.engine.run(shop.set_node("N1", "closed"))
    told = shop.explain("A", "N1")
    assert (told.item_state, told.node_state, told.available) == (ap.ITEM_STATE_ACTIVE, ap.NODE_STATE_CLOSED, 0)
    shop.engine.run(shop.set_node("N1", "active"))
    assert figures(shop.available(("A", 6)).lines[0]) == (10, True, {"N1": 10, "N2": 0})


def test_a_sku_that_is_not_known_has_no_state(shop: Shop) -> None:
    assert shop.available(("X", 1)).lines[0].state == ap.ITEM_STATE_UNSPECIFIED


def test_explain_names_every_term_and_they_add_up(shop: Shop) -> None:
    shop.reserve(("B", 1), rid="r1")
    shop.confirm("r1")
    shop.fulfil("r1", shipment="s1")
    shop.engine.run(shop.receive("B", "N1", 5))
    held = shop.reserve(("B", 2), rid="r2")
    told = shop.explain("B", "N1")
    terms = {term.name: term.contribution for term in told.terms}
    assert terms == {
        "on_hand": 8,
        "damaged": 0,
        "quality_hold": 0,
        "reserved": -2,
        "allocated": 0,
        "shipped_unbooked": -1,
        "in_transit": 0,
        "picked": 0,
        "safety_stock": -1,
    }
    assert told.available == sum(terms.values()) == shop.available(("B", 1)).lines[0].available
    assert (told.due, told.row_revision, told.revision) == (0, held.revision, held.revision)


def test_explain_shows_the_ledger_entry_that_last_changed_the_row(shop: Shop) -> None:
    request = shop.engine.reservations.Reserve
    wanted = ReserveRequest(pool=shop.pool, reservation_id="r1", channel="web", lines=[Want(sku="A", quantity=2)])
    held = shop.engine.call(request, wanted, metadata=(("x-correlation-id", "checkout-7"),))
    shop.reserve(("B", 1))
    entry = shop.explain("A", "N1").entry
    assert (entry.revision, entry.verb, entry.cause, entry.actor, entry.correlation) == (
        held.revision,
        "reserve",
        "r1",
        "local",
        "checkout-7",
    )
    assert entry.time == held.time
    assert [(fact.sku, fact.node, fact.term, fact.delta) for fact in entry.facts] == [("A", "N1", "reserved", 2)]


def test_explain_of_a_row_that_never_was_is_all_zeros(shop: Shop) -> None:
    told = shop.explain("C", "N3")
    assert ({term.contribution for term in told.terms}, told.available, told.row_revision) == ({0}, 0, 0)
    assert not told.HasField("entry")


def test_explain_leaves_due_holds_out_and_says_how_many(shop: Shop) -> None:
    shop.reserve(("A", 4), ttl_ms=1_000)
    shop.tick(1_000)
    with shop.unchanged():
        told = shop.explain("A", "N1")
    assert {term.name: term.contribution for term in told.terms}["reserved"] == 0
    assert (told.due, told.available) == (4, 10)


def test_too_many_rows_are_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "AVAILABILITY_ROWS_MAX", 3)
    assert len(shop.available(("A", 1), ("B", 1), nodes=["N1"]).lines) == 2
    with shop.fails("INVALID_ARGUMENT", "TOO_MANY_ROWS", channel="web"):
        shop.available(("A", 1), ("B", 1))
    with shop.fails("INVALID_ARGUMENT", "INVALID_REQUEST") as failure:
        shop.available(("A", 1), ("B", 1), nodes=["N1", "N2"])
    assert failure.violations == {"lines": "lines × nodes must be at most 3, is 4"}


def test_a_spliced_answer_is_the_one_that_protobuf_makes() -> None:
    node = "n" * limits.NAME_CHARS_MAX
    rows = [(f"{node[:-3]}{number:03}", StockRow(number * 7_777)) for number in range(600)]
    lines = [AvailabilityLine("plenty", ItemRecord(3), rows, 2**40), AvailabilityLine("none", None, [], 2**40)]
    lines.append(AvailabilityLine("last", ItemRecord(3, state=2), [("n", StockRow(5)), ("m", StockRow(5))], 7, frozenset("m")))
    expected = ap.BatchGetAvailabilityResponse(read_time=Timestamp(seconds=1, nanos=1_000_000))
    nodes = [ap.NodeAvailability(node=name, available=max(0, row.on_hand - 3)) for name, row in rows]
    in_all = sum(node.available for node in nodes)
    plenty = expected.lines.add(sku="plenty", status=ap.SKU_STATUS_KNOWN, available=in_all, fulfillable=True, nodes=nodes, revision=2**40)
    plenty.state = ap.ITEM_STATE_ACTIVE
    expected.lines.add(sku="none", status=ap.SKU_STATUS_UNKNOWN_SKU, revision=2**40)
    nodes = [ap.NodeAvailability(node="n", available=5), ap.NodeAvailability(node="m", shut=True)]
    last = expected.lines.add(sku="last", status=ap.SKU_STATUS_KNOWN, available=5, fulfillable=False, nodes=nodes, revision=7)
    last.state = ap.ITEM_STATE_DISCONTINUED
    encoded = availability_answer.encode([(lines[0], in_all), (lines[1], 1), (lines[2], 6)], 1_001)
    assert ap.BatchGetAvailabilityResponse.FromString(encoded) == expected
