"""Rule 6, order does not matter: the physical figures of a SKU at a node as a base and a window of the latest deltas."""

from enum import Enum, auto

import msgspec


class Verdict(Enum):
    """What an event's sequence means to a window."""

    NEW = auto()
    KNOWN = auto()  # the same event again
    SUPERSEDED = auto()  # a later snapshot contains it
    BELOW = auto()  # older than what the window can tell apart: never guessed
    CONFLICT = auto()  # another event under a sequence that was used


class Physical(msgspec.Struct, frozen=True):
    """Units as a node's authority counts them, or signed changes to them."""

    on_hand: int = 0
    damaged: int = 0
    quality_hold: int = 0

    def plus(self, other: "Physical") -> "Physical":
        return Physical(self.on_hand + other.on_hand, self.damaged + other.damaged, self.quality_hold + other.quality_hold)

    def within(self, figure_max: int) -> bool:
        """Whether every figure can be stored: magnitude at most `figure_max` units."""
        return all(abs(figure) <= figure_max for figure in (self.on_hand, self.damaged, self.quality_hold))


class Delta(msgspec.Struct, frozen=True):
    sequence: int
    fingerprint: int
    change: Physical


class Window(msgspec.Struct, frozen=True):
    """The base is the last snapshot and every older or folded delta; `deltas`, by rising sequence, stand on top of it.

    Always `snap_sequence <= fold_sequence < ` every delta's sequence. Sequences start at 1: a window that nothing has met is all zeros.
    """

    snap_sequence: int = 0
    snap_fingerprint: int = 0
    as_of_ms: int = 0  # the time the last snapshot speaks of
    fold_sequence: int = 0  # the last delta that is part of the base
    base: Physical = Physical()
    deltas: tuple[Delta, ...] = ()

    def figures(self) -> Physical:
        """The stock: a sum, and therefore the same in whatever order its parts came."""
        total = self.base
        for delta in self.deltas:
            total = total.plus(delta.change)
        return total

    def judge(self, sequence: int, fingerprint: int, *, snapshot: bool) -> Verdict:
        """What an event that is a snapshot, or else a delta, means here. An event of the other kind under a used sequence is a conflict."""
        if sequence == self.snap_sequence:
            return Verdict.KNOWN if snapshot and fingerprint == self.snap_fingerprint else Verdict.CONFLICT
        if sequence < self.snap_sequence:
            return Verdict.SUPERSEDED
        for delta in self.deltas:
            if delta.sequence == sequence:
                return Verdict.CONFLICT if snapshot or fingerprint != delta.fingerprint else Verdict.KNOWN
        return Verdict.BELOW if sequence <= self.fold_sequence else Verdict.NEW

    def with_delta(self, delta: Delta, deltas_max: int) -> "Window":
        """The window after a new delta; beyond `deltas_max` of them the oldest becomes part of the base."""
        deltas = tuple(sorted((*self.deltas, delta), key=lambda one: one.sequence))
        if len(deltas) <= deltas_max:
            return msgspec.structs.replace(self, deltas=deltas)
        oldest = deltas[0]
        return msgspec.structs.replace(self, fold_sequence=oldest.sequence, base=self.base.plus(oldest.change), deltas=deltas[1:])

    def with_snapshot(self, sequence: int, fingerprint: int, as_of_ms: int, figures: Physical) -> "Window":
        """The window after a new snapshot: it contains every delta up to its own sequence, the later ones stay."""
        later = tuple(delta for delta in self.deltas if delta.sequence > sequence)
        return Window(sequence, fingerprint, as_of_ms, sequence, figures, later)
