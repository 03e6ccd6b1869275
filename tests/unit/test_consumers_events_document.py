"""The page of events: it is made from the structs, what it shows can be read, and it leaves nothing out."""

import re
from pathlib import Path

import msgspec
import pytest

from atp.canonical import Items, decode, read, request_of, subject_of
from atp.events import TYPES, type_of
from atp.exceptions import PublishedException, sentence
from atp.model.pool import Pool
from atp.model.status import ExceptionReason, Status
from atp.model.verbs import RESERVE_FINGERPRINT, ChannelConfig, Confirm, Context, NodeConfig, Provision, Reserve, SourceConfig, Want
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
    for name in (*ExceptionReason, streams.INVENTORY, streams.EXCEPTIONS, streams.feed_durable("<pool>")):
        assert f"`{name}`" in TEXT, name
    for header in (ledger_writer.FIRST, ledger_writer.LAST, ledger_writer.EPOCH):
        assert header in TEXT


RUN, NOW_MS = "run-1", 1_800_000_000_000
CONTEXT = Context("oms")
#: What the examples call by other names, as the first of them registers it.
ITEMS = Items({"04012345111118": "TEA-EARL-GREY"}, {("TEA-EARL-GREY", "BOX"): 12})


def pool_of_the_examples() -> Pool:
    pool = Pool()
    pool.open(RUN, 0, 0, NOW_MS)
    nodes = [NodeConfig("DC1", "distribution_centre", "Europe/Berlin", "wms"), NodeConfig("STORE1", "store", "Europe/Berlin", "till")]
    by_id = [SourceConfig(name, False, order="id") for name in ("till", "oms")]
    sources = [SourceConfig("erp", True, True), SourceConfig("wms", False), *by_id]
    assert pool.apply(Provision(CONTEXT, nodes, [ChannelConfig("web", ["DC1"])], sources), NOW_MS, RUN).status == Status.OK
    return pool


def order(pool: Pool, reference: str, sku: str, units: int) -> None:
    reservation = f"order-{reference}"
    basket = Reserve(CONTEXT, reservation, 0, "web", reference, 60_000, False, [], [Want(sku, units)], [0] * len(RESERVE_FINGERPRINT))
    for request in (basket, Confirm(CONTEXT, reservation, "paid", 0, False)):
        assert pool.apply(request, NOW_MS, RUN).status == Status.OK


def test_the_examples_tell_one_story_in_the_order_of_the_page() -> None:
    pool = pool_of_the_examples()
    for example in EVENTS:
        event = read(example)
        if type_of(event) == "pick":
            order(pool, "4711", "TEA-EARL-GREY", 2)
            order(pool, "4712", "MUG-WHITE", 1)
            order(pool, "4713", "MUG-WHITE", 1)
        request = request_of(event, ITEMS)
        assert request is None or pool.apply(request, NOW_MS, RUN).status == Status.OK, example
    rows = pool.rows
    tea, mugs, sold = rows["TEA-EARL-GREY", "DC1"], rows["MUG-WHITE", "DC1"], rows["MUG-WHITE", "STORE1"]
    assert (tea.on_hand, tea.allocated) == (119, 0)
    assert (mugs.on_hand, mugs.damaged, mugs.quality_hold, mugs.allocated) == (374, 3, 12, 1)
    assert (sold.on_hand, sold.damaged, rows["TEA-EARL-GREY", "STORE1"].on_hand) == (24, 1, -2)
