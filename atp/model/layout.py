"""The keys of a pool as docs/verbs.md lays them out, with decoded values, to be compared with a store key by key."""

from typing import Any

import msgspec

from atp.model.reservation import LineRecord, ReservationRecord
from atp.model.shipment import ShipmentRecord
from atp.model.state import PoolState
from atp.model.status import State
from atp.model.stock import ItemNames, without_trailing_zeros
from atp.model.transfer import TransferRecord
from atp.model.verbs import SourceConfig
from atp.model.window import Window

Layout = dict[str, dict[str, Any]]


def layout(state: PoolState) -> Layout:
    """Keys without the pool's prefix; without `ledger` and what is operational. A pool that does not exist has none."""
    if not state.epoch:
        return {}
    found: Layout = {"pool": {"rev": str(state.revision), "epoch": str(state.epoch), "time": str(state.time_ms)}, "cfg": _config(state)}
    _add_stock(found, state)
    _add_reservations(found, state)
    for shipment_id, shipment in state.shipments.items():
        found[f"shp:{shipment_id}"] = _shipment(shipment, sum(shipment_id in entries for entries in state.unbooked.values()))
    for transfer_id, transfer in state.transfers.items():
        found[f"trf:{transfer_id}"] = _transfer(transfer)
    for (node, source), sequence in state.full.items():
        found[f"syn:{node} {source}"] = {"full": str(sequence)}
    for (node, source, sequence), parts in state.parts.items():
        found[f"prt:{node} {source} {sequence}"] = {"parts": str(parts.parts)} | {str(part): "1" for part in parts.come}
    for (source, event_id), fingerprint in state.seen.items():
        found[f"evt:{source} {event_id}"] = {"fp": str(fingerprint)}
    for repair_id, repair in state.repairs.items():
        found[f"rep:{repair_id}"] = {"fp": str(repair.fingerprint), "reason": repair.reason}
    for sku, waiting in state.waiting.items():
        found[f"wait:{sku}"] = dict(waiting)
    if state.waiting:
        found["wtg"] = {"bytes": str(state.waiting_bytes())}
    return {key: fields for key, fields in found.items() if fields}


def _config(state: PoolState) -> dict[str, Any]:
    shut = sorted(node for node in state.locations if state.is_shut(node))
    return (
        {f"node:{node.id}": list(msgspec.structs.astuple(node))[1:] for node in state.nodes.values()}
        | {f"channel:{channel}": list(nodes) for channel, nodes in state.channels.items()}
        | {f"source:{source.id}": _source(source) for source in state.sources.values()}
        | {f"loc:{node}": msgspec.to_builtins(location) for node, location in state.locations.items()}
        | ({"shut": shut} if shut else {})
    )


def _source(source: SourceConfig) -> list[Any]:
    registers = [int(source.registers_items), int(source.registers_locations)]
    return [*registers, source.order, source.on_hand_falls, source.snapshots, source.rhythm_s]


def _add_stock(found: Layout, state: PoolState) -> None:
    for sku, item in state.items.items():
        stored = msgspec.to_builtins(item)
        found[f"stk:{sku}"] = {"@": stored if item.state_sequence else stored[:-3]}
    for sku, names in state.names.items():
        _add_names(found, sku, names)
    for (sku, node), row in state.rows.items():
        found[f"stk:{sku}"][node] = without_trailing_zeros(row)
    for (sku, node, source), window in state.windows.items():
        found.setdefault(f"win:{sku}", {})[f"{node} {source}"] = _window(window)
    for (sku, node, source), compared in state.compared.items():
        found.setdefault(f"cmp:{sku}", {})[f"{node} {source}"] = msgspec.to_builtins(compared)
    for (sku, node), entries in state.unbooked.items():
        for shipment_id, entry in entries.items():
            found.setdefault(f"unb:{sku}", {})[f"{node} {shipment_id}"] = msgspec.to_builtins(entry)


def _add_names(found: Layout, sku: str, names: ItemNames) -> None:
    found[f"itm:{sku}"] = {name: value for name, value in msgspec.to_builtins(names).items() if value}
    for alias in names.aliases:
        found.setdefault(f"ali:{alias}", {})[sku] = 1


def _window(window: Window) -> list[Any]:
    snaps = [word for one in window.snaps for word in msgspec.structs.astuple(one)]
    deltas = [figure for one in window.deltas for figure in (one.sequence, one.fingerprint, *msgspec.structs.astuple(one.change))]
    changed = [window.changed_ms] if window.changed_ms else []
    return [window.fold_sequence, window.as_of_ms, snaps, deltas, *changed]


def _add_reservations(found: Layout, state: PoolState) -> None:
    records = state.reservations
    found["exp"] = {key: record.expire_ms for key, record in records.items() if record.state is State.HELD}
    found["opn"] = {key: record.created_ms for key, record in records.items() if record.is_open}
    for key, record in records.items():
        found[f"rsv:{key}"] = _reservation(record)
        if record.order_reference:
            found.setdefault(f"ord:{record.order_reference}", {})[key] = record.ended_ms


def _reservation(record: ReservationRecord) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "state": str(record.state),
        "exp": str(record.expire_ms),
        "head": [record.channel, record.created_ms, record.first_expire_ms, record.created_revision],
        "fp": list(record.fingerprint),
    }
    if record.order_reference:
        fields["ord"] = record.order_reference
    if record.short:
        fields["short"] = msgspec.to_builtins(record.short)
    fields |= {str(number): _line(line) for number, line in record.lines.items()}
    fields |= {f"o:{key}": msgspec.to_builtins(operation) for key, operation in record.operations.items()}
    return fields


def _line(line: LineRecord) -> list[Any]:
    *figures, picks, loose = msgspec.structs.astuple(line)
    return [*figures, picks, loose] if loose else [*figures, picks] if picks else figures


def _shipment(shipment: ShipmentRecord, open_skus: int) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "node": shipment.node,
        "rsv": shipment.reservation_id,
        "at": str(shipment.shipped_ms),
        "open": str(open_skus),
    }
    if shipment.settled is not None:
        fields["settled"] = _flat_quantities(shipment.settled)
    if shipment.first is not None:
        fields["first"] = msgspec.to_builtins(shipment.first)
    for name, quantities in (("booked", shipment.booked), ("told", shipment.told)):
        if quantities is not None:
            fields[name] = _flat_quantities(quantities)
    if shipment.order_reference:
        fields["ord"] = shipment.order_reference
    return fields


def _transfer(transfer: TransferRecord) -> dict[str, Any]:
    return {"to": transfer.to, "from": transfer.from_} | {f"sku:{sku}": msgspec.to_builtins(units) for sku, units in transfer.units.items()}


def _flat_quantities(quantities: dict[str, int]) -> list[str | int]:
    return [word for pair in quantities.items() for word in pair]
