"""Cancel and note: what is said of an order as a whole, and of what moves no stock."""

from collections.abc import Iterator

from atp.model.change import Change
from atp.model.holding import entry_bytes
from atp.model.place import keep_seen, seen_refusals
from atp.model.reservation import ReservationRecord, Units
from atp.model.settling import of_order
from atp.model.state import PoolState
from atp.model.status import Status
from atp.model.verbs import Cancel, Note, Result


def cancel(state: PoolState, event: Cancel, now_ms: int) -> Result:
    refusal = next(_cancel_refusals(state, event, now_ms), None)
    if refusal is not None:
        return refusal
    change = Change(state, "order_cancelled", event.order_reference, now_ms)
    written = 0
    for record, given_up in _given_up(state, event):
        size = entry_bytes([record.lines[number] for number, _ in given_up])
        if written and written + size > state.limits.ledger_entry_bytes_max:
            change.commit()
            change = Change(state, "order_cancelled", event.order_reference, now_ms)
            written = 0
        written += size
        for number, units in given_up:
            change.lower_open(record, number, units)
            record.lines[number].released += units
        record.end_if_empty(now_ms)
    keep_seen(state, event)
    return change.commit()


def _cancel_refusals(state: PoolState, event: Cancel, now_ms: int) -> Iterator[Result]:
    if event.source not in state.sources:
        yield state.answer(Status.UNKNOWN_SOURCE, now_ms, [event.source])
    yield from seen_refusals(state, event, now_ms)
    if not of_order(state, event.order_reference):
        yield state.answer(Status.UNKNOWN_ORDER, now_ms, [event.order_reference])


def _given_up(state: PoolState, event: Cancel) -> list[tuple[ReservationRecord, Units]]:
    """Of each open reservation what it gives up, the newest first and its lines by falling number."""
    left = {want.sku: want.quantity for want in event.lines}
    found = []
    opened = [record for _, record in of_order(state, event.order_reference) if record.is_open]
    for record in sorted(opened, key=lambda record: -record.created_revision):
        given_up: Units = []
        for number, units in reversed(record.open_units()):
            sku = record.lines[number].sku
            wanted = min(units, left.get(sku, 0)) if event.lines else units
            if wanted:
                left[sku] = left.get(sku, 0) - wanted
                given_up.append((number, wanted))
        if given_up:
            found.append((record, given_up))
    return found


def note(state: PoolState, event: Note, now_ms: int) -> Result:
    refusal = next(_note_refusals(state, event, now_ms), None)
    if refusal is not None:
        return refusal
    keep_seen(state, event)
    return Change(state, event.kind, event.about or event.event_id, now_ms).commit()


def _note_refusals(state: PoolState, event: Note, now_ms: int) -> Iterator[Result]:
    if event.source not in state.sources:
        yield state.answer(Status.UNKNOWN_SOURCE, now_ms, [event.source])
    if event.node not in state.nodes:
        yield state.answer(Status.UNKNOWN_NODE, now_ms, [event.node])
    yield from seen_refusals(state, event, now_ms)
