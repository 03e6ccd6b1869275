"""Feed events beside bare fetch-and-ack of the same messages, the relay under a full ledger, a full count, and reads beside a busy feed.

The process that is measured has core 0 alone; store, NATS and the load have core 1. Rounds alternate, so that a machine's moods hit both.
"""

import asyncio
import contextlib
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig
from rich.console import Console
from rich.table import Table

from atp import events
from atp.store import Store
from benchmarks import servers, world
from benchmarks.load import Load, Target, quantile
from cli import processes
from cli.embedded import NatsServer, StoreServer
from cli.retail.feed import WMS
from consumers import streams
from consumers.connection import connect_once
from inventory.availability.v1 import availability_service_pb2 as pb

EVENTS_RATIO_MIN = 0.35  # of bare fetch-and-ack
READS_SLOWED_MAX = 1.2
RELAYED_MIN = 15_000  # ledger entries a second
SYNCED_MIN = 20_000  # lines a second, from reading the file to the snapshot complete in the store
_ROUNDS = 5
_EVENTS = 20_000
_SKUS, _NODES = 2_000, 4
_SHUFFLED_WITHIN = 40  # messages: late, but inside every window
_ENTRIES = 150_000
_COUNTED = 200_000
BUSY_EVENTS_A_SECOND = 5_000
_READS_A_SECOND, _READ_S = 500, 6.0
_SKUS_A_READ = 10
_PUBLISHED_AT_ONCE = 500
_RESERVED_AT_ONCE = 1_000
_LOOK_S = 0.02
_STOP_S = 20.0
_GET = "/inventory.availability.v1.AvailabilityService/BatchGetAvailability"
_encode = msgspec.json.Encoder().encode


class Ground(NamedTuple):
    """Servers for one measurement."""

    folder: Path
    store: StoreServer
    nats: NatsServer


@contextlib.contextmanager
def _ground() -> Iterator[Ground]:
    """Servers that do not wait for the disk: bare fetch-and-ack writes nothing, and single messages a disk takes some 3,000 of a second."""
    with tempfile.TemporaryDirectory(prefix="atp-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        store = stack.enter_context(StoreServer(folder / "store", fsync="no", options={"appendonly": "no"}))
        nats = stack.enter_context(NatsServer(folder / "nats", sync_interval="2m"))
        for server in (store, nats):
            _pin(server.pid)
        yield Ground(folder, store, nats)


def _pin(pid: int) -> None:
    """All threads of a process onto the core of load and servers."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {servers.LOAD_CORE})


@contextlib.contextmanager
def _alone(ground: Ground, *arguments: str, core: int = servers.SERVER_CORE) -> Iterator[None]:
    """A Python program on a core of its own, stopped at the end."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})  # a child inherits it
    try:
        process = processes.spawn([sys.executable, *arguments], ground.folder / "measured.log")
    finally:
        os.sched_setaffinity(0, before)
    try:
        yield
    finally:
        processes.stop(process, _STOP_S)


@contextlib.contextmanager
def _consuming(ground: Ground, role: str, core: int = servers.SERVER_CORE) -> Iterator[None]:
    urls = ["--store-url", ground.store.url, "--nats-url", ground.nats.url]
    with _alone(ground, "-m", "cli.main", "consume", role, *urls, core=core):
        yield


# --- events applied ---------------------------------------------------------------------------------------------------
class Sequences:
    """Receipts of one line each as a warehouse counts them, per node; a little shuffled."""

    def __init__(self, after: int = 1_000) -> None:
        """The first number is the one `after`."""
        self._next = dict.fromkeys(world.nodes_named(_NODES), after)
        self._random = random.Random(1)

    def messages(self, count: int) -> list[tuple[str, bytes]]:
        skus, now = world.skus_named(_SKUS), datetime.now(UTC)
        found = []
        for _ in range(count):
            node = self._random.choice(list(self._next))
            self._next[node] += 1
            sequence = self._next[node]
            lines = [events.QuantityLine(sku=self._random.choice(skus), quantity=1)]
            data = events.ReceiptData(node=node, sequence=sequence, lines=lines)
            event = events.Receipt(specversion="1.0", id=f"{node}-{sequence}", source=WMS, time=now, data=data)
            found.append((f"inv.{world.POOL}.{WMS}.receipt", _encode(event)))
        for start in range(0, count, _SHUFFLED_WITHIN):
            some = found[start : start + _SHUFFLED_WITHIN]
            self._random.shuffle(some)
            found[start : start + _SHUFFLED_WITHIN] = some
        return found


async def _publish(js: JetStreamContext, messages: Sequence[tuple[str, bytes]]) -> None:
    for start in range(0, len(messages), _PUBLISHED_AT_ONCE):
        await asyncio.gather(*(js.publish(*message) for message in messages[start : start + _PUBLISHED_AT_ONCE]))


async def _rate(js: JetStreamContext, durable: str, count: int) -> float:
    """Messages a second from the first ack that is seen until all are acked."""

    async def left() -> int:
        info = await js.consumer_info(streams.INVENTORY, durable)
        return (info.num_pending or 0) + (info.num_ack_pending or 0)

    while (first := await left()) >= count:  # noqa: ASYNC110 (another process works)
        await asyncio.sleep(_LOOK_S)
    began = time.perf_counter()
    while await left():  # noqa: ASYNC110 (another process works)
        await asyncio.sleep(_LOOK_S)
    return first / (time.perf_counter() - began)


async def _events_rounds(ground: Ground, console: Console) -> list[tuple[float, float]]:
    """(bare, applied) a second for each round."""
    store, connection = await Store.connect(ground.store.url), await connect_once(ground.nats.url, "bench")
    js, sequences, found = connection.jetstream(), Sequences(), []
    try:
        await _stocked(js, store)
        for number in range(_ROUNDS):
            before = (await store.pool_info(world.POOL)).revision
            bare = f"bare-{number}"
            await js.add_consumer(
                streams.INVENTORY,
                ConsumerConfig(
                    durable_name=bare,
                    ack_policy=AckPolicy.EXPLICIT,
                    max_ack_pending=streams.FEED_ACK_PENDING_MAX,
                    filter_subject=f"inv.{world.POOL}.>",
                    opt_start_seq=(await js.stream_info(streams.INVENTORY)).state.last_seq + 1,
                    deliver_policy="by_start_sequence",  # type: ignore[arg-type]  # nats-py passes the word on as it is
                ),
            )
            await _publish(js, sequences.messages(_EVENTS))
            with _alone(ground, "-m", "benchmarks.bare_fetch", ground.nats.url, bare):
                theirs = await _rate(js, bare, _EVENTS)
            with _consuming(ground, "feeds"):
                ours = await _rate(js, streams.feed_durable(world.POOL), _EVENTS)
            applied = (await store.pool_info(world.POOL)).revision - before
            assert applied == _EVENTS, f"{_EVENTS} events made {applied} ledger entries"
            console.print(f"round {number + 1}: fetched and acked {theirs:,.0f}/s, applied {ours:,.0f}/s, ratio {ours / theirs:.2f}")
            found.append((theirs, ours))
    finally:
        await store.close()
        await connection.close()
    return found


async def _stocked(js: JetStreamContext, store: Store) -> None:
    await world.provision(js, store, _NODES)
    await world.fill(store, _SKUS, _NODES, 1_000_000)


# --- the relay --------------------------------------------------------------------------------------------------------
async def _relayed(ground: Ground) -> float:
    """Ledger entries a second that one relay carries to JetStream while more are written."""
    store, connection = await Store.connect(ground.store.url), await connect_once(ground.nats.url, "bench")
    try:
        await _stocked(connection.jetstream(), store)
        skus = world.skus_named(_SKUS)
        for start in range(0, _ENTRIES, _RESERVED_AT_ONCE):
            holds = (world.hold(skus[(start + number) % _SKUS]) for number in range(_RESERVED_AT_ONCE))
            await asyncio.gather(*(store.write(world.POOL, hold) for hold in holds))
        with _consuming(ground, "relay"):
            while (first := (await store.pool_info(world.POOL)).published) < _RESERVED_AT_ONCE:  # noqa: ASYNC110 (another process works)
                await asyncio.sleep(_LOOK_S)
            began = time.perf_counter()
            await world.relayed(store)
            seconds = time.perf_counter() - began
        return ((await store.pool_info(world.POOL)).revision - first) / seconds
    finally:
        await store.close()
        await connection.close()


# --- a full count -----------------------------------------------------------------------------------------------------
async def _registered(ground: Ground) -> None:
    store, connection = await Store.connect(ground.store.url), await connect_once(ground.nats.url, "bench")
    try:
        await world.provision(connection.jetstream(), store, 1)
        await world.fill(store, _COUNTED, 1, 1)
    finally:
        await store.close()
        await connection.close()


def _synced(ground: Ground, console: Console) -> list[float]:
    """Lines a second of `atp sync`, one count after the other; beside it the consumer, on the other core the store."""
    asyncio.run(_registered(ground))
    counted = ground.folder / "counted.csv"
    counted.write_text("sku,on_hand\n" + "".join(f"{sku},{number % 100}\n" for number, sku in enumerate(world.skus_named(_COUNTED))))
    where = ["--node", world.nodes_named(1)[0], "--source", WMS, "--pool", world.POOL]
    urls = ["--store-url", ground.store.url, "--nats-url", ground.nats.url]
    found = []
    with _consuming(ground, "feeds"):
        for number in range(_ROUNDS):
            sequence = str(_COUNTED + number)  # behind all that was filled in
            command = [sys.executable, "-m", "cli.main", "sync", str(counted), *where, *urls, "--sequence", sequence, "--json"]
            said = subprocess.run(["taskset", "-c", str(servers.SERVER_CORE), *command], capture_output=True, check=True).stdout
            found.append(msgspec.json.decode(said)["lines_a_second"])
            console.print(f"round {number + 1}: {_COUNTED:,} lines of a full count, {found[-1]:,.0f}/s")
    return found


# --- reads beside a busy feed -----------------------------------------------------------------------------------------
class Reads(NamedTuple):
    """Milliseconds."""

    p50: float
    p99: float


def _reads(address: str) -> Reads:
    os.sched_setaffinity(0, {servers.SERVER_CORE})  # of this thread alone
    skus = world.skus_named(_SKUS)
    request = pb.BatchGetAvailabilityRequest(pool=world.POOL, channel=world.CHANNEL)
    for sku in skus[:_SKUS_A_READ]:
        request.lines.add(sku=sku, quantity=1)
    with Load(Target(address, _GET, b""), [request.SerializeToString()]) as load:
        load.at_rate(_READS_A_SECOND, _READS_A_SECOND)
        seconds = load.at_rate(_READS_A_SECOND, int(_READS_A_SECOND * _READ_S))
    return Reads(quantile(seconds, 0.5) * 1e3, quantile(seconds, 0.99) * 1e3)


async def _reads_rounds(ground: Ground, console: Console) -> list[tuple[Reads, Reads]]:
    """Latency of reads of ten SKUs at a constant rate, quiet and beside 5,000 events a second.

    Here the load shares the service's core, so that what is slower beside the feed is what the feed slows: the store.
    """
    store, connection = await Store.connect(ground.store.url), await connect_once(ground.nats.url, "bench")
    js, found = connection.jetstream(), []
    try:
        await _stocked(js, store)
        with _consuming(ground, "feeds", core=servers.LOAD_CORE), servers.service(ground.store.url) as address:
            for number in range(_ROUNDS):
                quiet = await asyncio.to_thread(_reads, address)
                with _alone(ground, "-m", "benchmarks.steady_feed", ground.nats.url, str(number), core=servers.LOAD_CORE):
                    before = (await store.pool_info(world.POOL)).revision
                    while (await store.pool_info(world.POOL)).revision == before:  # noqa: ASYNC110 (another process works)
                        await asyncio.sleep(_LOOK_S)
                    before, began = (await store.pool_info(world.POOL)).revision, time.perf_counter()
                    busy = await asyncio.to_thread(_reads, address)
                    rate = ((await store.pool_info(world.POOL)).revision - before) / (time.perf_counter() - began)
                await world.settled(js)
                console.print(
                    f"round {number + 1}: reads p50 {quiet.p50:.2f} ms, p99 {quiet.p99:.2f}; beside {rate:,.0f} events/s "
                    f"p50 {busy.p50:.2f}, p99 {busy.p99:.2f}"
                )
                found.append((quiet, busy))
    finally:
        await store.close()
        await connection.close()
    return found


# --- all of it --------------------------------------------------------------------------------------------------------
def measure(console: Console) -> Table | None:
    """None, with a line that says why, where it cannot be measured."""
    if len(os.sched_getaffinity(0)) < 2:
        console.print("feeds: skipped, it needs two cores")
        return None
    servers.tell_of_other_work(console, "figures")
    table = Table("feeds", "median of rounds", "wanted", title="Feeds, one core each")
    with servers.pinned_to_load_core():
        with _ground() as ground:
            applied = asyncio.run(_events_rounds(ground, console))
        with _ground() as ground:
            relayed = asyncio.run(_relayed(ground))
        with _ground() as ground:
            synced = _synced(ground, console)
        with _ground() as ground:
            reads = asyncio.run(_reads_rounds(ground, console))
    bare, ours = (statistics.median(column) for column in zip(*applied, strict=True))
    table.add_row("messages fetched and acked, a second", f"{bare:,.0f}", "")
    table.add_row("events applied, a second", f"{ours:,.0f}", "")
    ratio = statistics.median(ours / theirs for theirs, ours in applied)
    table.add_row("ratio", f"{ratio:.2f}", f"at least {EVENTS_RATIO_MIN}")
    table.add_row("ledger entries relayed, a second", f"{relayed:,.0f}", f"at least {RELAYED_MIN:,}")
    table.add_row("lines of a full count in the store, a second", f"{statistics.median(synced):,.0f}", f"at least {SYNCED_MIN:,}")
    for name in Reads._fields:
        slowed = statistics.median(getattr(busy, name) / getattr(quiet, name) for quiet, busy in reads)
        table.add_row(f"reads beside {BUSY_EVENTS_A_SECOND:,} events a second: {name}", f"{slowed:.2f} ×", f"at most {READS_SLOWED_MAX}")
    return table
