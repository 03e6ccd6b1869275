"""`make bench`: all measurements, or those named: `python -m benchmarks [speed] [memory]`."""

import shutil
import sys

from rich.console import Console
from rich.table import Table

from benchmarks import memory, speed
from cli.embedded import StoreKind


def main(wanted: set[str]) -> None:
    console = Console()
    tables: list[Table | None] = []
    if "memory" in wanted:
        kinds: list[StoreKind] = ["valkey", "redis"] if shutil.which("redis-server") else ["valkey"]
        tables.append(memory.measure(kinds))
    if "speed" in wanted:
        tables.append(speed.measure(console))
    for table in tables:
        if table is not None:
            console.print(table)


if __name__ == "__main__":
    main(set(sys.argv[1:]) or {"speed", "memory"})
