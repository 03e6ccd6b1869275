"""From an event of the contract to a canonical one, or to all that is wrong with it, field by field in the caller's words."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC
from functools import cache
from typing import Any, Final, get_args

import msgspec
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from atp import canonical, events
from atp.errors import InvalidRequestError, Violation
from atp.requests import ID_RULE, NAME_RULE
from inventory.availability.v1 import inventory_event_pb2 as pb
from inventory.availability.v1 import inventory_service_pb2 as service_pb

#: Fields of every kind that stand beside the others in the contract, and in `data` in a canonical event.
_OF_DATA: Final[tuple[str, ...]] = ("sequence", "node")
_OF_SNAPSHOT: Final[tuple[str, ...]] = (*_OF_DATA, "as_of", "scope", "parts")
_SAID: Final = re.compile(r"(?P<what>.*?)(?: - at (?:`key` in )?`\$\.?(?P<path>.*)`)?", re.DOTALL).fullmatch
#: What forms are called elsewhere, by the pattern that stands for each in atp/events.py.
_RULES: Final = {
    f"Expected `str` matching regex {form.__metadata__[0].pattern!r}": rule  # type: ignore[attr-defined]  # Annotated has it
    for form, rule in (
        (events.Name, NAME_RULE),
        (events.OptionalName, NAME_RULE),
        (events.Id, ID_RULE),
        (events.OptionalId, ID_RULE),
        (events.Currency, "must be three capitals"),
    )
}


def canonical_event(told: pb.InventoryEvent, correlation: str) -> events.Event:
    """The same as a canonical event, checked; `correlation` is its own if it names none. Raises InvalidRequestError."""
    kind = told.WhichOneof("kind")
    if kind is None:
        raise InvalidRequestError([Violation("kind", f"must be one of {', '.join(events.TYPES)}")])
    said = _values(told)
    data = said.pop(kind)
    data |= {name: said.pop(name) for name in _OF_DATA if name in said}
    return _checked({"type": kind, "correlation": correlation, **said, "data": data}, lambda field: _told_as(field, kind))


class SnapshotParts:
    """A snapshot that comes in parts: its first message says what all of them have in common."""

    def __init__(self, told: service_pb.SyncRequest, correlation: str) -> None:
        said = {name: value for name, value in _values(told).items() if name not in {"pool", "id", "lines"}}
        data = {name: said.pop(name) for name in _OF_SNAPSHOT if name in said}
        self._id = told.id
        self._full = data.get("scope") == "full"
        self.announced = told.parts or 1 if self._full else 0  # 0: as many as come
        if not self._full:
            data.pop("parts", None)
        self._attributes = {"type": "snapshot", "correlation": correlation, **said}
        self._data = data

    def violations(self) -> list[Violation]:
        """What is wrong with what all parts say."""
        try:
            self._event("head", {**self._data, "scope": "full", "lines": []})
        except InvalidRequestError as error:
            return error.violations
        return []

    def part(self, number: int, told: service_pb.SyncRequest) -> events.Event:
        """The part with the lines of a message. Raises InvalidRequestError."""
        data = {**self._data, "lines": [_values(line) for line in told.lines]}
        return self._event(f"{self._id}.{number}", {**data, "part": number} if self._full else data)

    def _event(self, event_id: str, data: dict[str, Any]) -> events.Event:
        return _checked({**self._attributes, "id": event_id, "data": data}, lambda field: field.removeprefix("data."))


def _checked(said: dict[str, Any], told_as: Callable[[str], str]) -> events.Event:
    """A canonical event of these values; `told_as` says what its fields are called by the caller. Raises InvalidRequestError."""
    said["specversion"] = "1.0"
    try:
        event: events.Event = msgspec.convert(said, events.Event)
    except msgspec.ValidationError:
        wrong = list(_wrong_fields(events.TYPES[said["type"]], said))
    else:
        wrong = canonical.violations_of(event)
    if wrong:
        raise InvalidRequestError([Violation(told_as(field), description) for field, description in wrong])
    return event


def _told_as(field: str, kind: str) -> str:
    name = field.removeprefix("data.")
    if name == field:
        return kind if field == "data" else field
    return name if name in _OF_DATA else f"{kind}.{name}"


# --- values -------------------------------------------------------------------------------------------------------
def _values(message: Message) -> dict[str, Any]:
    """What is set in a message, by the names of its fields."""
    return {field.name: _reader(field)(value) for field, value in message.ListFields()}


@cache
def _reader(field: FieldDescriptor) -> Callable[[Any], Any]:
    """How the values of a field are read; there are as many as the contract has fields."""
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return dict
    read: Callable[[Any], Any] = _same
    if field.enum_type is not None:
        read = _reader_of_words(field.enum_type)
    elif field.message_type is not None:
        read = _READERS.get(field.message_type, _values)
    return (lambda values: [read(value) for value in values]) if field.is_repeated else read


def _same(value: Any) -> Any:
    return value


def _reader_of_words(enum: EnumDescriptor) -> Callable[[int], str]:
    """The canonical word of a number: `BUCKET_QUALITY_HOLD` is quality_hold. One that is not known is told as it is."""
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    words = {number: value.name.removeprefix(prefix).lower() for number, value in enum.values_by_number.items()}
    return lambda number: words.get(number, str(number))


def _time(value: Timestamp) -> Any:
    try:
        return value.ToDatetime(UTC)
    except (ValueError, OverflowError):
        return None  # no datetime: what the field then says is that it must be one


def _money(value: pb.Money) -> dict[str, Any]:
    return {"amount": value.amount, "currency": value.currency}  # 0 is an amount, and the contract cannot tell it from none


#: Messages that are not read field by field.
_READERS: Final[dict[Descriptor, Callable[[Any], Any]]] = {Timestamp.DESCRIPTOR: _time, pb.Money.DESCRIPTOR: _money}


# --- what is wrong ------------------------------------------------------------------------------------------------
def _wrong_fields(struct: Any, said: dict[str, Any], path: str = "") -> Iterator[Violation]:
    """What the types say of each field; msgspec alone would stop at the first."""
    for field in msgspec.structs.fields(struct):
        where = f"{path}{field.encode_name}"
        if field.encode_name in said:
            yield from _wrong_value(field.type, said[field.encode_name], where)
        elif field.required:
            yield Violation(where, "must be set")


def _wrong_value(kind: Any, value: Any, where: str) -> Iterator[Violation]:
    if isinstance(value, dict) and isinstance(kind, type):
        yield from _wrong_fields(kind, value, f"{where}.")
        return
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        elements = enumerate(value) if isinstance(value, list) else ()
        found = [wrong for index, one in elements for wrong in _wrong_value(_element(kind), one, f"{where}[{index}]")]
        yield from found or [_violation(str(error), where)]


def _element(kind: Any) -> Any:
    """Of `Annotated[list[X], …]`, X."""
    return get_args(get_args(kind)[0])[0]


def _violation(text: str, where: str) -> Violation:
    """What msgspec says of a value, with the path inside it."""
    said = _SAID(text)
    assert said, text
    what, path = _RULES.get(said["what"], said["what"]), said["path"] or ""
    return Violation(f"{where}.{path}" if path and not path.startswith("[") else where + path, what[0].lower() + what[1:])
