"""Who names whom: the ids that events, ledger entries and exceptions name, and how a trace widens from one to the others."""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from atp.events import Event
from atp.exceptions import PublishedException
from atp.ledger import Entry, RaisedException, image_value
from atp.model.status import ExceptionReason

#: Ids that a trace follows. Others, a correlation or a document, bring what names them and lead no further.
FOLLOWED: Final = ("order", "reservation", "shipment", "transfer", "event")
NAMES_MAX: Final = 1_000
_NEEDLES_MAX: Final = 20  # beyond these reading is quicker than looking for each

#: Fields of an event's data, by what they name.
_FIELDS: Final = {
    "reservation_id": "reservation",
    "order_reference": "order",
    "shipment_id": "shipment",
    "transaction_id": "shipment",
    "transfer_id": "transfer",
    "package_id": "package",
    "document": "document",
}
#: Keys of the store, by what their names name.
_KEYS: Final = {"rsv": "reservation", "ord": "order", "shp": "shipment", "trf": "transfer"}
#: What the cause of an entry is, by its verb; of others it is an event of the source that acted.
_CAUSES: Final = {
    **dict.fromkeys(("reserve", "confirm", "release", "extend", "expire"), "reservation"),
    **dict.fromkeys(("fulfil", "shipment"), "shipment"),
    "order_cancelled": "order",
    # A pick or a package is about an order or a reservation, a sale about a shipment or itself, a transfer about itself or its event.
    **dict.fromkeys(("pick", "pick_reversed", "pack", "sale", "transfer_out", "transfer_in"), ""),
}
#: Entries that touch many stories and belong to none: a count books the shipments of others.
_OF_NO_STORY: Final = frozenset({"snapshot", "cycle_count", "complete"})
#: What the id of an exception names, by the word it begins with.
_EXCEPTIONS: Final = {
    "event": "event",
    "wait": "event",
    "pick": "event",
    "late": "event",
    "short": "event",
    "ship": "shipment",
    "trf": "transfer",
}


class Name(NamedTuple):
    """An id and what it is the id of; an empty kind: one of several. An event's id is `<source>/<event id>`."""

    kind: str
    id: str

    @property
    def bare(self) -> str:
        """As people know it: an event by its own id."""
        return self.id.partition("/")[2] if self.kind == "event" else self.id


class Thread:
    """What a trace follows: the id that was asked for, and those that it has led to."""

    def __init__(self, asked: str) -> None:
        self.asked = asked
        self.found: dict[Name, None] = {}  # in order
        self.full = False
        self._ids: set[str] = set()
        self._needles: tuple[bytes, ...] = (self._needle(asked),)

    @staticmethod
    def _needle(text: str) -> bytes:
        """What stands in the bytes of whatever names an id: of an event, asked for as `<source>/<event id>`, its id alone."""
        return text.rpartition("/")[2].encode()

    def matches(self, names: Iterable[Name]) -> bool:
        """Whether one of these is followed."""
        return any(self._is_followed(name) for name in names)

    def _is_followed(self, name: Name) -> bool:
        return name in self.found or self.asked in {name.id, name.bare} or (not name.kind and name.id in self._ids)

    def widen(self, names: Iterable[Name]) -> None:
        """Follows these too, as far as they are of a kind that is followed."""
        for name in names:
            if name.kind not in FOLLOWED or name in self.found:
                continue
            if len(self.found) == NAMES_MAX:
                self.full = True
                return
            self.found[name] = None
            self._ids |= {name.id, name.bare}
            self._needles = tuple({*self._needles, self._needle(name.bare)})

    def may_name(self, data: bytes) -> bool:
        """Whether bytes could name what is followed: a quick look before they are read."""
        return len(self._needles) > _NEEDLES_MAX or any(needle in data for needle in self._needles)

    def may_be_in_json(self, data: bytes) -> bool:
        """The same of JSON that others wrote: where a character is escaped an id may look different."""
        return b"\\" in data or self.may_name(data)

    def is_asked_for_in(self, data: bytes) -> bool:
        """Whether bytes that cannot be read hold the id that was asked for."""
        return self.asked.encode() in data


# --- who names what -----------------------------------------------------------------------------------------------
def of_event(event: Event) -> list[Name]:
    fields = ((kind, getattr(event.data, field, "")) for field, kind in _FIELDS.items())
    named = [Name(kind, value) for kind, value in fields if value]
    return [Name("event", f"{event.source}/{event.id}"), *named, *_conversation(event.correlation)]


def of_entry(entry: Entry) -> list[Name]:
    """By its cause, its conversation, the records it wrote and the exceptions it raised."""
    named = [*_of_cause(entry), *_conversation(entry.correlation), *of_records(entry)]
    for raised in entry.exceptions:
        named += [*_of_exception_id(raised.id, raised.sku), Name("", raised.cause)]
    return named


def leads_to(entry: Entry) -> list[Name]:
    """What an entry that is part of a story brings into it."""
    return [] if entry.verb in _OF_NO_STORY else [*_of_cause(entry), *of_records(entry)]


def of_records(entry: Entry) -> Iterator[Name]:
    """The records of which it has after-images."""
    for image in entry.images:
        kind, _, rest = image_value(image[1]).decode("utf-8", "replace").partition(":")
        if kind in _KEYS and " " not in rest:  # with one it is no shipment, but units that were put back before their pick was heard of
            yield Name(_KEYS[kind], rest)
        elif kind == "evt":
            yield Name("event", rest.replace(" ", "/", 1))


def _of_cause(entry: Entry) -> Iterator[Name]:
    if entry.verb in {"park", "unpark"}:
        for raised in entry.exceptions:
            yield from _of_exception_id(raised.id, raised.sku)
    elif entry.cause:
        kind = _CAUSES.get(entry.verb, "event")
        yield Name(kind, f"{entry.actor}/{entry.cause}" if kind == "event" else entry.cause)
        if entry.verb == "sale":
            yield Name("event", f"{entry.actor}/{entry.cause}")


def of_exception(found: PublishedException) -> list[Name]:
    orders = [Name("reservation", order.reservation_id) for order in found.orders_at_risk]
    orders += [Name("order", order.order_reference) for order in found.orders_at_risk if order.order_reference]
    about = [Name("exception", found.id), *_of_exception_id(found.id, found.sku), *_conversation(found.correlation)]
    return [*about, Name("", found.cause), *orders] if found.cause else [*about, *orders]


def led_to_by(found: PublishedException) -> list[Name]:
    """What an exception that is part of a story brings into it: not the others that are short of the same stock."""
    return [] if found.reason == ExceptionReason.OVERCOMMITTED else list(_of_exception_id(found.id, found.sku))


def _of_exception_id(exception_id: str, sku: str) -> Iterator[Name]:
    word, _, rest = exception_id.partition(":")
    if word in _EXCEPTIONS:
        yield Name(_EXCEPTIONS[word], rest.removesuffix(f"/{sku}") if word == "wait" else rest)


def _conversation(correlation: str) -> list[Name]:
    return [Name("correlation", correlation)] if correlation else []


def is_about_event(raised: RaisedException | PublishedException, event: Name) -> bool:
    """Whether an exception tells of one event: that it was wrong, or that it waits."""
    word = raised.id.partition(":")[0]
    return word in {"event", "wait"} and event in set(_of_exception_id(raised.id, raised.sku))
