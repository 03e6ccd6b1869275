"""Where an event stands among the others of its source: by its sequence, by time, or, if the source has ids only, as it came."""

from collections.abc import Iterator
from typing import Protocol

from atp.model.state import PoolState
from atp.model.status import Status
from atp.model.verbs import Adjust, Cancel, Note, Pick, Result, Transfer


class Named(Protocol):
    """What every event of a source says of itself."""

    @property
    def source(self) -> str: ...
    @property
    def event_id(self) -> str: ...
    @property
    def fingerprint(self) -> int: ...


class Told(Named, Protocol):
    """What an event says that has a place."""

    @property
    def sequence(self) -> int: ...
    @property
    def moment(self) -> int: ...


#: Known by their ids, whatever the order of their source: what they do goes beyond windows.
_KEPT = (Pick, Transfer, Cancel, Note)


def place(state: PoolState, event: Told) -> int:
    """By sequence or time, as the source has it; 0 if it has none."""
    return {"sequence": event.sequence, "time": event.moment, "id": 0}[state.sources[event.source].order]


def place_refusals(state: PoolState, event: Told, now_ms: int) -> Iterator[Result]:
    if state.sources[event.source].order != "id" and not place(state, event):
        yield state.answer(Status.SEQUENCE_MISSING, now_ms, [event.source])
    yield from seen_refusals(state, event, now_ms)


def is_short(event: object) -> bool:
    """Whether it tells of units that were to be picked and are not there."""
    return isinstance(event, Adjust) and event.kind == "pick_short"


def _is_kept(state: PoolState, event: Named) -> bool:
    return isinstance(event, _KEPT) or is_short(event) or state.sources[event.source].order == "id"


def seen_refusals(state: PoolState, event: Named, now_ms: int) -> Iterator[Result]:
    """The answer if an event of this id was applied, and those like it are known by their ids."""
    seen = state.seen.get((event.source, event.event_id))
    if seen is not None and _is_kept(state, event):
        known = seen == event.fingerprint
        yield state.answer(Status.DUPLICATE if known else Status.SEQUENCE_CONFLICT, now_ms, [] if known else [event.event_id])


def keep_seen(state: PoolState, event: Named) -> None:
    """It is known by its id from now on, if that is what it is known by."""
    if _is_kept(state, event):
        state.seen[event.source, event.event_id] = event.fingerprint
