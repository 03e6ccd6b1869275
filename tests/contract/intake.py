"""Events and snapshots in few words, as they are sent over gRPC, and what comes of them."""

from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from typing import Any

import grpc
import msgspec
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from atp import events
from cli.embedded import NatsServer
from inventory.availability.v1 import inventory_event_pb2 as pb
from inventory.availability.v1 import inventory_service_pb2 as ip
from tests.contract.conftest import Failure, Shop, told
from tests.e2e.reading import in_stream

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STAMP = Timestamp(seconds=int(NOW.timestamp()))
LINE = pb.QuantityLine(sku="A", quantity=2)
REFUSED, ACCEPTED = ip.EventResult.OUTCOME_REFUSED, ip.EventResult.OUTCOME_ACCEPTED
FULL = pb.SNAPSHOT_SCOPE_FULL


# --- what is sent -------------------------------------------------------------------------------------------------
def event(name: str, kind: str = "receipt", body: Any = None, **changed: Any) -> pb.InventoryEvent:
    said: dict[str, Any] = {"id": name, "source": "wms", "sequence": 7, "node": "N1", "time": STAMP, **changed}
    return pb.InventoryEvent(**said, **{kind: body or pb.Receipt(lines=[LINE])})


def adjust(shop: Shop, *told_events: pb.InventoryEvent, pool: str | None = None, **options: Any) -> list[ip.EventResult]:
    request = ip.AdjustRequest(pool=shop.pool if pool is None else pool, events=told_events)
    return list(shop.engine.call(shop.engine.inventory.Adjust, request, **options).results)


def levels(*skus: str, on_hand: int = 5) -> list[pb.LevelLine]:
    return [pb.LevelLine(sku=sku, on_hand=on_hand) for sku in skus]


def part(shop: Shop, *skus: str, **changed: Any) -> ip.SyncRequest:
    """The first part of a snapshot, with its head."""
    said: dict[str, Any] = {"pool": shop.pool, "id": "count-1", "source": "wms", "sequence": 7, "node": "N1", "time": STAMP, "as_of": STAMP}
    return ip.SyncRequest(**{**said, "lines": levels(*skus or ("A",)), **changed})


def more(*skus: str) -> ip.SyncRequest:
    return ip.SyncRequest(lines=levels(*skus))


def sync(shop: Shop, parts: Iterable[ip.SyncRequest], **options: Any) -> ip.SyncResponse:
    async def told_parts() -> AsyncIterator[ip.SyncRequest]:
        for one in parts:
            yield one

    async def send() -> ip.SyncResponse:
        return await shop.engine.inventory.Sync(told_parts(), **{"timeout": 20, **options})

    return shop.engine.runner.run(send())


# --- what comes of it ---------------------------------------------------------------------------------------------
def stream_of(shop: Shop, server: NatsServer) -> list[events.Event]:
    found: list[events.Event] = shop.engine.runner.run(in_stream(server, shop.pool))
    return found


def canonical_of(name: str, kind: str, data: dict[str, Any], **others: Any) -> events.Event:
    said = {"type": kind, "specversion": "1.0", "id": name, "source": "wms", "time": NOW, **others, "data": {"sequence": 7, **data}}
    found: events.Event = msgspec.convert(said, events.Event)
    return found


def violations(result: ip.EventResult) -> dict[str, str]:
    return {wrong.field: wrong.description for wrong in result.refusal.violations}


def failure(call: Any, *args: Any, **options: Any) -> Failure:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        call(*args, **options)
    return told(raised.value)
