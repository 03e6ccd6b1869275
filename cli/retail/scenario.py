"""Makes a plan from what the file says: scarce stock, baskets with a fate, and cancellations; the same seed gives the same plan."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Final

from atp import limits
from cli.retail.plan import Basket, Disposition, Ending, Plan, Step, StockCheck, Undo
from cli.retail.reader import Reading, Sale
from cli.retail.returns import Match, Matches, match
from cli.retail.supply import supply

NODES: Final = ("dc-north", "dc-south", "store")
PART_LINES_MAX: Final = limits.RESERVATION_LINES_MAX
#: SKUs times nodes are the rows of a reservation; 500 keeps the ledger entry of a part within its bound for SKUs of any length.
PART_SKUS_MAX: Final = min(limits.SCRIPT_ROWS_MAX // len(NODES), 500)
#: An hour in which nobody buys is cut to this: shops close at night, a simulation need not wait for the morning.
PAUSE_S_MAX: Final = 1800.0
SAFETY_SHARE: Final = 0.1  # of the SKUs keep one to three units back
LATE_SHARE: Final = 0.01  # of the SKUs are received before they are registered
#: A basket of more lines takes what is there; a smaller one wants all or nothing.
WHOLESALE_LINES: Final = 30
ENDINGS: Final = {Ending.SHIPPED: 84, Ending.WAITING: 4, Ending.EMPTIED: 3, Ending.CANCELLED: 3, Ending.ABANDONED: 6}
DISPOSITIONS: Final[dict[Disposition, int]] = {"sellable": 7, "damaged": 2, "quality_hold": 1}
HELD_TTL_MS: Final = 120_000
ABANDONED_TTL_MS: Final = (1_000, 3_000)
CONFIRM_AFTER_S: Final = (20.0, 300.0)
SHIP_AFTER_S: Final = (1_800.0, 36_000.0)
RESENT_SHARE: Final = 0.05
REPORTED_TWICE_SHARE: Final = 0.1

assert len(NODES) * PART_SKUS_MAX <= limits.SCRIPT_ROWS_MAX


class _Clock:
    """Seconds since the file's first event, with every pause longer than PAUSE_S_MAX cut to that."""

    def __init__(self, times: Iterable[datetime]) -> None:
        self._known = sorted(set(times))
        self._cut_s = [0.0]
        for before, after in zip(self._known, self._known[1:], strict=False):
            self._cut_s.append(self._cut_s[-1] + max(0.0, (after - before).total_seconds() - PAUSE_S_MAX))

    def at_s(self, time: datetime) -> float:
        """`time` must be one of those given."""
        place = bisect_right(self._known, time) - 1
        return (time - self._known[0]).total_seconds() - self._cut_s[place]

    @property
    def length_s(self) -> float:
        return self.at_s(self._known[-1]) if self._known else 0.0


def make_plan(reading: Reading, *, seed: int, baskets: int | None = None) -> Plan:
    """The plan for the first `baskets` sales of the file (all if None), and the cancellations and corrections of the same days."""
    sales = reading.sales[:baskets]
    end = sales[-1].time + timedelta(minutes=1) if sales and len(sales) < len(reading.sales) else datetime.max  # noqa: DTZ901  shop time
    cancellations = [cancellation for cancellation in reading.cancellations if cancellation.time < end]
    corrections = [correction for correction in reading.corrections if correction.time < end]
    matches = match(sales, cancellations)
    times = (entry.time for entries in (sales, cancellations, corrections) for entry in entries)
    clock = _Clock(times)

    sold, split_invoices = _baskets(sales, clock, Random(f"{seed}/baskets"))
    random = Random(f"{seed}/corrections")
    checks = [StockCheck(clock.at_s(entry.time), random.choice(NODES), entry.sku, entry.change) for entry in corrections]
    skus = list(dict.fromkeys([*(line.sku for sale in sales for line in sale.lines), *(check.sku for check in checks)]))
    random = Random(f"{seed}/late")
    late = frozenset(sku for sku in skus if random.random() < LATE_SHARE)
    opening, waves = supply(sales, checks, NODES, late, clock.length_s, Random(f"{seed}/supply"))
    steps: list[Step] = [*sold, *_undos(matches, sold, sales, clock, Random(f"{seed}/undo")), *checks, *waves]
    steps.sort(key=lambda step: step.at_s)  # stable: steps of one minute keep this order

    random = Random(f"{seed}/items")
    return Plan(
        seed=seed,
        nodes=NODES,
        items=tuple((sku, random.randint(1, 3) if random.random() < SAFETY_SHARE else 0) for sku in skus),
        late=late,
        opening=opening,
        steps=tuple(steps),
        length_s=clock.length_s,
        unmatched_lines=len(matches.unmatched),
        unmatched_units=sum(units for _, units in matches.unmatched),
        split_invoices=split_invoices,
    )


def _baskets(sales: Sequence[Sale], clock: _Clock, random: Random) -> tuple[list[Basket], int]:
    """A basket per sale, or several of one order; and how many sales were split."""
    baskets: list[Basket] = []
    split = 0
    for sale in sales:
        parts = _parts(sale)
        split += len(parts) > 1
        at_s = clock.at_s(sale.time)
        baskets += [_basket(sale, f"{sale.invoice}-{number}", lines, at_s, random) for number, lines in enumerate(parts, start=1)]
    return baskets, split


def _undos(matches: Matches, baskets: Sequence[Basket], sales: Sequence[Sale], clock: _Clock, random: Random) -> list[Undo]:
    part_of = {(basket.order, sku): basket.id for basket in baskets for sku, _ in basket.lines}
    groups: dict[tuple[str, str], list[Match]] = defaultdict(list)
    for found in matches.found:
        groups[found.cancellation.invoice, part_of[sales[found.sale].invoice, found.sku]].append(found)
    undos = []
    for (invoice, basket), group in groups.items():
        (disposition,) = random.choices(list(DISPOSITIONS), list(DISPOSITIONS.values()))
        lines = tuple((found.sku, found.quantity) for found in group)
        undos.append(Undo(clock.at_s(max(found.cancellation.time for found in group)), invoice, basket, lines, disposition))
    return undos


def _parts(sale: Sale) -> list[list[tuple[str, int]]]:
    """The lines of a sale in groups that one reservation can hold; all lines of a SKU stay together."""
    by_sku: dict[str, list[int]] = defaultdict(list)
    for line in sale.lines:
        by_sku[line.sku].append(line.quantity)
    if len(by_sku) <= PART_SKUS_MAX and len(sale.lines) <= PART_LINES_MAX:
        return [[(line.sku, line.quantity) for line in sale.lines]]
    parts: list[list[tuple[str, int]]] = [[]]
    skus = 0
    for sku, quantities in by_sku.items():
        lines = [(sku, quantity) for quantity in quantities] if len(quantities) <= PART_LINES_MAX else [(sku, sum(quantities))]
        if skus == PART_SKUS_MAX or len(parts[-1]) + len(lines) > PART_LINES_MAX:
            parts.append([])
            skus = 0
        parts[-1] += lines
        skus += 1
    return parts


def _basket(sale: Sale, reservation_id: str, lines: Sequence[tuple[str, int]], at_s: float, random: Random) -> Basket:
    (ending,) = random.choices(list(ENDINGS), list(ENDINGS.values()))
    first = random.randrange(len(NODES))
    return Basket(
        at_s=at_s,
        id=reservation_id,
        order=sale.invoice,
        lines=tuple(lines),
        nodes=(*NODES[first:], *NODES[:first]),
        partial=len(lines) > WHOLESALE_LINES,
        ending=ending,
        ttl_ms=random.randint(*ABANDONED_TTL_MS) if ending is Ending.ABANDONED else HELD_TTL_MS,
        confirm_after_s=random.uniform(*CONFIRM_AFTER_S),
        ship_after_s=random.uniform(*SHIP_AFTER_S),
        resent=random.random() < RESENT_SHARE,
        reported_twice=random.random() < REPORTED_TWICE_SHARE,
    )
