"""What a source states of items and locations: the latest word counts, so a statement has a place and needs no window."""

from collections.abc import Iterator
from typing import NamedTuple

from atp.model.place import Told, place, place_refusals
from atp.model.state import PoolState
from atp.model.status import Status
from atp.model.verbs import Result
from atp.model.window import Verdict


class Stated(NamedTuple):
    """A statement beside the one that is kept of the same thing: its place, and what it means there."""

    sequence: int
    verdict: Verdict


def source_refusals(state: PoolState, event: Told, right: str, now_ms: int) -> Iterator[Result]:
    """`right` is the field of the source's provisioning that says whether it may state this."""
    if event.source not in state.sources:
        yield state.answer(Status.UNKNOWN_SOURCE, now_ms, [event.source])
    if not getattr(state.sources[event.source], right):
        yield state.answer(Status.NOT_AUTHORITY, now_ms, [event.source])
    yield from place_refusals(state, event, now_ms)


def judge(state: PoolState, event: Told, kept_sequence: int, kept_fingerprint: int) -> Stated:
    """A lower place than that of what is kept has nothing to add. Without places, what came last is the latest."""
    sequence = place(state, event) or kept_sequence + 1
    if sequence != kept_sequence:
        return Stated(sequence, Verdict.NEW if sequence > kept_sequence else Verdict.SUPERSEDED)
    return Stated(sequence, Verdict.KNOWN if event.fingerprint == kept_fingerprint else Verdict.CONFLICT)
