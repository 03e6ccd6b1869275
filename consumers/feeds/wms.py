"""A warehouse as GS1 EPCIS 2.0 tells it (JSON-LD): receipts, picks, packages, shipments, transfers, returns, findings and counts.

After *EPCIS Standard* and *Core Business Vocabulary Standard*, release 2.0, https://ref.gs1.org/standards/epcis/ and
https://ref.gs1.org/standards/cbv/, with the schemas and examples of https://github.com/gs1/EPCIS. It was chosen because it is an open
standard (ISO/IEC 19987, 19988) that warehouse systems of many makers speak, where the makers' own formats are for customers' eyes only.

Nodes are keyed by the URI of a location (an SGLN as URN or as GS1 Digital Link); a URN that ends in `.0` stands for all its extensions. An
item is known by its GTIN, which must name single units: a case is an item of its own. Orders, dispatch advices and authorisations are known
by what follows the last `/` or `:` of their URI. EPCIS has times and ids and no sequence: the source is provisioned with the order `time`.

What a business step means is the table below. A step that moves no stock is left out; one that is not there refuses its event by name, and
so does an error declaration: what was declared wrong is put right by a count. What units were before they were found to be damaged, held or
good again is the `unset` of the persistent disposition; without it damaged and held units were sellable, and good ones on quality hold.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, BinaryIO, Final

import msgspec

from atp.canonical import gtin
from atp.events import Event
from consumers.feeds.adapter import (
    Adapter,
    FeedSettings,
    Message,
    Mistake,
    each_json,
    malformed,
    messages,
    parsed,
    said,
    short,
    units,
    unwrapped,
)

SELLABLE, DAMAGED, QUALITY = "sellable", "damaged", "quality_hold"
#: Steps that move nothing into a node or out of it.
_STILL: Final = frozenset(
    {
        "accepting",
        "arriving",
        "collecting",
        "departing",
        "entering_exiting",
        "loading",
        "staging_outbound",
        "stocking",
        "storing",
        "transporting",
        "unloading",
        "unpacking",
    }
)
#: What units are good for, by their disposition.
_STOCKS: Final = {
    "damaged": DAMAGED,
    "expired": DAMAGED,
    "needs_replacement": DAMAGED,
    "non_conformant": QUALITY,
    "non_sellable_other": QUALITY,
    "recalled": QUALITY,
    "returned": QUALITY,
    "unavailable": QUALITY,
    "available": SELLABLE,
    "conformant": SELLABLE,
    "sellable_accessible": SELLABLE,
    "sellable_not_accessible": SELLABLE,
}
_GTIN: Final = re.compile(r"/01/([0-9]{8,14})(?:[/?#]|$)").search
_SGTIN: Final = re.compile(r"urn:epc:(?:id:sgtin|idpat:sgtin|class:lgtin):([0-9]{6,12})\.([0-9])([0-9]{0,6})\..+").fullmatch
_SGTIN_DIGITS: Final = 13


class _Named(msgspec.Struct, frozen=True):
    id: str


class _Quantity(msgspec.Struct, frozen=True, rename="camel"):
    epc_class: str
    quantity: int | float
    uom: str = ""


class _Transaction(msgspec.Struct, frozen=True, rename="camel"):
    biz_transaction: str
    type: str = ""


class _Place(msgspec.Struct, frozen=True):
    type: str
    source: str = ""
    destination: str = ""


class _Dispositions(msgspec.Struct, frozen=True):
    unset: list[str] = []


class EpcisEvent(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    type: str
    event_time: datetime
    action: str
    event_id: str = msgspec.field(name="eventID", default="")
    biz_step: str = ""
    disposition: str = ""
    persistent_disposition: _Dispositions = _Dispositions()
    read_point: _Named | None = None
    biz_location: _Named | None = None
    biz_transaction_list: list[_Transaction] = []
    source_list: list[_Place] = []
    destination_list: list[_Place] = []
    epc_list: list[str] = []
    quantity_list: list[_Quantity] = []
    parent_id: str = msgspec.field(name="parentID", default="")
    child_epcs: list[str] = msgspec.field(name="childEPCs", default_factory=list)
    child_quantity_list: list[_Quantity] = []
    error_declaration: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(EpcisEvent).decode


def read(file: BinaryIO, settings: FeedSettings) -> Iterator[Event | Mistake]:
    def one(data: bytes) -> Iterator[Message]:
        return _events(parsed(_decode, data), data, settings)

    return each_json(file, _documents, one)


def _documents(data: bytes) -> list[bytes]:
    """The events of a document, of the answer to a query, or a list; or the one event that it is."""
    return unwrapped(data, ("epcisBody", "queryResults", "resultsBody", "eventList", "event"))


def _events(event: EpcisEvent, data: bytes, settings: FeedSettings) -> Iterator[Message]:
    step = _word(event.biz_step)
    if event.error_declaration is not None:
        raise malformed("errorDeclaration: an event that was declared wrong is not undone; send a count of what is there")
    if step in _STILL:
        return
    if step not in _STEPS:
        raise malformed(f"bizStep {said(event.biz_step)} has no meaning here; give it one in _STEPS")
    if event.type not in {"ObjectEvent", "AggregationEvent"} or (event.type == "AggregationEvent") != (step == "packing"):
        raise malformed(
            f"type: a {said(event.type)} of step {said(step)} is not read; packing is an AggregationEvent, all else an ObjectEvent"
        )
    # Where the units were seen to go from, or where they are since.
    places = [place.id for place in (event.read_point, event.biz_location) if place]
    node = _node(settings, places if step == "shipping" else places[::-1])
    if not node:
        return
    kind, told, lines = _STEPS[step](event, settings)
    # Without an id of its own an event is what it says: a copy says the same.
    event_id = short(event.event_id or parsed(_sorted, data))
    yield from messages(settings, kind, event_id, event.event_time, {"node": node, **told}, lines)


def _sorted(data: bytes) -> str:
    return msgspec.json.encode(msgspec.json.decode(data), order="sorted").decode()


#: Kind, data and lines of the event.
Meaning = tuple[str, dict[str, Any], list[dict[str, Any]]]


def _receiving(event: EpcisEvent, settings: FeedSettings) -> Meaning:
    stock = _stock(event, SELLABLE)
    rma, advice = _transaction(event, "rma"), _transaction(event, "desadv")
    if rma or _word(event.disposition) == "returned":
        order = _transaction(event, "po")
        return "return", {"disposition": stock} | ({"order_reference": order} if order else {}), _lines(event)
    if other := _other_end(settings, [place.source for place in event.source_list if _word(place.type) == "location"]):
        return "transfer_in", {"transfer_id": _needed(event, "desadv"), "from_node": other}, _lines(event)
    if stock == SELLABLE:
        return "receipt", {"document": advice or _transaction(event, "po")}, _lines(event)
    # One change: as a receipt and a finding it could be promised in between.
    return "adjustment", {"reason": f"received: {_word(event.disposition)}"}, _changes(event, {"on_hand": 1, stock: 1})


def _shipping(event: EpcisEvent, settings: FeedSettings) -> Meaning:
    advice = _needed(event, "desadv")
    if other := _other_end(settings, [place.destination for place in event.destination_list if _word(place.type) == "location"]):
        return "transfer_out", {"transfer_id": advice, "to_node": other}, _lines(event)
    order = _transaction(event, "po")
    return "shipment", {"shipment_id": advice} | ({"order_reference": order} if order else {}), _lines(event)


def _picking(event: EpcisEvent, _settings: FeedSettings) -> Meaning:
    return "pick", {"order_reference": _needed(event, "po")}, _lines(event)


def _packing(event: EpcisEvent, _settings: FeedSettings) -> Meaning:
    if not event.parent_id:
        raise malformed("parentID is missing: it is the package")
    return "pack", {"package_id": _last(event.parent_id), "order_reference": _needed(event, "po")}, _lines(event)


def _not_shipped(event: EpcisEvent, _settings: FeedSettings) -> Meaning:
    return "adjustment", {"reason": "void_shipping"}, _changes(event, {"on_hand": 1})


def _found(event: EpcisEvent, _settings: FeedSettings) -> Meaning:
    """Units that are there, and turn out to be good for something else."""
    now = _stock(event, "")
    before = _before(event, QUALITY if now == SELLABLE else SELLABLE)
    lines = [{**line, "from": before, "to": now} for line in _lines(event)]
    return "status_change", {"reason": _word(event.disposition)}, lines


def _destroying(event: EpcisEvent, _settings: FeedSettings) -> Meaning:
    before = _before(event, SELLABLE)
    return "adjustment", {"reason": "destroyed"}, _changes(event, {"on_hand": -1} | ({before: -1} if before != SELLABLE else {}))


def _counting(event: EpcisEvent, settings: FeedSettings) -> Meaning:
    """A count of all units, or of those of one disposition that is not sellable: sellable ones alone are no figure."""
    figure = _stock(event, "on_hand")
    if figure == SELLABLE:
        raise malformed(f"disposition {said(event.disposition)}: count all that is there (no disposition), or what is damaged or held")
    return "snapshot", {"as_of": settings.moment(event.event_time)}, _changes(event, {figure: 1})


_STEPS: Final = {
    "receiving": _receiving,
    "picking": _picking,
    "packing": _packing,
    "shipping": _shipping,
    "void_shipping": _not_shipped,
    "inspecting": _found,
    "holding": _found,
    "destroying": _destroying,
    "cycle_counting": _counting,
    "stock_taking": _counting,
}


# --- words of the standard ----------------------------------------------------------------------------------------
def _last(uri: str) -> str:
    return re.split(r"[/:]", uri)[-1]


def _word(uri: str) -> str:
    """A word of the vocabulary in any of its spellings: `shipping`, `urn:epcglobal:cbv:bizstep:shipping`, `…/cbv/BizStep-shipping`."""
    return _last(uri).rpartition("-")[2]


def _stock(event: EpcisEvent, otherwise: str) -> str:
    """What the disposition says that units are good for; `otherwise` if it says nothing of it."""
    word = _word(event.disposition)
    if word in _STOCKS:
        return _STOCKS[word]
    if otherwise and word in {"", "active", "in_progress", "in_transit"}:
        return otherwise
    raise malformed(f"disposition {said(event.disposition)} does not say what the units are good for; known are {', '.join(_STOCKS)}")


def _before(event: EpcisEvent, otherwise: str) -> str:
    known = [_STOCKS[word] for word in map(_word, event.persistent_disposition.unset) if word in _STOCKS]
    return known[0] if known else otherwise


def _transaction(event: EpcisEvent, kind: str) -> str:
    """What the event belongs to; empty if it names none of that kind."""
    return next((_last(one.biz_transaction) for one in event.biz_transaction_list if _word(one.type) == kind), "")


def _needed(event: EpcisEvent, kind: str) -> str:
    if not (found := _transaction(event, kind)):
        raise malformed(f"bizTransactionList names no {kind}: it is what {_word(event.biz_step)} belongs to")
    return found


def _node(settings: FeedSettings, places: Iterable[str]) -> str:
    names = [name for place in places for name in (place, re.sub(r"^(urn:epc:id:sgln:.*)\.[^.]*$", r"\1.0", place))]
    if not names:
        raise malformed("readPoint and bizLocation are missing: one of them says where it happened")
    return settings.node(*names)


def _other_end(settings: FeedSettings, places: list[str]) -> str:
    """The node that is the other end; empty if it is none of ours: a supplier, a customer."""
    known = [place for place in places if place in settings.nodes]
    return settings.nodes[known[0]] if known else ""


def _lines(event: EpcisEvent) -> list[dict[str, Any]]:
    """Units by GTIN and unit of measure, instances counted."""
    total: dict[tuple[str, str], int] = {}
    for epc in (*event.epc_list, *event.child_epcs):
        total[_item(epc), ""] = total.get((_item(epc), ""), 0) + 1
    for one in (*event.quantity_list, *event.child_quantity_list):
        name = _item(one.epc_class), one.uom
        total[name] = total.get(name, 0) + units(f"quantity of {said(one.epc_class)}", one.quantity)
    if not total:
        raise malformed("epcList and quantityList are empty: it says nothing of any item")
    return [{"alias": item, "quantity": quantity} | ({"unit": uom} if uom else {}) for (item, uom), quantity in total.items()]


def _changes(event: EpcisEvent, signs: dict[str, int]) -> list[dict[str, Any]]:
    told = [(line, line.pop("quantity")) for line in _lines(event)]
    return [{**line, **{figure: sign * quantity for figure, sign in signs.items()}} for line, quantity in told]


def _item(epc: str) -> str:
    """The GTIN in the name of an instance, a class or a lot."""
    if found := _GTIN(epc):
        code = found[1]
    elif (parts := _SGTIN(epc)) and len(parts[1] + parts[2] + parts[3]) == _SGTIN_DIGITS:
        body = parts[2] + parts[1] + parts[3]
        code = next(body + digit for digit in "0123456789" if gtin.is_valid(body + digit))
    else:
        raise malformed(f"{said(epc)} names no trade item: it must be an SGTIN, LGTIN or GTIN, as URN or as GS1 Digital Link")
    if not gtin.is_valid(code):
        raise malformed(f"{said(epc)}: {code} is no GTIN, its check digit is wrong")
    return gtin.item_name(code)


ADAPTER: Final = Adapter("wms", read, order="time")
