"""From the contract's messages to answers: the one place that knows which outcome of a verb is which answer."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from atp_client.answers import (
    Accepted,
    Availability,
    AvailabilityLine,
    Confirmed,
    ExceedsHeld,
    Explanation,
    Extended,
    Fact,
    Held,
    InsufficientStock,
    ItemState,
    LedgerEntry,
    Move,
    NodeState,
    RefusedEvent,
    Released,
    Reservation,
    ReservationLine,
    Shipped,
    Shortfall,
    State,
    TermChange,
    VerbMessage,
    WrongState,
)
from atp_client.errors import Failure, FaultError, Violation
from inventory.availability.v1 import availability_service_pb2 as availability_pb
from inventory.availability.v1 import inventory_service_pb2 as inventory_pb
from inventory.availability.v1 import reservation_pb2 as types
from inventory.availability.v1 import reservation_service_pb2 as reservation_pb

_Short: TypeAlias = reservation_pb.ReserveResponse | reservation_pb.ConfirmResponse
_Exceeded: TypeAlias = reservation_pb.ReleaseResponse | reservation_pb.FulfilResponse


# --- verbs ------------------------------------------------------------------------------------------------------------
def reserved(answer: reservation_pb.ReserveResponse) -> Held | InsufficientStock:
    if answer.outcome == types.OUTCOME_OK:
        return Held(
            **_done(answer), expire_time=_time(answer.expire_time), moves=_moves(answer.moves), shortfalls=_short(answer.shortfalls)
        )
    if answer.outcome == types.OUTCOME_INSUFFICIENT_STOCK:
        return _insufficient(answer)
    raise _not_known(answer)


def confirmed(answer: reservation_pb.ConfirmResponse) -> Confirmed | WrongState | InsufficientStock:
    if answer.outcome == types.OUTCOME_OK:
        return Confirmed(**_done(answer), moves=_moves(answer.moves))
    return _insufficient(answer) if answer.outcome == types.OUTCOME_INSUFFICIENT_STOCK else _wrong_state(answer)


def released(answer: reservation_pb.ReleaseResponse) -> Released | WrongState | ExceedsHeld:
    if answer.outcome == types.OUTCOME_OK:
        return Released(**_done(answer), moves=_moves(answer.moves))
    return _exceeds(answer) if answer.outcome == types.OUTCOME_EXCEEDS_HELD else _wrong_state(answer)


def extended(answer: reservation_pb.ExtendResponse) -> Extended | WrongState:
    if answer.outcome == types.OUTCOME_OK:
        return Extended(**_done(answer), expire_time=_time(answer.expire_time))
    return _wrong_state(answer)


def shipped(answer: reservation_pb.FulfilResponse) -> Shipped | WrongState | ExceedsHeld:
    if answer.outcome == types.OUTCOME_OK:
        return Shipped(**_done(answer), moves=_moves(answer.moves))
    return _exceeds(answer) if answer.outcome == types.OUTCOME_EXCEEDS_HELD else _wrong_state(answer)


def _insufficient(answer: _Short) -> InsufficientStock:
    return InsufficientStock(**_refused(answer), shortfalls=_short(answer.shortfalls))


def _exceeds(answer: _Exceeded) -> ExceedsHeld:
    return ExceedsHeld(**_refused(answer), lines=tuple(answer.exceeding_lines))


def _wrong_state(answer: VerbMessage) -> WrongState:
    """Outcomes that are a state are the rest of them."""
    refused = _refused(answer)
    if refused["outcome"] not in State.__members__:
        raise _not_known(answer)
    return WrongState(**refused, state=State(refused["outcome"]))


def _not_known(answer: VerbMessage | inventory_pb.EventResult) -> FaultError:
    said = f"the service answered with outcome {answer.outcome}, which this version of the client does not know: update it"
    return FaultError(Failure(code=grpc.StatusCode.UNIMPLEMENTED, message=said))


def _common(answer: VerbMessage) -> dict[str, Any]:
    return {"reservation_id": answer.reservation_id, "revision": answer.revision, "time": _time(answer.time), "message": answer}


def _done(answer: VerbMessage) -> dict[str, Any]:
    return {**_common(answer), "state": _state(answer.state), "replayed": answer.replayed}


def _refused(answer: VerbMessage) -> dict[str, Any]:
    known = answer.outcome in types.Outcome.values()
    return {**_common(answer), "outcome": types.Outcome.Name(answer.outcome).removeprefix("OUTCOME_") if known else ""}


# --- reads ------------------------------------------------------------------------------------------------------------
def reservation(found: types.Reservation) -> Reservation:
    return Reservation(
        reservation_id=found.reservation_id,
        state=_state(found.state),
        channel=found.channel,
        order_reference=found.order_reference,
        create_time=_time(found.create_time),
        expire_time=_time(found.expire_time) if found.HasField("expire_time") else None,
        create_revision=found.create_revision,
        lines=tuple(
            ReservationLine(line.number, line.sku, line.node, line.quantity, line.released, line.shipped, line.open) for line in found.lines
        ),
        shortfalls=_short(found.shortfalls),
        message=found,
    )


def availability(answer: availability_pb.BatchGetAvailabilityResponse) -> Availability:
    lines = tuple(
        AvailabilityLine(
            sku=line.sku,
            known=line.status == availability_pb.SKU_STATUS_KNOWN,
            state=_ITEM_STATES.get(line.state, ItemState.UNKNOWN),
            available=line.available,
            fulfillable=line.fulfillable,
            nodes={node.node: node.available for node in line.nodes},
            shut=frozenset(node.node for node in line.nodes if node.shut),
            revision=line.revision,
        )
        for line in answer.lines
    )
    return Availability(lines=lines, read_time=_time(answer.read_time), message=answer)


def explanation(answer: availability_pb.ExplainAvailabilityResponse) -> Explanation:
    return Explanation(
        terms={term.name: term.contribution for term in answer.terms},
        changes={term.name: _changed(term.changed) for term in answer.terms if term.HasField("changed")},
        sources={term.name: term.source for term in answer.terms if term.source},
        available=answer.available,
        item_state=_ITEM_STATES.get(answer.item_state, ItemState.UNKNOWN),
        node_state=_NODE_STATES.get(answer.node_state, NodeState.UNKNOWN),
        due=answer.due,
        row_revision=answer.row_revision,
        searched_revision=answer.searched_revision,
        entry=_entry(answer.entry) if answer.HasField("entry") else None,
        revision=answer.revision,
        read_time=_time(answer.read_time),
        message=answer,
    )


def _changed(change: availability_pb.TermChange) -> TermChange:
    return TermChange(
        revision=change.revision,
        verb=change.verb,
        cause=change.cause,
        actor=change.actor,
        correlation=change.correlation,
        time=_time(change.time),
        delta=change.delta,
    )


def _entry(entry: availability_pb.LedgerEntry) -> LedgerEntry:
    return LedgerEntry(
        revision=entry.revision,
        verb=entry.verb,
        cause=entry.cause,
        actor=entry.actor,
        correlation=entry.correlation,
        time=_time(entry.time),
        facts=tuple(Fact(fact.sku, fact.node, fact.term, fact.delta) for fact in entry.facts),
    )


# --- taken in -----------------------------------------------------------------------------------------------------
def adjusted(answer: inventory_pb.AdjustResponse) -> tuple[Accepted | RefusedEvent, ...]:
    return tuple(map(_result, answer.results))


def _result(result: inventory_pb.EventResult) -> Accepted | RefusedEvent:
    if result.outcome == inventory_pb.EventResult.OUTCOME_ACCEPTED:
        return Accepted(stream_sequence=result.stream_sequence)
    if result.outcome != inventory_pb.EventResult.OUTCOME_REFUSED:
        raise _not_known(result)
    known = result.refusal.reason in inventory_pb.Refusal.Reason.values()
    reason = inventory_pb.Refusal.Reason.Name(result.refusal.reason).removeprefix("REASON_") if known else ""
    return RefusedEvent(reason=reason, violations=tuple(Violation(wrong.field, wrong.description) for wrong in result.refusal.violations))


# --- pieces -----------------------------------------------------------------------------------------------------------
def _moves(moves: Iterable[types.Move]) -> tuple[Move, ...]:
    return tuple(Move(move.number, move.sku, move.node, move.quantity) for move in moves)


def _short(shortfalls: Iterable[types.Shortfall]) -> tuple[Shortfall, ...]:
    return tuple(Shortfall(short.sku, short.requested, short.available) for short in shortfalls)


def _state(number: int) -> State:
    return _STATES.get(number, State.UNKNOWN)


def _time(time: Timestamp) -> datetime:
    return time.ToDatetime(UTC)


#: By the contract's numbers.
_STATES: Final[dict[int, State]] = {types.Reservation.State.Value(f"STATE_{state}"): state for state in State if state is not State.UNKNOWN}
_ITEM_STATES: Final[dict[int, ItemState]] = {
    availability_pb.ItemState.Value(f"ITEM_STATE_{state}"): state for state in ItemState if state is not ItemState.UNKNOWN
}
_NODE_STATES: Final[dict[int, NodeState]] = {
    availability_pb.NodeState.Value(f"NODE_STATE_{state}"): state for state in NodeState if state is not NodeState.UNKNOWN
}
