"""What was heard of each source and node: how the store keeps it, and what a feed worker adds to it. Operational, not in the ledger."""

import msgspec


class Counts(msgspec.Struct, array_like=True):
    """Events by verdict, when they came; one that is delivered again counts again."""

    applied: int = 0
    duplicate: int = 0
    parked: int = 0
    exceptions: int = 0

    @property
    def all(self) -> int:
        return self.applied + self.duplicate + self.parked + self.exceptions


class Heard(msgspec.Struct, array_like=True, frozen=True):
    """One source at one node, or what it says of none. Times are those at which JetStream took an event, but for `event_ms`."""

    first_ms: int
    last_ms: int
    event_ms: int  # when the source made the event that was taken last
    whole_beat_ms: int  # the last heartbeat for the source as a whole; 0: none
    sequence: int  # the highest; 0: none, or a source that does not count
    counts: Counts
    missing: list[int]  # from, to, … by rising sequence: what has not come, below the highest and above the first that was heard

    @property
    def gaps(self) -> list[tuple[int, int]]:
        """From and to of each gap."""
        return list(zip(self.missing[::2], self.missing[1::2], strict=True))

    @property
    def missing_events(self) -> int:
        return sum(last - first + 1 for first, last in self.gaps)


class News(msgspec.Struct, array_like=True):
    """What a worker heard of one source and node since it told the store last."""

    source: str
    node: str  # empty: no node
    first_ms: int
    last_ms: int
    event_ms: int
    whole_beat_ms: int
    counts: Counts
    come: list[int]  # from, to, … by rising sequence; like `whole` it is read for a source whose order that is, and for no other
    whole: int = 0  # the sequence of a full snapshot that is whole: it says what those before it would have said
