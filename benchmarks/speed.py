"""A reserve over gRPC beside an empty grpc.aio server on the same core: the ratio is what the engine costs.

Each server alone on core 0; the load (h2load) and the store on core 1. Rounds alternate, so that a machine's moods hit both.
"""

import asyncio
import os
import re
import shutil
import statistics
import struct
import subprocess
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from atp.store import Store
from benchmarks import servers, world
from cli.embedded import StoreServer
from inventory.availability.v1 import reservation_service_pb2 as pb

_CONNECTIONS, _STREAMS = 8, 16
_WARM_UP = 2_000  # calls that each server answers before it is measured
_RESERVE = "/inventory.availability.v1.ReservationService/Reserve"


def _calls_a_second(address: str, method: str, message: bytes, calls: int) -> float:
    """Exactly `calls` unary calls from h2load; raises RuntimeError if any failed at the HTTP level."""
    with tempfile.NamedTemporaryFile() as body:
        body.write(b"\0" + struct.pack(">I", len(message)) + message)
        body.flush()
        load = ["h2load", "-n", str(calls), "-c", str(_CONNECTIONS), "-m", str(_STREAMS), "-d", body.name]
        headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        command = ["taskset", "-c", str(servers.LOAD_CORE), *load, *headers, f"http://{address}{method}"]
        out = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", out)
    if not rate or f"{calls} succeeded, 0 failed" not in out:
        raise RuntimeError(out)
    return float(rate[1])


async def _stock(url: str) -> None:
    store = await Store.connect(url)
    await world.stock(store, skus=1, nodes=1, units=1_000_000_000)
    await store.close()


async def _holds(url: str) -> int:
    """Units held, if the open reservations and the ledger say the same."""
    store = await Store.connect(url)
    row = (await store.explain(world.POOL, "SKU-000000", "N00")).row
    info = await store.pool_info(world.POOL)
    await store.close()
    entries_before = 4  # open, provision, item_registered, receipt
    assert info.revision - entries_before == row.reserved, (info, row)
    return row.reserved


def _rounds(url: str, rounds: int, calls: int, console: Console) -> list[tuple[float, float]]:
    request = pb.ReserveRequest(pool=world.POOL, channel="web", ttl_ms=3_600_000)
    request.lines.add(sku="SKU-000000", quantity=1)
    found = []
    for number in range(rounds):
        with servers.echo() as address:
            _calls_a_second(address, "/bench.Echo/Call", request.SerializeToString(), _WARM_UP)
            empty = _calls_a_second(address, "/bench.Echo/Call", request.SerializeToString(), calls)
        with servers.service(url) as address:
            _calls_a_second(address, _RESERVE, request.SerializeToString(), _WARM_UP)
            reserve = _calls_a_second(address, _RESERVE, request.SerializeToString(), calls)
        console.print(f"round {number + 1}: empty {empty:,.0f}/s, reserve {reserve:,.0f}/s, ratio {reserve / empty:.2f}")
        found.append((empty, reserve))
    return found


def measure(console: Console, rounds: int = 5, calls: int = 12_000) -> Table | None:
    """Empty calls and reserves a second, and their ratio; None, with a line that says why, where it cannot be measured."""
    if not shutil.which("h2load") or len(os.sched_getaffinity(0)) < 2:
        console.print("speed: skipped, it needs two cores and h2load (Debian: apt install nghttp2-client)")
        return None
    with tempfile.TemporaryDirectory() as folder, StoreServer(Path(folder), fsync="no", options={"appendonly": "no"}) as server:
        os.sched_setaffinity(server.pid, {servers.LOAD_CORE})
        asyncio.run(_stock(server.url))
        found = _rounds(server.url, rounds, calls, console)
        held = asyncio.run(_holds(server.url))
    called = rounds * (_WARM_UP + calls)
    assert held == called, f"{called} calls left {held} holds"
    table = Table("calls a second, one core", "median", title=f"Speed: {held:,} reserves, {held:,} holds in the store")
    empty, reserve = (statistics.median(column) for column in zip(*found, strict=True))
    table.add_row("empty grpc.aio server", f"{empty:,.0f}")
    table.add_row("Reserve, 1 line, id left to the service", f"{reserve:,.0f}")
    table.add_row("ratio (median of rounds)", f"{statistics.median(ours / theirs for theirs, ours in found):.2f}")
    return table
