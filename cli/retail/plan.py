"""What a simulation will do, as plain data: made by `scenario`, carried out by `run`, compared by tests."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Disposition = Literal["sellable", "damaged", "quality_hold"]


class Ending(StrEnum):
    """What becomes of a basket once it is held."""

    SHIPPED = "shipped"  # confirmed, and shipped by the warehouse
    WAITING = "waiting"  # confirmed, and still to be shipped when the run ends
    EMPTIED = "emptied"  # released before it is confirmed
    CANCELLED = "cancelled"  # confirmed, then released
    ABANDONED = "abandoned"  # neither: its hold expires


@dataclass(frozen=True, slots=True)
class Delivery:
    """A receipt that the warehouse of a node reports."""

    at_s: float
    node: str
    lines: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class StockCheck:
    """A stock correction that the warehouse reports as an adjustment."""

    at_s: float
    node: str
    sku: str
    change: int


@dataclass(frozen=True, slots=True)
class Basket:
    """One reservation: an invoice, or a part of one that is over the bounds of a reservation. `_s` are seconds of the file's clock."""

    at_s: float
    id: str
    order: str
    lines: tuple[tuple[str, int], ...]  # as written: a SKU can stand twice
    nodes: tuple[str, ...]
    partial: bool
    ending: Ending
    ttl_ms: int
    confirm_after_s: float
    ship_after_s: float
    resent: bool  # its writing calls are sent a second time on purpose, as a client does that lost the answer
    reported_twice: bool  # its shipment is told over gRPC as well as by the warehouse


@dataclass(frozen=True, slots=True)
class Undo:
    """The lines of one cancelling invoice that found their sale in one basket."""

    at_s: float
    id: str
    basket: str
    lines: tuple[tuple[str, int], ...]
    disposition: Disposition  # of what has been shipped, and so comes back


Step = Delivery | StockCheck | Basket | Undo


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a run does, in order. `late` SKUs are registered only after their first receipt was sent."""

    seed: int
    nodes: tuple[str, ...]
    items: tuple[tuple[str, int], ...]  # SKU and safety stock
    late: frozenset[str]
    opening: tuple[Delivery, ...]
    steps: tuple[Step, ...]
    length_s: float  # of the file's clock, without the hours in which nothing happens
    unmatched_lines: int
    unmatched_units: int
    split_invoices: int
    channel: str = "shop"

    @property
    def baskets(self) -> int:
        return sum(isinstance(step, Basket) for step in self.steps)
