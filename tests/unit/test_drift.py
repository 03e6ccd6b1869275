"""What counts as drift: which figures are compared, what a difference is worth, what timing explains, and what is beyond a tolerance."""

import msgspec
import pytest

from atp import limits
from atp.drift import Difference, Drifts, Said, Tolerance, comparable, in_own_units, judged
from atp.model.stock import Comparison, StockRow
from atp.model.verbs import FIGURE_BITS, NodeConfig

NOW = 1_800_000_000_000
HOUR = 3_600_000
ANY = Tolerance()
ON_HAND, DAMAGED = FIGURE_BITS["on_hand"], FIGURE_BITS["damaged"]
COST = b'{"category":"tea","cost":{"amount":250,"currency":"EUR"}}'


def window(changed_ms: int = 0, figures: int = 7, deltas: list[int] | None = None) -> bytes:
    return msgspec.msgpack.encode([0, 0, [1, 0, figures] if figures else [], deltas or [], changed_ms])


def found(said: Comparison, *, tolerance: Tolerance = ANY, changed_ms: int = 0, own: bytes | None = None, details: bytes = COST):
    """What the ERP says of DC1, where the WMS has ten units, one of them damaged."""
    at = Said("A", "DC1", "erp", 7, StockRow(10, 1), said)
    windows = {b"DC1 erp": own or window(), b"DC1 wms": window(changed_ms), b"DC2 wms": window(NOW)}
    return judged(at, windows, details, tolerance, NOW)


def difference(said: Comparison, **others) -> Difference:
    one = found(said, **others)
    assert one is not None
    return one


def test_a_difference_is_what_the_source_says_minus_the_stock_at_the_cost_of_the_figure_that_differs_most() -> None:
    one = difference(Comparison(7, 2))
    assert (one.on_hand, one.damaged, one.quality_hold) == (-3, 1, 0)
    assert (one.units, one.value, one.currency, one.beyond) == (-3, -750, "EUR", True)
    assert found(Comparison(10, 1)) is None


@pytest.mark.parametrize("details", [b"", b'{"category":"tea"}', b"no json"])
def test_without_a_cost_the_value_is_not_known(details: bytes) -> None:
    assert difference(Comparison(7, 1), details=details).value is None


def test_a_figure_that_the_source_never_spoke_of_is_not_compared() -> None:
    assert found(Comparison(10, 0), own=window(figures=ON_HAND)) is None
    assert difference(Comparison(10, 0), own=window(figures=0, deltas=[5, 9, 0, -1, 0])).damaged == -1


def test_a_figure_that_the_source_rules_or_that_nobody_does_is_not_compared() -> None:
    assert comparable(NodeConfig("N", "store", "UTC", "wms", damaged_authority="erp"), "erp") == 7 - DAMAGED
    assert comparable(NodeConfig("N", "store", "UTC", ""), "erp") == 0


@pytest.mark.parametrize(
    ("as_of_ms", "changed_ms", "timing"),
    [
        (NOW - 2 * HOUR, NOW - HOUR, True),  # the stock has changed since
        (NOW - HOUR, NOW - 2 * HOUR, False),
        (NOW - HOUR, 0, False),
        (0, NOW - HOUR, False),  # the source never said when it counted
        (NOW - limits.DRIFT_EXCUSED_MS_MAX - HOUR, NOW, False),  # so old that nothing is explained by it
    ],
)
def test_timing_explains_what_was_said_before_the_stock_changed_unless_it_is_old(as_of_ms: int, changed_ms: int, timing: bool) -> None:
    one = difference(Comparison(7, 1, 0, as_of_ms), changed_ms=changed_ms)
    assert (one.may_be_timing, one.beyond) == (timing, not timing)


@pytest.mark.parametrize(
    ("tolerance", "units", "value", "allowed"),
    [
        (Tolerance(), 1, 1, False),
        (Tolerance(units=3), 3, 999_999, True),
        (Tolerance(units=3), -4, 1, False),
        (Tolerance(value=500), 900, -500, True),
        (Tolerance(value=500), 1, 501, False),
        (Tolerance(value=500), 1, None, False),  # of units nothing was said
        (Tolerance(3, 500), 3, 501, False),
        (Tolerance(3, 500), 4, 500, False),
        (Tolerance(3, 500), 3, None, True),
    ],
)
def test_a_tolerance_bounds_units_value_or_both(tolerance: Tolerance, units: int, value: int | None, allowed: bool) -> None:
    assert tolerance.allows(units, value) is allowed


def test_sums_are_of_what_is_beyond_and_timing_stands_apart() -> None:
    drifts = Drifts(Tolerance(units=1))
    for said in (Comparison(4, 1, 0, NOW - HOUR), Comparison(15, 1, 0, NOW - 2 * HOUR), Comparison(9, 1)):
        drifts.compare(Said("A", "DC1", "erp", 7, StockRow(10, 1), said))
        drifts.add(difference(said, tolerance=drifts.tolerance))
    late = Comparison(0, 1, 0, NOW - HOUR)
    drifts.add(difference(late, tolerance=drifts.tolerance, changed_ms=NOW))
    sums = drifts.sums["DC1", "erp"]
    assert (sums.compared, sums.beyond, sums.timing, sums.net_units, sums.units) == (3, 2, 1, -1, 11)
    assert (sums.worth["EUR"].net, sums.worth["EUR"].gross) == (-250, 2_750)
    assert sums.oldest_as_of_ms == NOW - 2 * HOUR
    assert [one.units for one in drifts.worst] == [-6, 5, -10, -1], "what counts first, then by value"


def test_an_amount_is_shown_in_the_currencys_own_units() -> None:
    assert [in_own_units(12_345, currency) for currency in ("EUR", "JPY", "KWD")] == [123.45, 12_345, 12.345]
