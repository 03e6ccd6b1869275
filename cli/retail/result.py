"""What a simulation found out, as data: shown as tables by `report`, printed as JSON for scripts."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

SHORT_SHOWN: Final = 10


class Latency(msgspec.Struct, frozen=True):
    """Of all answered calls of one name, as the clients saw them."""

    calls: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


class Short(msgspec.Struct, frozen=True):
    """A SKU that was asked for and not there."""

    sku: str
    baskets: int
    units: int


class Feeds(msgspec.Struct, frozen=True):
    """Events by type: sent once each (`sent`), and found in the pool's ledger (`applied`)."""

    sent: dict[str, int]
    applied: dict[str, int]
    duplicates: int
    out_of_order: int


class ExceptionCount(msgspec.Struct, frozen=True):
    reason: str
    open: int
    resolved: int


class Check(msgspec.Struct, frozen=True):
    """One part of the verdict; `found` says what is wrong."""

    name: str
    ok: bool
    looked_at: str
    found: list[str] = []


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Everything, and `ok` only if every check is."""

    ok: bool
    pool: str
    seed: int
    counts: dict[str, int]
    short: list[Short]
    feeds: Feeds
    exceptions: list[ExceptionCount]
    overcommitted: int  # rows where a stock correction left less than had been promised
    latencies: dict[str, Latency]
    retries: int
    unknown: int
    failures: dict[str, int]
    selling_s: float
    checks: list[Check]


def latencies(seconds: Mapping[str, Sequence[float]]) -> dict[str, Latency]:
    return {name: latency(times) for name, times in sorted(seconds.items()) if times}


def latency(seconds: Sequence[float]) -> Latency:
    """All zeros if no call was answered."""
    times = sorted(seconds) or [0.0]

    def ms(share: float) -> float:
        return round(times[min(len(times) - 1, int(len(times) * share))] * 1000, 2)

    return Latency(len(seconds), ms(0.5), ms(0.95), ms(0.99), ms(1))
