"""A pool that lives by chance, its ledger on its way to JetStream: many verbs, refusals too, and records that vanish while one looks."""

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from nats.js import JetStreamContext

from atp import limits
from atp.model.verbs import Result
from atp.store.store import Write
from consumers import ledger_writer, streams
from tests.e2e import ledgered
from tests.selling import Selling

_SKUS = ("A", "B", "C", "D", "E", "F")


class Wild(Selling):
    """Its clock may be behind, so that records vanish `lasts_ms` after their end. Refusals are part of life."""

    def __init__(self, url: str, seed: int, lasts_ms: int = limits.RETENTION_MS) -> None:
        super().__init__(url)
        print(f"pool {self.pool}: seed {seed}")
        self.now_ms -= limits.RETENTION_MS - lasts_ms
        self._chance = random.Random(seed)
        self._ids = itertools.count(1)

    async def do(self, request: Write) -> Result:
        self.now_ms += 1
        return await self.store.write(self.pool, request)

    async def live(self, steps: int) -> None:
        for _ in range(steps):
            verb, weight = zip(*self._verbs(), strict=True)
            await self._chance.choices(verb, weight)[0]()

    def _verbs(self) -> list[tuple[Callable[[], Awaitable[Any]], int]]:
        chance = self._chance
        sku, node, last = chance.choice(_SKUS), chance.choice(("N1", "N2")), next(self._ids)
        known = f"R{chance.randint(max(1, last - 60), last)}"
        return [
            (lambda: self.reserve(f"R{last}", ttl_s=chance.choice((1, 60)), order=f"O{last // 9 % 7}", **{sku: chance.randint(1, 3)}), 30),
            (lambda: self.confirm(known, reacquire=chance.random() < 0.3), 15),
            (lambda: self.release(known, [(1, 1)] if chance.random() < 0.3 else None), 10),
            (lambda: self.extend(known, 5), 3),
            (lambda: self.fulfil(known, f"S{known}", [(1, 1)] if chance.random() < 0.3 else None), 10),
            (lambda: self.ship(node, f"S{known}", known, **{sku: 1}), 8),
            (lambda: self.receive(node, **{sku: chance.randint(-2, 9)}), 20),
            (lambda: self.count(node, **{sku: chance.randint(0, 30)}), 4),
            (lambda: self.register(**{sku: chance.randint(0, 2)}), 4),
            (self.expire, 2),
        ]


@contextlib.asynccontextmanager
async def living(pool: Wild, js: JetStreamContext) -> AsyncIterator[None]:
    """The pool goes on living, and a relay on carrying its ledger, while the block runs; then all of it is carried."""
    await carry_all(pool, js)
    stop = asyncio.Event()

    async def live() -> None:
        while not stop.is_set():
            await pool.live(20)

    async def carry() -> None:
        while not stop.is_set():
            await carry_all(pool, js)
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        group.create_task(live())
        group.create_task(carry())
        try:
            yield
        finally:
            stop.set()
    await carry_all(pool, js)


async def carry_all(pool: Selling, js: JetStreamContext) -> None:
    """What JetStream does not have yet, to where the pool's checkpoints may be kept too."""
    await js.add_stream(streams.ledger(pool.pool))
    await js.add_stream(streams.checkpoint(pool.pool))
    position, _ = await ledger_writer.learn(js, pool.pool)
    await ledgered.publish(js, pool.pool, await pool.entries(position.revision), batch=100)
