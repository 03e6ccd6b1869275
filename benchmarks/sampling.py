"""The parts of a running engine as the soak looks at them: memory, descriptors and tasks of processes, keys and ledger of the store."""

import asyncio
import contextlib
import re
import resource
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import redis
from nats.js import JetStreamContext
from rich.console import Console

from atp.store import Store
from benchmarks import world
from cli import processes
from cli.embedded import NatsServer, StoreServer
from consumers import streams
from consumers.connection import connect_once

_PAGE = resource.getpagesize()
_SERVING_S = 30.0
_STOP_S = 10.0
_SAY_EVERY_S = 30.0


@dataclass
class Process:
    """One of ours, with the file that it tells its tasks to."""

    name: str
    folder: Path
    process: "subprocess.Popen[bytes]"

    @classmethod
    def start(cls, stack: contextlib.ExitStack, folder: Path, name: str, *urls: str) -> Self:
        tasks = folder / f"{name}.tasks"
        tasks.write_text("0")
        command = [sys.executable, "-m", "benchmarks.soak_part", name, str(tasks), *urls]
        started = cls(name, folder, processes.spawn(command, folder / f"{name}.log"))
        stack.callback(processes.stop, started.process, _STOP_S)
        return started

    @property
    def log(self) -> str:
        return processes.log_tail(self.folder / f"{self.name}.log")

    def figures(self) -> dict[str, float]:
        """Raises FileNotFoundError once it has ended."""
        home = Path("/proc", str(self.process.pid))
        return {
            f"{self.name}, resident": resident(self.process.pid),
            f"{self.name}, descriptors": len(list((home / "fd").iterdir())),
            f"{self.name}, tasks": float((self.folder / f"{self.name}.tasks").read_text() or 0),
        }


def resident(pid: int) -> float:
    """Bytes."""
    return float(Path("/proc", str(pid), "statm").read_text().split()[1]) * _PAGE


@dataclass
class Parts:
    """An engine that runs: durable servers, one service, one process of consumers."""

    store: StoreServer
    nats: NatsServer
    service: Process
    consumers: Process
    address: str

    @classmethod
    def start(cls, folder: Path, stack: contextlib.ExitStack, nodes: int) -> Self:
        store = stack.enter_context(StoreServer(folder / "store"))
        nats = stack.enter_context(NatsServer(folder / "nats"))
        asyncio.run(_provision(store.url, nats.url, nodes))
        consumers = Process.start(stack, folder, "consumers", store.url, nats.url)
        service = Process.start(stack, folder, "service", store.url)
        return cls(store, nats, service, consumers, _address(service))


async def _provision(store_url: str, nats_url: str, nodes: int) -> None:
    connection = await connect_once(nats_url, "soak")
    store = await Store.connect(store_url)
    try:
        await world.provision(connection.jetstream(), store, nodes)
    finally:
        await store.close()
        await connection.close()


def _address(service: Process) -> str:
    deadline = time.monotonic() + _SERVING_S
    while time.monotonic() < deadline and service.process.poll() is None:
        if found := re.search(r"^serving on (\S+)$", service.log, re.MULTILINE):
            return found[1]
        time.sleep(0.05)
    raise RuntimeError(f"the service is not serving:\n{service.log}")


@dataclass
class Sampler:
    """`series` by name, as (seconds, value); `by_design` says how fast grows what is meant to grow."""

    parts: Parts
    js: JetStreamContext
    series: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    by_design: list[str] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._store = await Store.connect(self.parts.store.url)
        self._server = redis.Redis.from_url(self.parts.store.url, protocol=2)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._store.close()
        self._server.close()

    async def run(self, every_s: float, until: float, console: Console) -> None:
        """Samples until then; says from time to time where it stands."""
        began = said = time.monotonic()
        while (now := time.monotonic()) < until:
            for name, value in (await self._figures()).items():
                self.series[name].append((now - began, value))
            if now - said >= _SAY_EVERY_S:
                said = now
                latest = {name: points[-1][1] for name, points in self.series.items()}
                memory = ", ".join(f"{name} {latest[name] / 1e6:.1f} MB" for name in latest if name.endswith(("resident", "used_memory")))
                console.print(f"{(now - began) / 60:4.1f} min: {memory}", highlight=False, soft_wrap=True)
            await asyncio.sleep(every_s)

    async def _figures(self) -> dict[str, float]:
        info = await self._store.pool_info(world.POOL)
        return {
            **self.parts.service.figures(),
            **self.parts.consumers.figures(),
            "NATS, resident": resident(self.parts.nats.pid),
            "store, used_memory": self._server.info("memory")["used_memory"],
            "store, keys": self._server.dbsize(),
            "store, ledger entries": self._server.xlen(f"{{{world.POOL}}}:ledger"),
            "relay backlog": info.revision - info.published,
        }

    async def growth(self, events: int) -> None:
        """JetStream keeps the ledger whole and events for days: bytes for each."""
        await world.relayed(self._store)
        info = await self._store.pool_info(world.POOL)
        for name, what, count in (
            (streams.ledger_stream(world.POOL), "ledger entry", info.revision),
            (streams.INVENTORY, "event", events),
        ):
            stored = (await self.js.stream_info(name)).state.bytes
            self.by_design.append(
                f"{name} grows by design: {stored / 1e6:,.1f} MB, {stored / count:,.0f} bytes for each {what} of {count:,}"
            )
        nats = self.series["NATS, resident"]
        self.by_design.append(
            f"NATS server, resident: {nats[len(nats) // 2][1] / 1e6:.1f} MB halfway, {nats[-1][1] / 1e6:.1f} MB at the end"
        )
