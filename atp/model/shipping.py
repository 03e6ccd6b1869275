"""Fulfil and ship: the two accounts of one shipment, the order's and the node authority's, that arrive in either order (rule 7)."""

from collections.abc import Iterator

from atp.model.arrival import (
    apply,
    book,
    entry_room,
    falls_at_pick,
    is_issuer,
    meet,
    name_refusals,
    range_refusals,
    verdict_refusals,
)
from atp.model.change import Change
from atp.model.place import keep_seen
from atp.model.reservation import ReservationRecord, Units, flat, pairs
from atp.model.settling import claims, lines_at, ship_units
from atp.model.shipment import Settlement, ShipmentRecord, Unbooked, per_sku, settled_the_same, units_per_sku
from atp.model.state import PoolState
from atp.model.status import ExceptionReason, State, Status
from atp.model.verbs import Fulfil, Result, Ship
from atp.model.window import Verdict


def fulfil(state: PoolState, request: Fulfil, now_ms: int) -> Result:
    answer = next(_fulfil_answers(state, request, now_ms), None)
    if answer is not None:
        return answer
    record = state.reservations[request.reservation_id]
    moved = record.asked_units(request.lines)
    # Neither before the order nor in the future: a wrong clock must not make a snapshot seem to contain it.
    shipped_ms = min(max(request.shipped_ms or now_ms, record.created_ms), now_ms)
    change = Change(state, "fulfil", request.shipment_id, now_ms)
    node = record.lines[moved[0][0]].node
    unpicked = per_sku((record.lines[number].sku, ship_units(change, record, number, units)) for number, units in moved)
    record.end_if_empty(now_ms)
    shipment = state.shipments.setdefault(request.shipment_id, ShipmentRecord(node, request.reservation_id, shipped_ms))
    shipment.reservation_id = request.reservation_id
    shipment.shipped_ms = shipped_ms
    shipment.settled = units_per_sku(record, moved)
    if shipment.booked is None:
        _await_booking(change, request.shipment_id, node, unpicked, shipped_ms)
    result = change.commit_for(record, moved)
    shipment.first = Settlement(result.revision, result.time_ms, result.state, flat(moved))
    return result


def _fulfil_answers(state: PoolState, request: Fulfil, now_ms: int) -> Iterator[Result]:
    record = state.reservations.get(request.reservation_id)
    if record is None:
        yield state.answer(Status.UNKNOWN_RESERVATION, now_ms, [request.reservation_id])
        return
    shipment = state.shipments.get(request.shipment_id)
    if shipment is not None:
        yield from _settled_answers(state, shipment, record, request, now_ms)
    if unknown := record.unknown_lines(request.lines):
        yield state.answer(Status.UNKNOWN_LINE, now_ms, unknown)
    if record.state is not State.CONFIRMED:
        yield state.answer(Status(record.state), now_ms)
    if exceeding := record.exceeding_lines(request.lines):
        yield state.answer(Status.EXCEEDS_HELD, now_ms, exceeding)
    asked = record.asked_units(request.lines)
    nodes = list(dict.fromkeys(record.lines[number].node for number, _ in asked))
    if len(nodes) > 1:
        yield state.answer(Status.SHIPMENT_SPANS_NODES, now_ms, nodes)
    if shipment is not None and shipment.node != nodes[0]:
        yield state.answer(Status.KEY_REUSED, now_ms, ["node"])
    if shipment is not None and (shipment.booked or shipment.told) != units_per_sku(record, asked):
        yield state.answer(Status.KEY_REUSED, now_ms, ["lines"])


def _settled_answers(
    state: PoolState, shipment: ShipmentRecord, record: ReservationRecord, request: Fulfil, now_ms: int
) -> Iterator[Result]:
    """The answer if the shipment is another reservation's, or several's, or has settled its units before, whoever told of it."""
    first = shipment.first
    if shipment.reservation_id not in ("", request.reservation_id) or (shipment.settled is not None and first is None):
        yield state.answer(Status.KEY_REUSED, now_ms, ["reservation_id"])
    if first is None:
        return
    if not settled_the_same(shipment, record, request.lines):
        yield state.answer(Status.KEY_REUSED, now_ms, ["lines"])
    moves = record.moves(pairs(first.moved))
    yield Result(status=Status.OK, revision=first.revision, time_ms=first.time_ms, replayed=True, state=first.state, moves=moves)


def ship(state: PoolState, event: Ship, now_ms: int) -> Result:
    refusal = next(_ship_refusals(state, event, now_ms), None)
    if refusal is not None:
        return refusal
    change = Change(state, event.kind, event.shipment_id, now_ms)
    at_pick = falls_at_pick(state, event.source)
    if at_pick:
        keep_seen(state, event)
    else:
        apply(change, event)
    if not is_issuer(state, event):
        return change.commit()
    lines = per_sku((line.sku, line.quantity) for line in event.lines)
    known = state.shipments.get(event.shipment_id)
    shipment = known or ShipmentRecord(event.node, event.reservation_id, now_ms, order_reference=event.order_reference)
    state.shipments[event.shipment_id] = shipment
    if at_pick:
        shipment.told = lines
    else:
        shipment.booked = lines
    if known is None:
        return _settle(change, event, shipment)
    assert known.settled is not None, "what is known and not settled was told of before: it is refused"
    if not at_pick:
        for sku in known.settled:
            book(change, sku, event.node, [event.shipment_id])
    _tell_difference(change, event, known.settled, lines)
    return change.commit()


def _ship_refusals(state: PoolState, event: Ship, now_ms: int) -> Iterator[Result]:
    yield from name_refusals(state, event, now_ms)
    at_pick, issues = falls_at_pick(state, event.source), is_issuer(state, event)
    verdicts = {} if at_pick else {sku: met.verdict for sku, met in meet(state, event).items()}
    yield from verdict_refusals(state, verdicts, now_ms)
    known = bool(verdicts) and all(verdict is Verdict.KNOWN for verdict in verdicts.values())
    # A line that a later snapshot contains adds nothing to on hand, but its shipment still settles an allocation: the issuer's.
    if known or not (issues or Verdict.NEW in verdicts.values()):
        yield state.answer(Status.DUPLICATE, now_ms)
    shipment = state.shipments.get(event.shipment_id)
    if issues and shipment is not None:
        yield from _known_shipment_refusals(state, shipment, event, now_ms)
    if not at_pick:
        if entry_room(state, event, event.shipment_id) < 0:
            yield state.answer(Status.TOO_MANY_ROWS, now_ms)
        yield from range_refusals(state, event, now_ms)


def _known_shipment_refusals(state: PoolState, shipment: ShipmentRecord, event: Ship, now_ms: int) -> Iterator[Result]:
    if shipment.node != event.node:
        yield state.answer(Status.SHIPMENT_CONFLICT, now_ms, ["node"])
    if event.reservation_id and shipment.reservation_id not in ("", event.reservation_id):
        yield state.answer(Status.SHIPMENT_CONFLICT, now_ms, ["reservation_id"])
    before = shipment.booked or shipment.told
    if before is not None:
        if before != per_sku((line.sku, line.quantity) for line in event.lines):
            yield state.answer(Status.SHIPMENT_CONFLICT, now_ms, ["lines"])
        yield state.answer(Status.DUPLICATE, now_ms)


def _tell_difference(change: Change, event: Ship, settled: dict[str, int], lines: dict[str, int]) -> None:
    """The order's account came first: where the two differ a person must look."""
    differ = [sku for sku in sorted(settled.keys() | lines.keys()) if settled.get(sku) != lines.get(sku)]
    if differ:
        quantity = abs(sum(lines.values()) - sum(settled.values()))
        change.report(ExceptionReason.SHIPMENT_DIFFERS, f"ship:{event.shipment_id}", differ[0], event.node, quantity)


def _settle(change: Change, event: Ship, shipment: ShipmentRecord) -> Result:
    """Takes the units from the reservations named as far as they have them, and commits."""
    moved, unpicked = _take(change, event)
    if falls_at_pick(change.state, event.source):
        _await_booking(change, event.shipment_id, event.node, unpicked, change.now_ms)
    records = {key: change.state.reservations[key] for key in moved}
    for record in records.values():
        record.end_if_empty(change.now_ms)
    done = change.commit()
    if moved:
        shipment.settled = per_sku((records[key].lines[number].sku, units) for key in moved for number, units in moved[key])
    if len(moved) == 1:
        ((key, units),) = moved.items()
        shipment.reservation_id = key
        shipment.first = Settlement(done.revision, done.time_ms, records[key].state, flat(units))
    return done


def _take(change: Change, event: Ship) -> tuple[dict[str, Units], dict[str, int]]:
    """What each reservation gave, and the units per SKU of that that had not been picked. What is beyond, or was not confirmed, is told."""
    named, room = (
        claims(change.state, event.reservation_id, "" if event.reservation_id else event.order_reference),
        change.state.limits.settled_lines_max,
    )
    moved: dict[str, Units] = {}
    unpicked: dict[str, int] = {}
    without: dict[str, int] = {}
    held: dict[str, int] = {}
    for want in event.lines:
        left = want.quantity
        for key, record, number in lines_at(named, want.sku, event.node):
            units = min(left, record.lines[number].open) if record.is_open else 0
            if units and room:
                unpicked[want.sku] = unpicked.get(want.sku, 0) + ship_units(change, record, number, units)
                moved.setdefault(key, []).append((number, units))
                left, room = left - units, room - 1
                if record.state is State.HELD:
                    held[want.sku] = held.get(want.sku, 0) + units
        if left:
            without[want.sku] = left
    told = {ExceptionReason.SHIPMENT_WITHOUT_ALLOCATION: without, ExceptionReason.SHIPMENT_UNCONFIRMED: held}
    for reason, units_of in told.items():
        if units_of:
            change.report(reason, f"ship:{event.shipment_id}", next(iter(units_of)), event.node, sum(units_of.values()))
            break
    return moved, unpicked


def _await_booking(change: Change, shipment_id: str, node: str, units: dict[str, int], shipped_ms: int) -> None:
    """They are gone, and stand in shipped unbooked until the issuer's figures say so, unless its last snapshot does."""
    state = change.state
    for sku, quantity in units.items():
        if quantity and state.window(sku, node, state.nodes[node].authority).as_of_ms < shipped_ms:
            change.row(sku, node).shipped_unbooked += quantity
            state.unbooked.setdefault((sku, node), {})[shipment_id] = Unbooked(quantity, shipped_ms)
