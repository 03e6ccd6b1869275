"""Pick: units taken from their place for a reservation or an order, before they are shipped."""

from collections.abc import Iterator

from atp.model.arrival import apply, entry_room, falls_at_pick, is_issuer, meet, name_refusals, range_refusals, verdict_refusals
from atp.model.change import Change
from atp.model.place import keep_seen
from atp.model.reservation import ReservationRecord
from atp.model.settling import Claim, claims, lines_at, named, of_order
from atp.model.shipment import Unbooked
from atp.model.state import PoolState
from atp.model.status import ExceptionReason, Status
from atp.model.verbs import Pick, Result
from atp.model.window import Verdict


def pick(state: PoolState, event: Pick, now_ms: int) -> Result:
    refusal = next(_refusals(state, event, now_ms), None)
    if refusal is not None:
        return refusal
    change = Change(state, "pick", _cause(event), now_ms)
    if not falls_at_pick(state, event.source):
        keep_seen(state, event)
        return change.commit()  # the order's story alone
    verdicts = {sku: met.verdict for sku, met in meet(state, event).items()}
    apply(change, event)
    if is_issuer(state, event):
        _match(change, event, verdicts)
    return change.commit()


def _refusals(state: PoolState, event: Pick, now_ms: int) -> Iterator[Result]:
    yield from name_refusals(state, event, now_ms)
    if falls_at_pick(state, event.source):
        yield from verdict_refusals(state, {sku: met.verdict for sku, met in meet(state, event).items()}, now_ms)
        if entry_room(state, event, _cause(event)) < 0:
            yield state.answer(Status.TOO_MANY_ROWS, now_ms)
        yield from range_refusals(state, event, now_ms)


def _cause(event: Pick) -> str:
    return event.reservation_id or event.order_reference or event.event_id


def _match(change: Change, event: Pick, verdicts: dict[str, Verdict]) -> None:
    """Finds for each unit what it was picked for: units that were shipped before their pick was heard of, or an open line.

    A line that a later snapshot contains is matched as well: its units are not on hand any more. What of it matches nothing has been
    put back meanwhile, or is nobody's, so that only what lowered the stock without a match is told.
    """
    room = Room(change.state.limits.settled_lines_max)
    without: dict[str, int] = {}
    for want in event.lines:
        units = 0 if verdicts[want.sku] is Verdict.KNOWN else want.quantity
        left = _mark_picked(change, event, want.sku, _hear_of_shipped(change, event, want.sku, units, room), room)
        if left and verdicts[want.sku] is Verdict.NEW:
            without[want.sku] = left
    if without:
        reason, exception_id = ExceptionReason.PICK_WITHOUT_ALLOCATION, f"pick:{event.source}/{event.event_id}"
        change.report(reason, exception_id, next(iter(without)), event.node, sum(without.values()))


class Room:
    """How many more lines and shipments an event may write."""

    def __init__(self, left: int) -> None:
        self._left = left

    def take(self) -> bool:
        self._left -= 1
        return self._left >= 0


def _hear_of_shipped(change: Change, event: Pick, sku: str, most: int, room: Room) -> int:
    """Up to so many units had been shipped when their pick was not heard of yet; returns how many were not.

    A snapshot may contain the pick already: then they are no longer shipped unbooked, and count nowhere. As long as picks are missing
    for more units than stand there, it is those that the snapshot contains which are heard of.
    """
    left = most
    for _, record, number in _lines(named(change.state, event), sku, event.node):
        line = record.lines[number]
        if left and line.unpicked and room.take():
            heard = min(left, line.unpicked)
            line.unpicked -= heard
            left -= heard
    records, shipments = _told_before(change.state, event, sku)
    entries = change.state.unbooked.get((sku, event.node), {})
    missing = sum(record.lines[number].unpicked for _, record, number in _lines(records, sku, event.node))
    booked = min(most, max(0, sum(entries[key].quantity for key in shipments) - missing))
    to_book = booked
    for shipment_id in shipments:
        if to_book and room.take():
            to_book -= _book(change, sku, event.node, shipment_id, to_book)
    return min(left, most - booked) + to_book


def _mark_picked(change: Change, event: Pick, sku: str, most: int, room: Room) -> int:
    """Marks up to so many open units as picked; returns how many found none."""
    left = most
    for _, record, number in lines_at(claims(change.state, event), sku, event.node):
        line = record.lines[number]
        units = min(left, line.open - line.picked)
        if units and room.take():
            line.picked += units
            change.row(sku, event.node).picked += units
            left -= units
    return left


def _lines(records: list[Claim], sku: str, node: str) -> Iterator[tuple[str, ReservationRecord, int]]:
    """All lines of a SKU at a node, those of which nothing is open too."""
    for key, record in records:
        for number, line in sorted(record.lines.items()):
            if (line.sku, line.node) == (sku, node):
                yield key, record, number


def _told_before(state: PoolState, event: Pick, sku: str) -> tuple[list[Claim], list[str]]:
    """The shipments that may have told of what was picked, by id, and the reservations that they are of.

    They are those of the reservation named; where one of them is several reservations', those of the whole order.
    """
    known = state.reservations.get(event.reservation_id)
    order = known.order_reference if known else event.order_reference
    entries = state.unbooked.get((sku, event.node), {})
    told = {key: (state.shipments[key].reservation_id, state.shipments[key].order_reference) for key in entries}
    records = of_order(state, order) if order and ("", order) in told.values() else named(state, event)
    ids = {event.reservation_id, *(key for key, _ in records)} - {""}
    return records, sorted(key for key, (of, of_order_) in told.items() if of in ids or (order and (of, of_order_) == ("", order)))


def _book(change: Change, sku: str, node: str, shipment_id: str, most: int) -> int:
    """Takes up to so many of its units out of shipped unbooked; returns how many."""
    entries = change.state.unbooked[sku, node]
    entry = entries.pop(shipment_id)
    units = min(most, entry.quantity)
    change.row(sku, node).shipped_unbooked -= units
    if units < entry.quantity:
        entries[shipment_id] = Unbooked(entry.quantity - units, entry.shipped_ms)
    return units
