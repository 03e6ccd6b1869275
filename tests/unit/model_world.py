"""A small pool in memory for the tests of the model, driven in few words: nodes `n` and `m`, SKUs `A` and `B`, channel `web`.

At node `p`, which the channel `depot` sells from, on hand falls at pick, as `wcs` counts it.
"""

from atp import requests
from atp.ledger import RaisedException
from atp.model.pool import ModelLimits, Pool, Write
from atp.model.status import OPEN_STATES, State
from atp.model.stock import StockRow
from atp.model.verbs import (
    Adjust,
    ChannelConfig,
    Context,
    Count,
    Expire,
    Figures,
    ItemLine,
    NodeConfig,
    Provision,
    Register,
    Result,
    Ship,
    SourceConfig,
    Want,
)

CONTEXT = Context("tester", "")
RUN = "run-1"
START = 1_800_000_000_000
TTL = 60_000
SKUS = ("A", "B")
NODES = ("n", "m")


class World:
    """`now` is the clock; sequences of `wms`, the authority of both nodes, count by themselves unless one is given."""

    def __init__(self, stock: dict[str, dict[str, int]] | None = None, bounds: ModelLimits | None = None, safety_stock: int = 0) -> None:
        self.pool = Pool(bounds) if bounds else Pool()
        self.now = START
        self.sequence = 0
        self.pool.open(RUN, 0, 0, self.now)
        self.do(
            Provision(
                CONTEXT,
                [
                    *(NodeConfig(node, "store", "UTC", "wms") for node in NODES),
                    NodeConfig("x", "supplier", "UTC", "erp"),
                    NodeConfig("p", "distribution_centre", "UTC", "wcs"),
                ],
                [ChannelConfig("web", list(NODES)), ChannelConfig("depot", ["p"])],
                [SourceConfig("wms", False), SourceConfig("erp", True), SourceConfig("wcs", False, on_hand_falls="pick")],
            )
        )
        self.do(Register(CONTEXT, "items", "erp", 1, 1, [ItemLine(sku, safety_stock) for sku in SKUS]))
        for node, figures in (stock or {}).items():
            self.count(node, **figures)

    def do(self, request: Write) -> Result:
        return self.pool.apply(request, self.now, RUN)

    def next_sequence(self) -> int:
        self.sequence += 1
        return self.sequence

    def count(self, node: str = "n", *, sequence: int = 0, as_of_ms: int = 0, **figures: int) -> Result:
        lines = [Figures(sku, on_hand, 0, 0) for sku, on_hand in figures.items()]
        print_ = requests.fingerprint(("count", node, figures))
        return self.do(Count(CONTEXT, f"c{node}{sequence}", "wms", node, sequence or self.next_sequence(), print_, as_of_ms, lines))

    def adjust(self, node: str = "n", *, sequence: int = 0, **changes: int) -> Result:
        lines = [Figures(sku, change, 0, 0) for sku, change in changes.items()]
        print_ = requests.fingerprint(("adjust", node, changes))
        return self.do(Adjust(CONTEXT, "event", "adjustment", "wms", node, sequence or self.next_sequence(), print_, lines))

    def ship(self, shipment_id: str, *, node: str = "n", reservation: str = "", sequence: int = 0, **quantities: int) -> Result:
        lines = [Want(sku, quantity) for sku, quantity in quantities.items()]
        print_ = requests.fingerprint(("ship", shipment_id, node, reservation, quantities))
        return self.do(Ship(CONTEXT, "event", "wms", node, sequence or self.next_sequence(), print_, shipment_id, reservation, lines))

    def reserve(
        self,
        reservation_id: str,
        *,
        ttl_ms: int = TTL,
        partial: bool = False,
        nodes: list[str] | None = None,
        order: str = "",
        **wants: int,
    ) -> Result:
        return self.do(
            requests.reserve(
                CONTEXT,
                reservation_id=reservation_id,
                own_id=False,
                channel="web",
                order_reference=order,
                ttl_ms=ttl_ms,
                partial=partial,
                nodes=nodes or [],
                lines=list(wants.items()),
            )
        )

    def confirm(self, reservation_id: str, key: str = "confirm", *, reacquire: bool = False) -> Result:
        return self.do(requests.confirm(CONTEXT, reservation_id=reservation_id, key=key, reacquire=reacquire))

    def release(self, reservation_id: str, key: str = "release", lines: list[tuple[int, int]] | None = None) -> Result:
        return self.do(requests.release(CONTEXT, reservation_id=reservation_id, key=key, lines=lines or []))

    def extend(self, reservation_id: str, key: str = "extend", ttl_ms: int = TTL) -> Result:
        return self.do(requests.extend(CONTEXT, reservation_id=reservation_id, key=key, ttl_ms=ttl_ms))

    def fulfil(self, reservation_id: str, shipment_id: str, lines: list[tuple[int, int]] | None = None, shipped_ms: int = 0) -> Result:
        return self.do(
            requests.fulfil(CONTEXT, reservation_id=reservation_id, shipment_id=shipment_id, shipped_ms=shipped_ms, lines=lines or [])
        )

    def sold(self, reservation_id: str, **wants: int) -> None:
        """A reservation, confirmed."""
        assert self.reserve(reservation_id, **wants).status == "OK"
        assert self.confirm(reservation_id).status == "OK"

    def expire(self) -> Result:
        return self.do(Expire(CONTEXT))

    def state(self, reservation_id: str) -> State:
        return self.pool.reservations[reservation_id].state

    def figures(self, sku: str = "A", node: str = "n") -> tuple[int, int, int, int]:
        """On hand, reserved, allocated, shipped unbooked."""
        row = self.pool.row(sku, node)
        return row.on_hand, row.reserved, row.allocated, row.shipped_unbooked

    def raised(self) -> list[tuple[str, str, str, int]]:
        """Exceptions of the last entry: reason, state, SKU, quantity."""
        return [(one.reason, one.state, one.sku, one.quantity) for one in self.last_exceptions()]

    def last_exceptions(self) -> list[RaisedException]:
        return self.pool.entries[-1].exceptions

    def assert_counts_are_sums(self) -> None:
        """Rule 2, from the records alone."""
        expected: dict[tuple[str, str], StockRow] = {}
        for record in self.pool.reservations.values():
            for line in record.lines.values() if record.state in OPEN_STATES else ():
                row = expected.setdefault((line.sku, line.node), StockRow())
                if record.state is State.HELD:
                    row.reserved += line.open
                else:
                    row.allocated += line.open
                row.picked += line.picked
                assert 0 <= line.picked <= line.open, line
        self._assert_picks_are_shared()
        for transfer in self.pool.transfers.values():
            for sku, units in transfer.units.items():
                expected.setdefault((sku, transfer.to), StockRow()).in_transit += max(0, units.left - units.came)
        for place, row in self.pool.rows.items():
            sums = expected.get(place, StockRow())
            unbooked = sum(entry.quantity for entry in self.pool.unbooked.get(place, {}).values())
            counted = (row.reserved, row.allocated, row.shipped_unbooked, row.picked, row.in_transit)
            assert counted == (sums.reserved, sums.allocated, unbooked, sums.picked, sums.in_transit), place
            assert min(counted) >= 0, place

    def _assert_picks_are_shared(self) -> None:
        """Of no order a line waits for the pick of what it shipped while another has units picked: they would be the same ones."""
        picked: set[tuple[str, str, str]] = set()
        awaited: set[tuple[str, str, str]] = set()
        for key, record in self.pool.reservations.items():
            for line in record.lines.values():
                place = record.order_reference or f"alone: {key}", line.sku, line.node
                picked |= {place} if line.picked else set()
                awaited |= {place} if line.awaited else set()
        assert not picked & awaited
