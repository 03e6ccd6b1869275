"""From what the file says to a plan: which sale a cancellation undoes, how baskets are split, and that the seed decides."""

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from atp import limits
from cli.retail.plan import Basket, Delivery
from cli.retail.reader import Cancellation, Reading, Sale, SaleLine, read_file
from cli.retail.returns import match
from cli.retail.scenario import PART_SKUS_MAX, make_plan

SAMPLE = Path(__file__).parents[2] / "cli" / "data" / "online_retail_sample.csv"
MORNING = datetime(2021, 11, 22, 8, 0)  # noqa: DTZ001  shop time


def sale(minute: int, quantity: int, customer: str = "Ann", sku: str = "MUG") -> Sale:
    return Sale(f"{minute}", MORNING + timedelta(minutes=minute), customer, (SaleLine(sku, quantity),))


def cancelled(minute: int, quantity: int, customer: str = "Ann", sku: str = "MUG") -> Cancellation:
    return Cancellation(1, f"C{minute}", MORNING + timedelta(minutes=minute), customer, sku, quantity)


@pytest.mark.parametrize(
    ("sales", "cancellations", "found", "unmatched"),
    [
        pytest.param([sale(0, 5), sale(1, 5)], [cancelled(2, 3)], [(1, 3)], 0, id="the newest earlier sale"),
        pytest.param([sale(0, 5), sale(3, 5)], [cancelled(2, 3)], [(0, 3)], 0, id="not a later one"),
        pytest.param([sale(0, 5), sale(1, 5)], [cancelled(2, 4), cancelled(3, 4)], [(1, 4), (1, 1), (0, 3)], 0, id="with quantity left"),
        pytest.param([sale(0, 5)], [cancelled(2, 7)], [(0, 5)], 2, id="what no sale covers is left over"),
        pytest.param([sale(0, 5, "Bob")], [cancelled(2, 1)], [], 1, id="not another customer's"),
        pytest.param([sale(0, 5, sku="mug")], [cancelled(2, 1)], [], 1, id="not another SKU's, and case counts"),
        pytest.param([sale(0, 5, "")], [cancelled(2, 1, "")], [], 1, id="nobody is not a customer"),
        pytest.param([sale(0, 5)], [cancelled(0, 5)], [(0, 5)], 0, id="the same minute counts as earlier"),
    ],
)
def test_a_cancellation_undoes(sales: list[Sale], cancellations: list[Cancellation], found: list[tuple[int, int]], unmatched: int) -> None:
    matches = match(sales, cancellations)
    assert [(entry.sale, entry.quantity) for entry in matches.found] == found
    assert sum(units for _, units in matches.unmatched) == unmatched


def test_the_seed_alone_decides_the_plan() -> None:
    reading = read_file(SAMPLE)
    assert make_plan(reading, seed=7) == make_plan(reading, seed=7)
    assert make_plan(reading, seed=7) != make_plan(reading, seed=8)


def test_the_first_baskets_only_bring_their_own_days() -> None:
    plan = make_plan(read_file(SAMPLE), seed=1, baskets=10)
    assert plan.baskets == 10
    assert plan.length_s < make_plan(read_file(SAMPLE), seed=1).length_s / 2


def test_stock_is_scarce_but_every_sku_sold_is_supplied() -> None:
    plan = make_plan(read_file(SAMPLE), seed=1)
    wanted: Counter[str] = Counter()
    supplied: Counter[str] = Counter()
    for step in (*plan.opening, *plan.steps):
        target = wanted if isinstance(step, Basket) else supplied
        if isinstance(step, Basket | Delivery):
            target.update(dict.fromkeys({sku for sku, _ in step.lines}, 0))
            for sku, quantity in step.lines:
                target[sku] += quantity
    assert set(wanted) <= set(supplied)
    assert 0 < sum(wanted[sku] > supplied[sku] for sku in wanted) < len(wanted)


def test_an_invoice_over_the_bounds_becomes_several_reservations_of_one_order() -> None:
    skus = [f"S{number}" for number in range(700)]
    long = Sale("1", MORNING, "Ann", tuple(SaleLine(sku, 1) for sku in [*skus, *skus]))
    plan = make_plan(Reading(sales=[long]), seed=1)
    parts = [step for step in plan.steps if isinstance(step, Basket)]
    assert [part.order for part in parts] == ["1"] * len(parts)
    assert len({part.id for part in parts}) == len(parts) == 2 == plan.split_invoices + 1
    assert Counter(sku for part in parts for sku, _ in part.lines) == Counter([*skus, *skus])
    for part in parts:
        assert len(part.lines) <= limits.RESERVATION_LINES_MAX
        assert len({sku for sku, _ in part.lines}) <= PART_SKUS_MAX
    first, second = ({sku for sku, _ in part.lines} for part in parts)
    assert not first & second, "a SKU in two parts would be added up in neither"


def test_a_sku_named_more_often_than_a_reservation_has_lines_is_added_up_first() -> None:
    long = Sale("1", MORNING, "Ann", tuple(SaleLine("S", 2) for _ in range(limits.RESERVATION_LINES_MAX + 1)))
    (part,) = (step for step in make_plan(Reading(sales=[long]), seed=1).steps if isinstance(step, Basket))
    assert part.lines == (("S", 2 * (limits.RESERVATION_LINES_MAX + 1)),)


def test_nights_are_cut_short() -> None:
    reading = Reading(sales=[sale(0, 1), sale(14 * 60, 1)])
    assert make_plan(reading, seed=1).length_s == 30 * 60
