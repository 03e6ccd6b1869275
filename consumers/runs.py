"""Which events go to the store many in one call: those that ask one delta of it and nothing else, as most do.

Deltas can be taken in any order. What is not plain waits for those before it and goes before those behind it: a source without sequences
says by the order of its messages what a count contains.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from atp import canonical, limits
from atp.canonical import Feed
from atp.model.verbs import Adjust, Ship
from consumers.message import Message

#: The last words of subjects whose events may be plain: nothing else is read to find out that it is not.
_KINDS: Final = frozenset({"receipt", "adjustment", "status_change", "return", "sale", "sale_return", "shipment"})


class Plain(NamedTuple):
    """An event whose request needs nothing looked up; `place` is its message's among those that came with it."""

    place: int
    message: Message
    feed: Feed
    request: Adjust | Ship


@dataclass(slots=True)
class Run:
    """Plain events that came one after the other, and the place of the message behind them, if it is not."""

    plain: list[Plain] = field(default_factory=list)
    other: int | None = None

    def calls(self) -> Iterator[Sequence[Plain]]:
        """What goes together: of one verb, and no more lines than a call may keep others waiting for."""
        for verb in (Adjust, Ship):
            call: list[Plain] = []
            lines = 0
            for plain in self.plain:
                if type(plain.request) is verb:
                    if lines + len(plain.request.lines) > limits.PLAIN_LINES_PER_CALL_MAX:
                        yield call
                        call, lines = [], 0
                    call.append(plain)
                    lines += len(plain.request.lines)
            if call:
                yield call


def in_runs(messages: Iterable[Message]) -> Iterator[Run]:
    """All of them, in order."""
    run = Run()
    for place, message in enumerate(messages):
        plain = _plain(place, message)
        if plain is not None:
            run.plain.append(plain)
        else:
            run.other = place
            yield run
            run = Run()
    if run.plain:
        yield run


def _plain(place: int, message: Message) -> Plain | None:
    if message.subject.rpartition(".")[2] not in _KINDS:
        return None
    try:
        feed = canonical.decode(message.subject, message.data)
        request = canonical.request_of(feed.event)
    except Exception:  # content that is wrong, names to look up, or a bug of ours: whoever settles it alone reads it again, and says so
        return None
    if not isinstance(request, Adjust | Ship) or len(request.lines) > limits.PLAIN_LINES_PER_CALL_MAX:
        return None
    return Plain(place, message, feed, request)
