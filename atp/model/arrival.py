"""How an event about the stock of a node is met: who tells it, its place, then the window of each of its lines."""

from collections.abc import Iterable, Iterator

import msgspec

from atp import limits
from atp.model.change import Change
from atp.model.place import keep_seen, place, place_refusals
from atp.model.state import PoolState
from atp.model.status import Status
from atp.model.stock import Comparison
from atp.model.verbs import (
    ALL_FIGURES,
    FIGURE_BITS,
    Adjust,
    Count,
    NodeConfig,
    Pick,
    Result,
    Ship,
    Transfer,
    Want,
)
from atp.model.window import Delta, Physical, Snap, Verdict, Window

Physicals = Adjust | Count | Ship | Pick | Transfer


class Met(msgspec.Struct, frozen=True):
    """One line of an event, its place and what it means there. `level` is what a snapshot says, `change` what a delta does."""

    sku: str
    window: Window
    sequence: int
    named: int  # mask of the figures it names or changes
    change: Physical | None
    level: Physical | None
    verdict: Verdict

    @property
    def is_new(self) -> bool:
        return self.verdict is Verdict.NEW

    @property
    def figures(self) -> int:
        """The mask of those that it changes or sets: later snapshots have the others."""
        return (ALL_FIGURES if self.change else self.named) & self.window.free(self.sequence)


def authority_of(source: str, node: NodeConfig) -> int:
    """The mask of the figures that a source is the authority of."""
    authorities = {
        "on_hand": node.authority,
        "damaged": node.damaged_authority or node.authority,
        "quality_hold": node.quality_hold_authority or node.authority,
    }
    return sum(bit for figure, bit in FIGURE_BITS.items() if authorities[figure] == source)


def is_issuer(state: PoolState, event: Physicals) -> bool:
    return state.nodes[event.node].authority == event.source


def falls_at_pick(state: PoolState, source: str) -> bool:
    """Whether a source lowers its on hand when units are picked, rather than when they are shipped."""
    return state.sources[source].on_hand_falls == "pick"


def name_refusals(state: PoolState, event: Physicals, now_ms: int) -> Iterator[Result]:
    """Who tells, where, in which place, and of what."""
    if event.source not in state.sources:
        yield state.answer(Status.UNKNOWN_SOURCE, now_ms, [event.source])
    if event.node not in state.nodes:
        yield state.answer(Status.UNKNOWN_NODE, now_ms, [event.node])
    yield from place_refusals(state, event, now_ms)
    if unknown := [line.sku for line in event.lines if line.sku not in state.items]:
        yield state.answer(Status.UNKNOWN_SKU, now_ms, unknown)


def meet(state: PoolState, event: Physicals) -> dict[str, Met]:
    """What each line means to the window of its SKU, in the order of the event."""
    at, net = place(state, event), state.sources[event.source].snapshots == "net"
    found = {}
    for sku, change, level, named in _said(event, net=net):
        window = state.window(sku, event.node, event.source)
        sequence = at or window.next_sequence()
        verdict = window.judge(sequence, event.fingerprint, named, snapshot=level is not None)
        found[sku] = Met(sku, window, sequence, named, change, level, verdict)
    return found


def _said(event: Physicals, *, net: bool) -> Iterator[tuple[str, Physical | None, Physical | None, int]]:
    """Per line: SKU, changes or levels, and the figures concerned."""
    for line in event.lines:
        if isinstance(line, Want):
            comes = isinstance(event, Transfer | Pick) and event.kind in {"transfer_in", "pick_reversed"}
            change = Physical(on_hand=line.quantity if comes else -line.quantity)
            yield line.sku, change, None, change.changed()
            continue
        figures = Physical(line.on_hand, line.damaged, line.quality_hold)
        if isinstance(event, Count):
            yield line.sku, None, figures.plus(Physical(line.own_reserved if net else 0)), line.named
        else:
            yield line.sku, figures, None, figures.changed()


def entry_room(state: PoolState, event: Physicals, cause: str) -> int:
    """How many bytes are left in the entry of an event beside its new lines, each at its largest."""
    room = state.limits.ledger_entry_bytes_max - state.limits.entry_head_bytes
    for met in meet(state, event).values():
        if met.is_new:
            names = 8 * name_bytes(met.sku, event.node) + 2 * name_bytes(event.source) + name_bytes(cause)
            room -= names + limits.EVENT_LINE_BYTES + (len(met.window.deltas) + 1) * limits.WINDOW_DELTA_BYTES
    return room


def name_bytes(*names: str) -> int:
    return sum(len(name.encode()) for name in names)


def verdict_refusals(state: PoolState, verdicts: dict[str, Verdict], now_ms: int) -> Iterator[Result]:
    """One line that cannot be placed refuses the event: all lines or none."""
    for verdict, status in ((Verdict.CONFLICT, Status.SEQUENCE_CONFLICT), (Verdict.BELOW, Status.SEQUENCE_BELOW_WINDOW)):
        if skus := [sku for sku, found in verdicts.items() if found is verdict]:
            yield state.answer(status, now_ms, skus)


def range_refusals(state: PoolState, event: Physicals, now_ms: int) -> Iterator[Result]:
    beyond = [
        met.sku
        for met in meet(state, event).values()
        if met.is_new and not _figures(state, event, met.sku).plus(_difference(state, event, met)).within(state.limits.figure_max)
    ]
    if beyond:
        yield state.answer(Status.QUANTITY_OUT_OF_RANGE, now_ms, beyond)


def _figures(state: PoolState, event: Physicals, sku: str) -> Physical:
    """The figures that the source speaks of: those of the row, if it is their authority, else its own, kept for comparison."""
    own = authority_of(event.source, state.nodes[event.node])
    row, compared = state.row(sku, event.node), state.compared.get((sku, event.node, event.source)) or Comparison()
    ours = Physical(row.on_hand, row.damaged, row.quality_hold)
    return ours.only(own).plus(Physical(compared.on_hand, compared.damaged, compared.quality_hold).only(ALL_FIGURES & ~own))


def _difference(state: PoolState, event: Physicals, met: Met) -> Physical:
    """What a new line adds to those figures."""
    if met.change is not None:
        return met.change.only(met.figures)
    assert met.level is not None
    return met.level.plus(met.window.since(met.sequence)).minus(_figures(state, event, met.sku)).only(met.figures)


def apply(change: Change, event: Physicals) -> list[Met]:
    """Takes the new lines into their windows, and what they add into rows and what is kept for comparison. Returns them."""
    state = change.state
    new = [met for met in meet(state, event).values() if met.is_new]
    own = authority_of(event.source, state.nodes[event.node])
    for met in new:
        difference = _difference(state, event, met)
        window = _window_after(state, event, met)
        if difference.only(own) != Physical():
            window = msgspec.structs.replace(window, changed_ms=change.now_ms)
        if met.named & own:
            _add(change.row(met.sku, event.node), difference.only(own))
        if met.named & ~own:
            compared = state.compared.setdefault((met.sku, event.node, event.source), Comparison())
            _add(compared, difference.only(ALL_FIGURES & ~own))
            compared.revision = change.revision
            if isinstance(event, Count) and met.figures & ~own:
                compared.as_of_ms = max(compared.as_of_ms, event.as_of_ms)
        state.windows[met.sku, event.node, event.source] = window
    keep_seen(state, event)
    return new


def _add(figures: object, difference: Physical) -> None:
    for name in FIGURE_BITS:
        setattr(figures, name, getattr(figures, name) + getattr(difference, name))


def _window_after(state: PoolState, event: Physicals, met: Met) -> Window:
    if met.change is not None:
        return met.window.with_delta(Delta(met.sequence, event.fingerprint, met.change), state.limits.window_deltas_max)
    assert isinstance(event, Count)
    return met.window.with_snapshot(Snap(met.sequence, event.fingerprint, met.figures), event.as_of_ms)


def book(change: Change, sku: str, node: str, shipments: Iterable[str]) -> None:
    """The issuer's figures contain these shipments of a SKU now: they are no longer shipped unbooked."""
    entries = change.state.unbooked.get((sku, node), {})
    for shipment_id in shipments:
        if shipment_id in entries:
            change.row(sku, node).shipped_unbooked -= entries.pop(shipment_id).quantity
