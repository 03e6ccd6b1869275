"""From canonical events to the verbs that apply them."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from atp import events, limits
from atp.canonical.gtin import item_name
from atp.canonical.reading import lines_of, malformed
from atp.events import node_of, type_of
from atp.model import verbs
from atp.model.verbs import (
    ALL_FIGURES,
    FIGURE_BITS,
    Adjust,
    Cancel,
    Context,
    Count,
    Figures,
    ItemLine,
    ItemState,
    Locate,
    Note,
    Pick,
    Register,
    SetItemStates,
    SetLocationState,
    Ship,
    Transfer,
    Want,
)
from atp.requests import fingerprint

Request = Register | SetItemStates | Locate | SetLocationState | Adjust | Count | Ship | Pick | Transfer | Cancel | Note

#: Bits of a place by time that tell events of one second apart: a hash of the event id. Those below a thousand are counts' milliseconds.
_MOMENT_BITS: Final = 22
_COUNT_PLACES: Final = 1_000


class Items(NamedTuple):
    """What the names and packs of an event stand for, as the pool's items say."""

    skus: Mapping[str, str] = {}  # by name, as `item_name` has it
    packs: Mapping[tuple[str, str], int] = {}  # base units by SKU and unit

    def sku(self, line: events.Line) -> str:
        return line.sku or self.skus[item_name(line.alias)]

    def units(self, line: events.Line, quantity: int) -> int:
        return quantity * self.packs[self.sku(line), line.unit] if line.unit else quantity


NO_ITEMS: Final = Items()


def aliases_of(event: events.Event) -> list[str]:
    """Names, other than SKUs, that must be looked up before the event can be applied."""
    return list(dict.fromkeys(item_name(line.alias) for line in lines_of(event) if getattr(line, "alias", "")))


def packed_lines(event: events.Event) -> list[events.Line]:
    """Lines whose pack must be looked up before the event can be applied."""
    return [line for line in lines_of(event) if getattr(line, "unit", "")]


def request_of(event: events.Event, items: Items = NO_ITEMS) -> Request | None:
    """The verb that applies an event; None for one that changes nothing (a heartbeat).

    Raises ContentError MALFORMED for what can be said only once the names are known, and KeyError for one that `items` lacks.
    """
    build = _REQUESTS[type(event)]
    return build(event, items) if build else None


def context_of(event: events.Event) -> Context:
    """Whose word it is: the source's, in its conversation if it names one. (Its id is the cause of what it changes.)"""
    return Context(actor=event.source, correlation=event.correlation)


def moment_of(when: datetime, event_id: str) -> int:
    """A place by time: the second, and within it the id, behind all counts of that second."""
    return _second(when) << _MOMENT_BITS | max(fingerprint(event_id) & (2**_MOMENT_BITS - 1), _COUNT_PLACES)


def _moment_of_count(event: events.CycleCount | events.Snapshot, *, full: bool) -> int:
    """The second of `as_of`, before all else of it. Of counts that were made in the second that they are of, the one made later is later.

    Not of a full one: its parts are one count, whenever each was made.
    """
    second = _second(event.data.as_of)
    made = event.time.microsecond // 1_000 if _second(event.time) == second and not full else 0
    return second << _MOMENT_BITS | made


def _second(when: datetime) -> int:
    return int(when.timestamp())


def _content(event: events.Event, lines: Iterable[tuple[Any, ...]], *others: object) -> int:
    """The fingerprint of what an event says: not of its envelope, nor of the order of its lines."""
    return fingerprint((type_of(event), node_of(event), *others, sorted(lines)))


Quantities = tuple[int, ...]


def _said(line: events.Line) -> tuple[str, str]:
    """An item as the event names it: what a pack holds may be learnt later, what the event says is the same."""
    return line.sku or line.alias, line.unit


def _added_up(
    event: events.Event, items: Items, lines: Iterable[tuple[events.Line, Quantities]]
) -> tuple[dict[str, Quantities], list[tuple[Any, ...]]]:
    """Base units per SKU, in order of first mention, and what was said of them: a name and a unit that stand twice are added up."""
    given = list(lines)
    if len(given) == 1 and not (given[0][0].alias or given[0][0].unit):  # as most are: nothing to add up, nothing past its bounds
        ((line, quantities),) = given
        return {line.sku: quantities}, [(*_said(line), *quantities)]
    said: dict[tuple[str, str], Quantities] = {}
    named: dict[tuple[str, str], events.Line] = {}
    plain = True
    for line, quantities in given:
        name = _said(line)
        said[name] = _sum(said[name], quantities) if name in said else quantities
        named[name] = line
        plain = plain and not line.alias and not line.unit
    total: dict[str, Quantities] = {}
    for name, quantities in said.items():
        line = named[name]
        sku = name[0] if plain else items.sku(line)
        units = quantities if plain else tuple(items.units(line, one) for one in quantities)
        total[sku] = _sum(total[sku], units) if sku in total else units
    beyond = [sku for sku, units in total.items() if max(units) > limits.QUANTITY_MAX or min(units) < -limits.QUANTITY_MAX]
    if beyond:
        raise malformed(event, [f"the lines of SKU {sku} add up to more than {limits.QUANTITY_MAX}" for sku in beyond])
    return total, [(*name, *quantities) for name, quantities in said.items()]


def _sum(one: Quantities, other: Quantities) -> Quantities:
    return tuple(map(sum, zip(one, other, strict=True)))


def _once_each(event: events.Event, skus: Sequence[str]) -> None:
    times = Counter(skus)
    if len(times) < len(skus):
        raise malformed(event, [f"data.lines name SKU {sku} {count} times, by other names" for sku, count in times.items() if count > 1])


def _wants(event: events.Event, items: Items) -> tuple[list[Want], list[tuple[Any, ...]]]:
    """Units per SKU, and what was said of them."""
    lines: Sequence[events.QuantityLine] = lines_of(event)
    total, said = _added_up(event, items, ((line, (line.quantity,)) for line in lines))
    return [Want(sku, quantity) for sku, (quantity,) in total.items()], said


# --- master data --------------------------------------------------------------------------------------------------
def _register(event: events.ItemRegistered, _items: Items) -> Register:
    lines = [ItemLine(line.sku, line.safety_stock, _details(line), _names(line)) for line in event.data.lines]
    content = _content(event, ((line.sku, line.safety_stock, line.details, tuple(line.aliases)) for line in lines))
    moment = moment_of(event.time, event.id)
    return Register(context_of(event), event.id, event.source, event.data.sequence, content, lines, moment)


def _names(line: events.ItemLine) -> list[str]:
    return sorted({item_name(name) for name in (*line.gtins, *line.aliases)})


def _details(line: events.ItemLine) -> str:
    """What is kept of an item for others, as JSON: what the event leaves out is left out."""
    default = events.ItemLine(sku=line.sku)
    said = {
        name: getattr(line, name)
        for name in ("gtins", "aliases", "base_unit", "packs", "category", "cost", "price", "tax_code")
        if getattr(line, name) != getattr(default, name)
    }
    return msgspec.json.encode(said, order="sorted").decode() if said else ""


def _item_states(event: events.ItemStateChanged, _items: Items) -> SetItemStates:
    lines = [ItemState(line.sku, verbs.ITEM_STATES.index(line.state)) for line in event.data.lines]
    content = _content(event, ((line.sku, line.state) for line in lines))
    moment = moment_of(event.time, event.id)
    return SetItemStates(context_of(event), event.id, event.source, event.data.sequence, content, lines, moment)


def _locate(event: events.LocationRegistered, _items: Items) -> Locate:
    data = event.data
    content = _content(event, (), data.kind, data.time_zone)
    moment = moment_of(event.time, event.id)
    return Locate(context_of(event), event.id, event.source, data.node, data.sequence, content, data.kind, data.time_zone, moment)


def _location_state(event: events.LocationStateChanged, _items: Items) -> SetLocationState:
    data = event.data
    state = verbs.LOCATION_STATES.index(data.state)
    moment = moment_of(event.time, event.id)
    return SetLocationState(context_of(event), event.id, event.source, data.node, data.sequence, _content(event, (), state), state, moment)


# --- deltas -------------------------------------------------------------------------------------------------------
Changed = Iterable[tuple[events.Line, tuple[int, int, int]]]


def _adjust(event: Any, items: Items, changes: Changed, *others: object, about: str = "") -> Adjust:
    total, said = _added_up(event, items, changes)
    lines = [Figures(sku, *change) for sku, change in total.items()]
    content = _content(event, said, *others, about)
    data = event.data
    moment = moment_of(event.time, event.id)
    return Adjust(context_of(event), event.id, type_of(event), event.source, data.node, data.sequence, content, lines, moment, about)


def _receipt(event: events.Receipt, items: Items) -> Adjust:
    return _adjust(event, items, ((line, (line.quantity, 0, 0)) for line in event.data.lines))


def _pick_short(event: events.PickShort, items: Items) -> Adjust:
    data = event.data
    about = data.reservation_id or data.order_reference
    return _adjust(event, items, ((line, (-line.quantity, 0, 0)) for line in data.lines), about=about)


def _adjustment(event: events.Adjustment, items: Items) -> Adjust:
    return _adjust(event, items, ((line, (line.on_hand, line.damaged, line.quality_hold)) for line in event.data.lines))


#: What one unit in each state adds to on hand, damaged and quality hold.
_BUCKETS: Final = {"sellable": (1, 0, 0), "damaged": (1, 1, 0), "quality_hold": (1, 0, 1)}


def _return(event: events.Return | events.SaleReturn, items: Items) -> Adjust:
    on_hand, damaged, quality_hold = _BUCKETS[event.data.disposition]
    return _adjust(
        event,
        items,
        ((line, (line.quantity * on_hand, line.quantity * damaged, line.quantity * quality_hold)) for line in event.data.lines),
    )


def _status_change(event: events.StatusChange, items: Items) -> Adjust:
    def change(line: events.MoveLine) -> tuple[int, int, int]:
        taken, given = _BUCKETS[line.from_], _BUCKETS[line.to]
        return 0, line.quantity * (given[1] - taken[1]), line.quantity * (given[2] - taken[2])

    return _adjust(event, items, ((line, change(line)) for line in event.data.lines))


# --- orders -------------------------------------------------------------------------------------------------------
def _ship_as(event: events.Shipment | events.Sale, items: Items, shipment_id: str) -> Ship:
    data = event.data
    lines, said = _wants(event, items)
    reservation_id, order_reference = data.reservation_id or "", data.order_reference
    content = _content(event, said, shipment_id, reservation_id, *([order_reference] if order_reference else []))
    moment = moment_of(event.time, event.id)
    return Ship(
        context_of(event),
        event.id,
        event.source,
        data.node,
        data.sequence,
        content,
        shipment_id,
        reservation_id,
        lines,
        moment,
        order_reference,
        type_of(event),
    )


def _ship(event: events.Shipment, items: Items) -> Ship:
    return _ship_as(event, items, event.data.shipment_id)


def _sale(event: events.Sale, items: Items) -> Ship | Adjust:
    data = event.data
    if data.reservation_id or data.order_reference:
        return _ship_as(event, items, data.transaction_id)
    return _adjust(event, items, ((line, (-line.quantity, 0, 0)) for line in data.lines), data.transaction_id)


def _pick(event: events.Pick | events.PickReversed, items: Items) -> Pick:
    data = event.data
    lines, said = _wants(event, items)
    reservation_id = data.reservation_id or ""
    content = _content(event, said, reservation_id, data.order_reference)
    moment = moment_of(event.time, event.id)
    return Pick(
        context_of(event),
        event.id,
        event.source,
        data.node,
        data.sequence,
        content,
        reservation_id,
        data.order_reference,
        lines,
        moment,
        type_of(event),
    )


def _pack(event: events.Pack, items: Items) -> Note:
    data = event.data
    about = data.reservation_id or data.order_reference
    content = _content(event, _wants(event, items)[1], data.package_id, about)
    return Note(context_of(event), event.id, type_of(event), event.source, data.node, content, about)


def _cancel(event: events.OrderCancelled, items: Items) -> Cancel:
    data = event.data
    lines, said = _wants(event, items)
    content = _content(event, said, data.order_reference)
    return Cancel(context_of(event), event.id, event.source, data.sequence, content, data.order_reference, lines)


def _transfer(event: events.TransferOut | events.TransferIn, items: Items) -> Transfer:
    data = event.data
    other = data.to_node if isinstance(data, events.TransferOutData) else data.from_node
    lines, said = _wants(event, items)
    content = _content(event, said, data.transfer_id, other)
    moment = moment_of(event.time, event.id)
    return Transfer(
        context_of(event),
        event.id,
        type_of(event),
        event.source,
        data.node,
        data.sequence,
        content,
        data.transfer_id,
        other,
        lines,
        moment,
    )


# --- snapshots ----------------------------------------------------------------------------------------------------
def _count(event: events.CycleCount | events.Snapshot, items: Items) -> Count:
    data = event.data
    _once_each(event, [items.sku(line) for line in data.lines])
    as_of_ms = int(data.as_of.timestamp() * 1000)
    full = isinstance(data, events.SnapshotData) and data.scope == "full"
    lines = [_figures(line, items, full=full) for line in data.lines]
    part, parts = (data.part, data.parts) if isinstance(data, events.SnapshotData) and full else (0, 0)
    said = ((*_said(line), line.on_hand, line.damaged, line.quality_hold, line.own_reserved) for line in data.lines)
    content = fingerprint((type_of(event), data.node, as_of_ms, part, parts, sorted(said, key=repr)))
    return Count(
        context_of(event),
        event.id,
        event.source,
        data.node,
        data.sequence,
        content,
        as_of_ms,
        lines,
        _moment_of_count(event, full=full),
        type_of(event),
        part,
        parts,
    )


def _figures(line: events.LevelLine, items: Items, *, full: bool) -> Figures:
    said = (line.on_hand, line.damaged, line.quality_hold)
    named = ALL_FIGURES if full else sum(bit for bit, figure in zip(FIGURE_BITS.values(), said, strict=True) if figure is not None)
    if line.sku and not line.unit:  # nearly all lines, and snapshots have very many
        return Figures(line.sku, line.on_hand or 0, line.damaged or 0, line.quality_hold or 0, named, line.own_reserved)
    on_hand, damaged, quality_hold = (items.units(line, figure or 0) for figure in said)
    return Figures(items.sku(line), on_hand, damaged, quality_hold, named, items.units(line, line.own_reserved))


_REQUESTS: Final[dict[type, Callable[[Any, Items], Request] | None]] = {
    events.ItemRegistered: _register,
    events.ItemStateChanged: _item_states,
    events.LocationRegistered: _locate,
    events.LocationStateChanged: _location_state,
    events.Receipt: _receipt,
    events.Pick: _pick,
    events.PickReversed: _pick,
    events.PickShort: _pick_short,
    events.Pack: _pack,
    events.Shipment: _ship,
    events.OrderCancelled: _cancel,
    events.TransferOut: _transfer,
    events.TransferIn: _transfer,
    events.Adjustment: _adjustment,
    events.StatusChange: _status_change,
    events.Return: _return,
    events.Sale: _sale,
    events.SaleReturn: _return,
    events.CycleCount: _count,
    events.Snapshot: _count,
    events.Heartbeat: None,
}

assert set(_REQUESTS) == set(events.TYPES.values())
