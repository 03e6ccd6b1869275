"""What is known of a shipment: which units it settled, which its authority has booked (rule 7, no echo)."""

from collections.abc import Iterable

import msgspec

from atp.model.reservation import ReservationRecord, Units, pairs
from atp.model.verbs import Part


class Unbooked(msgspec.Struct, array_like=True, frozen=True):
    """Units of one SKU that an order's account has shipped and the authority has not booked."""

    quantity: int
    shipped_ms: int


class Settlement(msgspec.Struct, array_like=True, frozen=True):
    """The result of the change that settled the allocation, first and only."""

    revision: int
    time_ms: int
    state: str
    moved: list[int]  # number, units, number, units, …


class ShipmentRecord(msgspec.Struct):
    """A shipment as stored: settled, reported, or both. Quantities are per SKU, by rising SKU."""

    node: str
    reservation_id: str  # empty: none was named, or several gave the units
    shipped_ms: int
    settled: dict[str, int] | None = None
    first: Settlement | None = None  # with `settled`, if one reservation gave it
    booked: dict[str, int] | None = None  # by the issuer, where on hand falls at issue …
    told: dict[str, int] | None = None  # … or where it falls at pick
    order_reference: str = ""  # the order that it was said to be of


def per_sku(quantities: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Units added up per SKU, by rising SKU."""
    total: dict[str, int] = {}
    for sku, quantity in quantities:
        total[sku] = total.get(sku, 0) + quantity
    return dict(sorted(total.items()))


def units_per_sku(record: ReservationRecord, units: Units) -> dict[str, int]:
    return per_sku((record.lines[number].sku, quantity) for number, quantity in units)


def settled_the_same(shipment: ShipmentRecord, record: ReservationRecord, parts: list[Part]) -> bool:
    """Whether a repeated Fulfil asks for what was settled. "All that is open on a line" means what was moved on it the first time."""
    if not parts:
        return True
    if record.unknown_lines(parts) or shipment.first is None:
        return False
    moved = dict(pairs(shipment.first.moved))
    return units_per_sku(record, [(part.number, part.quantity or moved.get(part.number, 0)) for part in parts]) == shipment.settled
