"""Pick: units taken from their place for a reservation or an order, before they are shipped."""

from collections.abc import Iterator

from atp.model.arrival import apply, entry_room, falls_at_pick, is_issuer, meet, name_refusals, range_refusals, verdict_refusals
from atp.model.change import Change
from atp.model.place import keep_seen
from atp.model.settling import claims, lines_at, of_order
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
    if not falls_at_pick(state, event):
        keep_seen(state, event)
        return change.commit()  # the order's story alone
    verdicts = {sku: met.verdict for sku, met in meet(state, event).items()}
    apply(change, event)
    if is_issuer(state, event):
        _match(change, event, verdicts)
    return change.commit()


def _refusals(state: PoolState, event: Pick, now_ms: int) -> Iterator[Result]:
    yield from name_refusals(state, event, now_ms)
    if falls_at_pick(state, event):
        yield from verdict_refusals(state, {sku: met.verdict for sku, met in meet(state, event).items()}, now_ms)
        if entry_room(state, event, _cause(event)) < 0:
            yield state.answer(Status.TOO_MANY_ROWS, now_ms)
        yield from range_refusals(state, event, now_ms)


def _cause(event: Pick) -> str:
    return event.reservation_id or event.order_reference or event.event_id


def _match(change: Change, event: Pick, verdicts: dict[str, Verdict]) -> None:
    """Finds for each unit what it was picked for: a shipment that told of it before, or an open line.

    A line that a later snapshot contains is matched as well: its units are not on hand any more. What of it matches nothing has been
    shipped and booked meanwhile, so that only what lowered the stock without a match is told.
    """
    named, room = claims(change.state, event), change.state.limits.settled_lines_max
    without: dict[str, int] = {}
    for want in event.lines:
        left = 0 if verdicts[want.sku] is Verdict.KNOWN else want.quantity
        for shipment_id in _unbooked_of(change.state, event, want.sku):
            if left and room:
                left -= _book(change, want.sku, event.node, shipment_id, left)
                room -= 1
        for _, record, number in lines_at(named, want.sku, event.node):
            line = record.lines[number]
            units = min(left, line.open - line.picked)
            if units and room:
                line.picked += units
                change.row(want.sku, event.node).picked += units
                left -= units
                room -= 1
        if left and verdicts[want.sku] is Verdict.NEW:
            without[want.sku] = left
    if without:
        reason, exception_id = ExceptionReason.PICK_WITHOUT_ALLOCATION, f"pick:{event.source}/{event.event_id}"
        change.report(reason, exception_id, next(iter(without)), event.node, sum(without.values()))


def _unbooked_of(state: PoolState, event: Pick, sku: str) -> list[str]:
    """Shipments of what was picked that told of it before, by id: of the reservation named, or of its order if it is several'."""
    order = event.order_reference
    if event.reservation_id:
        named = state.reservations.get(event.reservation_id)
        order = named.order_reference if named else ""
    ids = {event.reservation_id} if event.reservation_id else {key for key, _ in of_order(state, order)}

    def is_meant(shipment_id: str) -> bool:
        shipment = state.shipments[shipment_id]
        return shipment.reservation_id in ids or (not shipment.reservation_id and bool(order) and shipment.order_reference == order)

    return sorted(filter(is_meant, state.unbooked.get((sku, event.node), {})))


def _book(change: Change, sku: str, node: str, shipment_id: str, most: int) -> int:
    """Takes up to so many of its units out of shipped unbooked; returns how many."""
    entries = change.state.unbooked[sku, node]
    entry = entries.pop(shipment_id)
    units = min(most, entry.quantity)
    change.row(sku, node).shipped_unbooked -= units
    if units < entry.quantity:
        entries[shipment_id] = Unbooked(entry.quantity - units, entry.shipped_ms)
    return units
