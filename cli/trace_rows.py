"""The rows of a trace: what was found, in the order of time, each event with its verdict as far as that is known."""

from collections.abc import Container, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from atp.events import Event, type_of
from atp.exceptions import PublishedException
from atp.ledger import Entry
from atp.words import counted
from cli import trace_names, trace_words
from cli.trace_names import Name
from cli.trace_search import Came, Story
from consumers import streams
from consumers.inventory_reader import Received

#: What is told first of one revision.
_ORDER: Final = ("event", "ledger", "answer", "exception", "now")
#: Clocks of the store and of NATS may differ by so much.
_SKEW_MS: Final = 1_000
_LAST: Final = 2**63


class Verdict(NamedTuple):
    """What became of an event, and the revision of its change if it made one."""

    sentence: str
    revision: int = 0


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line. `revision` is that of its ledger entry, of an event that of the change it made; 0 where there is none."""

    time_ms: int
    where: str  # event, ledger, answer, exception; now: how a reservation stands
    what: str
    id: str
    who: str
    revision: int
    sequence: int = 0  # of an event: its place in the stream
    correlation: str
    sentence: str

    @property
    def place(self) -> tuple[int, int, int, int]:
        """By time; within a millisecond by revision, and an event just before what it changed."""
        return self.time_ms, self.revision or _LAST, _ORDER.index(self.where), self.sequence


def rows_of(story: Story) -> list[Row]:
    """All of a story, by time."""
    rows = [*_events(story), *map(_entry, story.entries), *_answers(story), *map(_exception, story.told), *_standing(story)]
    return sorted(rows, key=lambda row: row.place)


def _entry(entry: Entry) -> Row:
    return Row(
        time_ms=entry.time_ms,
        where="ledger",
        what=entry.verb,
        id=entry.cause,
        who=entry.actor or "the engine",
        revision=entry.revision,
        correlation=entry.correlation,
        sentence=trace_words.of_entry(entry),
    )


def _exception(told: PublishedException) -> Row:
    how = told.resolution or told.state
    return Row(
        time_ms=int(told.time.timestamp() * 1000),
        where="exception",
        what=told.reason,
        id=told.id,
        who=told.actor or told.source or "the engine",
        revision=told.revision,
        correlation=told.correlation,
        sentence=f"exception {told.reason} {how}: {told.sentence}",
    )


def _answers(story: Story) -> Iterator[Row]:
    shipped = {entry.revision for entry in story.entries if entry.verb == "fulfil"}
    actors = {entry.revision: entry for entry in story.entries}
    for reservation_id, key, answer in story.answers:
        # A shipment that a feed reported first was nobody's answer.
        if answer.verb != "fulfil" or answer.revision in shipped:
            yield _answer(answer.time_ms, reservation_id, answer.revision, trace_words.of_answer(answer, key), actors)
    for found, first_expire_ms in story.held:
        told = trace_words.of_reserved(found, first_expire_ms)
        yield _answer(found.created_ms, found.reservation_id, found.created_revision, told, actors)


def _answer(time_ms: int, reservation_id: str, revision: int, sentence: str, entries: dict[int, Entry]) -> Row:
    entry = entries.get(revision)
    return Row(
        time_ms=time_ms,
        where="answer",
        what=entry.verb if entry else "",
        id=reservation_id,
        who=entry.actor if entry else "",
        revision=revision,
        correlation=entry.correlation if entry else "",
        sentence=sentence,
    )


def _standing(story: Story) -> Iterator[Row]:
    for found, _ in story.held:
        yield Row(
            time_ms=found.time_ms,
            where="now",
            what=found.state,
            id=found.reservation_id,
            who="",
            revision=found.revision,
            correlation="",
            sentence=trace_words.of_reservation(found),
        )


# --- events and their verdicts ------------------------------------------------------------------------------------
def _events(story: Story) -> Iterator[Row]:
    for (message, event), verdict in zip(story.came, _verdicts(story), strict=True):
        said = trace_words.of_event(event) if event else f"a message of {counted(len(message.data), 'byte')} that cannot be read"
        yield Row(
            time_ms=_ms(message),
            where="event",
            what=type_of(event) if event else "",
            id=event.id if event else "",
            who=event.source if event else "",
            revision=verdict.revision,
            sequence=message.sequence,
            correlation=event.correlation if event else "",
            sentence=f"{said}. {verdict.sentence}",
        )


def _ms(message: Received) -> int:
    return int(message.time.timestamp() * 1000)


def _verdicts(story: Story) -> list[Verdict]:
    """Of each message: first those that were wrong, then the changes are given to the earliest of those that are left."""
    verdicts: dict[int, Verdict] = {}
    for told in story.told:
        if told.state == "open" and (at := _meant(story.came, verdicts, told)) is not None:
            verdicts[at] = Verdict(f"Not applied: exception {told.reason}.")
    entries = list(story.entries)
    for at, (message, event) in enumerate(story.came):
        if event is None or at in verdicts:
            continue
        since_ms = _ms(message) - _SKEW_MS
        change = next((entry for entry in entries if entry.time_ms >= since_ms and _applies(entry, event)), None)
        if change is not None:
            entries.remove(change)
            verdicts[at] = Verdict(f"Applied: revision {change.revision}.", change.revision)
    return [verdicts.get(at) or Verdict(_without_change(story, came)) for at, came in enumerate(story.came)]


def _meant(came: Sequence[Came], judged: Container[int], told: PublishedException) -> int | None:
    """The latest message before an exception that it can be about."""
    until_ms = int(told.time.timestamp() * 1000) + _SKEW_MS
    found = None
    for at, (message, event) in enumerate(came):
        its_ids = (f"event:{event.source}/{event.id}" if event else "", f"{streams.INVENTORY}:{message.sequence}")
        if {told.id, told.cause} & set(its_ids) and at not in judged and _ms(message) <= until_ms:
            found = at
    return found


def _applies(entry: Entry, event: Event) -> bool:
    """Whether an entry is what an event changed: of its kind and source, and about what it names."""
    if entry.verb != type_of(event) or entry.actor != event.source:
        return False
    names = trace_names.of_event(event)
    kept = [name for name in trace_names.of_records(entry) if name.kind == "event"]
    if kept:
        return names[0] in kept
    return entry.cause in {name.bare for name in names if name.kind in trace_names.FOLLOWED}


def _without_change(story: Story, came: Came) -> str:
    message, event = came
    if event is not None:
        name = Name("event", f"{event.source}/{event.id}")
        waits = [raised for entry in story.entries for raised in entry.exceptions if trace_names.is_about_event(raised, name)]
        if waits and waits[-1].state == "open":
            return f"It waits for {waits[-1].sku} to be registered."
    if message.sequence > story.settled_upto:
        return "No verdict yet."
    return "Nothing new in it: it was known, or a later count contains it."
