"""A small pool and its stock to try things on: canonical events of an ERP and a WMS, sent the way real ones come."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from atp import events
from consumers.connection import NatsSettings, connect_once

POOL: Final = "main"
CHANNEL: Final = "web"
PROVISIONING: Final = Path(__file__).parent / "data" / "demo.toml"
SKU: Final = "TEA-EARL-GREY"

#: SKU → units kept back at every node, and units received at each.
STOCK: Final[dict[str, tuple[int, dict[str, int]]]] = {
    SKU: (2, {"DC1": 120, "STORE1": 14}),
    "TEA-DARJEELING": (0, {"DC1": 60}),
    "TEAPOT-2L": (1, {"DC1": 25, "STORE1": 4}),
    "MUG-WHITE": (0, {"DC1": 400, "STORE1": 36}),
    "KETTLE-STEEL": (0, {"STORE1": 1}),
}


def promised(sku: str = SKU) -> dict[str, int]:
    """What each node of the demo can promise of a SKU while nothing has been sold."""
    safety_stock, received = STOCK[sku]
    return {node: max(0, units - safety_stock) for node, units in received.items()}


def read_promised(address: str, sku: str = SKU) -> dict[str, int]:
    """What the running service promises of a SKU, per node."""
    import grpc

    from atp_client.connection import NO_PROXY
    from inventory.availability.v1 import availability_service_pb2 as availability
    from inventory.availability.v1.availability_service_pb2_grpc import AvailabilityServiceStub
    from inventory.availability.v1.reservation_pb2 import Want

    request = availability.BatchGetAvailabilityRequest(pool=POOL, channel=CHANNEL, lines=[Want(sku=sku, quantity=1)])
    with grpc.insecure_channel(address, options=NO_PROXY) as channel:
        answer = AvailabilityServiceStub(channel).BatchGetAvailability(request, timeout=5)
    return {node.node: node.available for node in answer.lines[0].nodes}


async def load_demo(nats: NatsSettings | str) -> int:
    """Publishes the registrations and receipts and returns how many; known sequences make a second time harmless."""
    connection = await connect_once(nats, "atp demo")
    try:
        stream = connection.jetstream()
        published = 0
        for event in _events(datetime.now(UTC)):
            kind = type(event).__struct_config__.tag
            body = msgspec.json.encode(event)
            await stream.publish(f"inv.{POOL}.{event.source}.{kind}", body)
            published += 1
        return published
    finally:
        await connection.close()


def _events(now: datetime) -> Iterator[events.Event]:
    items = [events.ItemLine(sku=sku, safety_stock=safety_stock) for sku, (safety_stock, _) in STOCK.items()]
    yield events.ItemRegistered(specversion="1.0", id="demo-items", source="erp", time=now, data=events.ItemsData(sequence=1, lines=items))
    nodes = sorted({node for _, received in STOCK.values() for node in received})
    for node in nodes:
        lines = [events.QuantityLine(sku=sku, quantity=received[node]) for sku, (_, received) in STOCK.items() if node in received]
        data = events.ReceiptData(node=node, sequence=1, lines=lines)
        yield events.Receipt(specversion="1.0", id=f"demo-receipt-{node}", source="wms", time=now, data=data)
