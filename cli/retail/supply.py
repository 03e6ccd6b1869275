"""How much stock a simulation gets, where it lies and when it arrives: scarce, so that somebody goes away without."""

from collections import defaultdict
from collections.abc import Container, Sequence
from random import Random
from typing import Final

from atp import limits
from cli.retail.plan import Delivery, StockCheck
from cli.retail.reader import Sale

#: What supply covers of a SKU's demand in the file: below 1 somebody goes away without.
SUPPLY_SHARE: Final = (0.7, 1.7)
OPENING_SHARE: Final = 0.6
WAVES: Final = 8  # replenishments during the run
DELIVERY_LINES_MAX: Final = 200

assert DELIVERY_LINES_MAX <= limits.EVENT_LINES_MAX

_Amounts = dict[tuple[int, str], dict[str, int]]  # (wave, node) → SKU → units; wave 0 is the opening


def supply(
    sales: Sequence[Sale],
    checks: Sequence[StockCheck],
    nodes: Sequence[str],
    late: Container[str],
    length_s: float,
    random: Random,
) -> tuple[tuple[Delivery, ...], list[Delivery]]:
    """What is there at the start, and what arrives during the run: a share of each SKU's demand, split over its nodes.

    `late` SKUs come in deliveries of their own at the start, since one line of a SKU not yet registered makes its whole event wait.
    """
    demand: dict[str, int] = defaultdict(int)
    for sale in sales:
        for line in sale.lines:
            demand[line.sku] += line.quantity
    amounts: _Amounts = defaultdict(lambda: defaultdict(int))
    for check in checks:  # units that a stock check will miss were on the books before it
        if check.change < 0:
            amounts[0, check.node][check.sku] -= check.change
    for sku, wanted in demand.items():
        units = round(wanted * random.uniform(*SUPPLY_SHARE))
        first = round(units * OPENING_SHARE)
        stocked = random.sample(nodes, random.randint(min(2, len(nodes)), len(nodes)))
        for wave, part in ((0, first), (random.randint(1, WAVES), units - first)):
            for node, share in zip(stocked, _split(part, len(stocked), random), strict=True):
                amounts[wave, node][sku] += share
    opening = []
    waves = []
    for wave, node in sorted(amounts):
        lines = [(sku, min(units, limits.QUANTITY_MAX)) for sku, units in amounts[wave, node].items() if units]
        if wave:
            waves += _deliveries(length_s * wave / (WAVES + 1), node, lines)
        else:
            opening += _deliveries(0, node, [line for line in lines if line[0] not in late])
            opening += _deliveries(0, node, [line for line in lines if line[0] in late])
    return tuple(opening), waves


def _split(units: int, ways: int, random: Random) -> list[int]:
    cuts = sorted(random.randint(0, units) for _ in range(ways - 1))
    return [high - low for low, high in zip([0, *cuts], [*cuts, units], strict=True)]


def _deliveries(at_s: float, node: str, lines: Sequence[tuple[str, int]]) -> list[Delivery]:
    return [Delivery(at_s, node, tuple(lines[start : start + DELIVERY_LINES_MAX])) for start in range(0, len(lines), DELIVERY_LINES_MAX)]
