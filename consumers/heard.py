"""What a feed worker hears of each source and node, on its way into the store: beside the events, and never in their way."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable
from operator import attrgetter
from typing import Final, NamedTuple

from atp import limits
from atp.errors import RefusedError
from atp.events import Event, Heartbeat, node_of
from atp.model.heard import Counts, News
from atp.store import ScriptError, Store
from consumers.connection import AWAY, pause
from consumers.metrics import APPLIED, DUPLICATE, PARKED, PROVES_NO_SOURCE

log = logging.getLogger(__name__)

_AGAIN_S: Final = 1.0  # after the store did not take it
_TELL_S: Final = 0.05  # at most so often: it is for people, and the store has events to apply
_TAKEN: Final = attrgetter("taken_s")


class Settled(NamedTuple):
    """What became of a message. `event` is there if it could be read; `complete`: with it all parts of a full snapshot have come.

    `waits_as` is the key under which it is parked, if it is.
    """

    verdict: str
    event: Event | None
    complete: bool = False
    waits_as: str = ""


class _Note(NamedTuple):
    """An event that came. It is not worked on before it is told: the workers' time is the events'."""

    event: Event
    taken_s: float
    verdict: str
    complete: bool


class Hearing:
    """One pool's worker. What the store does not take is told again; past HEARD_NOTES_MAX events nothing more is noted until it does."""

    def __init__(self, store: Store, pool: str) -> None:
        self._store = store
        self._pool = pool
        self._notes: list[_Note] = []
        self._news = asyncio.Event()
        self._ending = asyncio.Event()

    def note(self, settled: Settled, taken_s: float) -> None:
        """Notes a message that came. One whose verdict does not prove that its source is provisioned is nobody's."""
        event = settled.event
        if event is not None and settled.verdict not in PROVES_NO_SOURCE and len(self._notes) < limits.HEARD_NOTES_MAX:
            self._notes.append(_Note(event, taken_s, settled.verdict, settled.complete))

    def batch_settled(self) -> None:
        """Has what was noted told to the store, in one call with what is noted until then."""
        if self._notes:
            self._news.set()

    @contextlib.asynccontextmanager
    async def telling(self) -> AsyncIterator[None]:
        """Tells the store while the block runs, and at its end what is left; if the store is away then, that is lost."""
        task = asyncio.create_task(self._tell(), name=f"heard {self._pool}")
        try:
            yield
        finally:
            self._ending.set()
            self._news.set()
            await task

    async def _tell(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            is_last = self._ending.is_set()
            while self._notes:
                if not await self._told_some():
                    await pause(self._ending, _AGAIN_S)
                    self._news.set()
                    break
            if is_last:
                return
            await pause(self._ending, _TELL_S)

    async def _told_some(self) -> bool:
        """Whether the store need not be told these again."""
        notes = self._notes[: limits.HEARD_NOTES_PER_CALL]
        try:
            await self._store.tell_heard(self._pool, news_of(notes))
        except (RefusedError, *AWAY) as error:
            log.debug("pool %s: what was heard is told later: %s", self._pool, error)
            return False
        except ScriptError:
            log.exception("pool %s: what was heard of %d events is not kept", self._pool, len(notes))
        del self._notes[: len(notes)]
        return True


def news_of(notes: Iterable[_Note]) -> list[News]:
    """One for each source and node."""
    by_name: dict[tuple[str, str], list[_Note]] = {}
    for note in notes:
        by_name.setdefault((note.event.source, node_of(note.event)), []).append(note)
    return [_news(*name, some) for name, some in by_name.items()]


def _news(source: str, node: str, notes: list[_Note]) -> News:
    latest = max(notes, key=_TAKEN)
    verdicts = [note.verdict for note in notes]
    applied, duplicate, parked = (verdicts.count(verdict) for verdict in (APPLIED, DUPLICATE, PARKED))
    return News(
        source=source,
        node=node,
        first_ms=_ms(min(map(_TAKEN, notes))),
        last_ms=_ms(latest.taken_s),
        event_ms=_ms(latest.event.time.timestamp()),
        whole_beat_ms=0 if node else max((_ms(note.taken_s) for note in notes if isinstance(note.event, Heartbeat)), default=0),
        counts=Counts(applied, duplicate, parked, exceptions=len(notes) - applied - duplicate - parked),
        come=ranges({note.event.data.sequence for note in notes} - {0}),
        whole=max((note.event.data.sequence for note in notes if note.complete), default=0),
    )


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def ranges(numbers: set[int]) -> list[int]:
    """From, to, … by rising number."""
    found: list[int] = []
    for number in sorted(numbers):
        if found and number == found[-1] + 1:
            found[-1] = number
        else:
            found += (number, number)
    return found
