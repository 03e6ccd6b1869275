"""Real servers with the consumers running beside the test: a pool of two nodes, events on their way in, the ledger on its way out."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from nats.aio.client import Client
from nats.js import JetStreamContext
from prometheus_client import CollectorRegistry

from atp.audit import is_operational
from atp.exceptions import PublishedException
from atp.ledger import decode_entry
from atp.model.stock import StockRow
from atp.model.verbs import Adjust, ChannelConfig, Context, Figures, ItemLine, NodeConfig, Register, Reserve, Result, SourceConfig, Want
from atp.store import Store, Stores
from cli.embedded import NatsServer, StoreServer
from consumers import bootstrap, exceptions, ledger_writer
from consumers.connection import AWAY, connect
from consumers.ledger_reader import read_ledger
from consumers.ledger_writer import Position
from consumers.opening import open_pool
from consumers.provision import apply_pool, apply_streams
from consumers.provision_file import PoolFile

CONTEXT = Context("tester")
DEADLINE_S = 20.0
_names = itertools.count()


def pool_file(pool: str) -> PoolFile:
    nodes = [NodeConfig("N1", "distribution_centre", "Europe/London", "wms"), NodeConfig("N2", "store", "Europe/Paris", "tills")]
    sources = [SourceConfig("wms", False), SourceConfig("tills", False), SourceConfig("erp", True)]
    return PoolFile(pool, nodes, [ChannelConfig("web", ["N1", "N2"])], sources)


async def until(true: Callable[[], Awaitable[Any]], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """What the condition gives once it is true; fails the test if that takes too long."""
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        try:
            if found := await true():
                return found
        except AWAY:
            pass
        await asyncio.sleep(0.01)
    raise AssertionError(f"not within {deadline_s} s: {what}")


def envelope(kind: str, source: str, data: dict[str, Any], **others: Any) -> dict[str, Any]:
    identity = f"{kind}-{next(_names)}"
    head = {"specversion": "1.0", "id": identity, "source": source, "type": kind, "time": datetime.now(UTC)}
    return {**head, "data": data, **others}


def items(sequence: int, *skus: str, **others: Any) -> dict[str, Any]:
    return envelope("item_registered", "erp", {"sequence": sequence, "lines": [{"sku": sku} for sku in skus]}, **others)


def receipt(sequence: int, units: dict[str, int], node: str = "N1", source: str = "wms", **others: Any) -> dict[str, Any]:
    lines = [{"sku": sku, "quantity": quantity} for sku, quantity in units.items()]
    return envelope("receipt", source, {"node": node, "sequence": sequence, "lines": lines}, **others)


@dataclass
class Engine:
    """One pool on its servers. `metrics` are those of all consumers of this test."""

    pool: str
    connection: Client
    js: JetStreamContext
    store: Store
    metrics: list[CollectorRegistry] = field(default_factory=list)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric over all consumers and over the labels that are not named."""
        samples = (sample for registry in self.metrics for metric in registry.collect() for sample in metric.samples)
        return sum(sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items())

    def settled(self, verdict: str) -> int:
        """How many events had this verdict."""
        return int(self.metric("atp_feed_events_total", verdict=verdict))

    async def send(self, event: dict[str, Any] | bytes, subject: str | None = None) -> None:
        if isinstance(event, dict):
            subject = subject or f"inv.{self.pool}.{event['source']}.{event['type']}"
            event = msgspec.json.encode(event)
        await self.js.publish(subject or f"inv.{self.pool}.wms.receipt", event)

    async def row(self, sku: str, node: str = "N1") -> StockRow:
        return (await self.store.explain(self.pool, sku, node)).row

    async def has(self, sku: str, on_hand: int, node: str = "N1") -> None:
        async def true() -> bool:
            _, contents = await self.store.read_keys(self.pool, [f"stk:{sku}"])
            cell = contents.get(f"stk:{sku}", {}).get(node.encode())
            return cell is not None and msgspec.msgpack.decode(cell, type=StockRow).on_hand == on_hand

        await until(true, f"{on_hand} of {sku} at {node}")

    async def exceptions(self, state: str | None = None) -> list[PublishedException]:
        return await exceptions.list_exceptions(self.js, pool=self.pool, state=state)

    async def exception(self, exception_id: str, state: str = "open", pool: str | None = None) -> PublishedException:
        async def found() -> PublishedException | None:
            exception = await exceptions.show(self.js, pool or self.pool, exception_id)
            return exception if exception and exception.state == state else None

        return await until(found, f"{exception_id} is {state}")

    async def waiting(self, name: str) -> list[str]:
        """Keys of the events that wait for a SKU or an alias."""
        return [key async for page in self.store.waiting(self.pool, name) for key in page]

    async def reserve(self, reservation_id: str, sku: str, quantity: int, order: str = "", ttl_ms: int = 600_000) -> Result:
        request = Reserve(CONTEXT, reservation_id, 0, "web", order, ttl_ms, False, ["N1"], [Want(sku, quantity)], [1] * 6)
        return await self.store.write(self.pool, request)

    async def relayed(self, revision: int = 0) -> int:
        """Waits until JetStream has all, at least up to a revision; where the pool stands then."""

        async def true() -> int:
            info = await self.store.pool_info(self.pool)
            return info.revision if info.open and info.published == info.revision >= revision else 0

        return int(await until(true, "the ledger is in JetStream"))

    async def contents(self) -> dict[str, dict[bytes, bytes]]:
        """All keys of the pool, without what is operational."""
        names = sorted(name for name in await self.store.scan_keys(self.pool) if not is_operational(name))
        _, contents = await self.store.read_keys(self.pool, names)
        for name in (b"run", b"pub"):
            contents["pool"].pop(name, None)
        return contents


async def shows(made: Engine, value: float, name: str, **labels: str) -> None:
    """Waits until a metric has a value."""

    async def true() -> bool:
        return made.metric(name, **labels) == value

    await until(true, f"{name} {labels} is {value}")


@asynccontextmanager
async def engine(pool: str, store_server: StoreServer, nats_server: NatsServer, *, provisioned: bool = True) -> AsyncIterator[Engine]:
    """A pool, provisioned and open, and no consumer running."""
    connection = await connect(nats_server.url, "test")
    store = await Store.connect(store_server.url)
    try:
        made = Engine(pool, connection, connection.jetstream(), store)
        if provisioned:
            await apply_streams(made.js, pool)
            await open_pool(made.js, store, pool)
            await apply_pool(store, pool_file(pool))
        yield made
    finally:
        await store.close()
        await connection.close()


@asynccontextmanager
async def consuming(
    role: str, made: Engine, store_server: StoreServer, nats_server: NatsServer, pools: Mapping[str, StoreServer] | None = None
) -> AsyncIterator[None]:
    """Runs a role, as `atp consume` does, and drains it; `pools` are those in stores of their own."""
    stores = Stores(Store(store_server.url), {pool: Store(server.url) for pool, server in (pools or {}).items()})
    stop, ready = asyncio.Event(), asyncio.Event()
    made.metrics.append(CollectorRegistry())
    work = asyncio.create_task(bootstrap.consume(role, stores, nats_server.url, stop=stop, on_ready=ready.set, metrics=made.metrics[-1]))
    try:
        telling = asyncio.create_task(ready.wait())
        await asyncio.wait({work, telling}, return_when=asyncio.FIRST_COMPLETED)
        telling.cancel()
        if work.done():
            await work
        yield
    finally:
        stop.set()
        await asyncio.wait_for(work, DEADLINE_S)


def quick_store(folder: Path) -> StoreServer:
    return StoreServer(folder, fsync="no", options={"appendonly": "no"})


async def adjust(made: Engine, sequence: int, on_hand: int, sku: str = "A") -> int:
    request = Adjust(CONTEXT, f"e{sequence}", "receipt", "wms", "N1", sequence, 1, [Figures(sku, on_hand, 0, 0)])
    result = await made.store.write(made.pool, request)
    assert result.status == "OK"
    return result.revision


async def stock(made: Engine, units: int = 100, sku: str = "A") -> None:
    assert (await made.store.write(made.pool, Register(CONTEXT, "i", "erp", 1, 1, [ItemLine(sku, 0)]))).status == "OK"
    await adjust(made, 1, units, sku)


async def ledger_of(made: Engine, after: int = 0) -> list[bytes]:
    return [entry async for entries in read_ledger(made.js, made.pool, after) for entry in entries]


async def assert_whole(made: Engine) -> None:
    """JetStream has every revision once, each as the store has it."""
    published = await ledger_of(made)
    revision = (await made.store.pool_info(made.pool)).revision
    assert [decode_entry(entry).revision for entry in published] == list(range(1, revision + 1))
    for record in await made.store.ledger_after(made.pool, 0, revision):
        assert published[record.revision - 1] == record.entry


async def publish_as_a_relay_that_dies(made: Engine) -> Position:
    """Carries what is new to JetStream, and tells neither the store nor the exceptions."""
    position, _ = await ledger_writer.learn(made.js, made.pool)
    records = await made.store.ledger_after(made.pool, position.revision, 500)
    epoch = ledger_writer.decode_head(records[-1].entry).epoch
    return await ledger_writer.append(made.js, made.pool, position, [record.entry for record in records], epoch)


async def emptied(made: Engine) -> bool:
    return (await made.store.pool_info(made.pool)).revision == 0 and made.store.connected


async def is_open(made: Engine) -> bool:
    return (await made.store.pool_info(made.pool)).open


async def reachable(made: Engine) -> bool:
    await made.store.pool_info(made.pool)
    return made.store.connected


@asynccontextmanager
async def running(pool: str, store_server: StoreServer, nats_server: NatsServer) -> AsyncIterator[Engine]:
    async with engine(pool, store_server, nats_server) as made, consuming("all", made, store_server, nats_server):
        yield made
