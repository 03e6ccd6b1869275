"""What a life was promised: every answer it got and every event that JetStream took, and what the stock must be after them."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from atp.model.verbs import FIGURE_BITS, Result

FIGURES: Final = tuple(FIGURE_BITS)
Changes = Mapping[str, Mapping[str, int]]  # units by SKU and figure


class Said(NamedTuple):
    """One thing that a node's authority said: at its place by the order of the source, changes to figures, or what they are."""

    place: int
    units: Changes
    is_count: bool = False
    is_full: bool = False


class Books:
    """The figures of every node by the arithmetic of a ledger clerk: all that was said of it, in the order of its source."""

    def __init__(self) -> None:
        self._said: dict[str, list[Said]] = defaultdict(list)

    def note(self, node: str, said: Said) -> Said:
        self._said[node].append(said)
        return said

    def figures(self, node: str, sku: str) -> dict[str, int]:
        found = dict.fromkeys(FIGURES, 0)
        for said in sorted(self._said[node], key=lambda one: one.place):
            told = said.units.get(sku, {})
            for figure in FIGURES:
                if said.is_full or (said.is_count and figure in told):
                    found[figure] = told.get(figure, 0)
                elif not said.is_count:
                    found[figure] += told.get(figure, 0)
        return found

    def is_superseded(self, node: str, said: Said) -> bool:
        """Whether later counts say all that it says: an engine that has them may leave it out."""
        counts = [one for one in self._said[node] if one.is_count and one.place > said.place]
        named = ((sku, figure) for sku, units in said.units.items() for figure in units)
        return bool(counts) and all(any(one.is_full or figure in one.units.get(sku, {}) for one in counts) for sku, figure in named)


class Sent(NamedTuple):
    """An event that JetStream has; `said` if it speaks of figures."""

    kind: str
    node: str
    said: Said | None


class Call(NamedTuple):
    """A call and its answer; refusals of the business are answers too."""

    verb: str
    about: str  # the reservation, or the shipment
    answer: Result


@dataclass
class Journal:
    """By what the ledger calls its correlation: each call and each event has one of its own."""

    calls: dict[str, Call] = field(default_factory=dict)
    events: dict[str, Sent] = field(default_factory=dict)
    ends: dict[str, str] = field(default_factory=dict)  # by reservation, the state that it was left in
    open_units: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # by SKU, node and term
    refused: Counter[str] = field(default_factory=Counter)
    repeated: Counter[str] = field(default_factory=Counter)
    sent_at: list[float] = field(default_factory=list)  # when each call that changed something was sent
    broken_at: list[float] = field(default_factory=list)

    def accepted_again_s(self) -> float:
        """From a fault to the first call after it that was accepted, at its longest."""
        waits = (next(at for at in (*self.sent_at, float("inf")) if at >= broken) - broken for broken in self.broken_at)
        return max(waits, default=0.0)


class Seen:
    """The ledger as JetStream has it."""

    def __init__(self) -> None:
        self.by_correlation: dict[str, list[tuple[str, int]]] = defaultdict(list)  # verb and revision
        self.causes: dict[int, str] = {}

    def note(self, entry: Any) -> None:
        self.by_correlation[entry.correlation].append((entry.verb, entry.revision))
        self.causes[entry.revision] = entry.cause


#: Of one event several entries: a full snapshot counts what it left out.
_COUNTS: Final = frozenset({"snapshot", "cycle_count"})
_VERBS: Final = frozenset({"reserve", "confirm", "release", "fulfil", "extend"})


def lost(journal: Journal, books: Books, seen: Seen, told: set[str]) -> Iterator[str]:
    """Answers and events that are not there any more. `told` are ids of exceptions."""
    for name, call in journal.calls.items():
        if call.answer.status == "OK" and not _is_there(name, call, seen):
            yield f"{name} was answered with revision {call.answer.revision}, and the ledger has {seen.by_correlation.get(name, [])}"
    for name, sent in journal.events.items():
        applied = any(verb == sent.kind for verb, _ in seen.by_correlation.get(name, []))
        is_known = sent.said is not None and books.is_superseded(sent.node, sent.said)
        if not (applied or is_known or sent.kind == "heartbeat" or any(one.endswith(f"/{name}") for one in told)):
            yield f"event {name} was taken by JetStream, and is neither applied nor known nor an exception"


def _is_there(name: str, call: Call, seen: Seen) -> bool:
    own = [revision for _, revision in seen.by_correlation.get(name, [])]
    by_the_feed = call.verb == "fulfil" and call.answer.replayed and seen.causes.get(call.answer.revision) == call.about
    return call.answer.revision in own or by_the_feed


def done_twice(journal: Journal, seen: Seen) -> Iterator[str]:
    """What the ledger has more than once, or although it was refused, or although nobody asked for it."""
    for name, entries in seen.by_correlation.items():
        verbs = Counter(verb for verb, _ in entries)
        call, sent = journal.calls.get(name), journal.events.get(name)
        asked = int(call is not None and call.answer.status == "OK")
        if sum(verbs[verb] for verb in _VERBS) > asked:
            yield f"{name} was {'answered once' if asked else 'not accepted'}, and the ledger has {entries}"
        if sent and sent.kind not in _COUNTS and verbs[sent.kind] > 1:
            yield f"event {name} was applied {verbs[sent.kind]} times: {entries}"


def wrong_rows(books: Books, journal: Journal, rows: Mapping[tuple[str, str], Any]) -> Iterator[str]:
    """Rows, by SKU and node, that are not what was said and promised."""
    for (sku, node), row in rows.items():
        held = {term: journal.open_units[sku, node, term] for term in ("reserved", "allocated")}
        passing = dict.fromkeys(("shipped_unbooked", "in_transit", "picked"), 0)
        wanted = books.figures(node, sku) | held | passing
        odd = [f"{term} is {getattr(row, term)}, not {units}" for term, units in wanted.items() if getattr(row, term) != units]
        if odd:
            yield f"{sku} at {node}: {', '.join(odd)}"


def counted(numbers: Counter[str]) -> str:
    """For a table."""
    return "\n".join(f"{number:,} {name}" for name, number in sorted(numbers.items()) if number) or "nothing"
