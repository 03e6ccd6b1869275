"""Adjust and count: what feeds say about stock."""

from collections.abc import Iterator

import msgspec

from atp.model.arrival import apply, book, is_issuer, meet, name_refusals, range_refusals, verdict_refusals
from atp.model.change import Change
from atp.model.state import PoolState
from atp.model.status import ExceptionReason, Status
from atp.model.verbs import FIGURE_BITS, Adjust, Count, Result
from atp.model.window import Verdict


def adjust(state: PoolState, event: Adjust, now_ms: int) -> Result:
    refusal = next(_figures_refusals(state, event, now_ms), None)
    if refusal is not None:
        return refusal
    change = Change(state, event.kind, event.event_id, now_ms)
    apply(change, event)
    if event.kind == "pick_short" and is_issuer(state, event):
        exception_id, units = f"short:{event.source}/{event.event_id}", -sum(line.on_hand for line in event.lines)
        cause = event.about or event.event_id
        change.report(ExceptionReason.PICK_SHORT, exception_id, event.lines[0].sku, event.node, units, cause=cause)
    return change.commit()


def count(state: PoolState, event: Count, now_ms: int) -> Result:
    # A count of the future would contain shipments that are still to come.
    event = msgspec.structs.replace(event, as_of_ms=min(event.as_of_ms, now_ms))
    refusal = next(_figures_refusals(state, event, now_ms), None)
    if refusal is not None:
        return refusal
    change = Change(state, event.kind, event.event_id, now_ms)
    left = state.limits.bookings_max
    for met in apply(change, event):
        if is_issuer(state, event) and met.figures & FIGURE_BITS["on_hand"]:
            unbooked = state.unbooked.get((met.sku, event.node), {})
            contained = sorted(key for key, entry in unbooked.items() if entry.shipped_ms <= event.as_of_ms)
            book(change, met.sku, event.node, contained[:left])
            left -= len(contained[:left])
    return change.commit()


def _figures_refusals(state: PoolState, event: Adjust | Count, now_ms: int) -> Iterator[Result]:
    yield from name_refusals(state, event, now_ms)
    verdicts = {sku: met.verdict for sku, met in meet(state, event).items()}
    yield from verdict_refusals(state, verdicts, now_ms)
    if Verdict.NEW not in verdicts.values():
        yield state.answer(Status.DUPLICATE, now_ms)
    yield from range_refusals(state, event, now_ms)
