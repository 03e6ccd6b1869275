"""What reads answer: rows, reservations and the pool itself, as of one revision."""

import msgspec

from atp.ledger import Entry
from atp.model.stock import ItemRecord, StockRow
from atp.model.verbs import Shortfall


class AvailabilityLine(msgspec.Struct, frozen=True):
    """One SKU: `item` is None if it is not registered; `rows` are the nodes asked for that have a row, in their order.

    The rows leave out holds that are due. `revision` is the pool's when this line was read, and `shut` are nodes that then promised
    nothing.
    """

    sku: str
    item: ItemRecord | None
    rows: list[tuple[str, StockRow]]
    revision: int
    shut: frozenset[str] = frozenset()


class Availability(msgspec.Struct, frozen=True):
    """`time_ms` is the script time of the first read."""

    nodes: list[str]
    lines: list[AvailabilityLine]
    time_ms: int


class Explanation(msgspec.Struct, frozen=True):
    """One row and the ledger entry that last changed it, if the store still has it. `due` units of reserved are left out of `row`.

    `authorities` are the sources whose word counts at the node, by physical figure; empty where there is none.
    """

    item: ItemRecord
    row: StockRow
    node_state: int  # an index into LOCATION_STATES
    due: int
    revision: int
    time_ms: int
    entry: Entry | None
    authorities: dict[str, str]


class TermChange(msgspec.Struct, frozen=True):
    """The ledger entry that moved one term of a row, and by how many units."""

    entry: Entry
    delta: int


class TermChanges(msgspec.Struct, frozen=True):
    """The last change of each term of a row for which one was found, looking back as far as `searched_revision`."""

    terms: dict[str, TermChange]
    searched_revision: int


class ReservationLine(msgspec.Struct, frozen=True):
    number: int
    sku: str
    node: str
    quantity: int
    released: int
    shipped: int

    @property
    def open(self) -> int:
        """Units still held, or confirmed and not shipped."""
        return self.quantity - self.released - self.shipped


class Reservation(msgspec.Struct, frozen=True):
    reservation_id: str
    state: str
    channel: str
    order_reference: str
    created_ms: int
    expire_ms: int  # 0 once confirmed
    created_revision: int
    lines: list[ReservationLine]
    short: list[Shortfall]
    revision: int  # of the pool when it was read
    time_ms: int


class PoolInfo(msgspec.Struct, frozen=True):
    """The pool's head; `open` says whether it is open for the server that answered. A pool that does not exist has epoch 0.

    While a checkpoint is `loading` it has a part of its keys, and revision 0.
    """

    revision: int
    epoch: int
    time_ms: int
    published: int
    open: bool
    loading: bool = False


class LedgerRecord(msgspec.Struct, frozen=True):
    """One entry of the stream as it stands: its bytes, and those of the exceptions it raised (empty if none)."""

    revision: int
    entry: bytes
    exceptions: bytes
