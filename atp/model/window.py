"""What tells an event from those already seen, per SKU, node and source: the snapshots in force, and the latest deltas (rule 6).

A figure is what its snapshot says and the deltas after it: a sum, and therefore the same in whatever order they came. It stands in the
row, or in what is kept for comparison; the window says what a new event adds to it.
"""

from collections.abc import Iterator
from enum import Enum, auto
from typing import Final

import msgspec

from atp.model.verbs import ALL_FIGURES, FIGURE_BITS


class Verdict(Enum):
    """What an event's sequence means to a window."""

    NEW = auto()
    KNOWN = auto()  # the same event again
    SUPERSEDED = auto()  # later snapshots contain it
    BELOW = auto()  # older than what the window can tell apart: never guessed
    CONFLICT = auto()  # another event under a sequence that was used


class Physical(msgspec.Struct, frozen=True):
    """Units as a source counts them, or signed changes to them."""

    on_hand: int = 0
    damaged: int = 0
    quality_hold: int = 0

    def plus(self, other: "Physical") -> "Physical":
        return Physical(self.on_hand + other.on_hand, self.damaged + other.damaged, self.quality_hold + other.quality_hold)

    def minus(self, other: "Physical") -> "Physical":
        return Physical(self.on_hand - other.on_hand, self.damaged - other.damaged, self.quality_hold - other.quality_hold)

    def only(self, mask: int) -> "Physical":
        """The figures of a mask; 0 elsewhere."""
        return Physical(**{name: getattr(self, name) for name, bit in FIGURE_BITS.items() if mask & bit})

    def changed(self) -> int:
        """The mask of the figures that a change concerns; one of nothing concerns all."""
        return sum(bit for name, bit in FIGURE_BITS.items() if getattr(self, name)) or ALL_FIGURES

    def within(self, figure_max: int) -> bool:
        """Whether every figure can be stored: magnitude at most `figure_max` units."""
        return all(abs(figure) <= figure_max for figure in (self.on_hand, self.damaged, self.quality_hold))


class Delta(msgspec.Struct, frozen=True):
    sequence: int
    fingerprint: int
    change: Physical


#: The fingerprint of a snapshot that said 0 by leaving out: any snapshot under its sequence is the same.
SILENCE: Final = 0


class Snap(msgspec.Struct, frozen=True):
    """A snapshot, as far as it is in force: `figures` is the mask of those that no later one names."""

    sequence: int
    fingerprint: int
    figures: int


class Window(msgspec.Struct, frozen=True):
    """`snaps` by falling sequence, each figure in one at most; `deltas` by rising sequence, those that later snapshots contain left out.

    No delta is at or below `fold_sequence`. Sequences start at 1: what nothing has met has none.
    """

    fold_sequence: int = 0
    as_of_ms: int = 0  # the time the last snapshot of on hand speaks of
    snaps: tuple[Snap, ...] = ()
    deltas: tuple[Delta, ...] = ()
    changed_ms: int = 0  # when it last changed a figure of the row; 0: never

    @classmethod
    def empty(cls, full: int) -> "Window":
        """Of what was not there yet when the last full snapshot, `full`, of its source left it out; 0: there was none."""
        return cls(full, snaps=(Snap(full, SILENCE, ALL_FIGURES),) if full else ())

    def next_sequence(self) -> int:
        """One more than the highest it knows: the place of an event whose source has ids only."""
        return 1 + max([self.fold_sequence, *(snap.sequence for snap in self.snaps), *(delta.sequence for delta in self.deltas)])

    def free(self, sequence: int) -> int:
        """The figures that no snapshot after `sequence` has: those that an event there can change."""
        return ALL_FIGURES & ~sum(snap.figures for snap in self.snaps if snap.sequence > sequence)

    def judge(self, sequence: int, fingerprint: int, named: int, *, snapshot: bool) -> Verdict:
        """What an event is that names or changes these figures. One of the other kind under a used sequence is a conflict."""
        for of_snapshot, used in self._used():
            if used.sequence == sequence:
                same = snapshot == of_snapshot and (fingerprint == used.fingerprint or (snapshot and used.fingerprint == SILENCE))
                return Verdict.KNOWN if same else Verdict.CONFLICT
        if not named & self.free(sequence):
            return Verdict.SUPERSEDED
        return Verdict.BELOW if sequence <= self.fold_sequence else Verdict.NEW

    def _used(self) -> Iterator[tuple[bool, Snap | Delta]]:
        yield from ((True, snap) for snap in self.snaps)
        yield from ((False, delta) for delta in self.deltas)

    def since(self, sequence: int) -> Physical:
        """What the deltas after a sequence add up to."""
        total = Physical()
        for delta in self.deltas:
            total = total.plus(delta.change) if delta.sequence > sequence else total
        return total

    def with_delta(self, delta: Delta, deltas_max: int) -> "Window":
        """The window after a new delta; beyond `deltas_max` of them the oldest leaves."""
        deltas = tuple(sorted((*self.deltas, delta), key=lambda one: one.sequence))
        if len(deltas) <= deltas_max:
            return msgspec.structs.replace(self, deltas=deltas)
        return msgspec.structs.replace(self, fold_sequence=deltas[0].sequence, deltas=deltas[1:])

    def with_snapshot(self, snap: Snap, as_of_ms: int) -> "Window":
        """The window after a new snapshot of figures that are free at its sequence."""
        older = [Snap(one.sequence, one.fingerprint, one.figures & ~snap.figures) for one in self.snaps]
        snaps = sorted([snap, *(one for one in older if one.figures)], key=lambda one: -one.sequence)
        kept = msgspec.structs.replace(self, snaps=tuple(snaps))
        return Window(
            self.fold_sequence if kept.free(0) else max(self.fold_sequence, snaps[-1].sequence),
            as_of_ms if snap.figures & FIGURE_BITS["on_hand"] else self.as_of_ms,
            kept.snaps,
            tuple(delta for delta in self.deltas if delta.change.changed() & kept.free(delta.sequence)),
            self.changed_ms,
        )
