"""SAP S/4HANA material documents, as the OData service shows them (V2 or V4, one document or a list).

After *Material Documents – Read, Create (A2X)*, https://api.sap.com/api/API_MATERIAL_DOCUMENT_SRV/overview, with `to_MaterialDocumentItem`
expanded. S/4HANA's own event names the document alone: the integration that hears it reads the document and sends it on.

Nodes are keyed `<plant>/<storage location>` or `<plant>`. A document carries its time and number and no sequence, so its source is
provisioned with the order `time`; the time is that of entry (CreationDate, CreationTime), since a posting date can be put back. One
document becomes an event for each kind of movement and node. What a movement type means is the table below; one that is not there
refuses its document by name. Items that moved no stock of a place (no material, no storage location) are left out, and so are those that
S/4HANA adds by itself (IsAutomaticallyCreated): they are the other side of an item that is there. A two-step transfer (303, 305) is one
transfer by the ReferenceDocument that both of its documents carry. A goods issue is a shipment by the number of its delivery, the one that
`Fulfil` must name too, and names an order only if its item has a SalesOrder.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, BinaryIO, Final, NamedTuple

import msgspec

from atp.canonical import ContentError
from atp.events import Event
from consumers.feeds.adapter import Adapter, FeedSettings, Message, Mistake, each_json, malformed, messages, parsed, said, units, unwrapped

_V2_DATE: Final = re.compile(r"/Date\((-?[0-9]{1,15})(?:[+-][0-9]{4})?\)/").fullmatch
_V2_TIME: Final = re.compile(r"PT(?:([0-9]{1,2})H)?(?:([0-9]{1,2})M)?(?:([0-9]{1,2})S)?").fullmatch
_BY_ITSELF: Final = "X"


class Movement(NamedTuple):
    """What a movement type is called here, the stock it is about, and whether units come (+1) or go (−1)."""

    kind: str
    sign: int = 1
    stock: str = ""  # empty: as the item's InventoryStockType says
    to: str = ""


NOTHING, RECEIPT, ADJUSTMENT, SHIPMENT, RETURN, STATUS = "", "receipt", "adjustment", "shipment", "return", "status_change"
TRANSFER, TRANSFER_BACK, OUT, IN = "transfer", "transfer_back", "transfer_out", "transfer_in"
SELLABLE, QUALITY, DAMAGED = "sellable", "quality_hold", "damaged"

#: What each movement type means. Stock in quality inspection is on quality hold, blocked stock is damaged.
MOVEMENTS: Final[dict[str, Movement]] = {
    "101": Movement(RECEIPT),
    "102": Movement(ADJUSTMENT, -1),
    "103": Movement(NOTHING),  # into goods receipt blocked stock, which is no stock yet
    "104": Movement(NOTHING),
    "105": Movement(RECEIPT),  # out of it
    "106": Movement(ADJUSTMENT, -1),
    "122": Movement(ADJUSTMENT, -1),  # return to vendor
    "123": Movement(ADJUSTMENT),
    "124": Movement(NOTHING),  # return to vendor out of goods receipt blocked stock
    "125": Movement(NOTHING),
    "161": Movement(ADJUSTMENT, -1),  # returns order to vendor
    "162": Movement(ADJUSTMENT),
    "201": Movement(ADJUSTMENT, -1, SELLABLE),  # consumption for a cost centre
    "202": Movement(ADJUSTMENT, 1, SELLABLE),
    "221": Movement(ADJUSTMENT, -1, SELLABLE),  # for a project
    "222": Movement(ADJUSTMENT, 1, SELLABLE),
    "251": Movement(ADJUSTMENT, -1, SELLABLE),  # for sales
    "252": Movement(ADJUSTMENT, 1, SELLABLE),
    "261": Movement(ADJUSTMENT, -1, SELLABLE),  # for an order of production
    "262": Movement(ADJUSTMENT, 1, SELLABLE),
    "301": Movement(TRANSFER, stock=SELLABLE),  # between plants
    "302": Movement(TRANSFER_BACK, stock=SELLABLE),
    "303": Movement(OUT, stock=SELLABLE),
    "305": Movement(IN, stock=SELLABLE),
    "311": Movement(TRANSFER, stock=SELLABLE),  # between storage locations
    "312": Movement(TRANSFER_BACK, stock=SELLABLE),
    "313": Movement(OUT, stock=SELLABLE),
    "315": Movement(IN, stock=SELLABLE),
    "321": Movement(STATUS, stock=QUALITY, to=SELLABLE),
    "322": Movement(STATUS, stock=SELLABLE, to=QUALITY),
    "343": Movement(STATUS, stock=DAMAGED, to=SELLABLE),
    "344": Movement(STATUS, stock=SELLABLE, to=DAMAGED),
    "349": Movement(STATUS, stock=DAMAGED, to=QUALITY),
    "350": Movement(STATUS, stock=QUALITY, to=DAMAGED),
    "501": Movement(RECEIPT),  # without a purchase order
    "502": Movement(ADJUSTMENT, -1),
    "551": Movement(ADJUSTMENT, -1, SELLABLE),  # scrap
    "552": Movement(ADJUSTMENT, 1, SELLABLE),
    "553": Movement(ADJUSTMENT, -1, QUALITY),
    "554": Movement(ADJUSTMENT, 1, QUALITY),
    "555": Movement(ADJUSTMENT, -1, DAMAGED),
    "556": Movement(ADJUSTMENT, 1, DAMAGED),
    "561": Movement(ADJUSTMENT, 1, SELLABLE),  # initial entry
    "562": Movement(ADJUSTMENT, -1, SELLABLE),
    "563": Movement(ADJUSTMENT, 1, QUALITY),
    "564": Movement(ADJUSTMENT, -1, QUALITY),
    "565": Movement(ADJUSTMENT, 1, DAMAGED),
    "566": Movement(ADJUSTMENT, -1, DAMAGED),
    "601": Movement(SHIPMENT, stock=SELLABLE),  # goods issue for a delivery
    "602": Movement(ADJUSTMENT, 1, SELLABLE),  # the units are there again; what was promised of them is settled and stays so
    "651": Movement(RETURN, stock=QUALITY),  # into blocked stock returns
    "652": Movement(ADJUSTMENT, -1, QUALITY),
    "653": Movement(RETURN, stock=SELLABLE),
    "654": Movement(ADJUSTMENT, -1, SELLABLE),
    "655": Movement(RETURN, stock=QUALITY),
    "656": Movement(ADJUSTMENT, -1, QUALITY),
    "657": Movement(RETURN, stock=DAMAGED),
    "658": Movement(ADJUSTMENT, -1, DAMAGED),
    "701": Movement(ADJUSTMENT, 1, SELLABLE),  # found in a physical inventory
    "702": Movement(ADJUSTMENT, -1, SELLABLE),  # missed in one
    "703": Movement(ADJUSTMENT, 1, QUALITY),
    "704": Movement(ADJUSTMENT, -1, QUALITY),
    "707": Movement(ADJUSTMENT, 1, DAMAGED),
    "708": Movement(ADJUSTMENT, -1, DAMAGED),
}
#: InventoryStockType: unrestricted, in quality inspection, returns, blocked, restricted use.
_STOCKS: Final = {"": SELLABLE, "01": SELLABLE, "02": QUALITY, "03": QUALITY, "07": DAMAGED, "08": QUALITY}


class Item(msgspec.Struct, frozen=True, rename="pascal", kw_only=True):
    material_document_item: str
    goods_movement_type: str
    quantity_in_entry_unit: str | int | float
    entry_unit: str
    material: str | None = ""
    plant: str | None = ""
    storage_location: str | None = ""
    inventory_stock_type: str | None = ""
    inventory_special_stock_type: str | None = ""
    quantity_in_base_unit: str | int | float | None = None
    material_base_unit: str | None = ""
    issuing_or_receiving_plant: str | None = ""
    issuing_or_receiving_storage_loc: str | None = ""
    delivery: str | None = ""
    purchase_order: str | None = ""
    sales_order: str | None = ""
    is_automatically_created: str | None = ""


class _Results(msgspec.Struct, frozen=True):
    results: list[Item]


class MaterialDocument(msgspec.Struct, frozen=True, rename="pascal", kw_only=True):
    material_document: str
    material_document_year: str
    creation_date: str
    creation_time: str
    reference_document: str | None = ""
    items: _Results | list[Item] = msgspec.field(name="to_MaterialDocumentItem")

    def name(self) -> str:
        return f"{self.material_document}-{self.material_document_year}"


_decode = msgspec.json.Decoder(MaterialDocument).decode


def read(file: BinaryIO, settings: FeedSettings) -> Iterator[Event | Mistake]:
    def one(data: bytes) -> Iterable[Message]:
        return _events(parsed(_decode, data), settings)

    return each_json(file, _documents, one)


def _documents(data: bytes) -> list[bytes]:
    """The documents in what the service answers: one, or a list, inside `d` and `results` (V2) or `value` (V4)."""
    return unwrapped(data, ("d", "results", "value"))


def _events(document: MaterialDocument, settings: FeedSettings) -> Iterator[Message]:
    when = _entered(document)
    groups: dict[tuple[Any, ...], _Group] = {}
    for item in document.items.results if isinstance(document.items, _Results) else document.items:
        if item.is_automatically_created == _BY_ITSELF or not item.material or not item.storage_location:
            continue
        try:
            moved = list(_moved(document, item, settings))
        except ContentError as error:
            where = f"material document {said(document.name())}, item {said(item.material_document_item)}"
            raise malformed(f"{where}: {error.detail.removesuffix('.')}") from error
        for kind, data, line in moved:
            key = (kind, *sorted(data.items()))
            groups.setdefault(key, _Group(kind, data, item.material_document_item, [])).lines.append(line)
    for group in groups.values():
        event_id = f"{document.name()}-{group.item}-{group.kind}"
        yield from messages(settings, group.kind, event_id, when, group.data, group.lines)


class _Group(NamedTuple):
    """What becomes one event: items of one kind that differ in nothing but their lines."""

    kind: str
    data: dict[str, str]
    item: str
    lines: list[dict[str, Any]]


_Moved = Iterator[tuple[str, dict[str, str], dict[str, Any]]]


def _moved(document: MaterialDocument, item: Item, settings: FeedSettings) -> _Moved:
    """Kind, data and line of the events that an item belongs to."""
    movement = MOVEMENTS.get(item.goods_movement_type)
    if movement is None:
        raise malformed(f"GoodsMovementType {said(item.goods_movement_type)} has no meaning here; give it one in MOVEMENTS")
    if item.inventory_special_stock_type:
        raise malformed(f"InventorySpecialStockType {said(item.inventory_special_stock_type)}: special stock is not the node's to promise")
    if movement.kind == NOTHING or _quantity(item) == 0:
        return
    node = _node(settings, item.plant, item.storage_location)
    if movement.kind in {TRANSFER, TRANSFER_BACK, OUT, IN}:
        yield from _transferred(document, item, movement, node, settings)
    elif node:
        yield _changed(document, item, movement, node)


def _changed(document: MaterialDocument, item: Item, movement: Movement, node: str) -> tuple[str, dict[str, str], dict[str, Any]]:
    """What happened at one node."""
    stock = movement.stock or _stock(item)
    line = {**_line(item), "quantity": _quantity(item)}
    data = {"node": node}
    if movement.kind == SHIPMENT:
        data["shipment_id"] = item.delivery or document.name()
        return SHIPMENT, data | ({"order_reference": item.sales_order} if item.sales_order else {}), line
    if movement.kind == RETURN:
        data["disposition"] = stock
        return RETURN, data | ({"order_reference": item.sales_order} if item.sales_order else {}), line
    data["reason"] = f"movement type {item.goods_movement_type}"
    if movement.kind == STATUS:
        return STATUS, data, line | {"from": movement.stock, "to": movement.to}
    if movement.kind == RECEIPT and stock == SELLABLE:
        return RECEIPT, {"node": node, "document": item.purchase_order or item.delivery or ""}, line
    # A receipt into quality inspection or blocked stock is one change: as two it could be promised in between.
    return ADJUSTMENT, data, _difference(item, movement.sign, stock)


def _transferred(document: MaterialDocument, item: Item, movement: Movement, here: str, settings: FeedSettings) -> _Moved:
    """Both ends of a one-step transfer, or the one that a step of two is about."""
    if _stock(item) != SELLABLE:
        raise malformed(f"InventoryStockType {said(item.inventory_stock_type)}: only unrestricted stock is transferred")
    if not item.issuing_or_receiving_plant:
        raise malformed("IssuingOrReceivingPlant is empty: it is the other end of the transfer")
    there = _node(settings, item.issuing_or_receiving_plant, item.issuing_or_receiving_storage_loc)
    if here == there:
        return  # between shelves of one node, or of no concern at either end
    transfer_id = document.name()
    if movement.kind in {OUT, IN}:
        if not document.reference_document:
            raise malformed("ReferenceDocument is empty: it is what makes both steps one transfer")
        transfer_id = document.reference_document
    line = {**_line(item), "quantity": _quantity(item)}
    source, target = (there, here) if movement.kind in {TRANSFER_BACK, IN} else (here, there)
    for kind, node, other, sign in ((OUT, source, target, -1), (IN, target, source, 1)):
        if not node or movement.kind in {OUT, IN} - {kind}:
            continue
        if other:
            yield kind, {"node": node, "transfer_id": transfer_id, "to_node" if kind == OUT else "from_node": other}, line
        else:  # from or to a place of no concern: nothing is on its way
            yield ADJUSTMENT, {"node": node, "reason": f"movement type {item.goods_movement_type}"}, _difference(item, sign, SELLABLE)


def _node(settings: FeedSettings, plant: str | None, storage_location: str | None) -> str:
    return settings.node(f"{plant or ''}/{storage_location or ''}", plant or "")


def _stock(item: Item) -> str:
    try:
        return _STOCKS[item.inventory_stock_type or ""]
    except KeyError:
        raise malformed(f"InventoryStockType {said(item.inventory_stock_type)} is no stock of a node") from None


def _difference(item: Item, sign: int, stock: str) -> dict[str, Any]:
    change = sign * _quantity(item)
    return {**_line(item), "on_hand": change, **({stock: change} if stock != SELLABLE else {})}


def _line(item: Item) -> dict[str, Any]:
    """The item's name; the unit of entry only if the document does not give the quantity in base units."""
    unit = "" if item.quantity_in_base_unit is not None or item.entry_unit == item.material_base_unit else item.entry_unit
    return {"sku": item.material} | ({"unit": unit} if unit else {})


def _quantity(item: Item) -> int:
    if item.quantity_in_base_unit is not None:
        return units("QuantityInBaseUnit", item.quantity_in_base_unit)
    return units("QuantityInEntryUnit", item.quantity_in_entry_unit)


def _entered(document: MaterialDocument) -> datetime:
    """When the document was entered, in the zone of the system's clock."""
    try:
        return datetime.combine(_date(document.creation_date), _time(document.creation_time))
    except (ValueError, OverflowError):
        written = f"{said(document.creation_date)}, {said(document.creation_time)}"
        raise malformed(f"material document {said(document.name())}: CreationDate, CreationTime: {written} are no date and time") from None


def _date(text: str) -> date:
    if found := _V2_DATE(text):
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(found[1]))).date()
    return datetime.fromisoformat(text).date()


def _time(text: str) -> time:
    if found := _V2_TIME(text):
        hours, minutes, seconds = (int(part or 0) for part in found.groups())
        return time(hours, minutes, seconds)
    return time.fromisoformat(text).replace(tzinfo=None)


ADAPTER: Final = Adapter("s4hana", read, order="time")
