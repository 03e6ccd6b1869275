"""The drop folder's format: long files become parts, and a bad line costs no more than it must."""

import io
import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atp import canonical, limits
from atp.events import Event, Snapshot
from consumers.feeds import ADAPTERS, FeedSettings, Mistake
from consumers.feeds.csv_files import COLUMNS, KINDS

FEED = FeedSettings(name="night", adapter="csv", pool="main", source="erp", nodes={"0100": "DC1", "0200": "STORE1", "0900": ""})
RECEIPTS = "type,id,node,time,sku,quantity"
COUNTS = "type,id,node,as_of,scope,sku,on_hand,damaged"
PART = limits.EVENT_LINES_MAX


def read(*lines: str) -> list[Event | Mistake]:
    return list(ADAPTERS["csv"].read(io.BytesIO("\n".join(lines).encode()), FEED))


def receipt(event_id: str, sku: str, quantity: str = "1", node: str = "0100") -> str:
    return f"receipt,{event_id},{node},2026-01-02T08:00:00Z,{sku},{quantity}"


def counted(event_id: str, sku: str, on_hand: str = "1", node: str = "0100", scope: str = "full") -> str:
    return f"snapshot,{event_id},{node},2026-01-02T22:00:00Z,{scope},{sku},{on_hand},"


def told(found: Iterable[Event | Mistake]) -> list[str]:
    """What became of a file: an event by its id and items, a mistake by its place."""
    return [
        f"({one.place})" if isinstance(one, Mistake) else f"{one.id}: {' '.join(line.sku for line in canonical.lines_of(one))}"
        for one in found
    ]


def details(found: Iterable[Event | Mistake]) -> list[str]:
    return [one.error.detail for one in found if isinstance(one, Mistake)]


def test_lines_that_follow_each_other_under_one_id_are_one_event() -> None:
    assert told(read(RECEIPTS, receipt("R1", "A"), receipt("R1", "B"), receipt("R2", "A"), "", receipt("R2", "C"))) == [
        "R1: A B",
        "R2: A C",
    ]


def test_a_bad_line_costs_its_event_and_no_other() -> None:
    found = read(RECEIPTS, receipt("R1", "A"), receipt("R2", "A"), receipt("R2", "B", "some"), receipt("R3", "A"))
    assert told(found) == ["R1: A", "(line 3)", "R3: A"]
    assert details(found) == ["line 4: quantity: 'some' is not a whole number."]
    (mistake,) = (one for one in found if isinstance(one, Mistake))
    assert mistake.original.decode() == "\n".join([receipt("R2", "A"), receipt("R2", "B", "some")])


def test_a_line_that_cannot_be_read_costs_the_event_that_it_stands_in_and_none_that_it_stands_between() -> None:
    assert told(read(RECEIPTS, receipt("R1", "A"), "?", receipt("R2", "A"))) == ["(line 3)", "R1: A", "R2: A"]
    assert told(read(RECEIPTS, receipt("R1", "A"), "?", receipt("R1", "B"), receipt("R2", "A"))) == ["(line 3)", "(line 2)", "R2: A"]


def test_a_delta_longer_than_an_event_is_refused_as_one() -> None:
    found = read(RECEIPTS, *(receipt("R1", f"S{number}") for number in range(PART + 1)), receipt("R2", "A"))
    assert told(found) == ["(line 2)", "R2: A"]
    assert f"{PART + 1} lines of one event" in details(found)[0]


def test_lines_of_one_event_say_the_same_of_it() -> None:
    found = read(RECEIPTS, receipt("R1", "A"), receipt("R1", "A", node="0200"))
    assert details(found) == ["line 3: it says other of its event than line 2."]


def test_snapshots_of_several_nodes_may_stand_in_each_others_midst() -> None:
    lines = [counted("N", f"S{number}", node=node, scope="partial") for number in range(2) for node in ("0100", "0200", "0900")]
    assert told(read(COUNTS, *lines)) == ["N-DC1: S0 S1", "N-STORE1: S0 S1"]


def test_a_full_snapshot_comes_in_parts_that_know_their_number() -> None:
    found = read(COUNTS, *(counted("N", f"S{number}") for number in range(2 * PART + 1)))
    parts = [one for one in found if isinstance(one, Snapshot)]
    assert [(one.id, one.data.part, one.data.parts, len(one.data.lines)) for one in parts] == [
        ("N-DC1", 1, 3, PART),
        ("N-DC1.2", 2, 3, PART),
        ("N-DC1.3", 3, 3, 1),
    ]
    assert len(parts) == len(found)


def test_a_full_snapshot_of_exactly_whole_parts_has_no_empty_one() -> None:
    parts = [one for one in read(COUNTS, *(counted("N", f"S{number}") for number in range(2 * PART))) if isinstance(one, Snapshot)]
    assert [(one.data.part, one.data.parts) for one in parts] == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    "bad", [counted("N", "B", "many"), counted("N", "A"), counted("N", "B", scope="partial"), "?", "snapshot,,0100,,,,,"]
)
def test_a_full_snapshot_with_a_bad_line_is_refused_whole(bad: str) -> None:
    found = read(COUNTS, counted("N", "A"), bad, counted("P", "C", scope="partial"))
    assert "P-DC1: C" in told(found)
    assert not any(one.startswith("N") for one in told(found))
    assert "the full snapshot N at DC1 is refused: line 3: " in details(found)[0]


def test_a_bad_line_of_one_full_snapshot_costs_no_other() -> None:
    found = read(COUNTS, counted("N", "A"), counted("N", "B", "many", node="0200"), counted("N", "C"))
    assert told(found) == ["(snapshot N at STORE1)", "N-DC1: A C"]


def test_a_bad_line_of_a_partial_snapshot_costs_itself_alone() -> None:
    lines = [counted("N", sku, on_hand, scope="partial") for sku, on_hand in (("A", "1"), ("B", "many"), ("A", "2"), ("C", ""), ("D", "0"))]
    found = read(COUNTS, *lines)
    assert told(found) == ["(line 3)", "(line 4)", "(line 5)", "N-DC1: A D"]
    assert [detail.partition(": ")[2] for detail in details(found)] == [
        "on_hand: 'many' is not a whole number.",
        "A stands in line 2 already.",
        "it names no figure.",
    ]


BAD_LINES = [
    ("issue,X1,0100,2026-01-02T08:00:00Z,A,1", "type: 'issue' is none of receipt, pick"),
    ("receipt,,0100,2026-01-02T08:00:00Z,A,1", "id is empty"),
    ("receipt,X1,,2026-01-02T08:00:00Z,A,1", "node is empty"),
    ("receipt,X1,0300,2026-01-02T08:00:00Z,A,1", "location '0300' is not among the nodes of feed night"),
    ("receipt,X1,0100,,A,1", "time is empty"),
    ("receipt,X1,0100,yesterday,A,1", "time: 'yesterday' is not a time"),
    ("receipt,X1,0100,2026-01-02T08:00:00Z,,1", "sku or alias names the item"),
    ("receipt,X1,0100,2026-01-02T08:00:00Z,A,0", "Expected `int` >= 1"),
    ("receipt,X1,0100,2026-01-02T08:00:00Z,A,1,2", "it has 7 values, the header names 6 columns"),
    ('receipt,X1,0100,2026-01-02T08:00:00Z,"A,1', "it is not CSV"),
    ("receipt,X1,0100,2026-01-02T08:00:00Z," + "A" * limits.FEED_LINE_BYTES_MAX + ",1", "bytes"),
    ("adjustment,X1,0100,2026-01-02T08:00:00Z,A,1", "quantity: '1' means nothing in an event of type adjustment"),
]


@pytest.mark.parametrize(("line", "detail"), BAD_LINES)
def test_a_bad_line_says_what_is_wrong_and_the_next_goes_on(line: str, detail: str) -> None:
    found = read(RECEIPTS, line, receipt("R1", "A"))
    assert told(found) == ["(line 2)", "R1: A"]
    assert details(found)[0].startswith("line 2: ")
    assert detail in details(found)[0]


@pytest.mark.parametrize(
    ("header", "detail"),
    [
        ("type,id,colour", "columns that are not known: ['colour']"),
        ("type,id,sku,sku", "sku twice"),
        ("id,sku", "lacks the column type"),
        ("", "lacks"),
    ],
)
def test_a_file_whose_header_cannot_be_read_is_one_mistake(header: str, detail: str) -> None:
    found = read(header, *(receipt("R1", "A") for _ in range(3)))
    assert told(found) == ["(line 1)"]
    assert detail in details(found)[0]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_the_header_shows_what_parts_the_columns(delimiter: str, mark: str) -> None:
    assert told(read(mark + RECEIPTS.replace(",", delimiter), receipt("R1", "A").replace(",", delimiter) + "\r")) == ["R1: A"]


def test_of_very_many_mistakes_the_first_are_told_and_the_others_counted() -> None:
    many = limits.FEED_FILE_MISTAKES_MAX + 7
    found = read(RECEIPTS, *("?" for _ in range(many)), receipt("R1", "A"))
    assert len(details(found)) == limits.FEED_FILE_MISTAKES_MAX + 1
    assert details(found)[-1].startswith("7 more mistakes")
    assert "R1: A" in told(found)


def test_a_file_has_no_more_snapshots_than_there_is_room_for() -> None:
    lines = [counted(f"N{number}", "A", scope="partial") for number in range(limits.FEED_FILE_SNAPSHOTS_MAX + 1)]
    found = read(COUNTS, *lines, counted("N0", "B", scope="partial"))
    assert len([one for one in found if not isinstance(one, Mistake)]) == limits.FEED_FILE_SNAPSHOTS_MAX
    assert details(found) == [f"line {len(lines) + 1}: a file has at most {limits.FEED_FILE_SNAPSHOTS_MAX} snapshots."]


def test_a_long_file_takes_no_more_memory_than_a_short_one() -> None:
    def peak(lines: int) -> int:
        file = io.BytesIO("\n".join([COUNTS, *(counted("N", f"S{number}") for number in range(lines))]).encode())
        tracemalloc.start()
        for _ in ADAPTERS["csv"].read(file, FEED):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(20 * PART) < 2 * peak(2 * PART)


def test_every_type_of_event_with_items_on_its_lines_can_be_sent() -> None:
    assert {"receipt", "pick", "shipment", "transfer_in", "adjustment", "return", "sale", "cycle_count", "snapshot"} < KINDS.keys()
    assert {"item_registered", "heartbeat", "location_registered"}.isdisjoint(KINDS)
    assert {"type", "id", "node", "sku", "alias", "unit", "quantity", "on_hand", "damaged", "quality_hold", "as_of", "sequence"} < COLUMNS


CELL = st.sampled_from(
    ["", "receipt", "snapshot", "adjustment", "0100", "0900", "full", "2026-01-02T08:00:00Z", "A", "1", "-1", "9" * 30]
) | st.text(max_size=6)


@settings(max_examples=300, deadline=None)
@given(st.permutations(sorted(COLUMNS)), st.lists(st.lists(CELL, max_size=len(COLUMNS)), max_size=6))
def test_whatever_the_cells_they_become_good_events_or_mistakes_and_nothing_is_raised(header: list[str], rows: list[list[str]]) -> None:
    width = max((len(row) for row in rows), default=3)
    columns = ["type", "id", *(column for column in header if column not in {"type", "id"})][: max(width, 2)]
    for one in read(",".join(columns), *(",".join(row) for row in rows)):
        if not isinstance(one, Mistake):
            canonical.check(one)
