"""Events as sources have sent them, byte for byte: each is still read, and still means what it meant. docs/events.md has the rules."""

import inspect
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from atp import canonical, events
from atp.model import verbs
from tests.golden import add

NAMES = add.names()
NEWEST = [name for name in NAMES if name.startswith("events-v1/")]
VERBS = {name: verb for name, verb in inspect.getmembers(verbs, inspect.isclass) if issubclass(verb, msgspec.Struct)}


def differences(then: Any, now: Any, where: str = "") -> list[str]:
    """Where a verb means something else. A field that verbs did not have is no difference while it has its default."""
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        return [one for index, pair in enumerate(zip(then, now, strict=True)) for one in differences(*pair, f"{where}[{index}]")]
    if not isinstance(then, dict) or not isinstance(now, dict):
        return [] if then == now else [f"{where}: {then!r} is now {now!r}"]
    defaults = {field.name: field.default for field in msgspec.structs.fields(VERBS[now["verb"]])}
    gone = [f"{where}.{key} is gone" for key in then.keys() - now.keys()]
    new = [f"{where}.{key} is new, and {now[key]!r}" for key in now.keys() - then.keys() if add.told(defaults[key]) != now[key]]
    return gone + new + [one for key in then.keys() & now.keys() for one in differences(then[key], now[key], f"{where}.{key}")]


@pytest.mark.parametrize("name", NAMES)
def test_an_event_means_what_it_meant(name: str) -> None:
    assert differences(add.verb_of(name), add.meaning(add.bytes_of(name))) == []


def unread(sent: Any, read: Any, where: str = "") -> list[str]:
    """What an event says and the engine does not know of."""
    if isinstance(sent, dict):
        return [one for key in sent for one in (unread(sent[key], read.get(key), f"{where}.{key}") if key in read else [f"{where}.{key}"])]
    if isinstance(sent, list):
        return [one for index, pair in enumerate(zip(sent, read, strict=True)) for one in unread(*pair, f"{where}[{index}]")]
    return []


@pytest.mark.parametrize("name", NAMES)
def test_no_field_that_was_sent_has_gone_or_has_another_name(name: str) -> None:
    data = add.bytes_of(name)
    assert unread(msgspec.json.decode(data), msgspec.to_builtins(canonical.read(data))) == []


def fields(struct: type, where: str) -> set[str]:
    """All that can be said, by path; lists and what may be absent are seen through."""
    found: set[str] = set()
    for field in msgspec.structs.fields(struct):
        path = f"{where}.{field.encode_name}"
        found.add(path)
        for inner in structs(field.type):
            found |= fields(inner, path)
    return found


def structs(annotation: Any) -> list[type]:
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return [annotation]
    return [one for part in get_args(annotation) for one in structs(part)]


def said(value: Any, where: str) -> set[str]:
    if isinstance(value, dict):
        return {path for key, one in value.items() for path in {f"{where}.{key}", *said(one, f"{where}.{key}")}}
    return {path for one in value for path in said(one, where)} if isinstance(value, list) else set()


@pytest.mark.parametrize("kind", sorted(events.TYPES))
def test_every_field_of_every_type_stands_in_a_golden_event(kind: str) -> None:
    told = [msgspec.json.decode(add.bytes_of(name)) for name in NEWEST]
    paths = {path for event in told if event["type"] == kind for path in said(event, "")}
    declared = fields(get_type_hints(events.TYPES[kind])["data"], ".data") | {f".{name}" for name in events.Envelope.__struct_fields__}
    assert declared - paths == set(), "python -m tests.golden.add"


def test_golden_events_are_added_to_and_never_written_again() -> None:
    listed = {file: digest for digest, file in map(str.split, add.SUMS.read_text().splitlines())}
    assert listed == add.sums()
    with pytest.raises(FileExistsError):
        add.add(NAMES[0], add.bytes_of(NAMES[0]))


def test_a_verb_that_means_something_else_is_found() -> None:
    then = add.verb_of("events-v1/receipt")
    assert differences({**then, "sequence": 8}, then) == [".sequence: 8 is now 7"]
    assert differences({**then, "colour": "red"}, then) == [".colour is gone"]
    assert differences({key: then[key] for key in then if key != "about"}, then) == []
    assert differences({key: then[key] for key in then if key != "moment"}, then) == [f".moment is new, and {then['moment']}"]
