"""The page of events: it is made from the structs, what it shows can be read, and it leaves nothing out."""

import re
from pathlib import Path

import msgspec
import pytest

from atp.canonical import decode, read, subject_of
from atp.events import TYPES, type_of
from atp.exceptions import PublishedException, sentence
from atp.model.status import ExceptionReason
from cli import catalogue
from consumers import ledger_writer, streams

TEXT = (Path(__file__).resolve().parents[2] / "docs/events.md").read_text()
EXAMPLES = [block.encode() for block in re.findall(r"^```json\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)]
EVENTS, EXCEPTIONS = EXAMPLES[:-1], EXAMPLES[-1:]


def test_the_page_is_made_from_the_structs() -> None:
    assert catalogue.document() == TEXT, "python -m cli.catalogue > docs/events.md"


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_has_an_example_that_can_be_applied(kind: str) -> None:
    example = catalogue.example(kind).encode()
    event = read(example)
    assert type_of(event) == kind
    assert decode(subject_of("main", event), example).event == event
    assert example in EVENTS


def test_what_the_page_shows_is_all_that_there_is() -> None:
    assert {type_of(read(example)) for example in EVENTS} == set(TYPES)
    assert len(EVENTS) == len(TYPES)
    assert re.findall(r"^#### `(\w+)`$", TEXT, re.MULTILINE) == [type_of(read(example)) for example in EVENTS]


def test_a_field_stands_there_with_its_bounds_its_default_and_what_the_source_says_of_it() -> None:
    assert "| `safety_stock` | whole number, 0 to 1,000,000,000 | `0` | kept back at every node |" in TEXT
    assert "| `shipment_id` | 1 to 64 printable characters without spaces | **must be said** | the same in Fulfil |" in TEXT
    assert "| `scope` | one of `full`, `partial` | `partial` |  |" in TEXT
    assert "| `from` | one of `damaged`, `quality_hold`, `sellable` | **must be said** |" in TEXT


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
