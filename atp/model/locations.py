"""Locate and set location state: what sources say of the places where stock lies, of which the latest word counts."""

from collections.abc import Iterator

import msgspec

from atp.model.change import Change
from atp.model.place import keep_seen
from atp.model.state import PoolState
from atp.model.statement import Stated, judge, source_refusals
from atp.model.status import Status
from atp.model.stock import LocationRecord
from atp.model.verbs import Locate, NodeConfig, Result, SetLocationState
from atp.model.window import Verdict


def locate(state: PoolState, event: Locate, now_ms: int) -> Result:
    refusal = next(_locate_refusals(state, event, now_ms), None)
    if refusal is not None:
        return refusal
    change = Change(state, "location_registered", event.event_id, now_ms)
    stated, kept = _stated(state, event), _kept(state, event)
    state.locations[event.node] = msgspec.structs.replace(kept, sequence=stated.sequence, fingerprint=event.fingerprint)
    node = state.nodes.get(event.node) or NodeConfig(event.node, "", "", "")
    state.nodes[event.node] = msgspec.structs.replace(node, kind=event.kind, time_zone=event.time_zone)
    keep_seen(state, event)
    return change.commit()


def _locate_refusals(state: PoolState, event: Locate, now_ms: int) -> Iterator[Result]:
    yield from source_refusals(state, event, "registers_locations", now_ms)
    yield from _verdict_refusals(state, event, now_ms)


def set_location_state(state: PoolState, event: SetLocationState, now_ms: int) -> Result:
    refusal = next(_state_refusals(state, event, now_ms), None)
    if refusal is not None:
        return refusal
    change = Change(state, "location_state_changed", event.event_id, now_ms)
    stated, kept = _stated(state, event), _kept(state, event)
    state.locations[event.node] = msgspec.structs.replace(
        kept, state=event.state, state_sequence=stated.sequence, state_fingerprint=event.fingerprint
    )
    keep_seen(state, event)
    return change.commit()


def _state_refusals(state: PoolState, event: SetLocationState, now_ms: int) -> Iterator[Result]:
    yield from source_refusals(state, event, "registers_locations", now_ms)
    if event.node not in state.nodes:
        yield state.answer(Status.UNKNOWN_NODE, now_ms, [event.node])
    yield from _verdict_refusals(state, event, now_ms)


def _verdict_refusals(state: PoolState, event: Locate | SetLocationState, now_ms: int) -> Iterator[Result]:
    verdict = _stated(state, event).verdict
    if verdict is Verdict.CONFLICT:
        yield state.answer(Status.SEQUENCE_CONFLICT, now_ms, [event.node])
    if verdict is not Verdict.NEW:
        yield state.answer(Status.DUPLICATE, now_ms)


def _kept(state: PoolState, event: Locate | SetLocationState) -> LocationRecord:
    return state.locations.get(event.node) or LocationRecord()


def _stated(state: PoolState, event: Locate | SetLocationState) -> Stated:
    kept = _kept(state, event)
    if isinstance(event, Locate):
        return judge(state, event, kept.sequence, kept.fingerprint)
    return judge(state, event, kept.state_sequence, kept.state_fingerprint)
