"""Whether a run was good: each criterion judged by itself over plain numbers. Nothing here reads a clock or a server."""

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Final

import msgspec

from loadtests.cpu import Use
from loadtests.summary import Call, Counts

FOUND_SHOWN: Final = 3  # of many things that are wrong


class Verdict(Enum):
    PASS = "pass"
    FAIL = "FAIL"
    WARN = "warning"  # the run was good, but does not say what it seems to
    SKIPPED = "not checked"


class Line(msgspec.Struct, frozen=True):
    """One criterion: what was found, and what was asked for."""

    criterion: str
    verdict: Verdict
    found: str
    asked: str


class Bounds(msgspec.Struct, frozen=True):
    """What a run must keep. The times are those of the smallest machine: two cores, shared by load, service and servers."""

    error_share: float = 0.0
    p50_ms: float = 100.0
    p99_ms: float = 1_000.0
    baskets_share: float = 0.95
    generator_cpu: float = 80.0
    machine_cpu: float = 90.0


class Books(msgspec.Struct, frozen=True):
    """What the engine itself says of the pool: the sums of its ledger, and the findings of `atp verify`."""

    held: int
    confirmed: int
    released: int
    shipped: int
    expired: int
    verified: bool
    violations: list[str]
    looked_at: str


class Run(msgspec.Struct, frozen=True):
    """All that was measured. `generator` is its busiest process, `machine` what it ran on; `books` and `supply` are missing where nobody
    could look.
    """

    calls: list[Call]
    counts: Counts
    generator: Use
    machine: Use
    cores: int
    books: Books | None = None
    supply: dict[str, int] | None = None
    generator_exit: int = 0


def judge(run: Run, bounds: Bounds) -> list[Line]:
    """One line for each criterion, the engine's rules first."""
    return [
        _verified(run.books),
        _oversold(run.counts.sold, run.supply),
        *_counted(run.counts, run.books),
        _walked(run.counts),
        _errors(run, bounds),
        *_times(run.calls, bounds),
        _baskets(run.counts, bounds),
        _generator(run.generator, bounds),
        _machine(run.machine, run.cores, bounds),
    ]


def passed(lines: Iterable[Line]) -> bool:
    return not any(line.verdict is Verdict.FAIL for line in lines)


def _line(criterion: str, ok: bool, found: str, asked: str) -> Line:
    return Line(criterion, Verdict.PASS if ok else Verdict.FAIL, found, asked)


def _verified(books: Books | None) -> Line:
    criterion, asked = "atp verify", "no rule bent"
    if books is None:
        return Line(criterion, Verdict.SKIPPED, "needs --store-url and --nats-url", asked)
    found = "; ".join(books.violations[:FOUND_SHOWN]) or books.looked_at
    return _line(criterion, books.verified and not books.violations, found, asked)


def _oversold(sold: dict[str, int], supply: dict[str, int] | None) -> Line:
    criterion, asked = "oversold", "0 units"
    if supply is None:
        return Line(criterion, Verdict.SKIPPED, "needs --store-url and --nats-url", asked)
    beyond = {sku: units - supply.get(sku, 0) for sku, units in sold.items() if units > supply.get(sku, 0)}
    some = ", ".join(f"{units} of {sku}" for sku, units in list(beyond.items())[:FOUND_SHOWN])
    gone = sum(1 for sku, units in supply.items() if units and sold.get(sku, 0) == units)
    found = f"{sum(beyond.values()):,} units: {some}" if beyond else f"0 units; {gone} SKUs sold to the last"
    return _line(criterion, not beyond, found, asked)


def _counted(counts: Counts, books: Books | None) -> Iterator[Line]:
    for name in ("held", "confirmed", "released", "shipped"):
        asked = "both the same"
        if books is None:
            yield Line(f"units {name}", Verdict.SKIPPED, "needs --store-url and --nats-url", asked)
            continue
        answered, in_doubt, recorded = getattr(counts, name), getattr(counts, f"{name}_in_doubt"), getattr(books, name)
        doubt = f" and {in_doubt:,} in doubt" if in_doubt else ""
        found = f"{answered:,} answered{doubt}, {recorded:,} in the ledger"
        yield _line(f"units {name}", answered <= recorded <= answered + in_doubt, found, asked)


def _walked(counts: Counts) -> Line:
    """A run in which nothing was shipped says nothing, however quick it was."""
    steps = {"held": counts.held, "confirmed": counts.confirmed, "shipped": counts.shipped}
    missing = [name for name, units in steps.items() if not units]
    found = f"nothing was {', '.join(missing)}" if missing else f"{counts.baskets:,} baskets, {counts.left:,} handed to nobody"
    return _line("the whole way", not missing, found, "held, confirmed, shipped")


def _errors(run: Run, bounds: Bounds) -> Line:
    calls, errors = sum(call.calls for call in run.calls), sum(call.errors for call in run.calls)
    share = errors / calls if calls else 1.0
    asked = f"≤ {bounds.error_share:.2%} of the calls"
    if run.generator_exit:
        return _line("errors", False, f"locust ended with {run.generator_exit}: see its log", asked)
    return _line("errors", bool(calls) and share <= bounds.error_share, f"{errors:,} of {calls:,} ({share:.2%})", asked)


def _times(calls: list[Call], bounds: Bounds) -> Iterator[Line]:
    for call in calls:
        ok = call.p50_ms <= bounds.p50_ms and call.p99_ms <= bounds.p99_ms
        found = f"p50 {call.p50_ms:,.0f}, p99 {call.p99_ms:,.0f} ms"
        yield _line(call.name, ok, found, f"≤ {bounds.p50_ms:,g}, ≤ {bounds.p99_ms:,g} ms")


def _baskets(counts: Counts, bounds: Bounds) -> Line:
    """A user who waits for an answer does not shop: then the load that was asked for was not made, and its times are too good."""
    due = counts.baskets + counts.baskets_lost
    share = counts.baskets / due if due else 0.0
    found = f"{counts.baskets:,} of {due:,.0f} baskets that were due ({share:.1%})"
    return _line("load as asked for", share >= bounds.baskets_share, found, f"≥ {bounds.baskets_share:.0%} in time")


def _generator(generator: Use, bounds: Bounds) -> Line:
    starved = generator.busiest > bounds.generator_cpu
    found = f"{generator.busiest:.0f} % of a core in its busiest seconds"
    if starved:
        found += ": the generator was the bottleneck, its times are not the engine's. Give it more processes, or a machine of its own"
    return Line("generator", Verdict.WARN if starved else Verdict.PASS, found, f"≤ {bounds.generator_cpu:g} %")


def _machine(machine: Use, cores: int, bounds: Bounds) -> Line:
    share = machine.busiest / cores
    full = share > bounds.machine_cpu
    found = f"{share:.0f} % of all {cores} cores in its busiest seconds"
    if full:
        found += ": the machine was full, and a part of each time was spent waiting for it"
    return Line("machine", Verdict.WARN if full else Verdict.PASS, found, f"≤ {bounds.machine_cpu:g} %")
