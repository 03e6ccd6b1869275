"""The catalogue of events: what it shows can be read, and it leaves nothing out."""

import re
from pathlib import Path

import msgspec
import pytest

from atp.canonical import decode, read, subject_of
from atp.events import Event
from atp.exceptions import PublishedException, sentence
from atp.model.status import ExceptionReason
from consumers import ledger_writer, streams

TEXT = (Path(__file__).resolve().parents[2] / "docs/events.md").read_text()
EXAMPLES = [block.encode() for block in re.findall(r"^```json\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)]
EVENTS, EXCEPTIONS = EXAMPLES[:-1], EXAMPLES[-1:]


@pytest.mark.parametrize("example", EVENTS)
def test_every_example_of_an_event_can_be_applied(example: bytes) -> None:
    assert decode(subject_of("main", read(example)), example)


def test_every_type_has_an_example() -> None:
    types = {kind.__struct_config__.tag for kind in Event.__args__}
    assert {msgspec.json.decode(example)["type"] for example in EVENTS} == types


@pytest.mark.parametrize("example", EXCEPTIONS)
def test_the_example_of_an_exception_is_one_as_it_is_published(example: bytes) -> None:
    shown = msgspec.json.decode(example, type=PublishedException, strict=True)
    assert set(msgspec.json.decode(example)) == set(PublishedException.__struct_fields__)
    assert shown.sentence == sentence(shown.reason, shown.state, sku=shown.sku, node=shown.node, quantity=shown.quantity)


def test_every_reason_stream_and_header_is_named() -> None:
    for name in (*ExceptionReason, streams.INVENTORY, streams.EXCEPTIONS, streams.STRAYS, streams.feed_durable("<pool>")):
        assert f"`{name}`" in TEXT, name
    for header in (ledger_writer.FIRST, ledger_writer.LAST, ledger_writer.EPOCH):
        assert header in TEXT
