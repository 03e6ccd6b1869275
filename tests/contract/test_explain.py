"""The event or call behind each term of a figure, over gRPC: found in the ledger, and honest about how far back that was looked through."""

from typing import Any

import pytest

from atp import limits
from atp.model.verbs import Adjust, Context, Figures, NodeConfig, Provision, Register
from atp.model.verbs import ItemLine as Item
from inventory.availability.v1 import availability_service_pb2 as ap
from tests.contract.conftest import ASKER, Shop


def terms_of(told: ap.ExplainAvailabilityResponse) -> dict[str, ap.Term]:
    return {term.name: term for term in told.terms}


def changes_of(told: ap.ExplainAvailabilityResponse) -> dict[str, tuple[str, str, int]]:
    """Verb, cause and units of the last change of each term that has one."""
    found = ((term.name, term.changed) for term in told.terms if term.HasField("changed"))
    return {name: (changed.verb, changed.cause, changed.delta) for name, changed in found}


def write(shop: Shop, request: Any) -> int:
    result = shop.engine.run(shop.engine.store.write(shop.pool, request))
    assert result.status == "OK", result
    return int(result.revision)


def adjust(shop: Shop, event_id: str, sequence: int, figures: Figures, context: Context = ASKER) -> int:
    return write(shop, Adjust(context, event_id, "adjustment", "wms", "N1", sequence, 1, [figures]))


def test_each_term_names_the_change_that_moved_it_last(shop: Shop) -> None:
    broken = adjust(shop, "adj-1", 101, Figures("A", 0, 3, 0), Context("wms", "shift-2"))
    adjust(shop, "adj-2", 102, Figures("A", 4, 0, 0))
    shop.reserve(("A", 2), rid="r1")
    confirmed = shop.confirm("r1")
    adjust(shop, "adj-3", 103, Figures("B", 1, 1, 1))  # of another SKU
    told = shop.explain("A", "N1")
    assert changes_of(told) == {
        "on_hand": ("adjustment", "adj-2", 4),
        "damaged": ("adjustment", "adj-1", 3),
        "reserved": ("confirm", "r1", -2),
        "allocated": ("confirm", "r1", 2),
        "safety_stock": ("item_registered", "items", 0),
    }
    assert told.searched_revision == 1
    terms = terms_of(told)
    damaged, allocated = terms["damaged"].changed, terms["allocated"].changed
    assert (damaged.revision, damaged.actor, damaged.correlation) == (broken, "wms", "shift-2")
    assert (allocated.revision, allocated.actor, allocated.time) == (confirmed.revision, "local", confirmed.time)
    assert (terms["damaged"].units, terms["damaged"].contribution) == (3, -3)


def test_each_physical_figure_names_the_source_whose_word_counts(shop: Shop) -> None:
    assert {term.name: term.source for term in shop.explain("A", "N1").terms if term.source} == dict.fromkeys(
        ("on_hand", "damaged", "quality_hold"), "wms"
    )
    write(shop, Provision(ASKER, [NodeConfig("N4", "supplier", "Europe/Berlin", "")], [], []))
    assert {term.source for term in shop.explain("A", "N4").terms} == {""}


def test_one_line_of_many_and_many_lines_of_one_are_each_told_by_their_own_units(shop: Shop) -> None:
    write(shop, Adjust(ASKER, "both", "receipt", "wms", "N1", 101, 1, [Figures("A", 7, 0, 0), Figures("B", 9, 0, 0)]))
    assert changes_of(shop.explain("A", "N1"))["on_hand"] == ("receipt", "both", 7)
    assert changes_of(shop.explain("B", "N1"))["on_hand"] == ("receipt", "both", 9)
    assert changes_of(shop.explain("A", "N2"))["on_hand"][2] == 5


def test_a_sku_whose_name_is_part_of_anothers_is_not_taken_for_it(shop: Shop) -> None:
    write(shop, Register(ASKER, "more", "erp", 200, 1, [Item("AA", 0)]))
    adjust(shop, "theirs", 101, Figures("AA", 0, 1, 0))
    told = shop.explain("A", "N1")
    assert "damaged" not in changes_of(told)
    assert told.searched_revision == 1


@pytest.mark.parametrize("sku", ["x" * 31, "x" * 32, "ü" * 64, "🫖" * 64], ids=["31 bytes", "32 bytes", "128 bytes", "256 bytes"])
def test_a_sku_is_found_however_long_its_name_is(shop: Shop, sku: str) -> None:
    write(shop, Register(ASKER, "more", "erp", 200, 1, [Item(sku, 0)]))
    adjust(shop, "ours", 101, Figures(sku, 1, 0, 0))
    assert changes_of(shop.explain(sku, "N1"))["on_hand"] == ("adjustment", "ours", 1)


def test_a_change_that_was_not_looked_for_so_far_back_is_left_out_and_it_says_how_far(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EXPLAIN_ENTRIES_MAX", 50)
    adjust(shop, "old", 101, Figures("A", 0, 3, 0))
    for number in range(60):
        shop.reserve(("A", 1), rid=f"r{number}")
        shop.release(f"r{number}")
    told = shop.explain("A", "N1")
    assert changes_of(told)["reserved"] == ("release", "r59", -1)
    assert "damaged" not in changes_of(told)
    assert told.searched_revision == told.row_revision - 49


def test_what_the_store_has_let_go_is_not_claimed_to_be_unchanged(shop: Shop) -> None:
    adjust(shop, "old", 101, Figures("A", 0, 3, 0))
    kept_from = adjust(shop, "kept", 102, Figures("B", 1, 0, 0))
    shop.reserve(("A", 1), rid="r1")
    shop.engine.run(shop.engine.store._command("XTRIM", f"{{{shop.pool}}}:ledger", "MINID", f"{kept_from}-0"))
    told = shop.explain("A", "N1")
    assert changes_of(told) == {"reserved": ("reserve", "r1", 1)}
    assert told.searched_revision == kept_from


def test_pages_of_large_entries_stay_small_and_none_is_passed_over(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EXPLAIN_PAGE_BYTES", 2_000)
    first = adjust(shop, "old", 101, Figures("A", 0, 3, 0))
    for number in range(100):
        adjust(shop, f"e{number}", 200 + number, Figures("B", 1, 0, 0))
    adjust(shop, "new", 400, Figures("A", 1, 0, 0))
    read: list[tuple[int, int]] = []
    sound = shop.engine.store._entries

    async def noted(pool: str, start: int, end: int) -> Any:
        found = await sound(pool, start, end)
        read.append((start, sum(map(len, found))))
        return found

    monkeypatch.setattr(shop.engine.store, "_entries", noted)
    told = shop.explain("A", "N1")
    assert terms_of(told)["damaged"].changed.revision == first
    assert max(size for _, size in read[1:]) < 3 * 2_000, "the first page does not know yet how large entries are"


def test_without_time_to_look_the_figures_are_told_all_the_same(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EXPLAIN_SEARCH_MS_MAX", 0)
    told = shop.explain("A", "N1")
    assert (told.available, told.searched_revision) == (10, told.row_revision + 1)
    assert set(changes_of(told)) == {"safety_stock"}
