"""A pool of a million rows beside one of ten thousand: what it weighs, how long it takes to load and to start, and whether it is slower.

Both are loaded by events over NATS into durable servers of their own, killed, started again, and then reserved from at the same
constant rate, half of what the small one can do flat out. The service alone on one core, load and stores on the other; rounds alternate.
Stores rewrite their append-only files from time to time, which takes the longer the more they hold: that is measured in a round of its own.
"""

import asyncio
import contextlib
import gc
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import redis
from rich.console import Console
from rich.table import Table

from atp.store import Store
from benchmarks import servers, world
from benchmarks.load import Load, Target, quantile
from benchmarks.memory import Scales
from cli.embedded import NatsServer, StoreKind, StoreServer
from cli.retail.feed import Feed
from cli.supervisor import Command
from consumers.connection import connect_once
from inventory.availability.v1 import reservation_service_pb2 as pb
from inventory.availability.v1.reservation_pb2 import OUTCOME_OK

NODES = 20
SMALL_SKUS, BIG_SKUS = 500, 50_000
UNITS = 1_000_000
RATIO_MAX = 1.2  # how much slower the big pool may be
_ROUNDS, _ROUND_S, _WARM_UP_S = 6, 5.0, 1.0
_CEILING_CALLS = 10_000
_MESSAGES = 20_000  # reserves made beforehand, each of a SKU by chance
_RESERVE = "/inventory.availability.v1.ReservationService/Reserve"
#: No rewrite by itself, and one that is asked for may use any core, as it does where nothing is pinned.
_STORE_OPTIONS = {"auto-aof-rewrite-percentage": "0", "aof_rewrite_cpulist": "0-1"}
_OK = pb.ReserveResponse(outcome=OUTCOME_OK).SerializeToString()


@dataclass
class Side:
    """One pool on servers of its own, and what was seen of it."""

    skus: int
    folder: Path
    store: StoreServer
    nats: NatsServer
    figures: dict[str, str] = field(default_factory=dict)
    reserves: int = 0
    busy_s: float = 0.0

    @property
    def server(self) -> redis.Redis:
        """The store past the engine."""
        return redis.Redis.from_url(self.store.url, protocol=2)

    @property
    def rows(self) -> int:
        return self.skus * NODES

    def consumers(self) -> Command:
        return Command("consumers", ["consume", "all", "--store-url", self.store.url, "--nats-url", self.nats.url], self.folder)

    def messages(self) -> list[bytes]:
        """Reserves of one unit of SKUs by chance; the ids are left to the service."""
        names, found = world.skus_named(self.skus), []
        for _ in range(_MESSAGES):
            request = pb.ReserveRequest(pool=world.POOL, channel=world.CHANNEL, ttl_ms=3_600_000)
            request.lines.add(sku=random.choice(names), quantity=1)
            found.append(request.SerializeToString())
        return found


@contextlib.contextmanager
def _running(part: Command) -> Iterator[None]:
    part.start()
    try:
        yield
    finally:
        part.stop()


# --- loading and weighing ---------------------------------------------------------------------------------------------
def _load(side: Side) -> None:
    with _running(side.consumers()):
        asyncio.run(_feed(side))
    memory = side.server.info("memory")
    aof = sum(file.stat().st_size for file in side.store.data_dir.rglob("*.aof"))
    side.figures["resident memory after the load, MB"] = f"{memory['used_memory_rss'] / 1e6:,.0f}"
    side.figures["append-only file after the load, MB"] = f"{aof / 1e6:,.0f}"


async def _feed(side: Side) -> None:
    connection = await connect_once(side.nats.url, "bench")
    store = await Store.connect(side.store.url)
    scales = Scales(side.store.url)
    try:
        js = connection.jetstream()
        await world.provision(js, store, NODES)
        empty = scales.rest()
        began = time.perf_counter()
        await world.feed_stock(js, Feed(js, world.POOL), side.skus, NODES, UNITS)
        seconds = time.perf_counter() - began
        await world.relayed(store)
        row = (await store.explain(world.POOL, world.skus_named(side.skus)[-1], world.nodes_named(NODES)[-1])).row
        assert row.on_hand == UNITS, row
        windows = scales.windows(side.skus) / NODES
        side.figures["bytes a row, its window included"] = f"{(scales.rest() - empty) / side.rows:.0f}"
        side.figures["of these its window (one delta)"] = f"{windows:.0f}"
        side.figures["load by events over NATS, s"] = f"{seconds:.1f} ({side.rows / seconds:,.0f} rows a second)"
    finally:
        await store.close()
        await connection.close()


# --- starting ---------------------------------------------------------------------------------------------------------
def _restart(side: Side) -> None:
    """Kills the store, and times what it takes until a reserve is answered again."""
    side.store.kill()
    began = time.perf_counter()
    side.store.start()
    answering = time.perf_counter()
    with _running(side.consumers()):
        asyncio.run(_wait_until_open(side))
        is_open = time.perf_counter()
    before = time.perf_counter()
    with servers.service(side.store.url) as address, Load(Target(address, _RESERVE, _OK), side.messages()[:1]) as load:
        load.flat_out(1)
        serving = time.perf_counter()
    side.reserves += 1
    side.figures["store killed: start to first answer, s"] = f"{answering - began:.2f}"
    side.figures["`atp consume` start to pool open, s"] = f"{is_open - answering:.2f}"
    side.figures["`atp serve` start to first reserve, s"] = f"{serving - before:.2f}"


async def _wait_until_open(side: Side) -> None:
    store = await Store.connect(side.store.url)
    try:
        await world.opened(store)
    finally:
        await store.close()


# --- latency ----------------------------------------------------------------------------------------------------------
def _ceiling(side: Side) -> float:
    """Reserves a second, flat out; the first half only warms up."""
    with servers.service(side.store.url) as address, Load(Target(address, _RESERVE, _OK), side.messages()) as load:
        load.flat_out(_CEILING_CALLS // 2)
        side.reserves += _CEILING_CALLS + _CEILING_CALLS // 2
        return load.flat_out(_CEILING_CALLS)


class Latency(NamedTuple):
    """Milliseconds. `second` is the p99 of the median second: what a stall of the machine in one second does not move."""

    p50: float
    p99: float
    second: float
    longest: float

    def __str__(self) -> str:
        return f"p50 {self.p50:.2f}, p99 {self.p99:.2f} (of the median second {self.second:.2f})"


def latency(seconds: Sequence[float], a_second: int) -> Latency:
    """Of calls in the order they ended, so many of them a second."""
    by_second = [seconds[start : start + a_second] for start in range(0, len(seconds) - a_second + 1, a_second)]
    second = statistics.median(quantile(some, 0.99) for some in by_second)
    return Latency(*(value * 1e3 for value in (quantile(seconds, 0.5), quantile(seconds, 0.99), second, max(seconds))))


def _round(target: Target, messages: list[bytes], rate: float, before: Callable[[], object] = lambda: None) -> Latency:
    """At a constant rate; `before` is done once it is warm."""
    gc.collect()
    with Load(target, messages) as load:
        load.at_rate(rate, int(rate * _WARM_UP_S))
        before()
        seconds = load.at_rate(rate, int(rate * _ROUND_S))
    return latency(seconds, int(rate))


def _reserves(side: Side, rate: float, before: Callable[[], object] = lambda: None) -> Latency:
    worked = _worked(side)
    with servers.service(side.store.url) as address:
        found = _round(Target(address, _RESERVE, _OK), side.messages(), rate, before)
    side.busy_s += _worked(side) - worked
    side.reserves += int(rate * _WARM_UP_S) + int(rate * _ROUND_S)
    return found


def _worked(side: Side) -> float:
    """Seconds that the store has been at work, whatever else the machine did."""
    cpu = side.server.info("cpu")
    return float(cpu["used_cpu_user"] + cpu["used_cpu_sys"])


def _latencies(small: Side, big: Side, console: Console) -> Latency:
    """Fills in p50 and p99; returns the medians of what the big pool's are to the small one's in each round."""
    ceiling = _ceiling(small)
    rate = ceiling / 2
    console.print(f"reserves flat out at {small.rows:,} rows: {ceiling:,.0f}/s; from here on {rate:,.0f}/s")
    with servers.echo() as address:
        empty = _round(Target(address, "/bench.Echo/Call", servers.ECHO_REPLY), small.messages(), rate)
    console.print(f"an empty grpc.aio server at this rate: p50 {empty.p50:.2f} ms, p99 {empty.p99:.2f} ms")
    found: dict[int, list[Latency]] = {small.skus: [], big.skus: []}
    for number in range(_ROUNDS):
        for side in (small, big) if number % 2 == 0 else (big, small):
            found[side.skus].append(_reserves(side, rate))
            last = found[side.skus][-1]
            console.print(f"round {number + 1}, {side.rows:,} rows, in ms: {last}")
    for side in (small, big):
        for name, what in (("p50", "p50"), ("p99", "p99"), ("second", "p99 of the median second")):
            value = statistics.median(getattr(latency, name) for latency in found[side.skus])
            side.figures[f"reserve at {rate:,.0f}/s: {what}, ms"] = f"{value:.2f}"
        reserves = _ROUNDS * int(rate * _WARM_UP_S + rate * _ROUND_S)
        side.figures["work of the store for each, µs"] = f"{side.busy_s / reserves * 1e6:.0f}"
        _rewrite(side, rate)
    return ratios(found[small.skus], found[big.skus])


def ratios(ours: Sequence[Latency], theirs: Sequence[Latency]) -> Latency:
    """The medians of the ratios of rounds that followed one another."""
    of_rounds = [[a / b for a, b in zip(their, our, strict=True)] for our, their in zip(ours, theirs, strict=True)]
    return Latency(*(statistics.median(column) for column in zip(*of_rounds, strict=True)))


def _rewrite(side: Side, rate: float) -> None:
    """A round in which the store rewrites its file."""
    found = _reserves(side, rate, before=side.server.bgrewriteaof)
    while (persistence := side.server.info("persistence"))["aof_rewrite_in_progress"]:
        time.sleep(0.1)
    forked = side.server.info("stats")["latest_fork_usec"] / 1e3
    side.figures["the same while the file is rewritten: p99 (longest), ms"] = f"{found.p99:.2f} ({found.longest:.0f})"
    side.figures["the rewrite: seconds (fork, ms)"] = f"{persistence['aof_last_rewrite_time_sec']} ({forked:.1f})"


def _held(side: Side) -> int:
    return int(side.server.zcard(f"{{{world.POOL}}}:exp"))


# --- all of it --------------------------------------------------------------------------------------------------------
def _measure_kind(kind: StoreKind, console: Console, big_skus: int) -> Table:
    with tempfile.TemporaryDirectory(prefix="atp-") as folder, contextlib.ExitStack() as stack:
        sides: list[Side] = []
        for skus in (SMALL_SKUS, big_skus):
            place = Path(folder, str(skus))
            store = stack.enter_context(StoreServer(place / "store", kind=kind, options=_STORE_OPTIONS))
            with NatsServer(place / "nats") as nats:
                side = Side(skus, place, store, nats)
                _load(side)
                _restart(side)
            sides.append(side)
            console.print(f"{kind}: {side.rows:,} rows loaded and started again")
            os.sched_setaffinity(store.pid, {servers.LOAD_CORE})
        with servers.pinned_to_load_core():
            ratio = _latencies(sides[0], sides[1], console)
        for side in sides:
            assert _held(side) == side.reserves, f"{side.reserves} reserves left {_held(side)} holds"
    table = Table("", *(f"{side.rows:,} rows" for side in sides), title=f"Size on {kind}: {NODES} nodes a SKU, the channel lists them all")
    for what in sides[0].figures:
        table.add_row(what, *(side.figures[what] for side in sides))
    table.add_row(f"median ratio of the rounds, at most {RATIO_MAX}", "", str(ratio))
    return table


def measure(console: Console, kinds: list[StoreKind], big_skus: int = BIG_SKUS) -> list[Table]:
    """One table for each kind of store; none, with a line that says why, where it cannot be measured."""
    if len(os.sched_getaffinity(0)) < 2:
        console.print("size: skipped, it needs two cores")
        return []
    servers.tell_of_other_work(console, "latencies")
    return [_measure_kind(kind, console, big_skus) for kind in kinds]
