"""What feeds do to the model: refusals in order, shipments and their echo, exceptions, items and the events that wait for them."""

from itertools import permutations

import pytest

from atp.model.pool import ModelLimits
from atp.model.verbs import Adjust, Figures, ItemLine, Park, Register, Result, Unpark
from tests.unit.model_world import CONTEXT, START, TTL, World


def adjustment(source: str = "wms", node: str = "n", skus: str = "A", sequence: int = 1, fingerprint: int = 1, on_hand: int = 1) -> Adjust:
    return Adjust(CONTEXT, "event", "receipt", source, node, sequence, fingerprint, [Figures(sku, on_hand, 0, 0) for sku in skus])


@pytest.mark.parametrize(
    ("event", "status", "detail"),
    [
        (adjustment(source="pim", node="q", skus="C"), "UNKNOWN_SOURCE", ["pim"]),
        (adjustment(source="erp", node="q", skus="C"), "UNKNOWN_NODE", ["q"]),
        (adjustment(source="erp", skus="C"), "UNKNOWN_SKU", ["C"]),
        (adjustment(skus="CAD", sequence=4), "UNKNOWN_SKU", ["C", "D"]),
        (adjustment(skus="AB", sequence=4, fingerprint=9), "SEQUENCE_CONFLICT", ["A"]),  # B alone would be below its window
        (adjustment(skus="B", sequence=3), "SEQUENCE_BELOW_WINDOW", ["B"]),
        (adjustment(skus="A", sequence=4, fingerprint=4), "DUPLICATE", []),
        (adjustment(skus="A", sequence=9, on_hand=99), "QUANTITY_OUT_OF_RANGE", ["A"]),
        (adjustment(skus="A", sequence=9, on_hand=-104), "QUANTITY_OUT_OF_RANGE", ["A"]),
        (adjustment(skus="A", sequence=9, on_hand=95), "OK", []),
    ],
)
def test_the_answers_of_an_event_stand_in_their_order(event: Adjust, status: str, detail: list[str]) -> None:
    it = World(bounds=ModelLimits(window_deltas_max=1, figure_max=99))
    assert it.do(adjustment(skus="A", sequence=4, fingerprint=4, on_hand=4)).status == "OK"
    for sequence in (4, 5):
        assert it.do(adjustment(skus="B", sequence=sequence)).status == "OK"
    before = it.pool.layout()
    answer = it.do(event)
    assert (answer.status, answer.detail) == (status, detail)
    assert (it.pool.layout() == before) is (status != "OK")


def test_a_count_replaces_what_it_contains_and_keeps_what_came_after() -> None:
    it = World()
    it.adjust(A=5, sequence=3)
    it.adjust(A=7, sequence=8)
    assert it.count(A=100, sequence=5).status == "OK"
    assert it.figures() == (107, 0, 0, 0)
    assert it.adjust(A=1, sequence=4).status == "DUPLICATE"
    assert it.count(A=1, sequence=2).status == "DUPLICATE"
    assert it.adjust(A=1, B=1, sequence=4).status == "OK", "the line of B is new"
    assert (it.figures("A"), it.figures("B")) == ((107, 0, 0, 0), (1, 0, 0, 0))


def test_stock_below_its_commitments_is_an_exception_until_it_recovers() -> None:
    it = World({"n": {"A": 10}})
    it.sold("R", A=8)
    it.adjust(A=-5)
    assert it.raised() == [("OVERCOMMITTED", "open", "A", 3)]
    it.adjust(A=1)
    assert it.raised() == []
    it.adjust(A=-1)
    assert it.raised() == [("OVERCOMMITTED", "open", "A", 3)]
    it.adjust(A=3)
    assert it.raised() == [("OVERCOMMITTED", "resolved", "A", 0)]
    assert it.last_exceptions()[0].id == "over:n:A"


def test_a_count_books_the_shipments_that_are_not_after_it() -> None:
    it = World({"n": {"A": 10, "B": 10}})
    it.sold("R", A=6, B=1)
    it.now += 1_000
    it.fulfil("R", "S1", [(1, 2)], shipped_ms=START + 10)
    it.fulfil("R", "S2", [(1, 3), (2, 1)], shipped_ms=START + 20)
    it.count(A=8, as_of_ms=START + 10)
    assert it.figures() == (8, 0, 1, 3)
    it.count(A=5, as_of_ms=START + 20)
    assert it.figures() == (5, 0, 1, 0)
    assert (it.pool.layout()["shp:S1"]["open"], it.pool.layout()["shp:S2"]["open"]) == ("0", "1")
    it.fulfil("R", "S3", [(1, 1)], shipped_ms=START + 20)
    assert it.figures() == (5, 0, 0, 0), "the snapshot contains it: booked before it was told"


@pytest.mark.parametrize("named", ["R", ""])
@pytest.mark.parametrize("sequences", [(2, 3), (3, 2)], ids=["shipped, then counted", "counted, then shipped"])
@pytest.mark.parametrize("lines", [[], [(1, 3)]], ids=["whole", "part"])
def test_echo_of_a_shipment_counts_once_in_every_order_of_arrival(
    named: str, sequences: tuple[int, int], lines: list[tuple[int, int]]
) -> None:
    ends = set()
    ship, count = sequences
    units = 3 if lines else 5
    shipped = ship < count

    def tell(it: World, name: str) -> Result:
        if name == "fulfil":
            return it.fulfil("R", "S", lines, shipped_ms=START + 10)
        if name == "ship":
            return it.ship("S", reservation=named, sequence=ship, A=units)
        return it.count(sequence=count, as_of_ms=START + (20 if shipped else 0), A=10 - units if shipped else 10)

    for order in permutations(["fulfil", "ship", "count"]):
        it = World({"n": {"A": 10}})
        it.sold("R", A=5)
        for name in order:
            assert tell(it, name).status in {"OK", "DUPLICATE"}
            it.assert_counts_are_sums()
        assert it.pool.layout()["shp:S"]["settled"] == ["A", units]
        ends.add((*it.figures(), it.state("R")))
    assert ends == {(7, 0, 2, 0, "CONFIRMED") if lines else (5, 0, 0, 0, "FULFILLED")}


def test_a_shipment_is_known_by_its_id_whatever_event_tells_of_it() -> None:
    it = World({"n": {"A": 10}})
    it.sold("R", A=5)
    it.fulfil("R", "S")
    conflicts = [
        (it.ship("S", node="m", A=5), ["node"]),
        (it.ship("S", reservation="Q", A=5), ["reservation_id"]),
    ]
    assert it.ship("S", A=5).status == "OK"
    conflicts.append((it.ship("S", A=4), ["lines"]))
    assert [(answer.status, answer.detail) for answer, _ in conflicts] == [("SHIPMENT_CONFLICT", detail) for _, detail in conflicts]
    assert it.ship("S", reservation="R", A=5).status == "DUPLICATE"
    assert it.figures() == (5, 0, 0, 0)


def test_accounts_that_differ_lower_stock_as_the_authority_says_and_are_reported() -> None:
    it = World({"n": {"A": 10, "B": 10}})
    it.sold("R", A=5, B=2)
    it.fulfil("R", "S")
    it.ship("S", A=6)
    assert it.raised() == [("SHIPMENT_DIFFERS", "open", "A", 1)]
    assert (it.figures("A"), it.figures("B")) == ((4, 0, 0, 0), (10, 0, 0, 0))


@pytest.mark.parametrize(
    ("reservation", "quantity", "raised", "figures", "state"),
    [
        ("held", 3, [("SHIPMENT_UNCONFIRMED", "open", "A", 3)], (17, 1, 6, 0), "HELD"),
        ("held", 5, [("SHIPMENT_WITHOUT_ALLOCATION", "open", "A", 1)], (15, 0, 6, 0), "FULFILLED"),
        ("sold", 6, [], (14, 4, 0, 0), "FULFILLED"),
        ("sold", 8, [("SHIPMENT_WITHOUT_ALLOCATION", "open", "A", 2)], (12, 4, 0, 0), "FULFILLED"),
        ("gone", 2, [("SHIPMENT_WITHOUT_ALLOCATION", "open", "A", 2)], (18, 4, 6, 0), "EXPIRED"),
        ("unheard", 2, [("SHIPMENT_WITHOUT_ALLOCATION", "open", "A", 2)], (18, 4, 6, 0), ""),
    ],
)
def test_reality_is_not_refused(
    reservation: str, quantity: int, raised: list[tuple[str, str, str, int]], figures: tuple[int, int, int, int], state: str
) -> None:
    it = World({"n": {"A": 20}})
    it.reserve("gone", ttl_ms=1_000, A=2)
    it.sold("sold", A=6)
    it.reserve("held", A=4)
    it.now += 1_000
    assert it.ship("S", reservation=reservation, A=quantity).status == "OK"
    assert (it.raised(), it.figures()) == (raised, figures)
    assert not state or it.state(reservation) == state
    assert ("settled" in it.pool.layout()["shp:S"]) is (reservation in {"held", "sold"})


def test_a_shipment_settles_the_lines_of_its_own_node_only() -> None:
    it = World({"n": {"A": 10}, "m": {"A": 2, "B": 4}})
    it.sold("R", A=12, B=4)
    it.ship("S", node="m", reservation="R", B=4, A=3)
    assert it.raised()[0] == ("SHIPMENT_WITHOUT_ALLOCATION", "open", "A", 1), "the SKU that found none, not the first of the event"
    assert (it.figures("A", "n"), it.figures("A", "m"), it.figures("B", "m")) == ((10, 0, 10, 0), (-1, 0, 0, 0), (0, 0, 0, 0))


def test_fulfil_after_the_authority_must_tell_the_same_story() -> None:
    it = World({"n": {"A": 10}, "m": {"B": 10}})
    it.sold("R", A=5, B=2)
    it.ship("S", A=5)
    assert it.fulfil("R", "S", [(2, 2)]).detail == ["node"]
    assert it.fulfil("R", "S", [(1, 4)]).detail == ["lines"]
    assert it.fulfil("R", "S", [(1, 0)]).status == "OK"
    it.ship("T", node="m", reservation="R", B=2)
    replayed = it.fulfil("R", "T", [(2, 2)])
    assert (replayed.replayed, replayed.state, replayed.revision) == (True, "FULFILLED", it.pool.revision)


def test_a_shipment_that_a_later_count_contains_still_settles_its_allocation() -> None:
    it = World({"n": {"A": 10}})
    it.sold("R", A=5)
    it.count(A=5, sequence=9)
    assert it.raised() == []
    it.ship("S", reservation="R", sequence=8, A=5)
    assert it.figures() == (5, 0, 0, 0)


def test_a_registration_is_the_last_one_and_tells_what_waits() -> None:
    it = World()

    def register(sequence: int, fingerprint: int, safety_stock: int, sku: str = "A") -> tuple[str, list[str]]:
        answer = it.do(Register(CONTEXT, "event", "erp", sequence, fingerprint, [ItemLine(sku, safety_stock)]))
        return answer.status, answer.waiting

    assert register(5, 50, 7) == ("OK", [])
    assert register(5, 50, 7) == ("DUPLICATE", [])
    assert register(5, 51, 7) == ("SEQUENCE_CONFLICT", [])
    assert register(4, 40, 1) == ("DUPLICATE", [])
    assert it.pool.items["A"].safety_stock == 7
    assert it.do(Park(CONTEXT, "C", "wms/1", "{}")).status == "OK"
    assert register(1, 1, 0, "C") == ("OK", ["C"])
    assert register(1, 1, 0, "C") == ("DUPLICATE", ["C"])
    for source, status in (("pim", "UNKNOWN_SOURCE"), ("wms", "NOT_AUTHORITY")):
        refused = it.do(Register(CONTEXT, "event", source, 9, 9, [ItemLine("A", 0)]))
        assert (refused.status, refused.detail) == (status, [source])


def test_an_event_waits_for_its_sku_as_an_exception() -> None:
    it = World(bounds=ModelLimits(waiting_per_sku_max=1))
    assert it.do(Park(CONTEXT, "A", "wms/1", "{}")).status == "SKU_KNOWN"
    assert it.do(Park(CONTEXT, "C", "wms/1", "{}")).status == "OK"
    assert (it.raised(), it.last_exceptions()[0].id) == ([("UNKNOWN_SKU", "open", "C", 0)], "wait:wms/1")
    assert it.do(Park(CONTEXT, "C", "wms/1", "{}")).status == "DUPLICATE"
    assert it.do(Park(CONTEXT, "C", "wms/2", "{}")).status == "WAITING_FULL"
    assert it.pool.layout()["wait:C"] == {"wms/1": "{}"}
    assert it.do(Unpark(CONTEXT, "C", "wms/1")).status == "OK"
    assert (it.raised(), "wait:C" in it.pool.layout()) == ([("UNKNOWN_SKU", "resolved", "C", 0)], False)
    assert it.do(Unpark(CONTEXT, "C", "wms/1")).status == "DUPLICATE"


def test_facts_tell_each_changed_term_of_a_row_once() -> None:
    it = World({"n": {"A": 10}})
    it.reserve("R", A=4, ttl_ms=TTL)
    it.confirm("R")
    assert [(fact.term, fact.delta) for fact in it.pool.entries[-1].facts] == [("reserved", -4), ("allocated", 4)]
    it.ship("S", reservation="R", A=4)
    assert [(fact.term, fact.delta) for fact in it.pool.entries[-1].facts] == [("on_hand", -4), ("allocated", -4)]
