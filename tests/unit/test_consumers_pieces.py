"""The pure pieces of the NATS face: batches, exceptions in words, originals, orders at risk, configuration, provisioning files."""

import asyncio
import base64
import string
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from atp import exceptions as published
from atp import limits
from atp.canonical import ContentError
from atp.errors import InvalidRequestError
from atp.exceptions import PublishedException, digest, sentence
from atp.ledger import Entry, RaisedException
from atp.model.status import ExceptionReason
from atp.model.verbs import ChannelConfig, NodeConfig, SourceConfig
from atp.model.views import LedgerRecord, Reservation, ReservationLine
from consumers import ledger_writer, provision_file, streams
from consumers.connection import together
from consumers.raised import ORDERS_LISTED_MAX, OrdersAtRisk, describe
from consumers.refused import NO_POOL, exception_of, original_of

NOW = datetime(2026, 1, 2, tzinfo=UTC)


# --- batches ------------------------------------------------------------------------------------------------------
def records(*sizes: int) -> list[LedgerRecord]:
    return [LedgerRecord(number, b"x" * size, b"") for number, size in enumerate(sizes, 1)]


def test_batches_keep_the_order_and_lose_nothing() -> None:
    given = records(*([100] * 1_234))
    batches = list(ledger_writer.batches(given))
    assert [record for batch in batches for record in batch] == given
    assert [len(batch) for batch in batches] == [500, 500, 234]


def test_a_batch_stays_within_its_bytes_and_the_message_within_the_servers_bound() -> None:
    given = records(*([limits.LEDGER_ENTRY_BYTES_MAX] * 3), 10, 10, limits.LEDGER_ENTRY_BYTES_MAX)
    batches = list(ledger_writer.batches(given))
    assert [len(batch) for batch in batches] == [1, 1, 3, 1]
    assert all(len(ledger_writer.encode_batch([record.entry for record in batch])) < limits.NATS_PAYLOAD_BYTES_MAX for batch in batches)


def test_a_batch_is_an_array_of_entries_and_the_head_of_an_entry_reads_alone() -> None:
    entry = msgspec.msgpack.encode([1, 7, 3, 1_000, "reserve", "R1", "", "", [], [["HSET", "k", "f", b"\xff"]], []])
    assert ledger_writer.decode_batch(ledger_writer.encode_batch([entry, entry])) == [entry, entry]
    assert ledger_writer.decode_head(entry) == ledger_writer.EntryHead(1, 7, 3, 1_000, "reserve")


# --- exceptions in words ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("reason", list(ExceptionReason))
@pytest.mark.parametrize("state", ["open", "resolved"])
def test_every_reason_has_a_sentence_without_gaps(reason: str, state: str) -> None:
    text = sentence(reason, state, pool="main", sku="TEA", node="DC1", source="wms", cause="c1", quantity=3, detail="what is wrong.")
    assert text[0].isupper()
    assert text.endswith((".", "c1"))
    assert not set("{}") & set(text)
    assert "  " not in text


def test_sentences_use_only_what_they_are_given() -> None:
    known = {"pool", "sku", "node", "source", "cause", "units", "detail", "origin"}
    for template in [*published._OPEN.values(), *published._RESOLVED.values()]:
        assert {name for _, name, _, _ in string.Formatter().parse(template) if name} <= known


def test_names_with_braces_do_no_harm() -> None:
    assert "{detail}" in sentence(ExceptionReason.UNKNOWN_SKU, sku="{detail}", cause="c", detail="secret")


def test_an_exception_reads_back_as_it_was_published() -> None:
    order = published.OrderAtRisk("R1", "O1", "HELD", 2)
    exception = PublishedException(
        id="over:N:A", pool="main", reason="OVERCOMMITTED", state="open", sentence="s", time=NOW, orders_at_risk=[order]
    )
    text = msgspec.json.encode(exception)
    assert msgspec.json.decode(text, type=PublishedException) == exception
    assert set(msgspec.json.decode(text)) == set(PublishedException.__struct_fields__), "every field is there for other readers"


def test_a_digest_is_one_token_of_a_subject() -> None:
    assert digest("wait:wms/ä. *>/A").isalnum()
    assert digest("a") != digest("b")


# --- originals ----------------------------------------------------------------------------------------------------
def test_an_original_is_text_where_it_can_be() -> None:
    assert original_of("Grüße".encode()) == ("Grüße", "text")
    assert original_of(b"") == ("", "text")
    assert original_of(b"\xff\x00") == (base64.b64encode(b"\xff\x00").decode(), "base64")


def test_an_original_is_cut_between_characters_not_within_one() -> None:
    data = b"x" * (limits.EVENT_BYTES_MAX - 1) + "ü".encode() + b"tail"
    assert original_of(data) == ("x" * (limits.EVENT_BYTES_MAX - 1), "text")


@pytest.mark.parametrize("data", [b"\x00", b"\xff", b"x", b'"\\'])
def test_the_largest_original_fits_in_a_message(data: bytes) -> None:
    text = exception_of("INVENTORY:1", "inv.main.wms.receipt", data * 2_000_000, ContentError(ExceptionReason.TOO_LARGE, "large."))
    assert len(msgspec.json.encode(text)) < limits.NATS_PAYLOAD_BYTES_MAX
    assert text.original_bytes == 2_000_000 * len(data)


def test_a_message_that_says_nothing_of_itself_is_named_by_what_it_is() -> None:
    found = exception_of("INVENTORY:7", "inv", b"?", ContentError(ExceptionReason.MALFORMED, "odd."))
    assert (found.pool, found.cause, found.source, found.subject) == (NO_POOL, "INVENTORY:7", "", "inv")
    again, other = (exception_of("INVENTORY:8", "inv", data, ContentError(ExceptionReason.MALFORMED, "")) for data in (b"?", b"!"))
    assert (found.id == again.id, found.id == other.id) == (True, False)
    assert found.sentence == "A message for pool inv cannot be read: odd."


# --- what the ledger raises ---------------------------------------------------------------------------------------
def reservation(number: int, *held: tuple[str, str, int, int], state: str = "HELD") -> Reservation:
    lines = [ReservationLine(index, sku, node, quantity, 0, shipped) for index, (sku, node, quantity, shipped) in enumerate(held, 1)]
    return Reservation(f"R{number}", state, "web", f"O{number}", 0, 0, 1, lines, [], 1, 0)


def test_orders_at_risk_are_those_with_open_units_of_the_row() -> None:
    found = OrdersAtRisk([("A", "N1")])
    for given in (
        reservation(1, ("A", "N1", 2, 0), ("B", "N1", 9, 0), ("A", "N1", 5, 3)),
        reservation(2, ("A", "N2", 2, 0)),
        reservation(3, ("A", "N1", 2, 2)),
        reservation(4, ("A", "N1", 2, 0), state="EXPIRED"),
        reservation(1, ("A", "N1", 2, 0)),
    ):
        found.note(given)
    found.complete = True
    assert found.of(("A", "N1")) == ([published.OrderAtRisk("R1", "O1", "HELD", 4)], False)
    assert found.of(("B", "N1")) == ([], False)


def test_no_more_orders_are_listed_than_a_person_reads() -> None:
    found = OrdersAtRisk([("A", "N1")])
    for number in range(ORDERS_LISTED_MAX):
        found.note(reservation(number, ("A", "N1", 1, 0)))
    assert found.of(("A", "N1"))[1], "not all have been looked through"
    found.note(reservation(999, ("A", "N1", 1, 0)))
    found.complete = True
    orders, more = found.of(("A", "N1"))
    assert found.enough
    assert (len(orders), orders[0].reservation_id, more) == (ORDERS_LISTED_MAX, "R0", True)


def test_a_parked_event_is_told_with_its_original() -> None:
    raised = RaisedException("wait:wms/e1/A", "UNKNOWN_SKU", "open", "A", "", "wms/e1/A", 0)
    image = [msgspec.Raw(msgspec.msgpack.encode(word)) for word in ("HSET", "wait:A", "wms/e1/A", '{"id":"e1"}')]
    entry = Entry(1, 9, 1, 1_767_312_000_000, "park", "wms/e1/A", "", "", [], [image], [raised])
    found = describe("main", entry, raised, OrdersAtRisk(()))
    assert (found.original, found.source, found.revision, found.state) == ('{"id":"e1"}', "wms", 9, "open")
    assert found.time == NOW


# --- configuration ------------------------------------------------------------------------------------------------
def test_the_ledger_is_kept_whole_and_the_other_streams_are_bounded() -> None:
    ledger, inventory, exceptions = streams.ledger("main"), streams.inventory(), streams.exceptions()
    assert (ledger.max_age, ledger.max_bytes, ledger.deny_delete, ledger.deny_purge) == (0, -1, True, True)
    assert inventory.max_age
    assert inventory.max_bytes
    assert exceptions.max_bytes
    assert {config.storage for config in (ledger, inventory, exceptions)} == {"file"}


def test_a_durable_of_events_never_gives_up_on_a_message_and_bounds_what_is_in_hand() -> None:
    config = streams.feed("main")
    assert (config.max_deliver, config.ack_policy) == (-1, "explicit")
    assert config.max_ack_pending
    assert config.max_ack_pending >= limits.FEED_FETCH_MAX


@pytest.mark.parametrize(
    ("subject", "is_fed"),
    [("inv.main.wms.receipt", True), ("inv.main.wms", True), ("inv.main", False), ("inv.mains.wms.receipt", False), ("inv", False)],
)
def test_a_stray_is_what_no_pools_durable_is_given(subject: str, is_fed: bool) -> None:
    assert streams.is_fed(subject, {"main"}) == is_fed


def test_a_pool_and_its_stream_name_each_other() -> None:
    assert streams.pool_of_ledger(streams.ledger_stream("main")) == "main"
    assert streams.pool_of_ledger("INVENTORY") is None


def test_together_ends_all_before_it_raises() -> None:
    ended = []

    async def work(number: int) -> int:
        await asyncio.sleep(0.01 * number)
        ended.append(number)
        if number == 0:
            raise ZeroDivisionError
        return number

    async def scenario() -> None:
        with pytest.raises(ZeroDivisionError):
            await together(work(number) for number in range(3))
        assert ended == [0, 1, 2]
        assert await together(work(number) for number in (1, 2)) == [1, 2]

    asyncio.run(scenario())


# --- provisioning files -------------------------------------------------------------------------------------------
def content(**others: Any) -> dict[str, Any]:
    good: dict[str, Any] = {
        "pool": {"id": "main"},
        "nodes": [{"id": "DC1", "kind": "distribution_centre", "time_zone": "Europe/London", "authority": "wms"}],
        "channels": [{"id": "web", "nodes": ["DC1"]}],
        "sources": [{"id": "wms", "registers_items": True}],
    }
    return {**good, **others}


def mistakes(given: dict[str, Any]) -> list[str]:
    with pytest.raises(InvalidRequestError) as error:
        provision_file.parse(given)
    return [violation.field for violation in error.value.violations]


def test_a_good_file_is_read_as_it_stands() -> None:
    found = provision_file.parse(content())
    assert found == provision_file.PoolFile(
        "main",
        [NodeConfig("DC1", "distribution_centre", "Europe/London", "wms")],
        [ChannelConfig("web", ["DC1"])],
        [SourceConfig("wms", True)],
    )


def test_a_file_may_say_what_a_source_is_like_and_who_speaks_of_what_cannot_be_sold() -> None:
    nodes = [{**content()["nodes"][0], "damaged_authority": "lab", "quality_hold_authority": "lab"}]
    like = {"registers_locations": True, "order": "id", "on_hand_falls": "pick", "snapshots": "net", "rhythm_s": 3_600}
    sources = [{"id": "wms", "registers_items": True}, {"id": "lab", "registers_items": False, **like}]
    found = provision_file.parse(content(nodes=nodes, sources=sources))
    assert found.nodes == [NodeConfig("DC1", "distribution_centre", "Europe/London", "wms", "lab", "lab")]
    assert found.sources == [SourceConfig("wms", True), SourceConfig("lab", False, True, "id", "pick", "net", 3_600)]


def test_a_word_that_a_source_cannot_have_is_answered_with_those_it_can() -> None:
    nodes = [{**content()["nodes"][0], "damaged_authority": "lab", "quality_hold_authority": ""}]
    wrong = {"order": "document", "on_hand_falls": "packing", "snapshots": "fresh", "rhythm_s": -1}
    with pytest.raises(InvalidRequestError) as error:
        provision_file.parse(content(nodes=nodes, sources=[{"id": "wms", "registers_items": True, **wrong}]))
    assert [f"{violation.field} {violation.description}" for violation in error.value.violations] == [
        "nodes[0].damaged_authority 'lab' is not a source of this file",
        "nodes[0].quality_hold_authority '' is not a source of this file",
        "sources[0].order 'document' is none of sequence, time, id",
        "sources[0].on_hand_falls 'packing' is none of issue, pick",
        "sources[0].snapshots 'fresh' is none of gross, net",
        "sources[0].rhythm_s must be 0 to 2678400 seconds, 0 if it promises nothing",
    ]
    assert mistakes(content(sources=[{"id": "wms", "registers_items": True, "rhythm_s": True, "order": 7}])) == [
        "sources[0].rhythm_s",
        "sources[0].order",
    ]


def test_every_mistake_is_listed_in_the_order_of_the_file() -> None:
    nodes = [
        {"id": "DC 1", "kind": "d/c", "time_zone": "Mars/Base", "authority": "nobody"},
        {"id": "DC2", "kind": "store", "time_zone": "../etc/passwd", "authority": "wms"},
        {"id": "DC2", "kind": "store", "time_zone": "Europe/Paris", "authority": "wms"},
    ]
    channels = [{"id": "web", "nodes": ["DC2", "DC2", "DC9"]}, {"id": "app", "nodes": []}]
    found = mistakes(content(nodes=nodes, channels=channels, pool={"id": "ma.in", "name": "Main"}, shops=[]))
    assert found == [
        "pool.id",
        "pool.name",
        "nodes[0].id",
        "nodes[0].kind",
        "nodes[0].time_zone",
        "nodes[0].authority",
        "nodes[1].time_zone",
        "nodes[2].id",
        "channels[0].nodes",
        "channels[0].nodes",
        "channels[1].nodes",
        "shops",
    ]


def test_what_is_missing_or_of_another_kind_or_unknown_is_listed() -> None:
    given = content(pool={}, nodes={"id": "DC1"}, sources=[{"id": 7, "registers_items": "yes", "colour": "red"}, "wms"], stores=[])
    given.pop("channels")
    assert sorted(mistakes(given)) == [
        "channels",
        "nodes",
        "pool.id",
        "sources[0].colour",
        "sources[0].id",
        "sources[0].registers_items",
        "sources[1]",
        "stores",
    ]


def test_a_file_that_is_not_toml_says_where(tmp_path: Path) -> None:
    path = tmp_path / "pool.toml"
    path.write_text("[pool\n")
    with pytest.raises(InvalidRequestError, match="line 1"):
        provision_file.read(path)
