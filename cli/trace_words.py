"""A trace in sentences that a merchandiser can read: what came in, what it changed, what was answered, what was wrong."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from atp import events
from atp.canonical import lines_of
from atp.events import Event, type_of
from atp.ledger import Entry, Fact, image_value
from atp.model.reservation import OperationRecord
from atp.model.views import Reservation
from cli import output

SHOWN_MAX: Final = 6  # lines or rows of one change in words
_FIGURES: Final = {"damaged": "damaged", "quality_hold": "on quality hold"}
#: Verbs of reservations: what they did, and the terms that say of how many units, the first that was moved.
_DONE: Final = {
    "reserve": ("held", ("reserved",)),
    "confirm": ("confirmed", ("allocated",)),
    "release": ("gave back", ("reserved", "allocated")),
    "expire": ("the hold expired, back in stock:", ("reserved",)),
    "order_cancelled": ("cancelled, back in stock:", ("reserved", "allocated")),
}
#: Whose word a kind of event is, in words.
_KINDS: Final = {"order_cancelled": "cancellation", "item_registered": "item registration", "cycle_count": "count"}

#: What an event says of where, as what and for whom, in words.
_ABOUT: Final = (
    ("node", "at"),
    ("to_node", "to"),
    ("from_node", "from"),
    ("shipment_id", "as"),
    ("transaction_id", "as"),
    ("transfer_id", "as"),
    ("package_id", "in"),
    ("reservation_id", "for"),
    ("order_reference", "for"),
)


def kind_in_words(kind: str) -> str:
    return _KINDS.get(kind, kind.replace("_", " "))


# --- changes ------------------------------------------------------------------------------------------------------
def of_entry(entry: Entry) -> str:
    """What one entry of the ledger did, and the exceptions that it raised."""
    told = [_change(entry), *(f"exception {raised.reason} {raised.state}" for raised in entry.exceptions)]
    return "; ".join(told)


def _change(entry: Entry) -> str:
    if entry.verb in _DONE:
        done, terms = _DONE[entry.verb]
        moved = next((found for term in terms if (found := _moved(entry, term))), [])
        return f"{done} {_some(moved) or 'nothing'}{_until(entry)}"
    if entry.verb == "extend":
        return f"held longer{_until(entry)}"
    if entry.verb == "fulfil":
        return f"shipped with {entry.cause}: {_some(_moved(entry, 'allocated')) or 'nothing'}"
    if entry.verb in {"park", "unpark"}:
        return _parking(entry)
    who = f" of {entry.actor}" if entry.actor else ""
    return f"{kind_in_words(entry.verb)} {entry.cause}{who}: {_some(_figures(entry.facts)) or _without_figures(entry)}".strip()


def _without_figures(entry: Entry) -> str:
    compared = any(image_value(image[1]).startswith(b"cmp:") for image in entry.images)
    return f"kept for comparison: {entry.actor} is not whose word counts there" if compared else "no figure changed"


def _parking(entry: Entry) -> str:
    source, _, event = entry.cause.partition("/")
    sku = entry.exceptions[0].sku if entry.exceptions else ""
    event = event.removesuffix(f"/{sku}")
    if entry.verb == "park":
        return f"event {event} of {source} waits: {sku} is not registered"
    discarded = f": discarded by {entry.actor}" if entry.actor != source else ""
    return f"event {event} of {source} waits no longer{discarded}"


def _moved(entry: Entry, term: str) -> list[str]:
    """Units of one term, whichever way they went."""
    return [f"{abs(fact.delta):,} × {fact.sku} at {fact.node}" for fact in entry.facts if fact.term == term and fact.delta]


def _figures(facts: Sequence[Fact]) -> Iterator[str]:
    """Signed changes: of on hand by themselves, of other terms by name."""
    for fact in facts:
        term = "" if fact.term == "on_hand" else f" {_FIGURES.get(fact.term, fact.term.replace('_', ' '))}"
        yield f"{fact.delta:+,} {fact.sku} at {fact.node}{term}"


def _until(entry: Entry) -> str:
    """When the hold ends, as the entry wrote it into the reservation's record."""
    for image in entry.images:
        command, key, *words = map(image_value, image)
        if command == b"HSET" and key.startswith(b"rsv:"):
            fields = dict(zip(words[::2], words[1::2], strict=False))
            if expire_ms := int(fields.get(b"exp", 0)):
                return f" until {output.at(expire_ms)}"
    return ""


def _some(told: Iterable[str]) -> str:
    """Not more of them than a person reads."""
    all_told = list(told)
    more = len(all_told) - SHOWN_MAX
    return ", ".join(all_told[:SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")


# --- events -------------------------------------------------------------------------------------------------------
def of_event(event: Event) -> str:
    """What one event says."""
    nothing = "all that is open" if isinstance(event, events.OrderCancelled) else "no lines"
    said = _some(map(_line, lines_of(event))) or nothing
    about = ((word, getattr(event.data, field, "")) for field, word in _ABOUT)
    told = "".join(f" {word} {name}" for word, name in about if name)
    return f"{kind_in_words(type_of(event))} {event.id} of {event.source}: {said}{told}"


def _line(line: Any) -> str:
    name = line.sku or getattr(line, "alias", "")
    unit = f" {line.unit}" if getattr(line, "unit", "") else ""
    match line:
        case events.MoveLine():
            return f"{line.quantity:,}{unit} × {name} from {line.from_} to {line.to}".replace("_", " ")
        case events.QuantityLine():
            return f"{line.quantity:,}{unit} × {name}"
        case events.ChangeLine() | events.LevelLine():
            sign = "+," if isinstance(line, events.ChangeLine) else ","
            figures = ((field, getattr(line, field)) for field in ("on_hand", "damaged", "quality_hold"))
            told = [
                f"{field.replace('_', ' ')} {units:{sign}}{unit}"
                for field, units in figures
                if units is not None and (units or sign == ",")
            ]
            return f"{name} {', '.join(told)}"
        case events.ItemStateLine():
            return f"{name} {line.state}"
        case _:
            return str(name)


# --- answers ------------------------------------------------------------------------------------------------------
def of_answer(answer: OperationRecord, key: str) -> str:
    """What a verb answered under a key, as the reservation's record keeps it."""
    until = f" until {output.at(answer.expire_ms)}" if answer.expire_ms else ""
    return f"answered {answer.verb} (key {key}): {answer.state}{until}"


def of_reserved(found: Reservation, first_expire_ms: int) -> str:
    """What Reserve answered: the hold, and what came short."""
    short = [f"{line.available:,} of {line.requested:,} × {line.sku}" for line in found.short]
    return f"answered reserve: HELD until {output.at(first_expire_ms)}" + (f"; could be had: {_some(short)}" if short else "")


def of_reservation(found: Reservation) -> str:
    """How a reservation stands."""
    open_lines = [f"{line.open:,} × {line.sku} at {line.node}" for line in found.lines if line.open]
    order = f" for order {found.order_reference}" if found.order_reference else ""
    return f"reservation {found.reservation_id}{order} is {found.state}: {_some(open_lines) or 'nothing'} open"
