"""A small pool in use: one call per verb, under a clock that the test moves, on a real store."""

import itertools
import time
from types import TracebackType
from typing import Self

from atp import requests
from atp.model.verbs import (
    Adjust,
    ChannelConfig,
    Context,
    Count,
    Expire,
    Figures,
    ItemLine,
    NodeConfig,
    Pick,
    Provision,
    Register,
    Result,
    Ship,
    SourceConfig,
    Transfer,
    Want,
)
from atp.store import Store
from atp.store.store import Write

CONTEXT = Context("tester", "corr-1")
WORLD = Provision(
    CONTEXT,
    [
        NodeConfig("N1", "distribution_centre", "Europe/London", "wms"),
        NodeConfig("N2", "store", "Europe/Paris", "wms"),
        NodeConfig("N3", "distribution_centre", "Europe/Madrid", "wcs"),
    ],
    [ChannelConfig("web", ["N1", "N2"]), ChannelConfig("depot", ["N3"])],
    [
        SourceConfig("wms", registers_items=False),
        SourceConfig("wcs", registers_items=False, on_hand_falls="pick"),
        SourceConfig("erp", registers_items=True, registers_locations=True),
    ],
)
_pools = itertools.count()


class Selling:
    """An open pool with SKUs A (10 at N1, 3 at N2) and B (4 at N1, safety stock 1). Every verb must be answered with OK."""

    def __init__(self, url: str, pool: str = "") -> None:
        self.now_ms = int(time.time() * 1000)
        self.store = Store(url, clock=lambda: self.now_ms)
        self.pool = pool or f"selling-{next(_pools)}"
        self._sequence = itertools.count(1)

    async def __aenter__(self) -> Self:
        await self.store.start()
        await self.store.open(self.pool, 0, 0)
        await self.do(WORLD)
        await self.register(A=0, B=1)
        await self.receive("N1", A=10, B=4)
        await self.receive("N2", A=3)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.store.close()

    async def do(self, request: Write) -> Result:
        self.now_ms += 1
        result = await self.store.write(self.pool, request)
        assert result.status == "OK", result
        return result

    async def entries(self, after: int = 0) -> list[bytes]:
        return [record.entry for record in await self.store.ledger_after(self.pool, after, 10_000)]

    def key(self, name: str) -> str:
        """A key as the server knows it."""
        return f"{{{self.pool}}}:{name}"

    # --- feeds ----------------------------------------------------------------------------------------------------
    async def register(self, **safety: int) -> Result:
        number = next(self._sequence)
        return await self.do(Register(CONTEXT, f"E{number}", "erp", number, 1, [ItemLine(*item) for item in safety.items()]))

    async def receive(self, node: str, **units: int) -> Result:
        number = next(self._sequence)
        lines = [Figures(sku, quantity, 0, 0) for sku, quantity in units.items()]
        return await self.do(Adjust(CONTEXT, f"E{number}", "receipt", "wms", node, number, 1, lines))

    async def count(self, node: str, *, source: str = "wms", **units: int) -> Result:
        number = next(self._sequence)
        lines = [Figures(sku, quantity, 0, 0) for sku, quantity in units.items()]
        return await self.do(Count(CONTEXT, f"E{number}", source, node, number, 1, self.now_ms, lines))

    async def ship(self, node: str, shipment_id: str, reservation_id: str, **units: int) -> Result:
        number = next(self._sequence)
        lines = [Want(sku, quantity) for sku, quantity in units.items()]
        return await self.do(Ship(CONTEXT, f"E{number}", "wms", node, number, 1, shipment_id, reservation_id, lines))

    async def pick(self, node: str, order: str, *, kind: str = "pick", **units: int) -> Result:
        number = next(self._sequence)
        lines = [Want(sku, quantity) for sku, quantity in units.items()]
        return await self.do(Pick(CONTEXT, f"E{number}", "wcs", node, number, 1, "", order, lines, 0, kind))

    async def transfer(self, kind: str, source: str, node: str, other: str, **units: int) -> Result:
        number = next(self._sequence)
        lines = [Want(sku, quantity) for sku, quantity in units.items()]
        return await self.do(Transfer(CONTEXT, f"E{number}", kind, source, node, number, 1, "T1", other, lines))

    # --- reservations ---------------------------------------------------------------------------------------------
    async def reserve(self, reservation_id: str, *, channel: str = "web", ttl_s: int = 60, order: str = "", **units: int) -> Result:
        request = requests.reserve(
            CONTEXT,
            reservation_id=reservation_id,
            own_id=False,
            channel=channel,
            order_reference=order,
            ttl_ms=ttl_s * 1000,
            partial=False,
            nodes=[],
            lines=list(units.items()),
        )
        return await self.do(request)

    async def confirm(self, reservation_id: str, *, reacquire: bool = False) -> Result:
        key = f"confirm-{self.now_ms}"
        return await self.do(requests.confirm(CONTEXT, reservation_id=reservation_id, key=key, reacquire=reacquire))

    async def release(self, reservation_id: str, lines: list[tuple[int, int]] | None = None) -> Result:
        key = f"release-{next(self._sequence)}"
        return await self.do(requests.release(CONTEXT, reservation_id=reservation_id, key=key, lines=lines or []))

    async def extend(self, reservation_id: str, ttl_s: int) -> Result:
        key = f"extend-{next(self._sequence)}"
        return await self.do(requests.extend(CONTEXT, reservation_id=reservation_id, key=key, ttl_ms=ttl_s * 1000))

    async def fulfil(self, reservation_id: str, shipment_id: str, lines: list[tuple[int, int]] | None = None) -> Result:
        request = requests.fulfil(CONTEXT, reservation_id=reservation_id, shipment_id=shipment_id, shipped_ms=0, lines=lines or [])
        return await self.do(request)

    async def expire(self) -> Result:
        return await self.do(Expire(CONTEXT))

    async def trade(self) -> None:
        """A day's work: every verb of a reservation, an expiry, stock that shrinks below what was sold and comes back."""
        await self.reserve("R1", A=8, B=2, order="O1")
        await self.reserve("R2", A=4, order="O1", ttl_s=5)
        await self.extend("R1", 600)
        await self.confirm("R1")
        await self.fulfil("R1", "S1", [(1, 5)])
        self.now_ms += 6_000
        await self.reserve("R3", A=3)
        await self.ship("N1", "S1", "R1", A=5)
        await self.release("R1", [(1, 1)])
        await self.receive("N1", A=-6)
        await self.count("N1", A=9, B=4)
        await self.confirm("R2", reacquire=True)
        await self.release("R3")
        await self.fulfil("R1", "S2")
        await self.ship("N1", "S3", "", A=1)
