"""What sources say of items and locations: in whatever order it comes, the latest word of each counts; what waits is told."""

from itertools import permutations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atp.model.pool import ModelLimits
from atp.model.verbs import (
    ITEM_STATES,
    LOCATION_STATES,
    ItemLine,
    ItemState,
    Locate,
    Park,
    Provision,
    Register,
    SetItemStates,
    SetLocationState,
    SourceConfig,
)
from tests.unit.model_world import CONTEXT, NODES, SKUS, World

Statement = Register | SetItemStates | Locate | SetLocationState

some_skus = st.lists(st.sampled_from(SKUS), min_size=1, unique=True)
aliases = st.lists(st.sampled_from(["P", "Q", "A"]), unique=True).map(sorted)


def world(order: str = "sequence", bounds: ModelLimits | None = None) -> World:
    """With a source `mdm` that may say everything, and gives its events places in that order."""
    made = World(bounds=bounds)
    made.do(Provision(CONTEXT, [], [], [SourceConfig("mdm", True, True, order)]))
    return made


def registered(sequence: int, *lines: ItemLine) -> Register:
    return Register(CONTEXT, f"e{sequence}", "mdm", sequence, sequence, list(lines), sequence)


@st.composite
def statements(draw: st.DrawFn, sequence: int) -> Statement:
    kind, node = draw(st.integers(0, 3)), draw(st.sampled_from(NODES))
    who = CONTEXT, f"e{sequence}", "mdm"
    if kind == 0:
        lines = [ItemLine(sku, draw(st.integers(0, 9)), draw(st.sampled_from(["", "{}"])), draw(aliases)) for sku in draw(some_skus)]
        return registered(sequence, *lines)
    if kind == 1:
        states = [ItemState(sku, draw(st.integers(0, len(ITEM_STATES) - 1))) for sku in draw(some_skus)]
        return SetItemStates(*who, sequence, sequence, states, sequence)
    if kind == 2:
        return Locate(*who, node, sequence, sequence, draw(st.sampled_from(["store", "kiosk"])), "UTC", sequence)
    return SetLocationState(*who, node, sequence, sequence, draw(st.integers(0, len(LOCATION_STATES) - 1)), sequence)


def what_is_known(it: World) -> object:
    """All that statements say, without when it was written."""
    layout = it.pool.layout()
    items = {sku: msgspec.structs.replace(item, revision=0) for sku, item in it.pool.items.items()}
    return items, layout["cfg"], {key: fields for key, fields in layout.items() if key.startswith(("itm:", "ali:"))}


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), st.sampled_from(["sequence", "time"]))
def test_statements_shuffled_and_doubled_end_the_same(data: st.DataObject, order: str) -> None:
    said = [data.draw(statements(sequence)) for sequence in range(2, 2 + data.draw(st.integers(1, 12)))]
    again = data.draw(st.lists(st.sampled_from(said), max_size=len(said)))
    ends = []
    for stream in (said, data.draw(st.permutations([*said, *again]))):
        it = world(order)
        for statement in stream:
            assert it.do(statement).status in {"OK", "DUPLICATE"}
        ends.append(what_is_known(it))
    assert ends[0] == ends[1]


def test_without_places_the_last_to_come_counts_and_each_event_counts_once() -> None:
    it = world("id")
    for sequence, safety in ((7, 1), (3, 2), (7, 1)):
        it.do(registered(sequence, ItemLine("A", safety)))
    assert it.pool.items["A"].safety_stock == 2


def test_names_go_with_the_registration_that_gave_them() -> None:
    given = [
        registered(2, ItemLine("A", 0, "", ["P", "Q"])),
        registered(3, ItemLine("A", 0, "", ["Q"])),
        registered(4, ItemLine("B", 0, "", ["Q"])),
    ]
    for order in permutations(given):
        it = world()
        for registration in order:
            it.do(registration)
        layout = it.pool.layout()
        assert layout["ali:Q"] == {"A": 1, "B": 1}
        assert "ali:P" not in layout


def test_a_registration_tells_each_name_that_events_wait_for_once_also_when_it_is_known() -> None:
    it = world()
    for name, is_alias in (("C", False), ("P", True), ("P", False)):
        assert it.do(Park(CONTEXT, name, f"wms/{is_alias}/{name}", "{}", is_alias)).status == "OK"
    registration = registered(2, ItemLine("C", 0, "", ["P"]), ItemLine("D", 0, "", ["P"]))
    assert it.do(registration).waiting == ["C", "P"]
    assert (it.do(registration).status, it.do(registration).waiting) == ("DUPLICATE", ["C", "P"])


@pytest.mark.parametrize(("bound", "entries"), [(10_000, 1), (700, 2), (1, 3)])
def test_a_registration_that_is_too_much_for_one_entry_goes_into_several(bound: int, entries: int) -> None:
    it = world(bounds=ModelLimits(ledger_entry_bytes_max=bound))
    before = it.pool.revision
    done = it.do(registered(2, *(ItemLine(sku, 1, "x" * 200, []) for sku in "ABC")))
    assert (done.status, done.revision) == ("OK", before + entries)
    assert all(it.pool.items[sku].safety_stock == 1 for sku in "ABC")
