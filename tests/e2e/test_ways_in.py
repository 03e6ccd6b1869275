"""Every way in ends in the same stock: NATS, gRPC, a webhook and a file, told apart by nothing afterwards."""

import asyncio
import contextlib
import hashlib
import hmac
import http.client
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from prometheus_client import CollectorRegistry

from atp.errors import InvalidRequestError
from atp.store import Store, Stores
from cli.embedded import NatsServer, StoreServer, free_port
from consumers import bootstrap, files
from consumers.feeds import FeedSettings
from consumers.intake import reaching
from consumers.ways_in import WaysIn
from inventory.availability.v1.inventory_event_pb2 import InventoryEvent, ItemLine, ItemRegistered, LevelLine, QuantityLine, Receipt
from inventory.availability.v1.inventory_service_pb2 import AdjustRequest, EventResult, SyncRequest, SyncResponse
from inventory.availability.v1.inventory_service_pb2_grpc import InventoryServiceStub
from service import bootstrap as service
from service.settings import ServiceSettings
from tests.e2e.consuming import DEADLINE_S, Engine, engine, quick_store, receipt, shows, until

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STAMP = Timestamp(seconds=int(NOW.timestamp()))
SECRET = "geheim"


class Ways:
    """A pool, and all that can bring events to it."""

    def __init__(self, made: Engine, stub: Any, port: int, folder: Path) -> None:
        self.made = made
        self._stub = stub
        self._port = port
        self._folder = folder

    async def by_grpc(self, *told: InventoryEvent) -> None:
        answer = await self._stub.Adjust(AdjustRequest(pool=self.made.pool, events=told), timeout=DEADLINE_S)
        assert {result.outcome for result in answer.results} == {EventResult.OUTCOME_ACCEPTED}, answer

    async def by_webhook(self, text: str) -> None:
        def send() -> int:
            when, body = str(int(time.time())), text.encode()
            mark = hmac.new(SECRET.encode(), f"{when}.".encode() + body, hashlib.sha256).hexdigest()
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=DEADLINE_S)) as connection:
                connection.request("POST", "/wms", body, {"X-Atp-Signature": f"t={when},v1={mark}"})
                return connection.getresponse().status

        assert await asyncio.to_thread(send) == 200

    async def by_file(self, name: str, text: str) -> None:
        folder = self._folder / "wms"
        (folder / f".{name}").write_text(text)
        (folder / f".{name}").rename(folder / name)

        async def done() -> bool:
            return (folder / "done" / name).exists()

        await until(done, f"{name} is taken")

    async def sync(self, sequence: int, on_hand: dict[str, int]) -> None:
        lines = [LevelLine(sku=sku, on_hand=units) for sku, units in on_hand.items()]
        head = SyncRequest(
            pool=self.made.pool, id="count", source="wms", sequence=sequence, node="N1", time=STAMP, as_of=STAMP, lines=lines
        )

        async def parts() -> AsyncIterator[SyncRequest]:
            yield head

        answer: SyncResponse = await self._stub.Sync(parts(), timeout=DEADLINE_S)
        assert answer.complete


@contextlib.asynccontextmanager
async def all_ways(store_server: StoreServer, nats_server: NatsServer, folder: Path) -> AsyncIterator[Ways]:
    """One process of all roles with its ways in, and a service."""
    async with contextlib.AsyncExitStack() as parts:
        made = await parts.enter_async_context(engine("ways", store_server, nats_server))
        port, stop, ready = free_port(), asyncio.Event(), asyncio.Event()
        wms = FeedSettings(name="wms", adapter="csv", pool=made.pool, source="wms", nodes={"1000": "N1"}, secret=SECRET)
        ways = WaysIn((wms,), ("127.0.0.1", port), folder)
        stores = Stores(Store(store_server.url))
        made.metrics.append(CollectorRegistry())
        consuming = bootstrap.consume("all", stores, nats_server.url, stop=stop, on_ready=ready.set, metrics=made.metrics[0], ways=ways)
        work = asyncio.create_task(consuming)
        parts.push_async_callback(asyncio.wait_for, work, DEADLINE_S)
        parts.callback(stop.set)
        await ready.wait()
        own = Stores(Store(store_server.url))
        await own.start()
        parts.push_async_callback(own.close)
        intake = await parts.enter_async_context(reaching(nats_server.url, "atp service"))
        address = await parts.enter_async_context(service.running(own, ServiceSettings(), intake=intake))
        channel = await parts.enter_async_context(grpc.aio.insecure_channel(address))
        yield Ways(made, InventoryServiceStub(channel), port, folder)


def told(sequence: int, units: int) -> InventoryEvent:
    lines = [QuantityLine(sku="A", quantity=units)]
    return InventoryEvent(id=f"r{sequence}", source="wms", sequence=sequence, node="N1", time=STAMP, receipt=Receipt(lines=lines))


def written(sequence: int, units: int) -> str:
    return f"type,id,time,node,sequence,sku,quantity\nreceipt,r{sequence},{NOW.isoformat()},1000,{sequence},A,{units}\n"


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[StoreServer, NatsServer]]:
    monkeypatch.setattr(files, "LOOK_S", 0.02)
    with quick_store(tmp_path / "store") as store, NatsServer(tmp_path / "nats", sync_interval="10s") as nats:
        yield store, nats


def test_every_way_ends_in_the_same_stock_and_what_comes_by_all_of_them_counts_once(
    servers: tuple[StoreServer, NatsServer], tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with all_ways(*servers, tmp_path) as ways:
            made = ways.made
            await made.send(receipt(1, {"A": 1}))  # waits for its item
            registered = ItemRegistered(lines=[ItemLine(sku="A")])
            await ways.by_grpc(InventoryEvent(id="i1", source="erp", sequence=1, time=STAMP, item_registered=registered))
            await made.has("A", 1)
            await ways.by_grpc(told(2, 10))
            await ways.by_webhook(written(3, 100))
            await ways.by_file("four.csv", written(4, 1_000))
            await made.has("A", 1_111)
            await made.send(receipt(5, {"A": 10_000}, id="r5"))
            await ways.by_grpc(told(5, 10_000))
            await ways.by_webhook(written(5, 10_000))
            await ways.by_file("five.csv", written(5, 10_000))
            await shows(made, 3, "atp_feed_events_total", verdict="duplicate")
            assert (await made.row("A")).on_hand == 11_111
            await ways.sync(6, {"A": 7})
            await ways.by_grpc(told(7, 1))
            await made.has("A", 8)
            assert await made.exceptions("open") == []

    asyncio.run(scenario())


@pytest.mark.parametrize(("role", "setting"), [("webhooks", "webhooks.listen"), ("files", "files.folder")])
def test_a_way_that_nobody_has_configured_is_told_at_once(role: str, setting: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"{setting}: must be set"):
        asyncio.run(bootstrap.consume(role, Stores(), "nats://127.0.0.1:1"))
