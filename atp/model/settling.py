"""Whose units an event at a node is about: the reservations that it names, itself or by their order, and the lines it takes from."""

from collections.abc import Iterator

from atp.model.reservation import ReservationRecord
from atp.model.state import PoolState
from atp.model.status import State
from atp.model.verbs import Pick, Ship

Claim = tuple[str, ReservationRecord]  # by its id


def claims(state: PoolState, event: Pick | Ship) -> list[Claim]:
    """The open reservations that it names: the confirmed ones before the held, then the oldest first."""
    opened = [(key, record) for key, record in named(state, event) if record.is_open]
    return sorted(opened, key=lambda claim: (claim[1].state is not State.CONFIRMED, claim[1].created_revision))


def named(state: PoolState, event: Pick | Ship) -> list[Claim]:
    """The reservations that it names, the ended ones too, the oldest first."""
    if event.reservation_id:
        return [(key, record) for key, record in state.reservations.items() if key == event.reservation_id]
    return sorted(of_order(state, event.order_reference), key=lambda claim: claim[1].created_revision)


def of_order(state: PoolState, order_reference: str) -> list[Claim]:
    """All reservations of an order, the ended ones too."""
    return [(key, record) for key, record in state.reservations.items() if order_reference and record.order_reference == order_reference]


def lines_at(claims: list[Claim], sku: str, node: str) -> Iterator[tuple[str, ReservationRecord, int]]:
    """The open lines of a SKU at a node, in the order in which units are taken from them."""
    for key, record in claims:
        for number, _ in record.open_units():
            if (record.lines[number].sku, record.lines[number].node) == (sku, node):
                yield key, record, number
