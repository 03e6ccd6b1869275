"""A pool that lives by chance, its ledger on its way to JetStream: many verbs, refusals too, and records that vanish while one looks."""

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from nats.js import JetStreamContext

from atp import limits
from atp.model.verbs import Adjust, Cancel, Complete, Count, Figures, ItemLine, Note, Park, Register, Result, Transfer, Unpark, Want
from atp.store.store import Write
from consumers import ledger_writer, streams
from tests.e2e import ledgered
from tests.selling import CONTEXT, Selling

_SKUS = ("A", "B", "C", "D", "E", "F")


class Wild(Selling):
    """Its clock may be behind, so that records vanish `lasts_ms` after their end. Refusals are part of life."""

    def __init__(self, url: str, seed: int, lasts_ms: int = limits.RETENTION_MS) -> None:
        super().__init__(url)
        print(f"pool {self.pool}: seed {seed}")
        self.now_ms -= limits.RETENTION_MS - lasts_ms
        self._chance = random.Random(seed)
        self._steps = itertools.count(1)
        self._reserved = 0

    async def do(self, request: Write) -> Result:
        self.now_ms += 1
        return await self.store.write(self.pool, request)

    async def live(self, steps: int) -> None:
        for _ in range(steps):
            verb, weight = zip(*self._verbs(), strict=True)
            await self._chance.choices(verb, weight)[0]()

    def _verbs(self) -> list[tuple[Callable[[], Awaitable[Any]], int]]:
        chance = self._chance
        sku, node, last = chance.choice(_SKUS), chance.choice(("N1", "N2")), next(self._steps)
        channel, order, known = chance.choice(("web", "web", "depot")), f"O{last // 9 % 7}", f"R{self._reserved - chance.randint(0, 20)}"
        part = [(1, 1)] if chance.random() < 0.3 else None
        ttl_s = chance.choice((1, 60))
        return [
            (lambda: self._hold(channel=channel, ttl_s=ttl_s, order=order, **{sku: chance.randint(1, 3)}), 30),
            (lambda: self.confirm(known, reacquire=chance.random() < 0.3), 25),
            (lambda: self.release(known, part), 10),
            (lambda: self.extend(known, 5), 3),
            (lambda: self.fulfil(known, f"S{known}", part), 20),
            (lambda: self.ship(node, f"S{known}", known, **{sku: 1}), 8),
            (lambda: self.pick("N3", order, **{sku: 1}), 8),
            (lambda: self.pick("N3", order, kind="pick_reversed", **{sku: 1}), 4),
            (lambda: self.receive(node, **{sku: chance.randint(-2, 20)}), 20),
            (lambda: self.count(node, **{sku: chance.randint(0, 30)}), 4),
            (lambda: self.register(**{sku: chance.randint(0, 2)}), 4),
            (lambda: self.do(self._event(sku, order, last)), 30),
            (self.expire, 2),
        ]

    async def _hold(self, **wanted: Any) -> None:
        self._reserved += 1
        await self.reserve(f"R{self._reserved}", **wanted)

    def _event(self, sku: str, order: str, last: int) -> Write:
        """What feeds say beside: of other nodes, transfers, figures that are not theirs, in parts, too early, of orders no more."""
        chance, number, name, new = self._chance, next(self._sequence), f"E{last}", f"NEW{last // 20}"
        figures = [Figures(sku, chance.randint(0, 5), 0, 0)]
        out, to = chance.sample(("N1", "N2"), 2)
        moved, where = chance.choice((("transfer_out", out), ("transfer_in", to)))
        key = f"wms/{name}/{new}"
        return chance.choice(
            (
                Adjust(CONTEXT, name, "receipt", "wcs", "N3", number, 1, figures),
                Adjust(CONTEXT, name, "receipt", "erp", "N1", number, 1, figures),
                Count(CONTEXT, name, "erp", "N1", number, 1, self.now_ms, figures),
                Count(CONTEXT, name, "wms", out, number // 3, number, self.now_ms, figures, part=chance.randint(1, 2), parts=2),
                Complete(CONTEXT, "wms", out, number // 3),
                Transfer(CONTEXT, name, moved, "wms", where, number, 1, f"T{last % 5}", to if where == out else out, [Want(sku, 1)]),
                Cancel(CONTEXT, name, "erp", number, 1, order, [Want(sku, 1)] if chance.random() < 0.7 else []),
                Note(CONTEXT, name, "package_created", "wms", "N1", 1, order),
                Park(CONTEXT, new, key, "the event as it came"),
                Unpark(CONTEXT, new, key),
                Register(CONTEXT, name, "erp", number, 1, [ItemLine(new, 1, "{}", [f"alias-{last // 50}"])]),
            )
        )


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
