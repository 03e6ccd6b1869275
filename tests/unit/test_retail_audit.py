"""The auditor sees every unit that was sold and not there, and cries out about nothing else."""

import pytest

from cli.retail.audit import Auditor, HeldLine, Span, Stock
from cli.retail.plan import Disposition


def line(quantity: int, number: int = 1, sku: str = "MUG", node: str = "DC") -> HeldLine:
    return HeldLine(number, sku, node, quantity)


@pytest.fixture
def auditor() -> Auditor:
    """Ten mugs were received at the DC at second 0."""
    auditor = Auditor()
    auditor.received(0, "DC", [("MUG", 10)])
    return auditor


def test_the_last_unit_may_be_sold(auditor: Auditor) -> None:
    auditor.held(1, "a", [line(6)])
    auditor.held(2, "b", [line(4)])
    assert auditor.oversold() == []


def test_one_unit_too_many_is_seen(auditor: Auditor) -> None:
    auditor.held(1, "a", [line(6)])
    auditor.held(2, "b", [line(5)])
    assert auditor.oversold() == ["MUG at DC: 1 unit promised that were not there"]


def test_later_supply_does_not_excuse_it(auditor: Auditor) -> None:
    auditor.held(1, "a", [line(11)])
    auditor.received(2, "DC", [("MUG", 10)])
    assert auditor.oversold() == ["MUG at DC: 1 unit promised that were not there"]


def test_another_node_or_a_later_shipment_does_not_excuse_it(auditor: Auditor) -> None:
    auditor.received(0, "STORE", [("MUG", 10)])
    auditor.held(1, "a", [line(10)])
    auditor.confirmed("a")
    assert auditor.shipped("a", [1]) == [("MUG", 10)]
    auditor.held(2, "b", [line(1)])
    assert auditor.oversold() == ["MUG at DC: 1 unit promised that were not there"]


@pytest.mark.parametrize("way", ["released", "expired", "returned", "found"])
def test_units_that_came_back_may_be_sold_again_but_not_before(auditor: Auditor, way: str) -> None:
    auditor.held(1, "a", [line(10)])
    if way == "released":
        auditor.released(5, "a", {1: 3})
    elif way == "expired":
        auditor.expired(5, "a")
    elif way == "returned":
        auditor.shipped("a", [1])
        auditor.returned(5, "DC", [("MUG", 3)], "sellable")
    else:
        auditor.corrected(5, "DC", "MUG", 3)
    auditor.held(6, "b", [line(3)])
    assert auditor.oversold() == []
    auditor.held(4, "c", [line(1)])
    assert len(auditor.oversold()) == 1


@pytest.mark.parametrize("disposition", ["damaged", "quality_hold"])
def test_a_return_that_cannot_be_sold_is_no_supply(auditor: Auditor, disposition: Disposition) -> None:
    auditor.held(1, "a", [line(10)])
    auditor.shipped("a", [1])
    auditor.returned(2, "DC", [("MUG", 1)], disposition)
    auditor.held(3, "b", [line(1)])
    assert len(auditor.oversold()) == 1


def test_safety_stock_is_not_for_sale() -> None:
    auditor = Auditor({"MUG": 2})
    auditor.received(0, "DC", [("MUG", 10)])
    auditor.held(1, "a", [line(9)])
    assert auditor.oversold() == ["MUG at DC: 1 unit promised that were not there"]


def test_a_loss_after_the_sale_is_no_oversell_but_is_told(auditor: Auditor) -> None:
    auditor.held(1, "a", [line(10)])
    auditor.corrected(2, "DC", "MUG", -3)
    assert auditor.oversold() == []
    assert auditor.overcommitted() == {("MUG", "DC"): 3}


def test_stock_is_the_sum_of_all_answers(auditor: Auditor) -> None:
    auditor.held(1, "held", [line(1)])
    auditor.held(1, "confirmed", [line(2)])
    auditor.confirmed("confirmed")
    auditor.held(1, "shipped", [line(3)])
    auditor.confirmed("shipped")
    auditor.released(2, "shipped", {1: 1})
    auditor.shipped("shipped", [1])
    auditor.returned(3, "DC", [("MUG", 1)], "damaged")
    auditor.held(1, "expired", [line(2)])
    auditor.expired(3, "expired")
    stock = auditor.stock()["MUG", "DC"]
    assert stock == Stock(on_hand=9, damaged=1, quality_hold=0, reserved=Span(1, 1), allocated=Span(2, 2))
    assert stock.uncommitted == Span(5, 5)


def test_what_nobody_was_told_may_have_happened_or_not(auditor: Auditor) -> None:
    auditor.held(1, "a", [line(4)])
    auditor.unknown_change(2, "a")
    auditor.unknown_hold(["DC"], [("MUG", 3)])
    stock = auditor.stock()["MUG", "DC"]
    assert (stock.reserved, stock.allocated) == (Span(0, 7), Span(0, 4))
    auditor.held(3, "b", [line(10)])
    assert auditor.oversold() == [], "the four may have been given back, the three never held"
    auditor.held(4, "c", [line(1)])
    assert len(auditor.oversold()) == 1
