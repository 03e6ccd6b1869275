"""Records as the scripts store them, read back into structs."""

from itertools import zip_longest
from typing import Any

import msgspec

from atp.model.reservation import LineRecord
from atp.model.status import State
from atp.model.verbs import FIGURE_BITS, Shortfall
from atp.model.views import LedgerRecord, Reservation, ReservationLine

_decode_head = msgspec.msgpack.Decoder(tuple[str, int, int, int]).decode
_decode_line = msgspec.msgpack.Decoder(LineRecord).decode
_decode_node = msgspec.msgpack.Decoder(list[str]).decode
_decode_short = msgspec.msgpack.Decoder(list[Shortfall]).decode


def reservation(reservation_id: str, flat: list[bytes], revision: int, time_ms: int) -> Reservation:
    """A reservation from the fields and values of its hash; one that is held past its expiry reads as EXPIRED."""
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    channel, created_ms, _, created_revision = _decode_head(fields[b"head"])
    lines = [_line(int(name), _decode_line(value)) for name, value in fields.items() if name.isdigit()]
    expire_ms = int(fields[b"exp"])
    state = fields[b"state"].decode()
    if state == State.HELD and expire_ms <= time_ms:
        state = State.EXPIRED
    return Reservation(
        reservation_id=reservation_id,
        state=state,
        channel=channel,
        order_reference=fields.get(b"ord", b"").decode(),
        created_ms=created_ms,
        expire_ms=expire_ms,
        created_revision=created_revision,
        lines=sorted(lines, key=lambda line: line.number),
        short=_decode_short(fields[b"short"]) if b"short" in fields else [],
        revision=revision,
        time_ms=time_ms,
    )


def _line(number: int, line: LineRecord) -> ReservationLine:
    return ReservationLine(number, line.sku, line.node, line.quantity, line.released, line.shipped)


def ledger_record(entry_id: bytes, fields: list[Any]) -> LedgerRecord:
    """One entry of the stream, from its id `<revision>-0` and its fields."""
    named = dict(zip(fields[::2], fields[1::2], strict=True))
    return LedgerRecord(int(entry_id.split(b"-")[0]), named[b"e"], named.get(b"x", b""))


def authorities(node: bytes) -> dict[str, str]:
    """The sources whose word counts at a node, by physical figure: `[kind, time zone, authority, damaged, quality hold]`."""
    _, _, of_all, *others = _decode_node(node)
    return {figure: source or of_all for figure, source in zip_longest(FIGURE_BITS, ["", *others], fillvalue="")}
