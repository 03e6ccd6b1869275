"""Canonical inventory events: CloudEvents 1.0 in JSON, one struct per type, as they stand on `inv.<pool>.<source>.<type>`.

`sequence` counts per source and node (per source for `item_registered`), from 1; the order of arrival does not matter, a known
sequence is ignored. Quantities are whole base units.
"""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from atp import limits

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
Id = Annotated[str, Meta(pattern=r"^[^\s\x00-\x1f\x7f]{1,64}$")]
Sequence = Annotated[int, Meta(ge=1, le=2**53 - 1)]
Units = Annotated[int, Meta(ge=1, le=limits.QUANTITY_MAX)]
Level = Annotated[int, Meta(ge=0, le=limits.QUANTITY_MAX)]
Change = Annotated[int, Meta(ge=-limits.QUANTITY_MAX, le=limits.QUANTITY_MAX)]


class ItemLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sku: Id
    safety_stock: Level = 0  # kept back at every node


class QuantityLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sku: Id
    quantity: Units


class ChangeLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Signed changes: +3 damaged moves three units that are on hand out of what can be sold."""

    sku: Id
    on_hand: Change = 0
    damaged: Change = 0
    quality_hold: Change = 0


class LevelLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Figures as counted; on hand is signed, since a node's books can be below zero."""

    sku: Id
    on_hand: Change
    damaged: Level = 0
    quality_hold: Level = 0


class ItemsData(msgspec.Struct, frozen=True):
    sequence: Sequence
    lines: Annotated[list[ItemLine], Meta(min_length=1, max_length=limits.ITEM_LINES_MAX)]


class ReceiptData(msgspec.Struct, frozen=True):
    node: Name
    sequence: Sequence
    lines: Annotated[list[QuantityLine], Meta(min_length=1, max_length=limits.EVENT_LINES_MAX)]


class ShipmentData(msgspec.Struct, frozen=True):
    node: Name
    sequence: Sequence
    shipment_id: Id
    lines: Annotated[list[QuantityLine], Meta(min_length=1, max_length=limits.EVENT_LINES_MAX)]
    reservation_id: Id | None = None


class AdjustmentData(msgspec.Struct, frozen=True):
    node: Name
    sequence: Sequence
    lines: Annotated[list[ChangeLine], Meta(min_length=1, max_length=limits.EVENT_LINES_MAX)]
    reason: str = ""


class ReturnData(msgspec.Struct, frozen=True):
    node: Name
    sequence: Sequence
    disposition: Literal["sellable", "damaged", "quality_hold"]
    lines: Annotated[list[QuantityLine], Meta(min_length=1, max_length=limits.EVENT_LINES_MAX)]


class SnapshotData(msgspec.Struct, frozen=True):
    """What the authority counts, for the SKUs named; `as_of` says which shipments its figures already contain."""

    node: Name
    sequence: Sequence
    as_of: datetime
    lines: Annotated[list[LevelLine], Meta(min_length=1, max_length=limits.EVENT_LINES_MAX)]


class Envelope(msgspec.Struct, frozen=True, tag_field="type", kw_only=True):
    """The CloudEvents attributes that every event carries; attributes unknown here are let through and ignored."""

    specversion: Literal["1.0"]
    id: Id
    source: Name
    time: datetime
    datacontenttype: Literal["application/json"] = "application/json"
    correlation: str = ""


class ItemRegistered(Envelope, frozen=True, tag="item_registered"):
    data: ItemsData


class Receipt(Envelope, frozen=True, tag="receipt"):
    data: ReceiptData


class Shipment(Envelope, frozen=True, tag="shipment"):
    data: ShipmentData


class Adjustment(Envelope, frozen=True, tag="adjustment"):
    data: AdjustmentData


class Return(Envelope, frozen=True, tag="return"):
    data: ReturnData


class Snapshot(Envelope, frozen=True, tag="snapshot"):
    data: SnapshotData


Event = ItemRegistered | Receipt | Shipment | Adjustment | Return | Snapshot
