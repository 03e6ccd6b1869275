"""What a row, a hold and a ledger entry weigh in the store."""

import asyncio
import tempfile
from pathlib import Path

import redis
from rich.progress import track
from rich.table import Table

from atp.store import Store
from benchmarks import world
from cli.embedded import StoreKind, StoreServer

SKUS, NODES, HOLDS = 5_000, 20, 20_000
_IN_FLIGHT = 200


class Scales:
    """Reads a server's memory; the ledger is weighed apart, since it is trimmed."""

    def __init__(self, url: str) -> None:
        self._server = redis.Redis.from_url(url, protocol=2)
        self._ledger_key = f"{{{world.POOL}}}:ledger"

    def ledger(self) -> int:
        return int(self._server.memory_usage(self._ledger_key, samples=0) or 0)

    def entries(self) -> int:
        return int(self._server.xlen(self._ledger_key))

    def rest(self) -> int:
        """Bytes in use but for the ledger."""
        return int(self._server.info("memory")["used_memory"]) - self.ledger()

    def windows(self, skus: int) -> float:
        """Bytes of a SKU's windows, from a sample."""
        sample = range(0, skus, 50)
        return sum(self._server.memory_usage(f"{{{world.POOL}}}:win:SKU-{number:06d}", samples=0) or 0 for number in sample) / len(sample)


async def _weigh(url: str) -> dict[str, float]:
    scales = Scales(url)
    store = await Store.connect(url)
    empty = scales.rest()
    await world.stock(store, SKUS, NODES, 1_000)
    rows = scales.rest()
    windows = scales.windows(SKUS) / NODES
    before = scales.ledger(), scales.entries()
    for first in track(range(0, HOLDS, _IN_FLIGHT), description="Holds"):
        await asyncio.gather(
            *(store.write(world.POOL, world.hold(f"SKU-{number % SKUS:06d}")) for number in range(first, first + _IN_FLIGHT))
        )
    holds = scales.rest() - rows
    entries = scales.entries() - before[1]
    await store.close()
    row = (rows - empty) / (SKUS * NODES)
    return {
        "a row at rest": row - windows,
        "its window (one delta)": windows,
        "a hold of one line": holds / HOLDS,
        "its ledger entry": (scales.ledger() - before[0]) / entries,
    }


def measure(kinds: list[StoreKind]) -> Table:
    """Bytes on each server, in one table."""
    weights = {}
    for kind in kinds:
        with (
            tempfile.TemporaryDirectory() as folder,
            StoreServer(Path(folder), kind=kind, fsync="no", options={"appendonly": "no"}) as server,
        ):
            weights[kind] = asyncio.run(_weigh(server.url))
    table = Table("bytes of", *kinds, title=f"Memory: {SKUS * NODES:,} rows ({NODES} nodes a SKU), {HOLDS:,} holds")
    for what in next(iter(weights.values())):
        table.add_row(what, *(f"{found[what]:.0f}" for found in weights.values()))
    return table
