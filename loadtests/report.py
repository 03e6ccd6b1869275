"""What a person sees after a run: calls, processor, criteria."""

from collections.abc import Iterable, Mapping
from typing import Final

from rich.table import Table
from rich.text import Text

from cli.output import table
from loadtests.cpu import Use
from loadtests.summary import Summary
from loadtests.verdict import Line, Verdict

STYLES: Final = {Verdict.PASS: "green", Verdict.FAIL: "bold red", Verdict.WARN: "yellow", Verdict.SKIPPED: "dim"}


def calls(found: Summary) -> Table:
    """A line per method. What is sold out is an answer: it has a column of its own."""
    sold_out = {"BatchGetAvailability": found.counts.seen_sold_out, "Reserve": found.counts.refused}
    rows = [
        (
            call.name,
            call.calls,
            f"{call.calls / max(found.seconds, 1e-9):,.0f}",
            f"{call.p50_ms:,.0f}",
            f"{call.p99_ms:,.0f}",
            f"{call.max_ms:,.0f}",
            call.errors,
            sold_out.get(call.name, ""),
        )
        for call in found.calls
    ]
    return table(["call", "calls#", "a second#", "p50 ms#", "p99 ms#", "max ms#", "errors#", "sold out#"], rows, title="Calls")


def processor(used: Mapping[str, Use], machine: Use, cores: int) -> Table:
    parts = {**used, f"this machine, of {cores * 100}": machine}
    rows = [(name, f"{use.mean:.0f}", f"{use.busiest:.0f}") for name, use in parts.items()]
    return table(["part", "mean#", "busiest 5 s#"], rows, title="Processor, % of a core")


def criteria(lines: Iterable[Line]) -> Table:
    made = table(["criterion", "", "found", "asked"], [], title="Verdict")
    for line in lines:
        made.add_row(line.criterion, Text(line.verdict.value, STYLES[line.verdict]), line.found, line.asked)
    return made
