"""The life cycle of a reservation: its lines, what of them is open, and the state that follows from it."""

from collections.abc import Iterable, Sequence

import msgspec

from atp.model.status import OPEN_STATES, State
from atp.model.verbs import Move, Part, Shortfall

#: Units of lines, in order: (line number, units).
Units = list[tuple[int, int]]


class LineRecord(msgspec.Struct, array_like=True):
    """One line as stored; `quantity` is what was held at first."""

    sku: str
    node: str
    quantity: int
    released: int = 0
    shipped: int = 0
    picks: int = 0  # units picked for it in all, where on hand falls at pick; stored unless 0
    loose: int = 0  # … and picked beyond that, for what it has let go; below 0: put back before their pick was heard of. Stored unless 0

    @property
    def open(self) -> int:
        """Units that stand in reserved while HELD, in allocated while CONFIRMED."""
        return self.quantity - self.released - self.shipped

    @property
    def picked(self) -> int:
        """Of what is open, no longer on hand. Units are shipped as if the picked ones left first."""
        return max(0, self.picks - self.shipped)

    @property
    def awaited(self) -> int:
        """Units that were shipped, or put back, before their pick was heard of."""
        return max(0, self.shipped - self.picks) + max(0, -self.loose)


class OperationRecord(msgspec.Struct, array_like=True, frozen=True):
    """The first result of an operation, kept under its key (rule 4)."""

    verb: str
    fingerprint: int
    revision: int
    time_ms: int
    state: str
    expire_ms: int
    moved: list[int]  # number, units, number, units, …


class ReservationRecord(msgspec.Struct):
    """A reservation as stored. `expire_ms` is 0 once confirmed, `ended_ms` 0 while it is open."""

    state: State
    expire_ms: int
    channel: str
    created_ms: int
    first_expire_ms: int
    created_revision: int
    fingerprint: list[int]
    order_reference: str
    lines: dict[int, LineRecord]
    short: list[Shortfall]
    operations: dict[str, OperationRecord] = {}
    ended_ms: int = 0

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_STATES

    def open_units(self) -> Units:
        """All that is open, by line number."""
        return [(number, line.open) for number, line in sorted(self.lines.items()) if line.open]

    def asked_units(self, parts: Sequence[Part]) -> Units:
        """What `parts` ask for, in their order; no parts: all that is open. Every number must be a line's."""
        if not parts:
            return self.open_units()
        return [(part.number, part.quantity or self.lines[part.number].open) for part in parts]

    def unknown_lines(self, parts: Iterable[Part]) -> list[str]:
        return [str(part.number) for part in parts if part.number not in self.lines]

    def exceeding_lines(self, parts: Iterable[Part]) -> list[str]:
        """Numbers of the parts that ask more than is open, or that find nothing open."""
        return [str(part.number) for part in parts if max(1, part.quantity) > self.lines[part.number].open]

    def moves(self, units: Iterable[tuple[int, int]]) -> list[Move]:
        return [Move(number, self.lines[number].sku, self.lines[number].node, moved) for number, moved in units]

    def end_if_empty(self, now_ms: int) -> None:
        """Nothing open: FULFILLED if any unit was shipped, else RELEASED."""
        if not self.open_units():
            self.end(State.FULFILLED if any(line.shipped for line in self.lines.values()) else State.RELEASED, now_ms)

    def end(self, state: State, now_ms: int) -> None:
        self.state = state
        self.ended_ms = now_ms


def flat(units: Iterable[tuple[int, int]]) -> list[int]:
    """Pairs as they are stored: one array, number, units, number, units, …"""
    return [figure for pair in units for figure in pair]


def pairs(moved: Sequence[int]) -> Units:
    """The reverse of `flat`."""
    return list(zip(moved[::2], moved[1::2], strict=True))
