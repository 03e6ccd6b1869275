"""Which sale a cancelled line undoes. Nothing in the data links the two, so a rule does."""

from collections.abc import Sequence
from dataclasses import dataclass

from cli.retail.reader import Cancellation, Sale


@dataclass(frozen=True, slots=True)
class Match:
    """`quantity` units of `sku` in sale number `sale` that `cancellation` undoes."""

    cancellation: Cancellation
    sale: int
    sku: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Matches:
    found: list[Match]
    unmatched: list[tuple[Cancellation, int]]  # units for which no sale is left


def match(sales: Sequence[Sale], cancellations: Sequence[Cancellation]) -> Matches:
    """Matches each cancellation with the newest earlier sale of the same customer and SKU that has quantity left, then the next newest.

    Both come in order of time. A sale of the same minute counts as earlier: the file knows no seconds. What no sale covers, such as
    sales from before the file begins, is left unmatched, and so is a cancellation without a customer.
    """
    left: dict[tuple[str, str], list[tuple[int, int]]] = {}  # (customer, SKU) → (sale, units left), newest last
    found: list[Match] = []
    unmatched: list[tuple[Cancellation, int]] = []
    coming = 0
    for cancellation in cancellations:
        while coming < len(sales) and sales[coming].time <= cancellation.time:
            for line in sales[coming].lines if sales[coming].customer else ():
                left.setdefault((sales[coming].customer, line.sku), []).append((coming, line.quantity))
            coming += 1
        stack = left.get((cancellation.customer, cancellation.sku), [])
        wanted = cancellation.quantity
        while wanted and stack:
            sale, units = stack.pop()
            taken = min(wanted, units)
            found.append(Match(cancellation, sale, cancellation.sku, taken))
            wanted -= taken
            if units > taken:
                stack.append((sale, units - taken))
        if wanted:
            unmatched.append((cancellation, wanted))
    return Matches(found, unmatched)
