"""Shows what a simulation read and what came of it, as tables for people."""

from collections.abc import Iterable

from rich.console import Console

from atp.words import counted
from cli import output
from cli.retail.dirt import Fate, Trait
from cli.retail.plan import Plan, Undo
from cli.retail.reader import Reading
from cli.retail.result import Result
from cli.retail.tally import Count


def show_reading(out: Console, reading: Reading, name: str) -> None:
    """What became of every line, and what else was met."""
    rows = [(reading.fates[fate], fate.title, fate.decision) for fate in Fate if reading.fates[fate]]
    rows.append((reading.lines, "lines read", ""))
    out.print(output.table(["lines#", "", "what the reader did"], rows, title=f"{name}: each line once"))
    traits = [(reading.traits[trait], trait.title, trait.decision) for trait in Trait if reading.traits[trait]]
    if traits:
        out.print(output.table(["#", "also met", "what the reader did"], traits))
    for note in (*reading.notes, *reading.examples):
        out.print(f"  {note}", style="yellow")


def reading_json(reading: Reading, name: str) -> dict[str, object]:
    """The same for scripts."""
    return {
        "file": name,
        "lines": {fate.name.lower(): reading.fates[fate] for fate in Fate if reading.fates[fate]},
        "also_met": {trait.name.lower(): reading.traits[trait] for trait in Trait if reading.traits[trait]},
        "notes": reading.notes,
        "unreadable": reading.examples,
    }


def show_plan(out: Console, plan: Plan, speed: float) -> None:
    lines = sum(len(step.lines) for step in plan.steps if isinstance(step, Undo))
    baskets, items, nodes = counted(plan.baskets, "basket"), counted(len(plan.items), "SKU"), counted(len(plan.nodes), "node")
    text = [
        f"\n{baskets} of {items} from {nodes} (seed {plan.seed}).",
        f"{counted(lines, 'cancelled line')} found their sale, {plan.unmatched_lines:,} did not ({counted(plan.unmatched_units, 'unit')}):",
        "sold before the file begins, or to nobody named.",
    ]
    if plan.split_invoices:
        text.append(f"Split, for they have too many rows for one reservation: {counted(plan.split_invoices, 'invoice')}.")
    if speed:
        text.append(f"{plan.length_s / 3600:,.0f} hours of trade, {speed:,g} times as fast: about {plan.length_s / speed:,.0f} s.")
    out.print(" ".join(text) + "\n")


def show_result(out: Console, result: Result) -> None:
    _show_counts(out, result)
    _show_feeds(out, result)
    calls = [
        (name, *_milliseconds(latency.calls, latency.p50_ms, latency.p95_ms, latency.p99_ms, latency.max_ms))
        for name, latency in result.latencies.items()
    ]
    out.print(
        output.table(["call", "answered#", "p50 ms#", "p95 ms#", "p99 ms#", "max ms#"], calls, title="\nLatency, as the clients saw it")
    )
    if result.retries or result.unknown:
        out.print(f"  {counted(result.retries, 'call')} sent again with the same id; {result.unknown:,} without an answer in the end")
    for said, number in result.failures.items():
        out.print(f"  {counted(number, 'time')} {said}", style="yellow")
    _show_verdict(out, result)


def _milliseconds(calls: int, *figures: float) -> Iterable[object]:
    return (calls, *(f"{figure:,.1f}" for figure in figures))


def _show_counts(out: Console, result: Result) -> None:
    rows = [(result.counts.get(what.name.lower(), 0), what.value) for what in Count]
    rows = [row for row in rows if row[0]]
    out.print(output.table(["#", ""], rows, title="Baskets"))
    baskets = sum(result.counts.get(what.name.lower(), 0) for what in (Count.HELD, Count.REFUSED, Count.FAILED, Count.UNKNOWN))
    events = sum(result.feeds.applied.values())
    took = max(result.selling_s, 0.1)
    out.print(f"  in {result.selling_s:,.1f} s: {baskets / took:,.0f} baskets, {events / took:,.0f} events a second")
    if result.short:
        short = [(entry.sku, entry.baskets, entry.units) for entry in result.short]
        out.print(output.table(["SKU", "baskets#", "units missing#"], short, title="\nMost often short"))


def _show_feeds(out: Console, result: Result) -> None:
    feeds = result.feeds
    rows = [(kind, sent, feeds.applied.get(kind, 0)) for kind, sent in sorted(feeds.sent.items())]
    rows.append(("all", sum(feeds.sent.values()), sum(feeds.applied.values())))
    out.print(output.table(["event", "sent#", "applied#"], rows, title="\nFeeds over NATS"))
    out.print(f"  on purpose: {counted(feeds.duplicates, 'event')} a second time (recognized), {feeds.out_of_order:,} after later ones")
    if result.exceptions:
        found = [(entry.reason, entry.open, entry.resolved) for entry in result.exceptions]
        out.print(output.table(["exception", "open#", "resolved#"], found, title="\nExceptions: what a person should see"))
    if result.overcommitted:
        short = counted(result.overcommitted, "SKU")
        out.print(f"  less on hand than promised of {short} at a node: stock checks found units missing after their sale")


def _show_verdict(out: Console, result: Result) -> None:
    rows = [("✓" if check.ok else "✗", check.name, check.looked_at) for check in result.checks]
    out.print(output.table(["", "verdict", "looked at"], rows, title=f"\nPool {result.pool}"))
    for check in result.checks:
        for found in check.found:
            out.print(f"  {check.name}: {found}", style="red")
    if result.ok:
        out.print("Nothing was oversold, nothing was lost.", style="green")
    else:
        out.print("The verdict fails.", style="bold red")
