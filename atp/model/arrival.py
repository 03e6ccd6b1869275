"""How an event of a node's authority is met: names, then the window of each of its lines, then the range of figures."""

from collections.abc import Iterable, Iterator

from atp.model.change import Change
from atp.model.state import PoolState
from atp.model.status import Status
from atp.model.verbs import Adjust, Count, Result, Ship
from atp.model.window import Verdict, Window

Physicals = Adjust | Count | Ship


def name_refusals(state: PoolState, event: Physicals, now_ms: int) -> Iterator[Result]:
    if event.source not in state.sources:
        yield state.answer(Status.UNKNOWN_SOURCE, now_ms, [event.source])
    if event.node not in state.nodes:
        yield state.answer(Status.UNKNOWN_NODE, now_ms, [event.node])
    if state.nodes[event.node].authority != event.source:
        yield state.answer(Status.NOT_AUTHORITY, now_ms, [event.source])
    if unknown := [line.sku for line in event.lines if line.sku not in state.items]:
        yield state.answer(Status.UNKNOWN_SKU, now_ms, unknown)


def judge(state: PoolState, event: Physicals) -> dict[str, Verdict]:
    """What the event means to the window of each SKU it names, in its order."""
    snapshot = isinstance(event, Count)
    return {
        line.sku: state.window(line.sku, event.node).judge(event.sequence, event.fingerprint, snapshot=snapshot) for line in event.lines
    }


def verdict_refusals(state: PoolState, verdicts: dict[str, Verdict], now_ms: int) -> Iterator[Result]:
    """One line that cannot be placed refuses the event: all lines or none."""
    for verdict, status in ((Verdict.CONFLICT, Status.SEQUENCE_CONFLICT), (Verdict.BELOW, Status.SEQUENCE_BELOW_WINDOW)):
        if skus := [sku for sku, found in verdicts.items() if found is verdict]:
            yield state.answer(status, now_ms, skus)


def range_refusals(state: PoolState, windows: dict[str, Window], now_ms: int) -> Iterator[Result]:
    if skus := [sku for sku, window in windows.items() if not window.figures().within(state.limits.figure_max)]:
        yield state.answer(Status.QUANTITY_OUT_OF_RANGE, now_ms, skus)


def new_skus(verdicts: dict[str, Verdict]) -> list[str]:
    return [sku for sku, verdict in verdicts.items() if verdict is Verdict.NEW]


def write_windows(change: Change, node: str, windows: dict[str, Window]) -> None:
    """The windows of new lines, and the physical figures of their rows: what the window adds up to, nothing else."""
    for sku, window in windows.items():
        change.state.windows[sku, node] = window
        row, figures = change.row(sku, node), window.figures()
        row.on_hand, row.damaged, row.quality_hold = figures.on_hand, figures.damaged, figures.quality_hold


def book(change: Change, sku: str, node: str, shipments: Iterable[str]) -> None:
    """The authority's figures contain these shipments of a SKU now: they are no longer shipped unbooked."""
    entries = change.state.unbooked.get((sku, node), {})
    for shipment_id in shipments:
        if shipment_id in entries:
            change.row(sku, node).shipped_unbooked -= entries.pop(shipment_id).quantity
