"""Transfers between nodes: each end tells of its own, in either order, and what has left and not come is in transit."""

import copy
from collections.abc import Iterator

from atp.model.arrival import apply, entry_room, is_issuer, meet, name_refusals, range_refusals, verdict_refusals
from atp.model.change import Change
from atp.model.state import PoolState
from atp.model.status import ExceptionReason, Status
from atp.model.transfer import TransferRecord, TransferUnits
from atp.model.verbs import Result, Transfer
from atp.model.window import Verdict


def transfer(state: PoolState, event: Transfer, now_ms: int) -> Result:
    refusal = next(_refusals(state, event, now_ms), None)
    if refusal is not None:
        return refusal
    change = Change(state, event.kind, event.transfer_id, now_ms)
    before, after = _known(state, event), _after(state, event)
    apply(change, event)
    if is_issuer(state, event):
        state.transfers[event.transfer_id] = after
        for sku, units in _moved(before, after).items():
            change.row(sku, after.to).in_transit += units
        _tell_excess(change, event, before, after)
    return change.commit()


def _refusals(state: PoolState, event: Transfer, now_ms: int) -> Iterator[Result]:
    yield from name_refusals(state, event, now_ms)
    yield from verdict_refusals(state, {sku: met.verdict for sku, met in meet(state, event).items()}, now_ms)
    if entry_room(state, event, event.transfer_id) < 0:
        yield state.answer(Status.TOO_MANY_ROWS, now_ms)
    yield from range_refusals(state, event, now_ms)
    if is_issuer(state, event):
        after = _after(state, event)
        moved = _moved(_known(state, event), after)
        if beyond := [sku for sku, units in moved.items() if state.row(sku, after.to).in_transit + units > state.limits.figure_max]:
            yield state.answer(Status.QUANTITY_OUT_OF_RANGE, now_ms, beyond)


def _known(state: PoolState, event: Transfer) -> TransferRecord:
    return state.transfers.get(event.transfer_id) or TransferRecord()


def _after(state: PoolState, event: Transfer) -> TransferRecord:
    """The record with this event. A line that a later snapshot contains has left or come as well."""
    leaves = event.kind == "transfer_out"
    record = copy.deepcopy(_known(state, event))
    if leaves and not record.has_left:
        record.from_, record.to = event.node, event.other_node
    elif not record.to:
        record.from_, record.to = event.other_node, event.node
    for want in event.lines:
        if meet(state, event)[want.sku].verdict is Verdict.KNOWN:
            continue
        units = record.units.setdefault(want.sku, TransferUnits())
        units.left += want.quantity if leaves else 0
        units.came += 0 if leaves else want.quantity
        # Of a node that is not this pool's there is no row.
        units.in_transit = max(0, units.left - units.came) if record.to in state.nodes else 0
    return record


def _moved(before: TransferRecord, after: TransferRecord) -> dict[str, int]:
    """What of each SKU comes to be in transit, or is no longer."""
    changes = {sku: units.in_transit - before.units.get(sku, TransferUnits()).in_transit for sku, units in after.units.items()}
    return {sku: change for sku, change in changes.items() if change}


def _tell_excess(change: Change, event: Transfer, before: TransferRecord, after: TransferRecord) -> None:
    """More came than left: a person must look, until the sender has told of the rest."""
    was, now = before.excess(), after.excess()
    sku, units = next(iter(now or was), ""), sum(now.values())
    if units != sum(was.values()):
        reason, exception_id = ExceptionReason.TRANSFER_DIFFERS, f"trf:{event.transfer_id}"
        change.report(reason, exception_id, sku, after.to, units, resolved=not units)
