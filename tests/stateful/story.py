"""What truly happens in a small house, in order, and what its systems tell of it: for the laws that say how it may come to be heard.

Four nodes: `D`, a warehouse of `wms`, whose damaged and held stock `lab` knows; `P`, where `wcs` takes units off when they are picked;
`S`, a shop whose tills have ids only; and `L`, a location without stock. An ERP books some of it too and is nobody's authority.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import strategies as st

from atp import requests
from atp.model.pool import Write
from atp.model.stock import StockRow
from atp.model.verbs import ChannelConfig, Context, NodeConfig, Provision, SourceConfig

CONTEXT = Context("oms")
POOL = "story"
#: An hour ago: what the store keeps for a time is kept as long by its own clock.
START_MS = (int(time.time()) - 3_600) * 1_000
STEP_MS = 2_000  # a place by time has seconds
TTL_MS = 6 * 3_600_000
OPENING = 1_000
SKUS = ("A", "B")  # what is ordered; C is told of, and registered late
ISSUERS = {"D": "wms", "P": "wcs", "S": "till"}
SOURCES = [
    SourceConfig("wms", False),
    SourceConfig("lab", False, order="time"),
    SourceConfig("wcs", False, on_hand_falls="pick"),
    SourceConfig("till", False, order="id"),
    SourceConfig("erp", True, True, order="time", snapshots="net"),
]
WORLD = Provision(
    CONTEXT,
    [
        NodeConfig("D", "distribution_centre", "UTC", "wms", damaged_authority="lab", quality_hold_authority="lab"),
        NodeConfig("P", "distribution_centre", "UTC", "wcs"),
        NodeConfig("S", "store", "UTC", "till"),
    ],
    [ChannelConfig(node, [node]) for node in ISSUERS],
    SOURCES,
)
Place = tuple[str, str]  # SKU and node
Draw = Callable[[st.SearchStrategy[Any]], Any]


@dataclass(frozen=True)
class Told:
    """An event as JSON, or a command of the order management; `takes` is what it takes from stock that can be promised, by place.

    `about` is the reservation that it ships or picks for: then it takes units that are not promised anyhow, unless that one let go of them.
    """

    at_ms: int
    data: bytes = b""
    command: Write | None = None
    event_id: str = ""
    subject: str = ""
    reservation_id: str = ""  # commands of one reservation are given in their order
    about: str = ""
    takes: dict[Place, int] = field(default_factory=dict)
    may_wait: bool = True


@dataclass
class Order:
    sku: str
    node: str
    quantity: int
    confirmed: bool
    released: int = 0
    shipped: int = 0
    picked: int = 0
    loosened: bool = False  # it has let go of units: what is told of it late may find nothing
    put_back: bool = False  # a pick of it was taken back: one that is heard of before that may find nothing

    @property
    def open(self) -> int:
        return self.quantity - self.released - self.shipped


class Story:
    """The house as it is, and all that was told. Each step takes its time. `busy`: it is all orders of one item at P."""

    def __init__(self, draw: Draw, *, busy: bool = False) -> None:
        self.draw = draw
        self.busy = busy
        self.now_ms = START_MS
        self.told: list[Told] = []
        self.rows: dict[Place, StockRow] = {}
        self.orders: dict[str, Order] = {}
        self.on_their_way: list[tuple[str, str, str, int]] = []  # transfer, SKU, destination, units
        self.item_states: dict[str, str] = {}
        self.location_states: dict[str, str] = {}
        self.history: list[tuple[int, dict[Place, int]]] = []
        self._sequences: dict[tuple[str, str], int] = {}
        self._numbers = 0
        self._open()

    def _open(self) -> None:
        """What everything rests on, and is not late: two items and stock to sell."""
        self._tell("item_registered", "erp", "", {"lines": [{"sku": sku} for sku in SKUS]}, may_wait=False)
        for node, issuer in ISSUERS.items():
            self._tell("receipt", issuer, node, {"lines": [_line(sku, OPENING) for sku in SKUS]}, may_wait=False)
            for sku in SKUS:
                self.row(sku, node).on_hand += OPENING
        self._passed()
        known_as = [{"sku": "A", "aliases": ["A-ALT"]}, {"sku": "C", "packs": {"CASE": 6}}]
        self._tell("item_registered", "erp", "", {"lines": known_as})
        self._passed()

    def play(self, steps: int) -> "Story":
        for _ in range(steps):
            self.draw(st.sampled_from(BUSY_STEPS if self.busy else STEPS))(self)
            self._passed()
        return self

    def _passed(self) -> None:
        self.history.append((self.now_ms, {place: row.uncommitted() for place, row in self.truth().items()}))
        self.now_ms += STEP_MS

    def row(self, sku: str, node: str) -> StockRow:
        return self.rows.setdefault((sku, node), StockRow())

    def truth(self) -> dict[Place, StockRow]:
        """The rows as they must be once all is heard."""
        found = {place: msgspec.structs.replace(row) for place, row in self.rows.items()}
        for order in self.orders.values():
            row = found[order.sku, order.node]
            row.allocated += order.open if order.confirmed else 0
            row.reserved += 0 if order.confirmed else order.open
            row.picked += min(order.picked, order.open)
        for _, sku, node, units in self.on_their_way:
            found.setdefault((sku, node), StockRow()).in_transit += units
        return found

    # --- telling --------------------------------------------------------------------------------------------------
    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _tell(self, kind: str, source: str, node: str, data: dict[str, Any], **others: Any) -> None:
        when = datetime.fromtimestamp(self.now_ms / 1000, UTC)
        event_id = others.pop("event_id", "") or f"{kind}-{self._number()}"
        if source in {"wms", "wcs"} and "sequence" not in data:
            data = data | {"sequence": self.next_sequence(source, node)}
        data = data | ({"node": node} if node else {})
        event = {"specversion": "1.0", "id": event_id, "source": source, "type": kind, "time": when, "data": data}
        subject = f"inv.{POOL}.{source}.{kind}"
        self.told.append(Told(self.now_ms, msgspec.json.encode(event), event_id=event_id, subject=subject, **others))

    def next_sequence(self, source: str, node: str) -> int:
        self._sequences[source, node] = self._sequences.get((source, node), 0) + 1
        return self._sequences[source, node]

    def _order(self, reservation_id: str, command: Write, *, may_wait: bool = True) -> None:
        self.told.append(Told(self.now_ms, command=command, reservation_id=reservation_id, may_wait=may_wait))

    # --- choosing -------------------------------------------------------------------------------------------------
    def node(self) -> str:
        return str(self.draw(st.sampled_from(sorted(ISSUERS))))

    def sku(self) -> str:
        return str(self.draw(st.sampled_from(["A", "A", "B", "C"])))

    def units(self, most: int = 9) -> int:
        return int(self.draw(st.integers(1, most)))

    def whether(self) -> bool:
        return bool(self.draw(st.booleans()))

    def an_order(self, of: Callable[[Order], bool]) -> tuple[str, Order] | None:
        found = [(key, order) for key, order in self.orders.items() if of(order)]
        return self.draw(st.sampled_from(found)) if found else None

    def line_of(self, sku: str, quantity: int) -> dict[str, Any]:
        """As its source calls it: by another name now and then, or in packs."""
        if sku == "A" and self.whether():
            return {"alias": "A-ALT", "quantity": quantity}
        if sku == "C" and quantity % 6 == 0:
            return {"sku": sku, "unit": "CASE", "quantity": quantity // 6}
        return _line(sku, quantity)

    # --- stock ----------------------------------------------------------------------------------------------------
    def receive(self) -> None:
        node, sku, units = self.node(), self.sku(), self.units(12)
        self.row(sku, node).on_hand += units
        data = {"lines": [self.line_of(sku, units)]}
        self._tell("receipt", ISSUERS[node], node, data)
        if self.whether():
            self._tell("receipt", "erp", node, data)

    def adjust(self) -> None:
        node, sku, change = self.node(), self.sku(), int(self.draw(st.sampled_from([-3, -1, 2])))
        self.row(sku, node).on_hand += change
        line = {"sku": sku, "on_hand": change}
        self._tell("adjustment", ISSUERS[node], node, {"lines": [line]}, takes={(sku, node): max(0, -change)})

    def change_status(self) -> None:
        node, sku, units = self.node(), self.sku(), self.units(3)
        row, figure = self.row(sku, node), str(self.draw(st.sampled_from(["damaged", "quality_hold"])))
        back = getattr(row, figure) >= units and self.whether()
        setattr(row, figure, getattr(row, figure) + (-units if back else units))
        line = {"sku": sku, "quantity": units, "from": figure if back else "sellable", "to": "sellable" if back else figure}
        source = "lab" if node == "D" else ISSUERS[node]
        self._tell("status_change", source, node, {"lines": [line]}, takes={(sku, node): 0 if back else units})

    def take_back(self) -> None:
        """At D the lab says itself what the warehouse saw broken. A count of on hand alone knows the units, and not their state."""
        node, sku, units = self.node(), self.sku(), self.units(3)
        disposition = str(self.draw(st.sampled_from(["sellable", "damaged", "quality_hold"])))
        row, kind = self.row(sku, node), "sale_return" if node == "S" else "return"
        row.on_hand += units
        data = {"lines": [self.line_of(sku, units)], "disposition": disposition}
        self._tell(kind, ISSUERS[node], node, data, takes={(sku, node): units if disposition != "sellable" else 0})
        if disposition != "sellable":
            setattr(row, disposition, getattr(row, disposition) + units)
        if disposition != "sellable" and node == "D":
            self._tell("adjustment", "lab", node, {"lines": [{"sku": sku, disposition: units}]}, takes={(sku, node): units})
        if self.whether():
            self._tell("return", "erp", node, data)

    def sell(self) -> None:
        sku, units = self.sku(), self.units(4)
        self.row(sku, "S").on_hand -= units
        data = {"lines": [self.line_of(sku, units)], "transaction_id": f"T-{self._number()}"}
        self._tell("sale", "till", "S", data, takes={(sku, "S"): units})

    def move(self) -> None:
        """Leaves the warehouse, or comes to where it was sent, in part perhaps."""
        if self.on_their_way and self.whether():
            which = int(self.draw(st.integers(0, len(self.on_their_way) - 1)))
            transfer, sku, node, left = self.on_their_way.pop(which)
            units = int(self.draw(st.integers(1, left)))
            self.row(sku, node).on_hand += units
            if units < left:
                self.on_their_way.append((transfer, sku, node, left - units))
            data = {"transfer_id": transfer, "from_node": "D", "lines": [self.line_of(sku, units)]}
            self._tell("transfer_in", ISSUERS[node], node, data)
            return
        sku, node, units, transfer = self.sku(), str(self.draw(st.sampled_from(["P", "S"]))), self.units(), f"TR-{self._number()}"
        self.row(sku, "D").on_hand -= units
        self.row(sku, node)
        self.on_their_way.append((transfer, sku, node, units))
        data = {"transfer_id": transfer, "to_node": node, "lines": [self.line_of(sku, units)]}
        self._tell("transfer_out", "wms", "D", data, takes={(sku, "D"): units})

    # --- counting -------------------------------------------------------------------------------------------------
    def count(self) -> None:
        """Not in the shop: what has no place is believed as of its arrival, so that a count which came late would be of another time."""
        node = "P" if self.busy else str(self.draw(st.sampled_from(["D", "P"])))
        how = "full" if self.busy else str(self.draw(st.sampled_from(["partial", "full", "cycle", "lab"])))
        as_of = {"as_of": datetime.fromtimestamp(self.now_ms / 1000, UTC)}
        if how == "lab":
            skus, figures = self._some_skus(), [str(self.draw(st.sampled_from(["damaged", "quality_hold"])))]
            self._tell("snapshot", "lab", "D", as_of | {"lines": [self._counted(sku, "D", figures) for sku in skus]})
        elif how == "cycle":
            line = self._counted(self.sku(), node, ["on_hand", "damaged", "quality_hold"])
            self._tell("cycle_count", ISSUERS[node], node, as_of | {"lines": [line]})
        elif how == "partial":
            some = {"on_hand", *self.draw(st.sets(st.sampled_from(["damaged", "quality_hold"])))}
            lines = [self._counted(sku, node, sorted(some)) for sku in self._some_skus()]
            self._tell("snapshot", ISSUERS[node], node, as_of | {"lines": lines})
        else:
            self._count_all(node, as_of)

    def _count_all(self, node: str, as_of: dict[str, Any]) -> None:
        """In two parts, one of them empty perhaps; what is 0 is left out."""
        every = ["on_hand", "damaged", "quality_hold"]
        parts: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
        for sku in ("A", "B", "C"):
            line = self._counted(sku, node, every)
            if any(line[figure] for figure in every):
                parts[self.whether()].append(line)
        source = ISSUERS[node]
        sequence = self.next_sequence(source, node)
        for part, lines in enumerate(parts, 1):
            self._tell("snapshot", source, node, as_of | {"sequence": sequence, "scope": "full", "part": part, "parts": 2, "lines": lines})

    def count_everything(self) -> list[Told]:
        """What each authority counts in the end, on time. The tills correct what they know to be wrong."""
        before = len(self.told)
        as_of = {"as_of": datetime.fromtimestamp(self.now_ms / 1000, UTC)}
        for node in ("D", "P"):
            self._count_all(node, as_of)
        lines = [self._counted(sku, "D", ["damaged", "quality_hold"]) for sku in ("A", "B", "C")]
        self._tell("snapshot", "lab", "D", as_of | {"lines": lines})
        self._passed()
        return self.told[before:]

    def _some_skus(self) -> list[str]:
        return sorted(self.draw(st.sets(st.sampled_from(["A", "B", "C"]), min_size=1)))

    def _counted(self, sku: str, node: str, figures: list[str]) -> dict[str, Any]:
        row = self.row(sku, node)
        return {"sku": sku} | {figure: getattr(row, figure) for figure in figures}

    def keep_books(self) -> None:
        """The ERP's own word, right or wrong: nothing comes of it."""
        node, sku, units = self.node(), self.sku(), self.units()
        as_of = datetime.fromtimestamp(self.now_ms / 1000, UTC)
        line = {"sku": sku, "on_hand": self.row(sku, node).on_hand - units, "own_reserved": units}
        self._tell("snapshot", "erp", node, {"as_of": as_of, "lines": [line]})

    # --- orders ---------------------------------------------------------------------------------------------------
    def take_order(self) -> None:
        node = "P" if self.busy else str(self.draw(st.sampled_from(["D", "P", "P", "S"])))
        sku = "B" if self.busy else str(self.draw(st.sampled_from(SKUS)))
        units, confirmed = self.units(), self.draw(st.integers(0, 3)) > 0
        key = f"R{self._number()}"
        self.orders[key] = Order(sku, node, units, confirmed)
        asked: dict[str, Any] = {"channel": node, "order_reference": f"O-{key}", "ttl_ms": TTL_MS, "partial": False}
        asked |= {"nodes": [], "lines": [(sku, units)], "own_id": False}
        self._order(key, requests.reserve(CONTEXT, reservation_id=key, **asked), may_wait=False)
        if confirmed:
            self._order(key, requests.confirm(CONTEXT, reservation_id=key, key="confirm", reacquire=False))

    def _of(self, key: str) -> dict[str, str]:
        """An order's event names the reservation or the order."""
        return {"reservation_id": key} if self.whether() else {"order_reference": f"O-{key}"}

    def pick(self) -> None:
        chosen = self.an_order(lambda order: order.node != "S" and order.open > order.picked)
        if chosen is None:
            return
        key, order = chosen
        units = self.units(order.open - order.picked)
        place = (order.sku, order.node)
        order.picked += units if order.node == "P" else 0
        self.row(*place).on_hand -= units if order.node == "P" else 0
        data = self._of(key) | {"lines": [self.line_of(order.sku, units)]}
        self._tell("pick", ISSUERS[order.node], order.node, data, about=key, takes={place: units if order.node == "P" else 0})
        if self.whether():
            self._tell("pack", ISSUERS[order.node], order.node, data | {"package_id": f"PK-{self._number()}"})

    def put_back(self) -> None:
        """A pick is taken back while its order stands: another one will follow."""
        chosen = self.an_order(lambda order: order.picked > 0 and order.node == "P")
        if chosen is None:
            return
        key, order = chosen
        units, place = self.units(order.picked), (order.sku, order.node)
        order.picked -= units
        order.put_back = True
        self.row(*place).on_hand += units
        data = self._of(key) | {"lines": [self.line_of(order.sku, units)]}
        self._tell("pick_reversed", ISSUERS[order.node], order.node, data, takes={place: units})

    def fall_short(self) -> None:
        chosen = self.an_order(lambda order: order.node != "S" and order.open > order.picked)
        if chosen is None:
            return
        key, order = chosen
        units = self.units(order.open - order.picked)
        self.row(order.sku, order.node).on_hand -= units
        data = self._of(key) | {"lines": [self.line_of(order.sku, units)]}
        self._tell("pick_short", ISSUERS[order.node], order.node, data, takes={(order.sku, order.node): units})

    def ship(self) -> None:
        """At P what was picked; told of by the house, by the order management, or by both."""
        chosen = self.an_order(lambda order: order.confirmed and (order.picked if order.node == "P" else order.open) > 0)
        if chosen is None:
            return
        key, order = chosen
        units, place = self.units(order.picked if order.node == "P" else order.open), (order.sku, order.node)
        order.shipped += units
        order.picked -= units if order.node == "P" else 0
        self.row(*place).on_hand -= units if order.node != "P" else 0
        shipment = f"SH-{self._number()}"
        by_house = order.node != "P" or self.whether()
        if by_house:
            kind, name = ("sale", "transaction_id") if order.node == "S" else ("shipment", "shipment_id")
            data = self._of(key) | {name: shipment, "lines": [self.line_of(order.sku, units)]}
            self._tell(kind, ISSUERS[order.node], order.node, data, about=key, takes={place: units if order.node != "P" else 0})
        if not by_house or self.whether():
            command = {"reservation_id": key, "shipment_id": shipment, "shipped_ms": self.now_ms, "lines": [(1, units)]}
            self._order(key, requests.fulfil(CONTEXT, **command))

    def let_go(self) -> None:
        """The customer wants less, or nothing. What was picked for it and is free now is put back: a receipt, if nothing else is open."""
        chosen = self.an_order(lambda order: order.open > 0)
        if chosen is None:
            return
        key, order = chosen
        units, by_event = self.units(order.open), self.whether()
        whole = units == order.open and self.whether()
        order.released += units
        order.loosened = True
        if by_event:
            lines = [] if whole else [self.line_of(order.sku, units)]
            self._tell("order_cancelled", "erp", "", {"order_reference": f"O-{key}", "lines": lines})
        else:
            parts = [] if whole else [(1, units)]
            release = requests.release(CONTEXT, reservation_id=key, key=f"K{self._number()}", lines=parts)
            self._order(key, release, may_wait=False)
        if (loose := order.picked - order.open) > 0:
            order.picked = order.open
            self._passed()
            self.row(order.sku, order.node).on_hand += loose
            kind, about = ("receipt", {}) if order.open == 0 and self.whether() else ("pick_reversed", self._of(key))
            self._tell(kind, ISSUERS[order.node], order.node, about | {"lines": [self.line_of(order.sku, loose)]})

    # --- what moves no stock --------------------------------------------------------------------------------------
    def speak_of_items(self) -> None:
        state = str(self.draw(st.sampled_from(["active", "blocked", "discontinued"])))
        self.item_states["C"] = state
        self._tell("item_state_changed", "erp", "", {"lines": [{"sku": "C", "state": state}]})

    def speak_of_locations(self) -> None:
        if "L" in self.location_states:
            state = str(self.draw(st.sampled_from(["active", "blocked", "closed"])))
            self.location_states["L"] = state
            self._tell("location_state_changed", "erp", "L", {"state": state})
        else:
            self.location_states["L"] = "active"
            self._tell("location_registered", "erp", "L", {"kind": "store", "time_zone": "Europe/Rome"}, may_wait=False)

    def be_heard(self) -> None:
        self._tell("heartbeat", "wms", "D", {"sequence": self.next_sequence("wms", "D")})


def _line(sku: str, quantity: int) -> dict[str, Any]:
    return {"sku": sku, "quantity": quantity}


#: What can happen next; what most depends on the order is there more than once.
STEPS: list[Callable[[Story], None]] = [
    Story.receive,
    Story.adjust,
    Story.change_status,
    Story.take_back,
    Story.sell,
    Story.move,
    *[Story.count] * 2,
    Story.keep_books,
    *[Story.take_order] * 3,
    *[Story.pick] * 4,
    Story.put_back,
    Story.fall_short,
    *[Story.ship] * 4,
    Story.let_go,
    Story.speak_of_items,
    Story.speak_of_locations,
    Story.be_heard,
]
BUSY_STEPS: list[Callable[[Story], None]] = [
    Story.take_order,
    *[Story.pick] * 3,
    Story.put_back,
    *[Story.ship] * 2,
    Story.count,
    Story.let_go,
]


@st.composite
def stories(draw: Draw) -> Story:
    """Of everything, or of the orders of one house in all detail."""
    busy = draw(st.booleans())
    return Story(draw, busy=busy).play(draw(st.integers(8, 20) if busy else st.integers(20, 40)))
