"""A pool to measure: nodes, SKUs and stock, made through the same verbs that feeds use."""

from atp import requests
from atp.model.verbs import Adjust, ChannelConfig, Context, Figures, ItemLine, NodeConfig, Provision, Register, Reserve, SourceConfig
from atp.store import Store
from service.uuid7 import uuid7

POOL = "bench"
CONTEXT = Context("bench")
_BATCH = 500


async def stock(store: Store, skus: int, nodes: int, units: int) -> None:
    """Opens the pool and puts `units` of every SKU at every node, by one receipt per node and batch of SKUs."""
    names = [f"N{number:02d}" for number in range(nodes)]
    await store.open(POOL, 0, 0)
    configs = [NodeConfig(name, "distribution_centre", "UTC", "wms") for name in names]
    await store.write(POOL, Provision(CONTEXT, configs, [ChannelConfig("web", names)], [SourceConfig("wms", True)]))
    for batch, first in enumerate(range(0, skus, _BATCH), 1):
        codes = [f"SKU-{number:06d}" for number in range(first, min(first + _BATCH, skus))]
        await store.write(POOL, Register(CONTEXT, f"items-{batch}", "wms", batch, 1, [ItemLine(code, 0) for code in codes]))
        for name in names:
            lines = [Figures(code, units, 0, 0) for code in codes]
            result = await store.write(POOL, Adjust(CONTEXT, f"receipt-{batch}", "receipt", "wms", name, batch, 1, lines))
            assert result.status == "OK", result


def hold(sku: str) -> Reserve:
    """A one-line reserve as the service makes it when the caller leaves the id to it."""
    return requests.reserve(
        CONTEXT,
        reservation_id=uuid7(),
        own_id=True,
        channel="web",
        order_reference="",
        ttl_ms=3_600_000,
        partial=False,
        nodes=[],
        lines=[(sku, 1)],
    )
