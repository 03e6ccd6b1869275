"""From canonical messages to verbs: what is read, what is added up, what is refused and why."""

import itertools
import random
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from atp import limits
from atp.canonical import (
    ContentError,
    Feed,
    Items,
    aliases_of,
    correlation_of,
    decode,
    packed_lines,
    pool_of_subject,
    request_of,
    subject_of,
)
from atp.canonical import read as read_event
from atp.canonical.verbs import moment_of
from atp.model.status import ExceptionReason
from atp.model.verbs import (
    FIGURE_BITS,
    Adjust,
    Cancel,
    Context,
    Count,
    Figures,
    ItemLine,
    Note,
    Pick,
    Register,
    Ship,
    Transfer,
    Want,
)
from atp.requests import fingerprint

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_900, tzinfo=UTC)


def message(kind: str, data: dict[str, Any], **others: Any) -> bytes:
    head = {"specversion": "1.0", "id": "e1", "source": "wms", "type": kind, "time": "2026-01-02T03:04:05Z"}
    return msgspec.json.encode({**head, "data": data, **others})


def lines(*pairs: tuple[str, int]) -> list[dict[str, Any]]:
    return [{"sku": sku, "quantity": quantity} for sku, quantity in pairs]


def read(kind: str, data: dict[str, Any], **others: Any) -> Any:
    return request_of(decode(f"inv.main.{others.get('source', 'wms')}.{kind}", message(kind, data, **others)).event)


def verdict(subject: str, data: bytes) -> tuple[ExceptionReason, str]:
    with pytest.raises(ContentError) as error:
        decode(subject, data)
    return error.value.reason, error.value.detail


def test_a_receipt_adds_up_lines_of_one_sku_in_order_of_first_mention() -> None:
    data = {"node": "N1", "sequence": 7, "lines": lines(("B", 1), ("A", 2), ("B", 3))}
    request = read("receipt", data, correlation="c-1")
    figures = [Figures("B", 4, 0, 0), Figures("A", 2, 0, 0)]
    assert request == Adjust(Context("wms", "c-1"), "e1", "receipt", "wms", "N1", 7, request.fingerprint, figures, request.moment)


@pytest.mark.parametrize(
    ("disposition", "figures"),
    [("sellable", Figures("A", 2, 0, 0)), ("damaged", Figures("A", 2, 2, 0)), ("quality_hold", Figures("A", 2, 0, 2))],
)
def test_a_return_is_on_hand_and_where_it_belongs(disposition: str, figures: Figures) -> None:
    request = read("return", {"node": "N1", "sequence": 1, "disposition": disposition, "lines": lines(("A", 2))})
    assert (request.kind, request.lines) == ("return", [figures])


def test_an_adjustment_keeps_its_signs_and_may_cancel_itself_out() -> None:
    changes = [{"sku": "A", "on_hand": -3, "damaged": 2}, {"sku": "A", "on_hand": 3, "quality_hold": -1}]
    assert read("adjustment", {"node": "N1", "sequence": 1, "lines": changes}).lines == [Figures("A", 0, 2, -1)]


def test_a_shipment_names_its_reservation_if_it_has_one() -> None:
    data = {"node": "N1", "sequence": 1, "shipment_id": "S1", "lines": lines(("A", 1), ("A", 1))}
    without, named = read("shipment", data), read("shipment", {**data, "reservation_id": "R1"})
    assert without == Ship(Context("wms"), "e1", "wms", "N1", 1, without.fingerprint, "S1", "", [Want("A", 2)], without.moment)
    assert named.reservation_id == "R1"
    assert named.fingerprint != without.fingerprint


def test_a_snapshot_is_of_a_moment_in_milliseconds_wherever_it_was_counted() -> None:
    data = {"node": "N1", "sequence": 1, "lines": [{"sku": "A", "on_hand": -2, "damaged": 1}]}
    here = read("snapshot", {**data, "as_of": NOW})
    there = read("snapshot", {**data, "as_of": NOW.astimezone(timezone(timedelta(hours=5)))})
    assert here == there
    figures = [Figures("A", -2, 1, 0, named=FIGURE_BITS["on_hand"] | FIGURE_BITS["damaged"])]
    assert here == Count(Context("wms"), "e1", "wms", "N1", 1, here.fingerprint, 1_767_323_045_678, figures, here.moment)


def test_a_full_snapshot_names_every_figure_and_says_which_part_it_is() -> None:
    data = {
        "node": "N1",
        "sequence": 1,
        "as_of": NOW,
        "scope": "full",
        "part": 2,
        "parts": 3,
        "lines": [{"sku": "A", "damaged": 1}, {"sku": "B"}],
    }
    request = read("snapshot", data)
    assert request.lines == [Figures("A", 0, 1, 0), Figures("B", 0, 0, 0)]
    assert (request.part, request.parts) == (2, 3)
    assert read("snapshot", {**data, "part": 3}).fingerprint != request.fingerprint


def test_items_are_registered_with_their_safety_stock() -> None:
    data = {"sequence": 3, "lines": [{"sku": "A", "safety_stock": 2}, {"sku": "B"}]}
    request = read("item_registered", data, source="erp")
    assert request == Register(Context("erp"), "e1", "erp", 3, request.fingerprint, [ItemLine("A", 2), ItemLine("B", 0)], request.moment)


def test_what_is_kept_of_an_item_for_others_is_what_was_said_and_its_names_can_be_looked_up() -> None:
    line = {
        "sku": "TEA",
        "gtins": ["4006381333931", "036000291452"],
        "aliases": ["tea-old", "04006381333931"],
        "packs": {"case": 12},
        "price": {"amount": 499, "currency": "EUR"},
    }
    [item] = read("item_registered", {"sequence": 1, "lines": [line]}, source="erp").lines
    assert msgspec.json.decode(item.details) == {name: line[name] for name in ("gtins", "aliases", "packs", "price")}
    assert item.aliases == ["00036000291452", "04006381333931", "tea-old"], "a GTIN is the same number whatever its length"


@pytest.mark.parametrize(
    ("kind", "data", "verb", "said"),
    [
        ("pick", {"order_reference": "O1"}, Pick, {"order_reference": "O1", "reservation_id": ""}),
        ("pick_reversed", {"order_reference": "O1"}, Pick, {"kind": "pick_reversed", "order_reference": "O1"}),
        ("pick_short", {"reservation_id": "R1"}, Adjust, {"kind": "pick_short", "about": "R1", "lines": [Figures("A", -2, 0, 0)]}),
        ("pack", {"order_reference": "O1", "package_id": "P1"}, Note, {"kind": "pack", "about": "O1"}),
        ("shipment", {"order_reference": "O1", "shipment_id": "S1"}, Ship, {"order_reference": "O1", "reservation_id": ""}),
        ("transfer_out", {"transfer_id": "T1", "to_node": "N2"}, Transfer, {"kind": "transfer_out", "other_node": "N2"}),
        ("transfer_in", {"transfer_id": "T1", "from_node": "N2"}, Transfer, {"kind": "transfer_in", "other_node": "N2"}),
        ("order_cancelled", {"order_reference": "O1"}, Cancel, {"order_reference": "O1", "lines": [Want("A", 2)]}),
        ("sale", {"transaction_id": "B1"}, Adjust, {"kind": "sale", "lines": [Figures("A", -2, 0, 0)]}),
        ("sale", {"transaction_id": "B1", "order_reference": "O1"}, Ship, {"kind": "sale", "shipment_id": "B1"}),
        ("sale_return", {"disposition": "damaged"}, Adjust, {"kind": "sale_return", "lines": [Figures("A", 2, 2, 0)]}),
    ],
)
def test_each_kind_of_movement_has_its_verb(kind: str, data: dict[str, Any], verb: type, said: dict[str, Any]) -> None:
    request = read(kind, {"node": "N1", "sequence": 4, "lines": lines(("A", 2)), **data})
    assert type(request) is verb
    assert {name: getattr(request, name) for name in said} == said


def test_units_change_what_they_are_good_for_and_stay_on_hand() -> None:
    moves = [
        {"sku": "A", "quantity": 3, "from": "quality_hold", "to": "sellable"},
        {"sku": "B", "quantity": 1, "from": "sellable", "to": "damaged"},
    ]
    request = read("status_change", {"node": "N1", "sequence": 1, "lines": moves})
    assert request.lines == [Figures("A", 0, 0, -3), Figures("B", 0, 1, 0)]


def test_cases_become_eaches_and_another_name_its_item() -> None:
    items = Items({"04006381333931": "TEA"}, {("TEA", "case"): 12})
    data = {
        "node": "N1",
        "sequence": 1,
        "lines": [{"alias": "4006381333931", "unit": "case", "quantity": 2}, {"sku": "TEA", "quantity": 1}],
    }
    event = read_event(message("receipt", data))
    assert aliases_of(event) == ["04006381333931"]
    assert [line.unit for line in packed_lines(event)] == ["case"]
    request = request_of(event, items)
    assert isinstance(request, Adjust)
    assert request.lines == [Figures("TEA", 25, 0, 0)]
    larger = request_of(event, items._replace(packs={("TEA", "case"): 10}))
    assert isinstance(larger, Adjust)
    assert larger.fingerprint == request.fingerprint, "the event said the same, whatever a case holds"


def test_a_place_by_time_follows_the_seconds_and_tells_events_of_one_second_apart() -> None:
    def moment(event_id: str, second: int) -> int:
        return int(read("receipt", {"node": "N1", "lines": lines(("A", 1))}, id=event_id, time=NOW.replace(second=second)).moment)

    assert moment("a", 1) < moment("b", 2) < moment("a", 3)
    assert moment("a", 1) == moment("a", 1) != moment("b", 1)
    snapshot = read("snapshot", {"node": "N1", "as_of": NOW.replace(second=2), "lines": [{"sku": "A", "on_hand": 1}]})
    assert moment("z", 1) < snapshot.moment < moment("a", 2), "what happened in the second of a count comes after it"


def test_counts_of_one_second_that_were_made_in_it_follow_each_other_and_parts_of_a_full_one_do_not() -> None:
    def moment(kind: str, millisecond: int, second: int = 2, **others: Any) -> int:
        data = {"node": "N1", "as_of": NOW.replace(second=2, microsecond=0), "lines": [{"sku": "A", "on_hand": 1}], **others}
        return int(read(kind, data, time=NOW.replace(second=second, microsecond=millisecond * 1_000)).moment)

    for kind in ("snapshot", "cycle_count"):
        assert moment(kind, 0) < moment(kind, 1) < moment(kind, 999) < moment_of(NOW.replace(second=2), "e") < moment(kind, 0) + 2**22
        assert moment(kind, 999, second=5) == moment(kind, 0), "made later, it is of the beginning of its second"
    assert moment("snapshot", 1, scope="full", parts=2) == moment("snapshot", 999, scope="full", parts=2) == moment("snapshot", 0)


def test_what_happened_in_the_second_of_a_count_comes_after_it_whatever_its_id() -> None:
    low = next(name for name in map(str, itertools.count()) if fingerprint(name) & (2**22 - 1) < 1_000)
    assert moment_of(NOW, low) & (2**22 - 1) == 1_000


def test_a_heartbeat_asks_nothing_of_the_store() -> None:
    assert read("heartbeat", {}) is None


@pytest.mark.parametrize(
    ("kind", "data", "detail"),
    [
        ("pick", {}, "data.order_reference is missing"),
        ("pick_reversed", {}, "data.order_reference is missing"),
        ("shipment", {"shipment_id": "S", "order_reference": "O", "reservation_id": "R"}, "must not stand beside the reservation"),
        ("transfer_out", {"transfer_id": "T", "to_node": "N1"}, "both ends"),
        ("receipt", {"lines": [{"quantity": 1}]}, "data.lines[0].sku is missing"),
        ("receipt", {"lines": [{"sku": "A", "alias": "B", "quantity": 1}]}, "data.lines[0].alias must not stand beside"),
        ("status_change", {"lines": [{"sku": "A", "quantity": 1, "from": "damaged", "to": "damaged"}]}, "is what the units are already"),
        ("snapshot", {"as_of": NOW, "lines": [{"sku": "A"}]}, "data.lines[0] names no figure"),
        ("snapshot", {"as_of": NOW, "lines": []}, "says nothing"),
        ("snapshot", {"as_of": NOW, "lines": [{"sku": "A", "on_hand": 1}], "parts": 2}, "belongs to a full snapshot"),
        ("snapshot", {"as_of": NOW, "lines": [], "scope": "full", "part": 3, "parts": 2}, "must be 1 to 2"),
        ("snapshot", {"as_of": NOW, "lines": [{"sku": "A", "on_hand": 1}, {"sku": "A", "on_hand": 2}]}, "name SKU A 2 times"),
        ("item_registered", {"lines": [{"sku": "A", "gtins": ["4006381333932"]}]}, "its check digit is wrong"),
    ],
)
def test_what_an_event_cannot_mean_is_malformed(kind: str, data: dict[str, Any], detail: str) -> None:
    given = {"node": "N1", "sequence": 1, "lines": lines(("A", 1)), **data}
    reason, said = verdict(f"inv.main.wms.{kind}", message(kind, given))
    assert reason == ExceptionReason.MALFORMED
    assert detail in said


@pytest.mark.parametrize(
    ("data", "correlation"),
    [
        (b'{"correlation": "talk-1", "lines": 7}', "talk-1"),
        (b'{"correlation": 7}', ""),
        (b'{"correlation": "a b"}', ""),
        (b"\xff", ""),
        (b'{"correlation":"' + b"c" * 65 + b'"}', ""),
    ],
)
def test_the_conversation_of_a_bad_message_is_known_if_it_can_be_read(data: bytes, correlation: str) -> None:
    assert correlation_of(data) == correlation


def test_the_fingerprint_is_of_what_is_said_not_of_the_envelope_nor_of_the_order_of_lines() -> None:
    pairs = [(f"S{number}", number + 1) for number in range(20)]
    data = {"node": "N1", "sequence": 1, "lines": lines(*pairs)}
    first = read("receipt", data).fingerprint
    random.Random(1).shuffle(pairs)
    same = read("receipt", {**data, "lines": lines(*pairs)}, id="e2", time="2020-01-01T00:00:00Z", correlation="other", comment="new")
    assert same.fingerprint == first
    split = [("S0", 1), *pairs[:-1], (pairs[-1][0], pairs[-1][1] - 1), (pairs[-1][0], 1)]
    assert read("receipt", {**data, "lines": lines(*split[1:])}).fingerprint == first
    assert read("receipt", {**data, "lines": lines(*split)}).fingerprint != first
    assert read("receipt", {**data, "node": "N2"}).fingerprint != first
    assert read("return", {**data, "disposition": "sellable"}).fingerprint != first


GOOD = message("receipt", {"node": "N1", "sequence": 1, "lines": lines(("A", 1))})


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        ("inv.main.wms.receipt.more", ExceptionReason.WRONG_SUBJECT),
        ("inv.main.wms", ExceptionReason.WRONG_SUBJECT),
        ("inv", ExceptionReason.WRONG_SUBJECT),
        ("inv.main.WMS.receipt", ExceptionReason.WRONG_SUBJECT),
        ("inv.main.wms.return", ExceptionReason.WRONG_SUBJECT),
        ("inv.ma!n.wms.receipt", ExceptionReason.UNKNOWN_POOL),
        (f"inv.{'p' * 33}.wms.receipt", ExceptionReason.UNKNOWN_POOL),
    ],
)
def test_an_event_must_come_on_the_subject_of_its_source_and_type(subject: str, reason: ExceptionReason) -> None:
    assert verdict(subject, GOOD)[0] == reason


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (b"", "truncated"),
        (b"[]", "Expected `object`"),
        (b'{"id":"\xc3\x28"}', "not UTF-8"),
        (b'\xef\xbb\xbf{"id":"x"}', "JSON is malformed"),
        (GOOD.replace(b'"1.0"', b'"0.3"'), "specversion"),
        (GOOD.replace(b'"wms"', b'"w.m.s"'), "source"),
        (GOOD.replace(b"2026-01-02T03:04:05Z", b"2026-01-02T03:04:05"), "must say its offset"),
        (GOOD.replace(b'"A"', b'"A B"'), "lines"),
        (GOOD.replace(b'"A"', b'"A\\n"'), "data.lines[0].sku must be 1 to 64 printable"),
        (GOOD.replace(b'"e1"', b'"e1\\n"'), "id must be"),
        (GOOD[:-1] + b',"correlation":"' + b"c" * 65 + b'"}', "correlation must be"),
        (GOOD.replace(b'"sequence":1', b'"sequence":-1'), "sequence"),
        (GOOD.replace(b"2026-01-02", b"1926-01-02"), "time must lie between"),
        (GOOD.replace(b'"sequence":1', b'"sequence":1.5'), "sequence"),
        (GOOD.replace(b'"quantity":1', b'"quantity":1,"colour":"red"'), "colour"),
    ],
)
def test_what_cannot_be_read_is_malformed_and_says_what_is_wrong(data: bytes, detail: str) -> None:
    reason, said = verdict("inv.main.wms.receipt", data)
    assert reason == ExceptionReason.MALFORMED
    assert detail in said


def test_a_verdict_names_some_mistakes_not_a_thousand() -> None:
    data = {"node": "N1", "sequence": 1, "lines": [{"sku": f"S{number}"} for number in range(limits.EVENT_LINES_MAX)]}
    _, said = verdict("inv.main.wms.adjustment", message("adjustment", data))
    assert said.endswith("data.lines[4] changes nothing; and 195 more.")


def test_a_count_of_tomorrow_is_refused_and_a_clock_a_little_ahead_is_not() -> None:
    data = {"node": "N1", "sequence": 1, "lines": [{"sku": "A", "on_hand": 1}]}
    ahead = datetime.now(UTC) + timedelta(milliseconds=limits.AS_OF_AHEAD_MS_MAX)
    assert isinstance(read("snapshot", {**data, "as_of": ahead - timedelta(seconds=10)}), Count)
    _, said = verdict("inv.main.wms.snapshot", message("snapshot", {**data, "as_of": ahead + timedelta(seconds=10)}))
    assert "lies in the future" in said


def test_the_largest_event_is_read_and_one_byte_more_is_not() -> None:
    room = limits.EVENT_BYTES_MAX - len(GOOD) - len(',"comment":""')
    largest = GOOD[:-1] + b',"comment":"' + b"x" * room + b'"}'
    assert isinstance(decode("inv.main.wms.receipt", largest), Feed)
    reason, said = verdict("inv.main.wms.receipt", largest[:-2] + b'x"}')
    assert reason == ExceptionReason.TOO_LARGE
    assert f"{limits.EVENT_BYTES_MAX + 1} bytes" in said


def test_the_pool_is_the_second_token_if_it_can_be_a_pool() -> None:
    assert pool_of_subject("inv.main.wms.receipt") == "main"
    assert pool_of_subject("inv.main") == "main"
    assert pool_of_subject("inv") == pool_of_subject("inv..x") == pool_of_subject("inv.a b.x") == ""


def test_a_parked_event_finds_its_subject_again() -> None:
    assert subject_of("main", read_event(GOOD)) == "inv.main.wms.receipt"
