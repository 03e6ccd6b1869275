"""A pool to measure: nodes, SKUs and stock, made through the same verbs and events that feeds use."""

import asyncio
from collections.abc import Iterator, Sequence

from nats.js import JetStreamContext

from atp import limits, requests
from atp.model.verbs import Adjust, ChannelConfig, Context, Figures, ItemLine, NodeConfig, Register, Reserve, SourceConfig
from atp.store import Store
from cli.retail.feed import ERP, WMS, Feed
from consumers import streams
from consumers.opening import open_pool
from consumers.provision import apply_pool, apply_streams
from consumers.provision_file import PoolFile
from service.uuid7 import uuid7

POOL = "bench"
CHANNEL = "web"  # lists every node, in order
CONTEXT = Context("bench")
_BATCH = 500
_EVENTS_UNDER_WAY = 100
_LOOK_S = 0.02


def nodes_named(count: int) -> list[str]:
    return [f"N{number:02d}" for number in range(count)]


def skus_named(count: int) -> list[str]:
    return [f"SKU-{number:06d}" for number in range(count)]


def pool_file(nodes: int) -> PoolFile:
    """What `atp provision` would read from a file."""
    names = nodes_named(nodes)
    configs = [NodeConfig(name, "distribution_centre", "UTC", WMS) for name in names]
    return PoolFile(POOL, configs, [ChannelConfig(CHANNEL, names)], [SourceConfig(WMS, False), SourceConfig(ERP, True)])


async def stock(store: Store, skus: int, nodes: int, units: int) -> None:
    """Opens the pool and puts `units` of every SKU at every node, by one receipt per node and batch of SKUs."""
    await store.open(POOL, 0, 0)
    await apply_pool(store, pool_file(nodes))
    await fill(store, skus, nodes, units)


async def fill(store: Store, skus: int, nodes: int, units: int) -> None:
    """The same in a pool that is open and provisioned."""
    for batch, codes in enumerate(_batches(skus_named(skus), _BATCH), 1):
        await store.write(POOL, Register(CONTEXT, f"items-{batch}", ERP, batch, 1, [ItemLine(code, 0) for code in codes]))
        for name in nodes_named(nodes):
            lines = [Figures(code, units, 0, 0) for code in codes]
            result = await store.write(POOL, Adjust(CONTEXT, f"receipt-{batch}", "receipt", WMS, name, batch, 1, lines))
            assert result.status == "OK", result


async def provision(js: JetStreamContext, store: Store, nodes: int) -> None:
    """Makes the streams and the pool, and opens it."""
    await apply_streams(js, POOL)
    await open_pool(js, store, POOL)
    await apply_pool(store, pool_file(nodes))


async def feed_stock(js: JetStreamContext, feed: Feed, skus: int, nodes: int, units: int) -> None:
    """The same stock by events over NATS, as an ERP and a warehouse send it; returns once the consumers have applied them all."""
    names = skus_named(skus)
    await feed.items([(name, 0) for name in names])
    await settled(js)  # a receipt that overtakes its item would wait in the pool
    for codes in _batches(names, limits.EVENT_LINES_MAX * _EVENTS_UNDER_WAY // nodes):
        lines = [[(code, units) for code in batch] for batch in _batches(codes, limits.EVENT_LINES_MAX)]
        await asyncio.gather(*(feed.receipt(node, some) for node in nodes_named(nodes) for some in lines))
    await settled(js)


async def settled(js: JetStreamContext) -> None:
    """Waits until every event that was sent has been applied."""
    while True:
        info = await js.consumer_info(streams.INVENTORY, streams.feed_durable(POOL))
        if info.num_pending == 0 and info.num_ack_pending == 0:
            return
        await asyncio.sleep(_LOOK_S)


async def relayed(store: Store) -> None:
    """Waits until JetStream has the whole ledger."""
    while True:
        info = await store.pool_info(POOL)
        if info.published == info.revision:
            return
        await asyncio.sleep(_LOOK_S)


async def opened(store: Store) -> None:
    """Waits until the pool takes writes."""
    while not (await store.pool_info(POOL)).open:  # noqa: ASYNC110 (another process opens it)
        await asyncio.sleep(_LOOK_S)


def hold(sku: str) -> Reserve:
    """A one-line reserve as the service makes it when the caller leaves the id to it."""
    return requests.reserve(
        CONTEXT,
        reservation_id=uuid7(),
        own_id=True,
        channel=CHANNEL,
        order_reference="",
        ttl_ms=3_600_000,
        partial=False,
        nodes=[],
        lines=[(sku, 1)],
    )


def _batches(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (names[start : start + size] for start in range(0, len(names), size))
