"""Fulfil and ship: the two accounts of one shipment, the order's and the node authority's, that arrive in either order (rule 7)."""

from collections.abc import Iterator

from atp.model.arrival import apply, book, entry_room, is_issuer, meet, name_refusals, range_refusals, verdict_refusals
from atp.model.change import Change
from atp.model.reservation import ReservationRecord, Units, flat, pairs
from atp.model.shipment import Settlement, ShipmentRecord, Unbooked, per_sku, settled_the_same, units_per_sku
from atp.model.state import PoolState
from atp.model.status import ExceptionReason, State, Status
from atp.model.verbs import Fulfil, Result, Ship, Want
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
    _ship_units(change, record, moved)
    node = record.lines[moved[0][0]].node
    shipment = state.shipments.setdefault(request.shipment_id, ShipmentRecord(node, request.reservation_id, shipped_ms))
    shipment.reservation_id = request.reservation_id
    shipment.shipped_ms = shipped_ms
    shipment.settled = units_per_sku(record, moved)
    if shipment.booked is None:
        for sku, quantity in shipment.settled.items():
            if state.window(sku, node, state.nodes[node].authority).as_of_ms < shipped_ms:
                change.row(sku, node).shipped_unbooked += quantity
                state.unbooked.setdefault((sku, node), {})[request.shipment_id] = Unbooked(quantity, shipped_ms)
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
    if shipment is not None and shipment.booked != units_per_sku(record, asked):
        yield state.answer(Status.KEY_REUSED, now_ms, ["lines"])


def _settled_answers(
    state: PoolState, shipment: ShipmentRecord, record: ReservationRecord, request: Fulfil, now_ms: int
) -> Iterator[Result]:
    """The answer if the shipment is another reservation's, or has settled its units before, here or by the authority's account."""
    if shipment.reservation_id not in ("", request.reservation_id):
        yield state.answer(Status.KEY_REUSED, now_ms, ["reservation_id"])
    first = shipment.first
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
    apply(change, event)
    if not is_issuer(state, event):
        return change.commit()
    booked = per_sku((line.sku, line.quantity) for line in event.lines)
    known = state.shipments.get(event.shipment_id)
    if known is not None and known.settled is not None:
        _book_settled(change, event, known.settled, booked)
        known.booked = booked
        return change.commit()
    shipment = ShipmentRecord(event.node, event.reservation_id, now_ms, booked=booked)
    state.shipments[event.shipment_id] = shipment
    record = state.reservations.get(event.reservation_id)
    moved = _settle(change, event, record)
    done = change.commit()
    if record is not None and moved:
        shipment.settled = units_per_sku(record, moved)
        shipment.first = Settlement(done.revision, done.time_ms, record.state, flat(moved))
    return done


def _ship_refusals(state: PoolState, event: Ship, now_ms: int) -> Iterator[Result]:
    yield from name_refusals(state, event, now_ms)
    verdicts = {sku: met.verdict for sku, met in meet(state, event).items()}
    yield from verdict_refusals(state, verdicts, now_ms)
    issues = is_issuer(state, event)
    # A line that a later snapshot contains adds nothing to on hand, but its shipment still settles an allocation.
    if all(verdict is Verdict.KNOWN for verdict in verdicts.values()) or not (issues or Verdict.NEW in verdicts.values()):
        yield state.answer(Status.DUPLICATE, now_ms)
    shipment = state.shipments.get(event.shipment_id)
    if issues and shipment is not None:
        yield from _known_shipment_refusals(state, shipment, event, now_ms)
    if entry_room(state, event, event.shipment_id) < 0:
        yield state.answer(Status.TOO_MANY_ROWS, now_ms)
    yield from range_refusals(state, event, now_ms)


def _known_shipment_refusals(state: PoolState, shipment: ShipmentRecord, event: Ship, now_ms: int) -> Iterator[Result]:
    if shipment.node != event.node:
        yield state.answer(Status.SHIPMENT_CONFLICT, now_ms, ["node"])
    if event.reservation_id and shipment.reservation_id not in ("", event.reservation_id):
        yield state.answer(Status.SHIPMENT_CONFLICT, now_ms, ["reservation_id"])
    if shipment.booked is not None:
        if shipment.booked != per_sku((line.sku, line.quantity) for line in event.lines):
            yield state.answer(Status.SHIPMENT_CONFLICT, now_ms, ["lines"])
        yield state.answer(Status.DUPLICATE, now_ms)


def _book_settled(change: Change, event: Ship, settled: dict[str, int], booked: dict[str, int]) -> None:
    """The order's account came first: its units leave shipped unbooked; where the accounts differ a person must look."""
    for sku in settled:
        book(change, sku, event.node, [event.shipment_id])
    differ = [sku for sku in sorted(settled.keys() | booked.keys()) if settled.get(sku) != booked.get(sku)]
    if differ:
        quantity = abs(sum(booked.values()) - sum(settled.values()))
        change.report(ExceptionReason.SHIPMENT_DIFFERS, f"ship:{event.shipment_id}", differ[0], event.node, quantity)


def _settle(change: Change, event: Ship, record: ReservationRecord | None) -> Units:
    """Takes the shipped units from the reservation as far as it has them; what is beyond it, or was not confirmed, is reported."""
    moved: Units = []
    without: dict[str, int] = {}
    unconfirmed = record is not None and record.state is State.HELD
    for want in event.lines:
        found = _open_at(record, want, event.node) if record is not None and record.is_open else []
        moved += found
        if missing := want.quantity - sum(units for _, units in found):
            without[want.sku] = missing
    if record is not None:
        _ship_units(change, record, moved)
    exception_id = f"ship:{event.shipment_id}"
    if without:
        sku = next(iter(without))
        change.report(ExceptionReason.SHIPMENT_WITHOUT_ALLOCATION, exception_id, sku, event.node, sum(without.values()))
    elif unconfirmed:
        quantity = sum(units for _, units in moved)
        change.report(ExceptionReason.SHIPMENT_UNCONFIRMED, exception_id, event.lines[0].sku, event.node, quantity)
    return moved


def _open_at(record: ReservationRecord, want: Want, node: str) -> Units:
    """Up to the wanted units from the lines of that SKU and node, by number."""
    found: Units = []
    left = want.quantity
    for number, units in record.open_units():
        line = record.lines[number]
        if (line.sku, line.node) == (want.sku, node) and left:
            found.append((number, min(units, left)))
            left -= min(units, left)
    return found


def _ship_units(change: Change, record: ReservationRecord, moved: Units) -> None:
    for number, units in moved:
        change.claim_units(record, number, -units)
        record.lines[number].shipped += units
    if moved:
        record.end_if_empty(change.now_ms)
