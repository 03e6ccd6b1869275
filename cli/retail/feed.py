"""A warehouse and an ERP that report over NATS as real ones do: some events twice, some after later ones."""

import asyncio
import itertools
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from random import Random
from typing import Final, Literal, TypedDict

import msgspec
import nats.errors
import nats.js.errors
from nats.js import JetStreamContext

from atp import events, limits
from cli.retail.plan import Disposition

WMS: Final = "wms"  # the authority of every node
ERP: Final = "erp"  # registers the items
DUPLICATE_SHARE: Final = 0.03
HELD_BACK_SHARE: Final = 0.03
#: So few events may wait behind later ones that the engine still knows their place: far below its window per SKU and node.
HELD_BACK_MAX: Final = 8
PUBLISH_TRIES_MAX: Final = 10
PUBLISH_PAUSE_S: Final = 0.3

assert HELD_BACK_MAX * 4 <= limits.WINDOW_DELTAS_MAX

_encode = msgspec.json.Encoder().encode


class _Head(TypedDict):
    """What every event of ours says in its envelope."""

    specversion: Literal["1.0"]
    id: str
    source: str
    time: datetime


def _quantities(lines: Iterable[tuple[str, int]]) -> list[events.QuantityLine]:
    return [events.QuantityLine(sku=sku, quantity=units) for sku, units in lines]


class FeedError(Exception):
    """JetStream does not take an event."""


class Feed:
    """Publishes events, each with the next sequence of its source and node. `sent` counts each event once, by type."""

    def __init__(self, js: JetStreamContext, pool: str, random: Random | None = None) -> None:
        """Without `random` every event goes once and in order."""
        self._js = js
        self._pool = pool
        self._random = random
        self._sequences: dict[str, itertools.count[int]] = {}
        self._held_back: deque[tuple[str, bytes]] = deque()
        self.sent: Counter[str] = Counter()
        self.duplicates = 0
        self.out_of_order = 0

    async def items(self, lines: Sequence[tuple[str, int]]) -> None:
        """Registers SKUs with their safety stock."""
        for start in range(0, len(lines), limits.ITEM_LINES_MAX):
            some = [events.ItemLine(sku=sku, safety_stock=safety) for sku, safety in lines[start : start + limits.ITEM_LINES_MAX]]
            data = events.ItemsData(sequence=self._next("items"), lines=some)
            await self._send(events.ItemRegistered(**self._head(ERP, f"items-{data.sequence}"), data=data))

    async def receipt(self, node: str, lines: Iterable[tuple[str, int]]) -> None:
        data = events.ReceiptData(node=node, sequence=self._next(node), lines=_quantities(lines))
        await self._send(events.Receipt(**self._head(WMS, f"{node}-{data.sequence}"), data=data))

    async def shipment(self, node: str, shipment_id: str, reservation_id: str, lines: Iterable[tuple[str, int]]) -> None:
        data = events.ShipmentData(
            node=node, sequence=self._next(node), shipment_id=shipment_id, lines=_quantities(lines), reservation_id=reservation_id
        )
        await self._send(events.Shipment(**self._head(WMS, f"{node}-{data.sequence}"), data=data))

    async def adjustment(self, node: str, sku: str, change: int) -> None:
        data = events.AdjustmentData(
            node=node, sequence=self._next(node), lines=[events.ChangeLine(sku=sku, on_hand=change)], reason="stock check"
        )
        await self._send(events.Adjustment(**self._head(WMS, f"{node}-{data.sequence}"), data=data))

    async def returned(self, node: str, lines: Iterable[tuple[str, int]], disposition: Disposition) -> None:
        quantities = _quantities(lines)
        for start in range(0, len(quantities), limits.EVENT_LINES_MAX):
            some = quantities[start : start + limits.EVENT_LINES_MAX]
            data = events.ReturnData(node=node, sequence=self._next(node), disposition=disposition, lines=some)
            await self._send(events.Return(**self._head(WMS, f"{node}-{data.sequence}"), data=data))

    async def flush(self) -> None:
        """Sends what was held back."""
        while self._held_back:
            await self._publish(*self._held_back.popleft())

    def _next(self, counter: str) -> int:
        return next(self._sequences.setdefault(counter, itertools.count(1)))

    def _head(self, source: str, event_id: str) -> _Head:
        return {"specversion": "1.0", "id": event_id, "source": source, "time": datetime.now(UTC)}

    async def _send(self, event: events.Event) -> None:
        kind = str(event.__struct_config__.tag)
        self.sent[kind] += 1
        message = (f"inv.{self._pool}.{event.source}.{kind}", _encode(event))
        if self._random is None:
            await self._publish(*message)
            return
        if self._random.random() < HELD_BACK_SHARE and len(self._held_back) < HELD_BACK_MAX:
            self._held_back.append(message)
            self.out_of_order += 1
            return
        await self._publish(*message)
        if self._random.random() < DUPLICATE_SHARE:
            self.duplicates += 1
            await self._publish(*message)
        if self._held_back and self._random.random() < 0.3:
            await self._publish(*self._held_back.popleft())

    async def _publish(self, subject: str, body: bytes) -> None:
        """Without a Nats-Msg-Id: JetStream would drop the duplicates that the engine is to recognize by itself, also after two minutes."""
        for _ in range(PUBLISH_TRIES_MAX):
            try:
                await self._js.publish(subject, body)
            except (nats.errors.Error, nats.js.errors.Error, OSError):
                await asyncio.sleep(PUBLISH_PAUSE_S)
            else:
                return
        raise FeedError(f"JetStream took no message on {subject} in {PUBLISH_TRIES_MAX} tries")
