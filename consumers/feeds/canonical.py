"""The canonical format: CloudEvents 1.0 in JSON as `atp/events.py` declares them, on `inv.<pool>.<source>.<type>`."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from atp import events, limits
from atp.model.status import ExceptionReason
from atp.model.verbs import Adjust, Context, Count, Figures, ItemLine, Register, Ship, Want
from atp.requests import NAME_RULE, Checker, fingerprint

Request = Register | Adjust | Count | Ship
_SUBJECT_TOKENS: Final = 4
_MISTAKES_NAMED_MAX: Final = 5


class _Conversation(msgspec.Struct):
    correlation: str = ""


_decode_envelope = msgspec.json.Decoder(_Conversation).decode
_decode_event = msgspec.json.Decoder(events.Event).decode


class ContentError(Exception):
    """A verdict on content: the message can never be applied as it is. `event` is there if it could be read that far."""

    def __init__(self, reason: ExceptionReason, detail: str, event: events.Event | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.event = event


class Feed(NamedTuple):
    """An event that can be applied, and the verb that does it."""

    pool: str
    event: events.Event
    request: Request


def node_of(event: events.Event) -> str:
    """Where it happened; empty for items, which are everywhere."""
    return "" if isinstance(event, events.ItemRegistered) else event.data.node


def pool_of_subject(subject: str) -> str:
    """The pool that a subject names, empty if it names none."""
    tokens = subject.split(".")
    checker = Checker()
    checker.name("pool", tokens[1] if len(tokens) > 1 else "")
    return "" if checker.violations else tokens[1]


def subject_of(pool: str, event: events.Event) -> str:
    """The subject that an event of a pool belongs on."""
    return f"inv.{pool}.{event.source}.{type(event).__struct_config__.tag}"


def decode(subject: str, data: bytes) -> Feed:
    """Raises ContentError: TOO_LARGE, MALFORMED, WRONG_SUBJECT, UNKNOWN_POOL."""
    if len(data) > limits.EVENT_BYTES_MAX:
        raise ContentError(ExceptionReason.TOO_LARGE, f"it has {len(data)} bytes, an event has at most {limits.EVENT_BYTES_MAX}.")
    event = read(data)
    tokens = subject.split(".")
    kind = type(event).__struct_config__.tag
    if len(tokens) != _SUBJECT_TOKENS or tokens[0] != "inv":
        raise ContentError(ExceptionReason.WRONG_SUBJECT, f"{subject} is not of the form inv.<pool>.<source>.<type>.", event)
    if tokens[2:] != [event.source, kind]:
        detail = f"on {subject} came an event of source {event.source} and type {kind}."
        raise ContentError(ExceptionReason.WRONG_SUBJECT, detail, event)
    if not (pool := pool_of_subject(subject)):
        raise ContentError(ExceptionReason.UNKNOWN_POOL, f"the name of a pool {NAME_RULE}", event)
    return Feed(pool, event, request_of(event))


def read(data: bytes) -> events.Event:
    """An event, whatever subject it came on. Raises ContentError MALFORMED."""
    try:
        data.decode()  # all of it: attributes that are not read must be text too, since the event may have to wait as it came
        event: events.Event = _decode_event(data)
    except UnicodeDecodeError as error:
        raise ContentError(ExceptionReason.MALFORMED, f"it is not UTF-8 text ({error.reason} at byte {error.start}).") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise ContentError(ExceptionReason.MALFORMED, f"{error}.") from error
    check = Checker()
    check.id("id", event.id)
    check.optional_id("correlation", event.correlation)
    for index, sku in enumerate(_skus(event)):
        check.id(f"data.lines[{index}].sku", sku)
    if isinstance(event, events.Shipment):
        check.id("data.shipment_id", event.data.shipment_id)
        check.optional_id("data.reservation_id", event.data.reservation_id or "")
    _check_time(check, "time", event.time)
    if check.violations:
        raise _malformed(event, [f"{found.field} {found.description}" for found in check.violations])
    return event


def correlation_of(data: bytes) -> str:
    """The conversation that a message names, if it can be read that far; for the log."""
    try:
        found = _decode_envelope(data).correlation
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    check = Checker()
    check.optional_id("correlation", found)
    return "" if check.violations else found


def _check_time(check: Checker, field: str, value: datetime) -> None:
    if value.tzinfo is None:
        check.add(field, "must say its offset from UTC")


def _malformed(event: events.Event, mistakes: Sequence[str]) -> ContentError:
    more = len(mistakes) - _MISTAKES_NAMED_MAX
    named = "; ".join(mistakes[:_MISTAKES_NAMED_MAX]) + (f"; and {more} more" if more > 0 else "")
    return ContentError(ExceptionReason.MALFORMED, f"{named}.", event)


# --- from events to verbs -----------------------------------------------------------------------------------------
def request_of(event: events.Event) -> Request:
    """The verb that applies an event. Raises ContentError MALFORMED for what the types alone cannot rule out."""
    return _REQUESTS[type(event)](event)


def context_of(event: events.Event) -> Context:
    """Whose word it is: the source's, in its conversation if it names one. (Its id is the cause of what it changes.)"""
    return Context(actor=event.source, correlation=event.correlation)


def _content(event: events.Event, lines: Iterable[tuple[Any, ...]], *others: object) -> int:
    """The fingerprint of what an event says: not of its envelope, nor of the order of its lines."""
    return fingerprint((type(event).__struct_config__.tag, node_of(event), *others, sorted(lines)))


def _skus(event: events.Event) -> list[str]:
    lines: Sequence[events.ItemLine | events.QuantityLine | events.ChangeLine | events.LevelLine] = event.data.lines
    return [line.sku for line in lines]


def _once_each(event: events.Event) -> None:
    times = Counter(_skus(event))
    if len(times) < len(event.data.lines):
        raise _malformed(event, [f"SKU {sku} stands {count} times" for sku, count in times.items() if count > 1])


def _added_up(event: events.Event, lines: Iterable[tuple[str, tuple[int, ...]]]) -> dict[str, tuple[int, ...]]:
    """Quantities per SKU, in order of first mention."""
    total: dict[str, tuple[int, ...]] = {}
    for sku, quantities in lines:
        known = total.get(sku)
        total[sku] = tuple(map(sum, zip(known, quantities, strict=True))) if known else quantities
    beyond = [sku for sku, quantities in total.items() if any(abs(quantity) > limits.QUANTITY_MAX for quantity in quantities)]
    if beyond:
        raise _malformed(event, [f"the lines of SKU {sku} add up to more than {limits.QUANTITY_MAX}" for sku in beyond])
    return total


def _register(event: events.ItemRegistered) -> Register:
    _once_each(event)
    lines = [ItemLine(line.sku, line.safety_stock) for line in event.data.lines]
    content = _content(event, ((line.sku, line.safety_stock) for line in lines))
    return Register(context_of(event), event.id, event.source, event.data.sequence, content, lines)


def _adjust(event: events.Receipt | events.Adjustment | events.Return, changes: Iterable[tuple[str, tuple[int, ...]]]) -> Adjust:
    lines = [Figures(sku, *change) for sku, change in _added_up(event, changes).items()]
    content = _content(event, ((line.sku, line.on_hand, line.damaged, line.quality_hold) for line in lines))
    kind = str(type(event).__struct_config__.tag)
    return Adjust(context_of(event), event.id, kind, event.source, event.data.node, event.data.sequence, content, lines)


def _receipt(event: events.Receipt) -> Adjust:
    return _adjust(event, ((line.sku, (line.quantity, 0, 0)) for line in event.data.lines))


def _adjustment(event: events.Adjustment) -> Adjust:
    idle = [line.sku for line in event.data.lines if not (line.on_hand or line.damaged or line.quality_hold)]
    if idle:
        raise _malformed(event, [f"the line of SKU {sku} changes nothing" for sku in idle])
    return _adjust(event, ((line.sku, (line.on_hand, line.damaged, line.quality_hold)) for line in event.data.lines))


#: What one returned unit adds to on hand, damaged and quality hold.
_DISPOSITIONS: Final = {"sellable": (1, 0, 0), "damaged": (1, 1, 0), "quality_hold": (1, 0, 1)}


def _return(event: events.Return) -> Adjust:
    unit = _DISPOSITIONS[event.data.disposition]
    return _adjust(event, ((line.sku, tuple(line.quantity * term for term in unit)) for line in event.data.lines))


def _ship(event: events.Shipment) -> Ship:
    data = event.data
    added_up = _added_up(event, ((line.sku, (line.quantity,)) for line in data.lines))
    lines = [Want(sku, quantity) for sku, (quantity,) in added_up.items()]
    reservation_id = data.reservation_id or ""
    content = _content(event, ((line.sku, line.quantity) for line in lines), data.shipment_id, reservation_id)
    return Ship(context_of(event), event.id, event.source, data.node, data.sequence, content, data.shipment_id, reservation_id, lines)


def _count(event: events.Snapshot) -> Count:
    data = event.data
    _once_each(event)
    check = Checker()
    _check_time(check, "data.as_of", data.as_of)
    as_of_ms = 0 if check.violations else int(data.as_of.timestamp() * 1000)
    if as_of_ms > time.time() * 1000 + limits.AS_OF_AHEAD_MS_MAX:
        # It would count shipments as booked that have not happened yet, and so promise their units twice.
        check.add("data.as_of", "lies in the future: a count cannot be of a time that has not come")
    if check.violations:
        raise _malformed(event, [f"{found.field} {found.description}" for found in check.violations])
    lines = [Figures(line.sku, line.on_hand, line.damaged, line.quality_hold) for line in data.lines]
    content = _content(event, ((line.sku, line.on_hand, line.damaged, line.quality_hold) for line in lines), as_of_ms)
    return Count(context_of(event), event.id, event.source, data.node, data.sequence, content, as_of_ms, lines)


_REQUESTS: Final[dict[type, Callable[[Any], Request]]] = {
    events.ItemRegistered: _register,
    events.Receipt: _receipt,
    events.Shipment: _ship,
    events.Adjustment: _adjustment,
    events.Return: _return,
    events.Snapshot: _count,
}
