"""What happened in a simulation, by name: the counts that the report shows."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Count(StrEnum):
    """What is counted, in the order of the report."""

    HELD = "baskets held"
    HELD_IN_PART = "of them in part, as they wished"
    REFUSED = "baskets refused for stock"
    FAILED = "baskets that failed"
    UNKNOWN = "baskets of unknown outcome"
    CONFIRMED = "confirmed"
    SHIPPED = "shipped"
    SHIPMENTS = "shipments, one per node"
    REPORTED_TWICE = "of them told over gRPC as well"
    RELEASED = "released whole"
    EXPIRED = "expired"
    LINES_RELEASED = "cancelled lines released, not yet shipped"
    LINES_RETURNED = "cancelled lines returned, shipped before"
    LINES_OF_NO_SALE = "cancelled lines whose sale was refused or had ended"
    RESENT = "calls sent twice on purpose"
    REPLAYED = "of them answered with the first answer"


UNEXPECTED_MAX: Final = 20


@dataclass(slots=True)
class Tally:
    counts: Counter[Count] = field(default_factory=Counter)
    short: Counter[str] = field(default_factory=Counter)  # units that were asked for and not there, by SKU
    short_baskets: Counter[str] = field(default_factory=Counter)  # baskets refused or cut down by that SKU
    failures: Counter[str] = field(default_factory=Counter)  # calls that failed, by status and message
    unexpected: list[str] = field(default_factory=list)  # answers that the engine must not give; the first few
    unexpected_count: int = 0

    def add(self, what: Count, number: int = 1) -> None:
        self.counts[what] += number

    def surprise(self, sentence: str) -> None:
        """Notes an answer that breaks the contract: it fails the verdict."""
        self.unexpected_count += 1
        if len(self.unexpected) < UNEXPECTED_MAX:
            self.unexpected.append(sentence)
