"""A pool of a million rows, a checkpoint, a million entries behind it: how long it takes to make it again, and what the taking costs calls.

On durable servers as the engine starts them, with a relay beside. The entries are orders: reserved, confirmed, most of them shipped.
"""

import asyncio
import contextlib
import itertools
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import redis
from rich.console import Console
from rich.table import Table

from atp import requests
from atp.audit import Audit
from atp.store import Store
from benchmarks import servers, world
from benchmarks.load import quantile
from cli.embedded import NatsServer, StoreServer
from cli.history import LATEST, START
from cli.rebuilding import Rebuilt, rebuild_pool
from cli.supervisor import Command
from consumers import restoring
from consumers.audit_start import start_with
from consumers.connection import connect_once
from consumers.ledger_writer import last_position

SKUS, NODES, UNITS = 50_000, 20, 1_000_000
ENTRIES: Final = 1_000_000
_IN_FLIGHT: Final = 200
_CALLS_A_SECOND: Final = 500  # beside which a checkpoint is taken
_QUIET_S: Final = 10.0  # of the same calls without one
_SHIPPED_OF: Final = 4  # all but one of so many orders are shipped

Figures = dict[str, str]


class Bench:
    """One pool on servers of its own, and what was seen of it."""

    def __init__(self, folder: Path, store: StoreServer, nats: NatsServer, console: Console) -> None:
        self.figures: Figures = {}
        self._folder = folder
        self._store = store
        self._nats = nats
        self._console = console
        self._names = world.skus_named(SKUS)
        self._orders = itertools.count(1)

    async def fill(self, entries: int) -> None:
        """Rows, a checkpoint of them, and so many entries behind it."""
        store = await Store.connect(self._store.url)
        connection = await connect_once(self._nats.url, "bench")
        try:
            await world.provision(connection.jetstream(), store, NODES)
            with self._running("relay"):
                await world.fill(store, SKUS, NODES, UNITS)
                await world.relayed(store)
                self._console.print(f"{SKUS * NODES:,} rows are there")
                await self._take_beside_calls(store)
                await self._trade(store, entries)
                await world.relayed(store)
        finally:
            await connection.close()
            await store.close()

    def rebuild(self, origin: str, name: str) -> None:
        """Into a store that keeps nothing on disk, as `atp rebuild` does."""
        with StoreServer(self._folder / "rebuilt", fsync="no", options={"appendonly": "no"}) as empty:
            work = rebuild_pool(self._store.url, self._nats.url, world.POOL, empty.url, lambda *_: None, origin=origin)
            self._note(name, asyncio.run(work))

    async def begin_audit(self) -> None:
        """How long an auditor takes until it follows the ledger, where nobody else wants its turn."""
        connection = await connect_once(self._nats.url, "bench")
        try:
            js = connection.jetstream()
            manifest = await restoring.newest(js, world.POOL, (await last_position(js, world.POOL)).revision)
            assert manifest
            began = time.perf_counter()
            audit = Audit(comparing=False)
            for _ in audit.begin(await start_with(js, manifest, _at_once, comparing=False)):
                pass
            assert audit.report().ok, audit.report().violations
            seconds = time.perf_counter() - began
            self.figures["an auditor begins with that, s"] = f"{seconds:.1f}: {manifest.keys:,} keys, {SKUS * NODES:,} rows added up"
        finally:
            await connection.close()

    def reopen(self) -> None:
        """How long a relay takes until a store that has lost everything takes writes again."""
        with redis.Redis.from_url(self._store.url, protocol=2) as server:
            server.flushall()
        began = time.perf_counter()
        with self._running("relay"):
            asyncio.run(self._wait_until_open())
        self.figures["emptied store: `atp consume relay` start to pool open, s"] = f"{time.perf_counter() - began:.1f}"

    # --- the pool -------------------------------------------------------------------------------------------------
    async def _trade(self, store: Store, entries: int) -> None:
        began, before = time.perf_counter(), (await store.pool_info(world.POOL)).revision
        while (revision := (await store.pool_info(world.POOL)).revision) < before + entries:
            await asyncio.gather(*(self._order(store) for _ in range(_IN_FLIGHT)))
        rate = (revision - before) / (time.perf_counter() - began)
        self._console.print(f"{revision - before:,} entries made, {rate:,.0f} a second")

    async def _order(self, store: Store) -> None:
        number, hold = next(self._orders), world.hold(random.choice(self._names))
        key = hold.reservation_id
        await store.write(world.POOL, hold)
        await store.write(world.POOL, requests.confirm(world.CONTEXT, reservation_id=key, key="c", reacquire=False))
        if number % _SHIPPED_OF:
            shipped = requests.fulfil(world.CONTEXT, reservation_id=key, shipment_id=f"S{number}", shipped_ms=0, lines=[])
            await store.write(world.POOL, shipped)

    async def _wait_until_open(self) -> None:
        store = await Store.connect(self._store.url)
        try:
            await world.opened(store)
        finally:
            await store.close()

    # --- taking ---------------------------------------------------------------------------------------------------
    async def _take_beside_calls(self, store: Store) -> None:
        """The same calls at a constant rate, without and beside the taking of a checkpoint by another process."""
        alone = await self._call(store, asyncio.create_task(asyncio.sleep(_QUIET_S)))
        began = time.perf_counter()
        beside = await self._call(store, asyncio.create_task(self._take()))
        self.figures["checkpoint of the rows, s"] = f"{time.perf_counter() - began:.1f}"
        for name, seconds in (("without", alone), ("beside its taking", beside)):
            p50, p99 = (f"{quantile(seconds, part) * 1e3:.2f}" for part in (0.5, 0.99))
            self.figures[f"reserve at {_CALLS_A_SECOND}/s, {name}: p50, p99, longest, ms"] = f"{p50}, {p99}, {max(seconds) * 1e3:.0f}"

    async def _take(self) -> None:
        """As anyone does."""
        words = ["checkpoint", "--pool", world.POOL, "--store-url", self._store.url, "--nats-url", self._nats.url]
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "cli.main", *words)
        assert await process.wait() == 0

    async def _call(self, store: Store, until: "asyncio.Task[None]") -> list[float]:
        """How long each call took, from when it was due, until something else is done."""
        seconds: list[float] = []

        async def call(due: float) -> None:
            await store.write(world.POOL, world.hold(random.choice(self._names)))
            seconds.append(time.perf_counter() - due)

        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in itertools.count():
                if until.done():
                    break
                due = began + number / _CALLS_A_SECOND
                await asyncio.sleep(due - time.perf_counter())
                group.create_task(call(due))
        await until
        return seconds

    # --- figures --------------------------------------------------------------------------------------------------
    def _note(self, name: str, rebuilt: Rebuilt) -> None:
        assert rebuilt.equal, rebuilt.differing
        if loaded := rebuilt.checkpoint:
            rate = f"{loaded.keys:,} keys, {loaded.fields:,} fields ({loaded.fields / loaded.load_s:,.0f}/s)"
            self.figures[f"{name}: load, s"] = f"{loaded.load_s:.1f}: {rate}"
        rate = f"{rebuilt.entries:,} entries ({rebuilt.entries / rebuilt.replay_s:,.0f}/s)"
        self.figures[f"{name}: replay, s"] = f"{rebuilt.replay_s:.1f}: {rate}"
        if compared := rebuilt.compared:
            rate = f"{compared.keys:,} keys, {compared.fields:,} fields ({compared.keys / compared.seconds:,.0f} keys/s)"
            self.figures[f"{name}: compare, s"] = f"{compared.seconds:.1f}: {rate}, all equal"

    @contextlib.contextmanager
    def _running(self, role: str) -> Iterator[None]:
        part = Command(role, ["consume", role, "--store-url", self._store.url, "--nats-url", self._nats.url], self._folder)
        part.start()
        try:
            yield
        finally:
            part.stop()


async def _at_once() -> None:
    """Gives way to nobody."""


def measure(console: Console, entries: int = ENTRIES) -> Table:
    """The table of one run."""
    servers.tell_of_other_work(console, "times")
    with tempfile.TemporaryDirectory(prefix="atp-") as name:
        folder = Path(name)
        with StoreServer(folder / "store") as store, NatsServer(folder / "nats") as nats:
            bench = Bench(folder, store, nats, console)
            asyncio.run(bench.fill(entries))
            bench.rebuild(LATEST, "rows from the checkpoint, then entries")
            bench.rebuild(START, "all from the first entry")
            asyncio.run(bench.begin_audit())
            bench.reopen()
    table = Table("", "", title=f"Rebuild: {SKUS * NODES:,} rows and {entries:,} entries")
    for what, value in bench.figures.items():
        table.add_row(what, value)
    return table
