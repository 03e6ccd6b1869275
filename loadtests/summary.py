"""What one run of locust leaves for whoever judges it: a line per call, and the sums of what its users did."""

from pathlib import Path
from typing import Final

import msgspec

#: What users call, in the order of a basket's way.
METHODS: Final = ("BatchGetAvailability", "Reserve", "Confirm", "Release", "Fulfil")


class Call(msgspec.Struct, frozen=True):
    """One method, over the whole run."""

    name: str
    calls: int
    errors: int
    p50_ms: float
    p99_ms: float
    max_ms: float


class Counts(msgspec.Struct):
    """Sums over all users. Units of `…_in_doubt` belong to calls that had no answer: they may have been done or not."""

    baskets: int = 0
    #: Baskets that could not start when they were due, since the one before was not done.
    baskets_lost: float = 0.0
    seen_sold_out: int = 0
    refused: int = 0
    #: Holds that nobody had room for: left to expire.
    left: int = 0
    held: int = 0
    held_in_doubt: int = 0
    confirmed: int = 0
    confirmed_in_doubt: int = 0
    released: int = 0
    released_in_doubt: int = 0
    shipped: int = 0
    shipped_in_doubt: int = 0
    #: Units confirmed, by SKU.
    sold: dict[str, int] = {}

    def add(self, other: "Counts") -> None:
        for name in self.__struct_fields__:
            if name != "sold":
                setattr(self, name, getattr(self, name) + getattr(other, name))
        for sku, units in other.sold.items():
            self.sold[sku] = self.sold.get(sku, 0) + units


class Summary(msgspec.Struct, frozen=True):
    """A run: `seconds` is from its first call to its last, `users` how many there are at this moment."""

    seconds: float
    users: int
    calls: list[Call]
    counts: Counts
    errors: dict[str, int]


def write(path: Path, summary: Summary) -> None:
    """The file appears whole or not at all: it may be read while the run goes on."""
    draft = path.with_suffix(".new")
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(summary)))
    draft.replace(path)


def read(path: Path) -> Summary | None:
    """None while there is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Summary)
    except FileNotFoundError:
        return None
