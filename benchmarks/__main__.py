"""`python -m benchmarks speed memory feeds size rebuild soak` measures what is named; without a name speed and memory, as `make bench`."""

import argparse
import shutil
import sys

from rich.console import Console

from benchmarks import feeds, memory, rebuild, size, soak, speed
from cli.embedded import StoreKind

_WHAT = ("speed", "memory", "feeds", "size", "rebuild", "soak")


def _minutes(text: str) -> float:
    if (minutes := float(text)) < soak.MINUTES_MIN:
        raise argparse.ArgumentTypeError(f"at least {soak.MINUTES_MIN:g}: before that nothing has filled up")
    return minutes


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures the engine.")
    parser.add_argument("what", nargs="*", metavar="|".join(_WHAT), help="what to measure (speed and memory if nothing is named)")
    parser.add_argument("--minutes", type=_minutes, default=soak.MINUTES, help="how long to soak (%(default)g)")
    options = parser.parse_args()
    wanted = set(options.what or ("speed", "memory"))
    if unknown := wanted - set(_WHAT):
        parser.error(f"{', '.join(sorted(unknown))}: there are {', '.join(_WHAT)}")
    console = Console()
    kinds: list[StoreKind] = ["valkey", "redis"] if shutil.which("redis-server") else ["valkey"]
    if "memory" in wanted:
        console.print(memory.measure(kinds))
    if "speed" in wanted and (table := speed.measure(console)):
        console.print(table)
    if "feeds" in wanted and (table := feeds.measure(console)):
        console.print(table)
    if "size" in wanted:
        console.print(*size.measure(console, kinds), sep="\n")
    if "rebuild" in wanted:
        console.print(rebuild.measure(console))
    return 0 if "soak" not in wanted or soak.measure(console, options.minutes) else 1


if __name__ == "__main__":
    sys.exit(main())
