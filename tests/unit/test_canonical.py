"""From canonical messages to verbs: what is read, what is added up, what is refused and why."""

import random
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from atp import limits
from atp.canonical import ContentError, Feed, correlation_of, decode, pool_of_subject, request_of, subject_of
from atp.canonical import read as read_event
from atp.model.status import ExceptionReason
from atp.model.verbs import Adjust, Context, Count, Figures, ItemLine, Register, Ship, Want

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
    assert request == Adjust(
        Context("wms", "c-1"), "e1", "receipt", "wms", "N1", 7, request.fingerprint, [Figures("B", 4, 0, 0), Figures("A", 2, 0, 0)]
    )


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
    assert without == Ship(Context("wms"), "e1", "wms", "N1", 1, without.fingerprint, "S1", "", [Want("A", 2)])
    assert named.reservation_id == "R1"
    assert named.fingerprint != without.fingerprint


def test_a_snapshot_is_of_a_moment_in_milliseconds_wherever_it_was_counted() -> None:
    data = {"node": "N1", "sequence": 1, "lines": [{"sku": "A", "on_hand": -2, "damaged": 1}]}
    here = read("snapshot", {**data, "as_of": NOW})
    there = read("snapshot", {**data, "as_of": NOW.astimezone(timezone(timedelta(hours=5)))})
    assert here == there
    assert here == Count(Context("wms"), "e1", "wms", "N1", 1, here.fingerprint, 1_767_323_045_678, [Figures("A", -2, 1, 0)])


def test_items_are_registered_with_their_safety_stock() -> None:
    data = {"sequence": 3, "lines": [{"sku": "A", "safety_stock": 2}, {"sku": "B"}]}
    request = read("item_registered", data, source="erp")
    assert request == Register(Context("erp"), "e1", "erp", 3, request.fingerprint, [ItemLine("A", 2), ItemLine("B", 0)])


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
        (GOOD.replace(b'"sequence":1', b'"sequence":0'), "sequence"),
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
    assert said.endswith("the line of SKU S4 changes nothing; and 195 more.")


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
