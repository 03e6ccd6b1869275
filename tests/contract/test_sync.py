"""Snapshots over gRPC: each part is in the stream as NATS would have brought it, and a snapshot that is not whole is told so."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from atp import canonical, limits
from cli.embedded import NatsServer
from inventory.availability.v1 import inventory_service_pb2 as ip
from service import bounds
from tests.contract.conftest import Shop
from tests.contract.intake import FULL, NOW, canonical_of, failure, more, part, stream_of, sync


@pytest.fixture
def shop(fed_shop: Shop) -> Shop:
    return Shop(fed_shop.engine)


def test_a_full_snapshot_goes_in_as_the_parts_it_came_in(shop: Shop, nats: NatsServer) -> None:
    answer = sync(shop, [part(shop, "A", "B", scope=FULL, parts=2), more("C")], metadata=(("x-correlation-id", "c1"),))
    assert (answer.parts_accepted, answer.lines_accepted, answer.complete) == (2, 3, True)
    said = {"node": "N1", "as_of": NOW, "scope": "full", "parts": 2}
    assert stream_of(shop, nats) == [
        canonical_of("count-1.1", "snapshot", {**said, "lines": [{"sku": sku, "on_hand": 5} for sku in "AB"]}, correlation="c1"),
        canonical_of("count-1.2", "snapshot", {**said, "part": 2, "lines": [{"sku": "C", "on_hand": 5}]}, correlation="c1"),
    ]
    again = sync(shop, [part(shop, "A", "B", scope=FULL, parts=2), more("C")])
    assert (again.parts_accepted, again.complete) == (2, True)


def test_a_partial_snapshot_has_as_many_parts_as_come(shop: Shop, nats: NatsServer) -> None:
    answer = sync(shop, [part(shop, "A"), more("B"), more("C")])
    assert (answer.parts_accepted, answer.lines_accepted, answer.complete) == (3, 3, True)
    assert [(one.data.scope, one.data.part, one.data.parts) for one in stream_of(shop, nats)] == [("partial", 1, 1)] * 3  # type: ignore[union-attr]  # snapshots


def test_an_empty_node_is_a_full_snapshot_without_lines(shop: Shop, nats: NatsServer) -> None:
    empty = part(shop, scope=FULL)
    del empty.lines[:]
    assert sync(shop, [empty]).complete
    assert [canonical.lines_of(one) for one in stream_of(shop, nats)] == [[]]


def test_a_part_with_wrong_lines_is_refused_whole_and_makes_it_complete_when_it_is_sent_again(shop: Shop, nats: NatsServer) -> None:
    parts = [part(shop, "A", scope=FULL, parts=3), more("B", "C C", "D", "D"), more("E")]
    answer = sync(shop, parts)
    assert (answer.parts_accepted, answer.parts_refused, answer.complete) == (2, 1, False)
    (refused,) = answer.refused
    assert (refused.part, refused.refusal.reason) == (2, ip.Refusal.REASON_MALFORMED)
    assert [wrong.field for wrong in refused.refusal.violations] == ["lines[1].sku"]
    assert [one.id for one in stream_of(shop, nats)] == ["count-1.1", "count-1.3"]
    again = sync(shop, [parts[0], more("B", "C", "D"), parts[2]])
    assert (again.parts_accepted, again.complete) == (3, True)


def test_a_full_snapshot_is_not_complete_with_parts_missing_or_beyond_those_announced(shop: Shop) -> None:
    answer = sync(shop, [part(shop, "A", scope=FULL, parts=3), more("B")])
    assert (answer.parts_accepted, answer.parts_refused, answer.complete) == (2, 0, False)
    beyond = sync(shop, [part(shop, "A", id="count-2", sequence=8, scope=FULL), more("B")])
    assert (beyond.parts_accepted, beyond.parts_refused, beyond.complete) == (1, 1, False)
    assert [(wrong.field, wrong.description) for wrong in beyond.refused[0].refusal.violations] == [
        ("part", "must be 1 to 1, the number of parts")
    ]


def test_a_long_snapshot_is_taken_whole(shop: Shop, nats: NatsServer) -> None:
    skus = [f"S{number}" for number in range(100 * limits.EVENT_LINES_MAX)]
    pieces = [skus[start : start + limits.EVENT_LINES_MAX] for start in range(0, len(skus), limits.EVENT_LINES_MAX)]
    answer = sync(shop, [part(shop, *pieces[0], scope=FULL, parts=100), *(more(*piece) for piece in pieces[1:])])
    assert (answer.parts_accepted, answer.lines_accepted, answer.complete) == (100, len(skus), True)
    assert sorted(line.sku for one in stream_of(shop, nats) for line in canonical.lines_of(one)) == sorted(skus)


def test_a_head_that_is_wrong_is_told_every_field_before_anything_is_taken(shop: Shop, nats: NatsServer) -> None:
    failed = failure(sync, shop, [part(shop, pool="a b", id="x" * 58, node="N 1"), more("B")])
    assert (failed.code, failed.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert failed.violations == {
        "pool": "must be 1 to 32 of A-Z a-z 0-9 _ -",
        "id": "must be 1 to 57 printable characters without spaces",
        "node": "must be 1 to 32 of A-Z a-z 0-9 _ -",
    }
    assert set(failure(sync, shop, []).violations or {}) == {"pool", "id", "source", "time", "node", "as_of"}
    assert stream_of(shop, nats) == []


def test_a_message_that_is_none_ends_a_snapshot(shop: Shop) -> None:
    async def send() -> bytes:
        async def bodies() -> AsyncIterator[bytes]:
            yield part(shop).SerializeToString()
            yield b"\xff"

        call: Any = shop.engine.channel.stream_unary("/inventory.availability.v1.InventoryService/Sync")
        return await call(bodies(), timeout=20)

    failed = failure(lambda: shop.engine.runner.run(send()))
    assert (failed.reason, failed.metadata) == ("MALFORMED", {"message": "inventory.availability.v1.SyncRequest"})


def test_a_caller_who_falls_silent_is_not_waited_for_for_ever(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "STREAM_TIMEOUT_S", 0.3)

    async def send(*first: ip.SyncRequest) -> ip.SyncResponse:
        async def parts() -> AsyncIterator[ip.SyncRequest]:
            for one in first:
                yield one
            await asyncio.sleep(30)

        return await shop.engine.inventory.Sync(parts())

    for first in ((), (part(shop),)):
        assert failure(lambda: shop.engine.runner.run(send(*first))).reason == "CALL_TIMEOUT"  # noqa: B023 (called at once)
