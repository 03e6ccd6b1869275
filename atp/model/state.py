"""All that the keys of one pool hold, as plain Python structures, and the bounds that its verbs keep."""

import msgspec

from atp import limits
from atp.ledger import Fact, RaisedException
from atp.model.reservation import ReservationRecord
from atp.model.shipment import ShipmentRecord, Unbooked
from atp.model.status import Status
from atp.model.stock import ACTIVE, Comparison, ItemNames, ItemRecord, LocationRecord, StockRow, available_to_promise
from atp.model.transfer import TransferRecord
from atp.model.verbs import NodeConfig, Result, SourceConfig
from atp.model.window import Window


class ModelLimits(msgspec.Struct, frozen=True):
    """The bounds of `atp.limits` that verbs keep; tests lower them."""

    ledger_backlog_max: int = limits.LEDGER_BACKLOG_MAX
    operations_for_any: int = limits.OPERATIONS_FOR_ANY
    window_deltas_max: int = limits.WINDOW_DELTAS_MAX
    reap_rows_max: int = limits.REAP_ROWS_MAX
    script_rows_max: int = limits.SCRIPT_ROWS_MAX
    order_reservations_max: int = limits.ORDER_RESERVATIONS_MAX
    waiting_per_sku_max: int = limits.WAITING_PER_SKU_MAX
    waiting_bytes_max: int = limits.WAITING_BYTES_MAX
    retention_ms: int = limits.RETENTION_MS
    id_ahead_ms_max: int = limits.ID_AHEAD_MS_MAX
    bookings_max: int = limits.BOOKINGS_MAX
    settled_lines_max: int = limits.SETTLED_LINES_MAX
    figure_max: int = limits.FIGURE_MAX
    ledger_entry_bytes_max: int = limits.LEDGER_ENTRY_BYTES_MAX
    entry_head_bytes: int = limits.ENTRY_HEAD_BYTES


class ModelEntry(msgspec.Struct, frozen=True):
    """What a ledger entry says, without its after-images: `PoolState` has those."""

    verb: str
    cause: str
    revision: int
    time_ms: int
    exceptions: list[RaisedException]
    facts: list[Fact]


class Parts(msgspec.Struct):
    """The parts of a full snapshot that have come, of so many."""

    parts: int
    come: set[int] = msgspec.field(default_factory=set)

    def complete_with(self, part: int) -> bool:
        return len(self.come | {part}) == self.parts


class RepairRecord(msgspec.Struct, frozen=True):
    """A repair that was made: by which it is known again, and why it was made."""

    fingerprint: int
    reason: str


class PoolState:
    """A pool that does not exist has epoch 0. `run` and `published` are operational: no entry tells of them.

    What follows from other fields is not kept beside them: indexes by expiry and creation, reservations of an order, unbooked SKUs of
    a shipment are derived from the records.
    """

    def __init__(self, bounds: ModelLimits) -> None:
        self.limits = bounds
        self.run = ""
        self.published = 0
        self.revision = 0
        self.epoch = 0
        self.time_ms = 0  # of the last entry
        self.entries: list[ModelEntry] = []
        self.nodes: dict[str, NodeConfig] = {}
        self.channels: dict[str, list[str]] = {}  # nodes in order of preference
        self.sources: dict[str, SourceConfig] = {}
        self.items: dict[str, ItemRecord] = {}
        self.names: dict[str, ItemNames] = {}  # by SKU
        self.locations: dict[str, LocationRecord] = {}  # by node, once a source spoke of it
        self.rows: dict[tuple[str, str], StockRow] = {}  # by SKU and node
        self.unbooked: dict[tuple[str, str], dict[str, Unbooked]] = {}  # … and shipment
        self.windows: dict[tuple[str, str, str], Window] = {}  # by SKU, node and source
        self.compared: dict[tuple[str, str, str], Comparison] = {}
        self.full: dict[tuple[str, str], int] = {}  # the last full snapshot that is complete, by node and source
        self.parts: dict[tuple[str, str, int], Parts] = {}  # of those that are not, by their sequence too
        self.seen: dict[tuple[str, str], int] = {}  # fingerprints of events by source and id
        self.reservations: dict[str, ReservationRecord] = {}
        self.shipments: dict[str, ShipmentRecord] = {}
        self.transfers: dict[str, TransferRecord] = {}
        self.waiting: dict[str, dict[str, str]] = {}  # parked events by SKU and key
        self.repairs: dict[str, RepairRecord] = {}

    def waiting_bytes(self) -> int:
        """Of all that is parked."""
        return sum(len(original.encode()) for waiting in self.waiting.values() for original in waiting.values())

    def row(self, sku: str, node: str) -> StockRow:
        """A row to read; one that does not exist counts as zeros."""
        return self.rows.get((sku, node)) or StockRow()

    def is_shut(self, node: str) -> bool:
        """Nothing is promised from it."""
        return node in self.locations and self.locations[node].state != ACTIVE

    def promised(self, sku: str, node: str, due: int = 0, picked: int = 0) -> int:
        """Units of a registered SKU that can be promised; `due` of what is reserved, and `picked` of that, are left out."""
        row = self.row(sku, node)
        row = msgspec.structs.replace(row, reserved=row.reserved - due, picked=row.picked - picked)
        return available_to_promise(row, self.items[sku], shut=self.is_shut(node))

    def window(self, sku: str, node: str, source: str) -> Window:
        return self.windows.get((sku, node, source)) or Window.empty(self.full.get((node, source), 0))

    def answer(self, status: Status, now_ms: int, detail: list[str] | None = None) -> Result:
        """An answer without a change: where the pool stands."""
        return Result(status=status, detail=detail or [], revision=self.revision, time_ms=now_ms)
