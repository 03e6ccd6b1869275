"""Where an event stands among the others of its source: by its sequence, by time, or, if the source has ids only, as it came."""

from collections.abc import Iterator
from typing import Protocol

from atp.model.state import PoolState
from atp.model.status import Status
from atp.model.verbs import Result


class Told(Protocol):
    """What every event of a source says of itself."""

    @property
    def source(self) -> str: ...
    @property
    def event_id(self) -> str: ...
    @property
    def sequence(self) -> int: ...
    @property
    def moment(self) -> int: ...
    @property
    def fingerprint(self) -> int: ...


def place(state: PoolState, event: Told) -> int:
    """By sequence or time, as the source has it; 0 if it has none."""
    return {"sequence": event.sequence, "time": event.moment, "id": 0}[state.sources[event.source].order]


def place_refusals(state: PoolState, event: Told, now_ms: int) -> Iterator[Result]:
    if state.sources[event.source].order == "id":
        yield from seen_refusals(state, event, now_ms)
    elif not place(state, event):
        yield state.answer(Status.SEQUENCE_MISSING, now_ms, [event.source])


def seen_refusals(state: PoolState, event: Told, now_ms: int) -> Iterator[Result]:
    """The answer if an event of this id was applied."""
    seen = state.seen.get((event.source, event.event_id))
    if seen is not None:
        known = seen == event.fingerprint
        yield state.answer(Status.DUPLICATE if known else Status.SEQUENCE_CONFLICT, now_ms, [] if known else [event.event_id])


def keep_seen(state: PoolState, event: Told) -> None:
    """An event of a source that has ids only is known by its id from now on."""
    if state.sources[event.source].order == "id":
        state.seen[event.source, event.event_id] = event.fingerprint
