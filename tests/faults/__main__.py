"""`make faults`, or `python -m tests.faults [FAULT …]`: breaks one thing after the other under a small life, and says what came of it.

`ATP_SEED=…` draws the same life again. Exit 1 if anything was lost or wrong.
"""

import asyncio
import logging
import os
import random
import shutil
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable

from rich.table import Table

from cli import output
from tests.faults.ground import Outcome, play
from tests.faults.journal import counted
from tests.faults.scenarios import AWAY_S, FAULTS

_SHOWN_MAX = 20  # of what was lost or wrong


def chosen_seed() -> int:
    """The one that was given, or a new one."""
    return int(os.environ.get("ATP_SEED") or random.randrange(2**32))


def can_run(name: str) -> bool:
    """Redis is not everywhere; what the embedded servers need is."""
    return FAULTS[name].kind == "valkey" or shutil.which("redis-server") is not None


def main(names: list[str]) -> int:
    logging.basicConfig(level=logging.ERROR)  # that servers are away is what is wanted
    console = output.console()
    unknown = [name for name in names if name not in FAULTS]
    if unknown:
        console.print(f"no such fault: {', '.join(unknown)}. There are: {', '.join(FAULTS)}", style="red", markup=False)
        return 2
    seed = chosen_seed()
    console.print(f"ATP_SEED={seed}")
    outcomes = []
    for name in names or FAULTS:
        if not can_run(name):
            console.print(f"{name}: left out, there is no redis-server on the PATH", style="yellow")
            continue
        began = time.monotonic()
        outcome = _play(name, seed)
        outcomes.append(outcome)
        console.print(f"{name}: {_verdict(outcome)}, {time.monotonic() - began:.0f} s", style="green" if outcome.ok else "red")
        for sentence in [*outcome.lost, *outcome.wrong][:_SHOWN_MAX]:
            console.print(f"  {sentence}", style="red", markup=False)
    console.print(_table(outcomes))
    return 0 if all(outcome.ok for outcome in outcomes) else 1


def _play(name: str, seed: int) -> Outcome:
    """A fault that could not be played to its end is wrong too, and the others are played all the same."""
    try:
        return asyncio.run(play(FAULTS[name], seed))
    except Exception as error:
        wrong = ["".join(traceback.format_exception(error))]
        return Outcome(name, str(seed), 0, 0, Counter(), Counter(), 0.0, [], wrong)


def _verdict(outcome: Outcome) -> str:
    return "all is there, once" if outcome.ok else f"{len(outcome.lost)} lost, {len(outcome.wrong)} wrong"


def _table(outcomes: Iterable[Outcome]) -> Table:
    title = f"Faults; a server that is killed stays away for {AWAY_S} s"
    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim", show_lines=True)
    for column in ("fault", "seed", "calls", "events", "refused", "repeated", "lost", "wrong", "writes again after"):
        table.add_column(column, justify="right" if column in {"calls", "events", "lost", "wrong", "writes again after"} else "left")
    for outcome in outcomes:
        numbers = (str(len(outcome.lost)), str(len(outcome.wrong)), f"{outcome.accepted_again_s:.2f} s")
        amounts = (f"{outcome.calls:,}", f"{outcome.events:,}")
        table.add_row(outcome.fault, outcome.seed, *amounts, counted(outcome.refused), counted(outcome.repeated), *numbers)
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
