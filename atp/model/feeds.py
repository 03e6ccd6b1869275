"""Adjust and count: what feeds say about stock."""

from collections.abc import Iterator

import msgspec

from atp.model.arrival import book, judge, name_refusals, new_skus, range_refusals, verdict_refusals, write_windows
from atp.model.change import Change
from atp.model.state import PoolState
from atp.model.status import Status
from atp.model.verbs import Adjust, Count, Figures, Result
from atp.model.window import Delta, Physical, Window


def adjust(state: PoolState, event: Adjust, now_ms: int) -> Result:
    refusal = next(_figures_refusals(state, event, now_ms), None)
    if refusal is not None:
        return refusal
    change = Change(state, event.kind, event.event_id, now_ms)
    write_windows(change, event.node, _new_windows(state, event))
    return change.commit()


def count(state: PoolState, event: Count, now_ms: int) -> Result:
    # A count of the future would contain shipments that are still to come.
    event = msgspec.structs.replace(event, as_of_ms=min(event.as_of_ms, now_ms))
    refusal = next(_figures_refusals(state, event, now_ms), None)
    if refusal is not None:
        return refusal
    change = Change(state, "snapshot", event.event_id, now_ms)
    windows = _new_windows(state, event)
    write_windows(change, event.node, windows)
    left = state.limits.bookings_max
    for sku in windows:
        unbooked = state.unbooked.get((sku, event.node), {})
        contained = sorted(key for key, entry in unbooked.items() if entry.shipped_ms <= event.as_of_ms)
        book(change, sku, event.node, contained[:left])
        left -= len(contained[:left])
    return change.commit()


def _figures_refusals(state: PoolState, event: Adjust | Count, now_ms: int) -> Iterator[Result]:
    yield from name_refusals(state, event, now_ms)
    verdicts = judge(state, event)
    yield from verdict_refusals(state, verdicts, now_ms)
    if not new_skus(verdicts):
        yield state.answer(Status.DUPLICATE, now_ms)
    yield from range_refusals(state, _new_windows(state, event), now_ms)


def _new_windows(state: PoolState, event: Adjust | Count) -> dict[str, Window]:
    new = new_skus(judge(state, event))
    return {line.sku: _after(state, event, line) for line in event.lines if line.sku in new}


def _after(state: PoolState, event: Adjust | Count, line: Figures) -> Window:
    window = state.window(line.sku, event.node)
    figures = Physical(line.on_hand, line.damaged, line.quality_hold)
    if isinstance(event, Count):
        return window.with_snapshot(event.sequence, event.fingerprint, event.as_of_ms, figures)
    return window.with_delta(Delta(event.sequence, event.fingerprint, figures), state.limits.window_deltas_max)
