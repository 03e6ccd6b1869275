"""Reads what an audit needs out of stored keys: rows, and the units that reservations and shipments stand for."""

from collections.abc import Mapping

import msgspec

from atp.ledger import Entry, image_value
from atp.model.reservation import LineRecord
from atp.model.status import OPEN_STATES
from atp.model.stock import ItemRecord, StockRow, available_to_promise
from atp.model.transfer import TransferUnits
from atp.replay import Key, Replay

RowName = tuple[str, str]  # SKU, node
Units = dict[RowName, int]

_decode_row = msgspec.msgpack.Decoder(StockRow).decode
_decode_item = msgspec.msgpack.Decoder(ItemRecord).decode
_decode_nodes = msgspec.msgpack.Decoder(list[str]).decode
_decode_line = msgspec.msgpack.Decoder(LineRecord).decode
_decode_head = msgspec.msgpack.Decoder(tuple[str, int, int, int]).decode
_decode_transferred = msgspec.msgpack.Decoder(TransferUnits).decode
_decode_unbooked = msgspec.msgpack.Decoder(tuple[int, int]).decode
_HOLD_FIELDS = frozenset({b"state", b"exp", b"head"})  # beside its lines, what `hold` reads
_NOT_AUDITED = frozenset({"ali", "cmp", "evt", "itm", "ord", "prt", "rep", "shp", "syn", "wait", "win", "wtg"})


class Touched(msgspec.Struct):
    """What an entry wrote, by name."""

    rows: set[RowName]
    unbooked: set[RowName]
    reservations: set[str]
    transfers: set[str]


class Hold(msgspec.Struct, frozen=True):
    """A reservation as its record says: `units` is what is open by row, whatever its state, `picked` what of that was picked."""

    state: str
    expire_ms: int
    created_ms: int
    units: Units
    picked: Units
    unsound: list[str]  # what is wrong with its lines


class Transit(msgspec.Struct, frozen=True):
    """A transfer as its record says: what of it stands in transit, by row."""

    units: Units
    unsound: list[str]


def touched(entry: Entry) -> Touched:
    """What the images of an entry name."""
    found = Touched(set(), set(), set(), set())
    for image in entry.images:
        kind, _, name = image_value(image[1]).decode().partition(":")
        if kind == "stk":
            nodes = (image_value(word).decode() for word in image[2::2])
            found.rows.update((name, node) for node in nodes if node != "@")
        elif kind == "unb":
            found.unbooked.add((name, image_value(image[2]).decode().partition(" ")[0]))
        elif kind == "rsv":
            found.reservations.add(name)
        elif kind == "trf":
            found.transfers.add(name)
        elif kind in {"exp", "opn"}:
            found.reservations.add(image_value(image[-1]).decode())
    return found


def is_audited(name: str) -> bool:
    """Whether any rule asks for a key."""
    return name.partition(":")[0] not in _NOT_AUDITED


def is_over(replay: Replay, name: str) -> bool:
    """Whether a key is the record of a reservation that has ended, or of a transfer of which nothing is in transit."""
    kind, _, record_id = name.partition(":")
    if kind == "rsv":
        return replay.keys[name].get(b"state", b"").decode() not in OPEN_STATES
    return kind == "trf" and not any(transit(replay, record_id).units.values())


def forget(replay: Replay, entry: Entry, holds: Mapping[str, Hold | None]) -> None:
    """Takes out of a replay what an entry wrote and no rule asks for.

    That is all but the configuration, rows, what is unbooked or in transit, and open reservations. A script that takes up an ended
    reservation again writes its record whole, and one that counts a transfer says each time where it goes.
    """
    for image in entry.images:
        name = image_value(image[1]).decode()
        if not is_audited(name):
            replay.forget(name)
    for transfer_id in touched(entry).transfers:
        if not any(transit(replay, transfer_id).units.values()):
            replay.forget(f"trf:{transfer_id}")
    for reservation_id, found in holds.items():
        name = f"rsv:{reservation_id}"
        if found is None or found.state not in OPEN_STATES:
            replay.forget(name)
            continue
        record = replay.keys[name]
        for field in [field for field in record if field not in _HOLD_FIELDS and not field.isdigit()]:
            del record[field]


def row(replay: Replay, name: RowName) -> StockRow:
    """A row; one that does not exist counts as zeros."""
    value = replay.keys.get(f"stk:{name[0]}", {}).get(name[1].encode())
    return _decode_row(value) if value else StockRow()


def promised(replay: Replay, name: RowName, row: StockRow) -> int:
    """Units of a row that could be promised as items and nodes stand now."""
    value, shut = replay.keys.get(f"stk:{name[0]}", {}).get(b"@"), replay.keys.get("cfg", {}).get(b"shut")
    item = _decode_item(value) if value else ItemRecord()
    return available_to_promise(row, item, shut=shut is not None and name[1] in _decode_nodes(shut))


def hold(replay: Replay, reservation_id: str) -> Hold | None:
    """A reservation, if there is a record of it."""
    record = replay.keys.get(f"rsv:{reservation_id}")
    if record is None or b"state" not in record:  # one that had ended and was not kept, whose late pick was noted
        return None
    units: Units = {}
    picked: Units = {}
    unsound = []
    for field, value in record.items():
        if field.isdigit():
            line = _decode_line(value)
            left = line.quantity - line.released - line.shipped
            units[line.sku, line.node] = units.get((line.sku, line.node), 0) + left
            if line.picked:
                picked[line.sku, line.node] = picked.get((line.sku, line.node), 0) + line.picked
            if min(left, line.released, line.shipped) < 0:
                unsound.append(f"line {field.decode()} has given back or shipped more than it held")
            elif not 0 <= line.picks <= line.quantity - line.released:
                unsound.append(f"line {field.decode()} of {line.quantity - line.released} units has {line.picks} picks")
    return Hold(record[b"state"].decode(), int(record[b"exp"]), _decode_head(record[b"head"])[1], units, picked, unsound)


def unbooked(replay: Replay, name: RowName) -> int:
    """Units of a SKU that shipments took from a node and its authority has not booked."""
    prefix = f"{name[1]} ".encode()
    entries: Key = replay.keys.get(f"unb:{name[0]}", {})
    return sum(_decode_unbooked(value)[0] for field, value in entries.items() if field.startswith(prefix))


def transit(replay: Replay, transfer_id: str) -> Transit:
    """What a transfer has in transit; nothing, if there is no record of it."""
    record: Key = replay.keys.get(f"trf:{transfer_id}", {})
    units: Units = {}
    unsound = []
    for field, value in record.items():
        if not field.startswith(b"sku:"):
            continue
        sku, found = field[4:].decode(), _decode_transferred(value)
        if found.in_transit:
            units[sku, record[b"to"].decode()] = found.in_transit
        # Of a destination that was no node of the pool when its units left, none are counted.
        if found.in_transit not in {0, max(0, found.left - found.came)}:
            unsound.append(f"of {sku} {found.left} units left and {found.came} came, {found.in_transit} are in transit")
    return Transit(units, unsound)


def readable_row(value: bytes) -> StockRow | None:
    """A row from anything, None if it is none."""
    try:
        return _decode_row(value)
    except msgspec.DecodeError:
        return None
