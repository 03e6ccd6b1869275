"""Whose units an event at a node is about: the reservations that it names, itself or by their order, and the lines it takes from.

The reservations of an order share what is picked for it: who reports picks and who reports shipments may name it differently, and units
must not count as picked for one of them while they have left for another.
"""

from collections.abc import Iterator

from atp.model.change import Change
from atp.model.reservation import ReservationRecord
from atp.model.state import PoolState
from atp.model.status import State

Claim = tuple[str, ReservationRecord]  # by its id


def claims(state: PoolState, reservation_id: str, order_reference: str) -> list[Claim]:
    """All reservations of an order, or the one named, the ended ones too: that one first, then the confirmed, then the oldest."""
    if order_reference:
        found = of_order(state, order_reference)
    else:
        found = [(key, record) for key, record in state.reservations.items() if key == reservation_id]
    return sorted(found, key=lambda claim: (claim[0] != reservation_id, claim[1].state is not State.CONFIRMED, claim[1].created_revision))


def of_order(state: PoolState, order_reference: str) -> list[Claim]:
    """All reservations of an order, the ended ones too."""
    return [(key, record) for key, record in state.reservations.items() if order_reference and record.order_reference == order_reference]


def lines_at(claims: list[Claim], sku: str, node: str) -> Iterator[tuple[str, ReservationRecord, int]]:
    """Lines of a SKU at a node, in the order in which units are taken from them."""
    for key, record in claims:
        for number, line in sorted(record.lines.items()):
            if (line.sku, line.node) == (sku, node):
                yield key, record, number


def ship_units(change: Change, record: ReservationRecord, number: int, units: int) -> int:
    """Open units of a line leave its node: first those picked for it, then those picked for others of its order.

    Returns how many are left that nobody is known to have picked: they are still counted on hand.
    """
    line = record.lines[number]
    left = units - change.lower_open(record, number, units, "shipped")
    for _, other, other_number in lines_at(claims(change.state, "", record.order_reference), line.sku, line.node):
        taken = min(left, other.lines[other_number].picked) if other is not record and other.is_open else 0
        if taken:
            other.lines[other_number].picks -= taken
            line.picks += taken
            change.row(line.sku, line.node).picked -= taken
            left -= taken
    return left
