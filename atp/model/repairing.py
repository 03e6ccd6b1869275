"""Repair: figures that a person puts right, each only as long as it is what the person took it to be."""

from collections.abc import Iterator

from atp.model.change import Change
from atp.model.state import PoolState, RepairRecord
from atp.model.status import Status
from atp.model.verbs import FIGURE_BITS, Repair, RepairLine, Result


def repair(state: PoolState, request: Repair, now_ms: int) -> Result:
    refusal = next(_refusals(state, request, now_ms), None)
    if refusal is not None:
        return refusal
    change = Change(state, "repair", request.repair_id, now_ms)
    for line in request.lines:
        setattr(change.row(line.sku, line.node), line.term, line.wanted)
    state.repairs[request.repair_id] = RepairRecord(request.fingerprint, request.reason)
    return change.commit()


def _refusals(state: PoolState, request: Repair, now_ms: int) -> Iterator[Result]:
    if known := state.repairs.get(request.repair_id):
        same = known.fingerprint == request.fingerprint
        yield state.answer(Status.DUPLICATE if same else Status.KEY_REUSED, now_ms, [] if same else ["repair_id"])
    if unknown := [line.node for line in request.lines if line.node not in state.nodes]:
        yield state.answer(Status.UNKNOWN_NODE, now_ms, unknown)
    if unknown := [line.sku for line in request.lines if line.sku not in state.items]:
        yield state.answer(Status.UNKNOWN_SKU, now_ms, unknown)
    if moved := [f"{line.sku}/{line.node}/{line.term}={_is(state, line)}" for line in request.lines if _is(state, line) != line.expected]:
        yield state.answer(Status.FIGURE_MOVED, now_ms, moved)
    if beyond := [line.sku for line in request.lines if not _can_be(state, line)]:
        yield state.answer(Status.QUANTITY_OUT_OF_RANGE, now_ms, beyond)


def _is(state: PoolState, line: RepairLine) -> int:
    figure: int = getattr(state.row(line.sku, line.node), line.term)
    return figure


def _can_be(state: PoolState, line: RepairLine) -> bool:
    """Physical figures are signed, as sources tell them; counters are sums of units."""
    return (line.term in FIGURE_BITS or line.wanted >= 0) and abs(line.wanted) <= state.limits.figure_max
