"""Canonical inventory events: CloudEvents 1.0 in JSON, one struct per type, as they stand on `inv.<pool>.<source>.<type>`.

docs/events.md is made from these structs: the first line of a docstring is what it says of a type, the text after a field's `#:` is
what it says of the field. It also has the rules by which they may change.
"""

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from atp import limits

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
Id = Annotated[str, Meta(pattern=r"^[^\s\x00-\x1f\x7f]{1,64}$")]
OptionalName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{0,32}$")]
OptionalId = Annotated[str, Meta(pattern=r"^[^\s\x00-\x1f\x7f]{0,64}$")]
#: Counted by a source per node, from 1. 0: the source has none, and is provisioned with the order `time` or `id`.
Sequence = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Units = Annotated[int, Meta(ge=1, le=limits.QUANTITY_MAX)]
Level = Annotated[int, Meta(ge=0, le=limits.QUANTITY_MAX)]
Change = Annotated[int, Meta(ge=-limits.QUANTITY_MAX, le=limits.QUANTITY_MAX)]
PackSize = Annotated[int, Meta(ge=1, le=limits.PACK_UNITS_MAX)]
Part = Annotated[int, Meta(ge=1, le=limits.SNAPSHOT_PARTS_MAX)]
Text = Annotated[str, Meta(max_length=limits.TEXT_CHARS_MAX)]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$")]
Bucket = Literal["sellable", "damaged", "quality_hold"]


# --- lines --------------------------------------------------------------------------------------------------------
class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Names one item: by `sku`, or by another name that it is registered with (a GTIN, an alias)."""

    sku: OptionalId = ""
    alias: OptionalId = ""  #: instead of the SKU
    unit: OptionalName = ""  #: a pack that the item is registered with; quantities are then multiplied by its size. Empty: base units


class ItemLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One item as a whole: what is not named is not kept."""

    sku: Id
    safety_stock: Level = 0  #: kept back at every node
    gtins: Annotated[list[Annotated[str, Meta(pattern=r"^(\d{8}|\d{12,14})$")]], Meta(max_length=limits.ITEM_NAMES_MAX)] = []
    aliases: Annotated[list[Id], Meta(max_length=limits.ITEM_NAMES_MAX)] = []  #: other names, of a supplier or an older system
    base_unit: OptionalName = ""  #: what one unit is, for people: each, kg
    packs: Annotated[dict[Name, PackSize], Meta(max_length=limits.ITEM_PACKS_MAX)] = {}  #: base units in each pack; a size never changes
    category: OptionalId = ""
    cost: "Money | None" = None
    price: "Money | None" = None
    tax_code: OptionalId = ""


class Money(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An amount in minor units of its currency (ISO 4217): for postings and promotions, not for the stock."""

    amount: Annotated[int, Meta(ge=0, le=2**53 - 1)]
    currency: Currency


class ItemStateLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sku: Id
    state: Literal["active", "blocked", "discontinued"]  #: blocked: nothing is promised; discontinued: what is left is


class QuantityLine(Line, frozen=True, forbid_unknown_fields=True, kw_only=True):
    quantity: Units


class ChangeLine(Line, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Signed changes: +3 damaged moves three units that are on hand out of what can be sold."""

    on_hand: Change = 0
    damaged: Change = 0
    quality_hold: Change = 0


class MoveLine(Line, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Units that are on hand and change what they are good for."""

    quantity: Units
    from_: Bucket = msgspec.field(name="from")
    to: Bucket


class LevelLine(Line, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Figures as counted; on hand is signed, since a node's books can be below zero. At least one figure, unless the snapshot is full."""

    on_hand: Change | None = None
    damaged: Level | None = None
    quality_hold: Level | None = None
    own_reserved: Level = 0  #: what a source with net snapshots has taken off on hand for its own reservations


QuantityLines = Annotated[list[QuantityLine], Meta(min_length=1, max_length=limits.EVENT_LINES_MAX)]


# --- data ---------------------------------------------------------------------------------------------------------
class Data(msgspec.Struct, frozen=True, kw_only=True):
    """What every event says: its place among the others of its source and node."""

    sequence: Sequence = 0


class NodeData(Data, frozen=True, kw_only=True):
    node: Name


class ItemsData(Data, frozen=True, kw_only=True):
    lines: Annotated[list[ItemLine], Meta(min_length=1, max_length=limits.ITEM_LINES_MAX)]


class ItemStatesData(Data, frozen=True, kw_only=True):
    lines: Annotated[list[ItemStateLine], Meta(min_length=1, max_length=limits.ITEM_LINES_MAX)]
    reason: Text = ""


class LocationData(NodeData, frozen=True, kw_only=True):
    kind: Name  #: distribution_centre, store, dark_store, 3pl, supplier …
    time_zone: Text  #: of the IANA database


class LocationStateData(NodeData, frozen=True, kw_only=True):
    state: Literal["active", "blocked", "closed"]  #: nothing is promised from a node that is not active
    reason: Text = ""


class LinesData(NodeData, frozen=True, kw_only=True):
    lines: QuantityLines


class ReceiptData(LinesData, frozen=True, kw_only=True):
    document: OptionalId = ""  #: the purchase order or delivery that it belongs to


class ForOrderData(LinesData, frozen=True, kw_only=True):
    """At most one of the two: a reservation, or an order, whose oldest allocation goes first."""

    reservation_id: OptionalId | None = None
    order_reference: OptionalId = ""


class PackData(ForOrderData, frozen=True, kw_only=True):
    package_id: Id


class ShipmentData(ForOrderData, frozen=True, kw_only=True):
    shipment_id: Id  #: the same in Fulfil


class CancelData(Data, frozen=True, kw_only=True):
    order_reference: Id
    lines: Annotated[list[QuantityLine], Meta(max_length=limits.EVENT_LINES_MAX)] = []  #: empty: the whole order
    reason: Text = ""


class TransferOutData(LinesData, frozen=True, kw_only=True):
    transfer_id: Id  #: the same at both ends
    to_node: Name


class TransferInData(LinesData, frozen=True, kw_only=True):
    transfer_id: Id  #: the same at both ends
    from_node: Name


class AdjustmentData(NodeData, frozen=True, kw_only=True):
    lines: Annotated[list[ChangeLine], Meta(min_length=1, max_length=limits.EVENT_LINES_MAX)]
    reason: Text = ""


class StatusChangeData(NodeData, frozen=True, kw_only=True):
    lines: Annotated[list[MoveLine], Meta(min_length=1, max_length=limits.EVENT_LINES_MAX)]
    reason: Text = ""


class ReturnData(LinesData, frozen=True, kw_only=True):
    disposition: Bucket
    order_reference: OptionalId = ""


class SaleData(ForOrderData, frozen=True, kw_only=True):
    """A basket taken away: with a reservation or an order it is that one's shipment, its id the transaction's."""

    transaction_id: Id


class CountData(NodeData, frozen=True, kw_only=True):
    as_of: datetime  #: the time of the count: shipments made up to it are contained in the figures
    lines: Annotated[list[LevelLine], Meta(min_length=1, max_length=1)]


class SnapshotData(NodeData, frozen=True, kw_only=True):
    as_of: datetime  #: the time of the count: shipments made up to it are contained in the figures
    scope: Literal["partial", "full"] = "partial"
    part: Part = 1  #: of a full one: which part this is, all under one sequence …
    parts: Part = 1  #: … and how many there are
    lines: Annotated[list[LevelLine], Meta(max_length=limits.EVENT_LINES_MAX)]


class HeartbeatData(Data, frozen=True, kw_only=True):
    node: OptionalName = ""  #: empty: the source as a whole


# --- events -------------------------------------------------------------------------------------------------------
class Envelope(msgspec.Struct, frozen=True, tag_field="type", kw_only=True):
    """The CloudEvents attributes that every event carries; attributes unknown here are let through and ignored."""

    specversion: Literal["1.0"]
    id: Id
    source: Name
    time: datetime
    datacontenttype: Literal["application/json"] = "application/json"
    correlation: str = ""


class ItemRegistered(Envelope, frozen=True, tag="item_registered"):
    """Makes items known, or states them anew: the highest sequence of a SKU is the item."""

    data: ItemsData


class ItemStateChanged(Envelope, frozen=True, tag="item_state_changed"):
    """Blocks items, frees them again, or marks them as discontinued."""

    data: ItemStatesData


class LocationRegistered(Envelope, frozen=True, tag="location_registered"):
    """Makes a location known, or states it anew; it has no stock until an authority is provisioned for it."""

    data: LocationData


class LocationStateChanged(Envelope, frozen=True, tag="location_state_changed"):
    """Blocks or closes a location, or opens it again."""

    data: LocationStateData


class Receipt(Envelope, frozen=True, tag="receipt"):
    """Units arrived: on hand rises."""

    data: ReceiptData


class Pick(Envelope, frozen=True, tag="pick"):
    """Units were taken from their place for an order: on hand falls where the node's authority counts it at pick."""

    data: ForOrderData


class PickReversed(Envelope, frozen=True, tag="pick_reversed"):
    """Units that were picked are back in their place: the pick is taken back, whether its order still stands or not."""

    data: ForOrderData


class PickShort(Envelope, frozen=True, tag="pick_short"):
    """Units that were to be picked and are not there: on hand falls by them, and an exception names the order."""

    data: ForOrderData


class Pack(Envelope, frozen=True, tag="pack"):
    """Units were put in a package: no stock moves, the order's story knows."""

    data: PackData


class Shipment(Envelope, frozen=True, tag="shipment"):
    """Units left: on hand falls where it is counted at issue, and the allocation is settled once."""

    data: ShipmentData


class OrderCancelled(Envelope, frozen=True, tag="order_cancelled"):
    """An order, or some units of it, is not wanted any more: what is not shipped is released."""

    data: CancelData


class TransferOut(Envelope, frozen=True, tag="transfer_out"):
    """Units left for another node: on hand falls here, and they are in transit there."""

    data: TransferOutData


class TransferIn(Envelope, frozen=True, tag="transfer_in"):
    """Units came from another node: on hand rises, and they are in transit no longer."""

    data: TransferInData


class Adjustment(Envelope, frozen=True, tag="adjustment"):
    """Signed changes to on hand, damaged and quality hold; the last two are part of on hand."""

    data: AdjustmentData


class StatusChange(Envelope, frozen=True, tag="status_change"):
    """Units on hand change what they are good for: sellable, damaged, on quality hold."""

    data: StatusChangeData


class Return(Envelope, frozen=True, tag="return"):
    """Units came back: on hand rises, and with the disposition damaged or quality_hold that figure too."""

    data: ReturnData


class Sale(Envelope, frozen=True, tag="sale"):
    """A basket was sold over the counter: on hand falls."""

    data: SaleData


class SaleReturn(Envelope, frozen=True, tag="sale_return"):
    """A basket, or a part of it, came back over the counter."""

    data: ReturnData


class CycleCount(Envelope, frozen=True, tag="cycle_count"):
    """One SKU was counted: a snapshot of one line."""

    data: CountData


class Snapshot(Envelope, frozen=True, tag="snapshot"):
    """What a source counts. Absent from a full one means 0, from a partial one untouched: SKUs and figures alike."""

    data: SnapshotData


class Heartbeat(Envelope, frozen=True, tag="heartbeat"):
    """The source lives, and has nothing to tell."""

    data: HeartbeatData


Event = (
    ItemRegistered
    | ItemStateChanged
    | LocationRegistered
    | LocationStateChanged
    | Receipt
    | Pick
    | PickReversed
    | PickShort
    | Pack
    | Shipment
    | OrderCancelled
    | TransferOut
    | TransferIn
    | Adjustment
    | StatusChange
    | Return
    | Sale
    | SaleReturn
    | CycleCount
    | Snapshot
    | Heartbeat
)

#: Types by their name on the wire.
TYPES: Final[dict[str, type]] = {str(kind.__struct_config__.tag): kind for kind in Event.__args__}


def type_of(event: Event) -> str:
    """Its name on the wire."""
    return str(type(event).__struct_config__.tag)


def node_of(event: Event) -> str:
    """Where it happened; empty for what is everywhere."""
    return getattr(event.data, "node", "")
