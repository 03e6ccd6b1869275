"""Adjust, count and register, and the events that wait for their SKU: what feeds say about stock and items."""

from collections.abc import Iterator

import msgspec

from atp.model.arrival import apply, book, is_issuer, meet, name_refusals, range_refusals, verdict_refusals
from atp.model.change import Change
from atp.model.state import PoolState
from atp.model.status import ExceptionReason, Status
from atp.model.stock import ItemRecord
from atp.model.verbs import FIGURE_BITS, Adjust, Count, ItemLine, Park, Register, Result, Unpark
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


def register(state: PoolState, event: Register, now_ms: int) -> Result:
    waiting = [line.sku for line in event.lines if line.sku in state.waiting]
    refusal = next(_register_refusals(state, event, waiting, now_ms), None)
    if refusal is not None:
        return refusal
    change = Change(state, "item_registered", event.event_id, now_ms)
    for line in event.lines:
        if _judge_item(state, event, line) is Verdict.NEW:
            state.items[line.sku] = ItemRecord(line.safety_stock, event.sequence, event.fingerprint, change.revision)
    done = change.commit()
    return Result(status=Status.OK, revision=done.revision, time_ms=done.time_ms, waiting=waiting)


def _register_refusals(state: PoolState, event: Register, waiting: list[str], now_ms: int) -> Iterator[Result]:
    if event.source not in state.sources:
        yield state.answer(Status.UNKNOWN_SOURCE, now_ms, [event.source])
    if not state.sources[event.source].registers_items:
        yield state.answer(Status.NOT_AUTHORITY, now_ms, [event.source])
    verdicts = {line.sku: _judge_item(state, event, line) for line in event.lines}
    yield from verdict_refusals(state, verdicts, now_ms)
    if Verdict.NEW not in verdicts.values():
        # A consumer that failed between the registration and the retries asks again, and must learn what waits.
        yield Result(status=Status.DUPLICATE, revision=state.revision, time_ms=now_ms, waiting=waiting)


def _judge_item(state: PoolState, event: Register, line: ItemLine) -> Verdict:
    """An item is its last registration: no window, a lower sequence has nothing to add."""
    item = state.items.get(line.sku)
    if item is None or event.sequence > item.sequence:
        return Verdict.NEW
    if event.sequence < item.sequence:
        return Verdict.SUPERSEDED
    return Verdict.KNOWN if event.fingerprint == item.fingerprint else Verdict.CONFLICT


def park(state: PoolState, request: Park, now_ms: int) -> Result:
    refusal = next(_park_refusals(state, request, now_ms), None)
    if refusal is not None:
        return refusal
    change = Change(state, "park", request.key, now_ms)
    state.waiting.setdefault(request.sku, {})[request.key] = request.original
    change.report(ExceptionReason.UNKNOWN_SKU, f"wait:{request.key}", request.sku, "", 0)
    return change.commit()


def _park_refusals(state: PoolState, request: Park, now_ms: int) -> Iterator[Result]:
    waiting = state.waiting.get(request.sku, {})
    if request.sku in state.items:
        yield state.answer(Status.SKU_KNOWN, now_ms)
    if request.key in waiting:
        yield state.answer(Status.DUPLICATE, now_ms)
    if len(waiting) >= state.limits.waiting_per_sku_max:
        yield state.answer(Status.WAITING_FULL, now_ms)


def unpark(state: PoolState, request: Unpark, now_ms: int) -> Result:
    waiting = state.waiting.get(request.sku, {})
    if request.key not in waiting:
        return state.answer(Status.DUPLICATE, now_ms)
    change = Change(state, "unpark", request.key, now_ms)
    del waiting[request.key]
    if not waiting:
        del state.waiting[request.sku]
    change.report(ExceptionReason.UNKNOWN_SKU, f"wait:{request.key}", request.sku, "", 0, resolved=True)
    return change.commit()
