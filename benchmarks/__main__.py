"""`python -m benchmarks [speed] [memory] [size]` measures what is named, without a name speed and memory; `make bench`, `make size`."""

import argparse
import shutil

from rich.console import Console

from benchmarks import memory, size, speed
from cli.embedded import StoreKind


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures the engine.")
    parser.add_argument("what", nargs="*", choices=["speed", "memory", "size", []], default=["memory", "speed"], help="what to measure")
    wanted = parser.parse_args().what
    console = Console()
    kinds: list[StoreKind] = ["valkey", "redis"] if shutil.which("redis-server") else ["valkey"]
    if "memory" in wanted:
        console.print(memory.measure(kinds))
    if "speed" in wanted and (table := speed.measure(console)):
        console.print(table)
    if "size" in wanted:
        console.print(*size.measure(console, kinds), sep="\n")


if __name__ == "__main__":
    main()
