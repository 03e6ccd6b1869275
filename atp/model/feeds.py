"""Adjust and count: what feeds say about stock."""

from collections.abc import Iterator
from itertools import chain

import msgspec

from atp.limits import BOOKING_BYTES
from atp.model.arrival import (
    apply,
    book,
    entry_room,
    is_issuer,
    meet,
    name_bytes,
    name_refusals,
    range_refusals,
    verdict_refusals,
)
from atp.model.change import Change
from atp.model.place import is_short, place
from atp.model.state import Parts, PoolState
from atp.model.status import ExceptionReason, Status
from atp.model.verbs import FIGURE_BITS, Adjust, Complete, Count, Result
from atp.model.window import Verdict


def adjust(state: PoolState, event: Adjust, now_ms: int) -> Result:
    refusal = next(chain(name_refusals(state, event, now_ms), _figures_refusals(state, event, now_ms)), None)
    if refusal is not None:
        return refusal
    is_known = any(met.verdict is Verdict.KNOWN for met in meet(state, event).values())
    change = Change(state, event.kind, event.event_id, now_ms)
    apply(change, event)
    # An order is short all the same if a later snapshot contains it.
    if is_short(event) and is_issuer(state, event) and not is_known:
        exception_id, short = f"short:{event.source}/{event.event_id}", -sum(line.on_hand for line in event.lines)
        cause = event.about or event.event_id
        change.report(ExceptionReason.PICK_SHORT, exception_id, event.lines[0].sku, event.node, short, cause=cause)
    return change.commit()


def count(state: PoolState, event: Count, now_ms: int) -> Result:
    # A count of the future would contain shipments that are still to come.
    event = msgspec.structs.replace(event, as_of_ms=min(event.as_of_ms, now_ms))
    refusal = next(_count_refusals(state, event, now_ms), None)
    if refusal is not None:
        return refusal
    whole = _is_whole(state, event)
    room = entry_room(state, event, event.event_id)
    change = Change(state, event.kind, event.event_id, now_ms)
    left = state.limits.bookings_max
    for met in apply(change, event):
        if is_issuer(state, event) and met.figures & FIGURE_BITS["on_hand"]:
            for shipment_id in _contained(state, event, met.sku):
                left -= 1
                room -= 2 * name_bytes(met.sku, event.node) + 3 * name_bytes(shipment_id) + BOOKING_BYTES
                if left < 0 or room < 0:
                    break
                book(change, met.sku, event.node, [shipment_id])
    if _is_part(state, event):
        state.parts.setdefault(_full_name(state, event), Parts(event.parts)).come.add(event.part)
    done = change.commit()
    return msgspec.structs.replace(done, complete=whole)


def _contained(state: PoolState, event: Count, sku: str) -> list[str]:
    """Shipments not booked yet that the snapshot contains."""
    unbooked = state.unbooked.get((sku, event.node), {})
    return sorted(key for key, entry in unbooked.items() if entry.shipped_ms <= event.as_of_ms)


def _full_name(state: PoolState, event: Count) -> tuple[str, str, int]:
    return event.node, event.source, place(state, event)


def _is_part(state: PoolState, event: Count) -> bool:
    """Whether the event is a part of a full snapshot that is not complete yet."""
    name = _full_name(state, event)
    full = state.full.get((event.node, event.source), 0)
    return event.parts > 0 and (name[2] > full or (name[2] == full and name in state.parts))


def _is_whole(state: PoolState, event: Count) -> bool:
    """Whether, with this part, all have come."""
    return _is_part(state, event) and (state.parts.get(_full_name(state, event)) or Parts(event.parts)).complete_with(event.part)


def _count_refusals(state: PoolState, event: Count, now_ms: int) -> Iterator[Result]:
    yield from name_refusals(state, event, now_ms)
    is_new_part = False
    if event.parts and not place(state, event):
        yield state.answer(Status.SEQUENCE_MISSING, now_ms, [event.source])
    if _is_part(state, event):
        known = state.parts.get(_full_name(state, event)) or Parts(event.parts)
        is_new_part = event.part not in known.come
        if known.parts != event.parts:
            yield state.answer(Status.SEQUENCE_CONFLICT, now_ms, [event.event_id])
    for refusal in _figures_refusals(state, event, now_ms):
        if refusal.status == Status.DUPLICATE:
            if is_new_part:
                continue
            yield msgspec.structs.replace(refusal, complete=_is_whole(state, event))
        yield refusal


def _figures_refusals(state: PoolState, event: Adjust | Count, now_ms: int) -> Iterator[Result]:
    verdicts = {sku: met.verdict for sku, met in meet(state, event).items()}
    yield from verdict_refusals(state, verdicts, now_ms)
    if Verdict.NEW not in verdicts.values() and not is_short(event):
        yield state.answer(Status.DUPLICATE, now_ms)
    if entry_room(state, event, event.event_id) < 0:
        yield state.answer(Status.TOO_MANY_ROWS, now_ms)
    yield from range_refusals(state, event, now_ms)


def complete(state: PoolState, request: Complete, now_ms: int) -> Result:
    name = request.node, request.source, request.sequence
    of = request.node, request.source
    full = state.full.get(of, 0)
    if name not in state.parts or (not request.done and request.sequence <= full):
        return state.answer(Status.DUPLICATE, now_ms)
    change = Change(state, "complete", "", now_ms)
    if request.done:
        del state.parts[name]
    state.full[of] = max(full, request.sequence)
    return change.commit()
