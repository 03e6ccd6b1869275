"""Reads canonical events, CloudEvents 1.0 in JSON as `atp/events.py` declares them, and says all that is wrong with one."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, get_type_hints

import msgspec

from atp import events, limits
from atp.canonical import gtin
from atp.errors import Violation
from atp.events import type_of
from atp.model.status import ExceptionReason
from atp.requests import NAME_RULE, Checker, is_id, is_name

_SUBJECT_TOKENS: Final = 4
_MISTAKES_NAMED_MAX: Final = 5
_DETAIL_CHARS_MAX: Final = 2_000  # a mistake may quote a whole message, and an exception must fit into a message
_SOONEST: Final = datetime(1971, 1, 1, tzinfo=UTC)
#: A place by time must fit into 53 bits with seconds in 31 of them.
_LATEST: Final = datetime(2038, 1, 1, tzinfo=UTC)


class _Conversation(msgspec.Struct):
    correlation: str = ""


_decode_envelope = msgspec.json.Decoder(_Conversation).decode
_decode_event = msgspec.json.Decoder(events.Event).decode
encode = msgspec.json.Encoder().encode


class ContentError(Exception):
    """A verdict on content: the message can never be applied as it is. `event` is there if it could be read that far."""

    def __init__(self, reason: ExceptionReason, detail: str, event: events.Event | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail if len(detail) <= _DETAIL_CHARS_MAX else f"{detail[:_DETAIL_CHARS_MAX]}…."
        self.event = event


class Feed(NamedTuple):
    """An event and the pool that its subject names."""

    pool: str
    event: events.Event


def pool_of_subject(subject: str) -> str:
    """The pool that a subject names, empty if it names none."""
    tokens = subject.split(".", 2)
    return tokens[1] if len(tokens) > 1 and is_name(tokens[1]) else ""


def subject_of(pool: str, event: events.Event) -> str:
    """The subject that an event of a pool belongs on."""
    return f"inv.{pool}.{event.source}.{type_of(event)}"


def decode(subject: str, data: bytes) -> Feed:
    """Raises ContentError: TOO_LARGE, MALFORMED, WRONG_SUBJECT, UNKNOWN_POOL."""
    if len(data) > limits.EVENT_BYTES_MAX:
        raise ContentError(ExceptionReason.TOO_LARGE, f"it has {len(data)} bytes, an event has at most {limits.EVENT_BYTES_MAX}.")
    event = read(data)
    tokens = subject.split(".")
    kind = type_of(event)
    if len(tokens) != _SUBJECT_TOKENS or tokens[0] != "inv":
        raise ContentError(ExceptionReason.WRONG_SUBJECT, f"{subject} is not of the form inv.<pool>.<source>.<type>.", event)
    if tokens[2:] != [event.source, kind]:
        detail = f"on {subject} came an event of source {event.source} and type {kind}."
        raise ContentError(ExceptionReason.WRONG_SUBJECT, detail, event)
    if not (pool := pool_of_subject(subject)):
        raise ContentError(ExceptionReason.UNKNOWN_POOL, f"the name of a pool {NAME_RULE}", event)
    return Feed(pool, event)


def read(data: bytes) -> events.Event:
    """An event, whatever subject it came on. Raises ContentError MALFORMED."""
    try:
        data.decode()  # all of it: attributes that are not read must be text too, since the event may have to wait as it came
        event: events.Event = _decode_event(data)
    except UnicodeDecodeError as error:
        raise ContentError(ExceptionReason.MALFORMED, f"it is not UTF-8 text ({error.reason} at byte {error.start}).") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise ContentError(ExceptionReason.MALFORMED, f"{error}.") from error
    check(event)
    return event


def check(event: events.Event) -> None:
    """Checks what the types alone cannot rule out. Raises ContentError MALFORMED with all of it."""
    if found := violations_of(event):
        raise malformed(event, [f"{one.field} {one.description}" for one in found])


def violations_of(event: events.Event) -> list[Violation]:
    """What is wrong with an event that its types alone cannot rule out, by field."""
    found = Checker()
    found.id("id", event.id)
    found.optional_id("correlation", event.correlation)
    _check_time(found, "time", event.time)
    for index, line in enumerate(lines_of(event)):
        if not is_id(line.sku) or bool(getattr(line, "alias", None)):  # most lines name a SKU and nothing else
            _check_name(found, f"data.lines[{index}]", line)
    for field in _IDS[type(event)]:
        if value := getattr(event.data, field):
            found.id(f"data.{field}", value)
    if check_kind := _CHECKS.get(type(event)):
        check_kind(found, event.data)
    return found.violations


def correlation_of(data: bytes) -> str:
    """The conversation that a message names, if it can be read that far; for the log."""
    try:
        found = _decode_envelope(data).correlation
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    check = Checker()
    check.optional_id("correlation", found)
    return "" if check.violations else found


def lines_of(event: events.Event) -> Sequence[Any]:
    """Its lines; none for a kind that has none."""
    return getattr(event.data, "lines", ())


def malformed(event: events.Event, mistakes: Sequence[str]) -> ContentError:
    """The verdict on an event with these mistakes."""
    more = len(mistakes) - _MISTAKES_NAMED_MAX
    named = "; ".join(mistakes[:_MISTAKES_NAMED_MAX]) + (f"; and {more} more" if more > 0 else "")
    return ContentError(ExceptionReason.MALFORMED, f"{named}.", event)


_ID_FIELDS: Final = frozenset(
    {"shipment_id", "reservation_id", "order_reference", "transfer_id", "package_id", "transaction_id", "document"}
)
#: Fields of `data` that hold an id, by type: the pattern of their own type lets through what only `Checker` knows.
_IDS: Final[dict[type, list[str]]] = {
    kind: sorted(_ID_FIELDS.intersection(get_type_hints(kind)["data"].__struct_fields__)) for kind in events.TYPES.values()
}


def _check_name(check: Checker, field: str, line: Any) -> None:
    alias = getattr(line, "alias", "")
    if line.sku and alias:
        check.add(f"{field}.alias", "must not stand beside the SKU: one name is enough")
    elif alias:
        check.id(f"{field}.alias", alias)
    elif line.sku or not isinstance(line, events.Line):
        check.id(f"{field}.sku", line.sku)
    else:
        check.add(f"{field}.sku", "is missing: a line names an item by sku or by alias")


def _check_time(check: Checker, field: str, value: datetime) -> None:
    if value.tzinfo is None:
        check.add(field, "must say its offset from UTC")
    elif not _SOONEST < value < _LATEST:
        check.add(field, f"must lie between {_SOONEST.year} and {_LATEST.year}")


def _check_once_each(check: Checker, data: Any) -> None:
    """For kinds that state what is: two statements of one item cannot both be so."""
    times = Counter(line.sku for line in data.lines if line.sku)
    for sku, count in times.items():
        if count > 1:
            check.add("data.lines", f"name SKU {sku} {count} times: once is enough")


def _check_items(check: Checker, data: events.ItemsData) -> None:
    _check_once_each(check, data)
    for index, line in enumerate(data.lines):
        for code in line.gtins:
            if not gtin.is_valid(code):
                check.add(f"data.lines[{index}].gtins", f"{code} is no GTIN: its check digit is wrong")
        for alias in line.aliases:
            check.id(f"data.lines[{index}].aliases", alias)


def _check_one_account(check: Checker, data: events.ForOrderData) -> None:
    if data.reservation_id and data.order_reference:
        check.add("data.order_reference", "must not stand beside the reservation: one of them says what was shipped")


def _check_an_account(check: Checker, data: events.ForOrderData) -> None:
    if not (data.reservation_id or data.order_reference):
        check.add("data.order_reference", "is missing: it, or reservation_id, says for whom")
    _check_one_account(check, data)


def _check_transfer(check: Checker, data: events.TransferOutData | events.TransferInData) -> None:
    if data.node == (data.to_node if isinstance(data, events.TransferOutData) else data.from_node):
        check.add("data.node", "is both ends of the transfer")


def _check_adjustment(check: Checker, data: events.AdjustmentData) -> None:
    for index, line in enumerate(data.lines):
        if not (line.on_hand or line.damaged or line.quality_hold):
            check.add(f"data.lines[{index}]", "changes nothing")


def _check_moves(check: Checker, data: events.StatusChangeData) -> None:
    for index, line in enumerate(data.lines):
        if line.from_ == line.to:
            check.add(f"data.lines[{index}].to", "is what the units are already")


def _check_count(check: Checker, data: events.CountData | events.SnapshotData) -> None:
    _check_time(check, "data.as_of", data.as_of)
    if data.as_of.tzinfo and data.as_of.timestamp() * 1000 > time.time() * 1000 + limits.AS_OF_AHEAD_MS_MAX:
        # It would count shipments as booked that have not happened yet, and so promise their units twice.
        check.add("data.as_of", "lies in the future: a count cannot be of a time that has not come")
    _check_once_each(check, data)
    full = isinstance(data, events.SnapshotData) and data.scope == "full"
    if isinstance(data, events.SnapshotData):
        if data.part > data.parts:
            check.add("data.part", f"must be 1 to {data.parts}, the number of parts")
        if not full and data.parts != 1:
            check.add("data.parts", "belongs to a full snapshot: a partial one is whole by itself")
        if not full and not data.lines:
            check.add("data.lines", "is empty: a partial snapshot without lines says nothing")
    for index, line in enumerate(data.lines):
        if not full and line.on_hand is None and line.damaged is None and line.quality_hold is None:
            check.add(f"data.lines[{index}]", "names no figure")


_CHECKS: Final[dict[type, Callable[[Checker, Any], None]]] = {
    events.ItemRegistered: _check_items,
    events.ItemStateChanged: _check_once_each,
    events.Pick: _check_an_account,
    events.PickReversed: _check_an_account,
    events.PickShort: _check_an_account,
    events.Pack: _check_an_account,
    events.Shipment: _check_one_account,
    events.Sale: _check_one_account,
    events.TransferOut: _check_transfer,
    events.TransferIn: _check_transfer,
    events.Adjustment: _check_adjustment,
    events.StatusChange: _check_moves,
    events.CycleCount: _check_count,
    events.Snapshot: _check_count,
}
