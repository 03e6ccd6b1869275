"""Carries out a plan: opens a pool, sells by the file's clock, waits for the feeds, and judges what came of it."""

import asyncio
import contextlib
import time
from collections import Counter
from random import Random
from typing import Final

from nats.js import JetStreamContext

from atp.ledger import decode_entry
from atp.model.status import ExceptionReason
from atp.words import counted
from cli.history import History
from cli.output import Report
from cli.retail.audit import Auditor, Row
from cli.retail.client import Client
from cli.retail.engine import Engine, SimulationError
from cli.retail.feed import Feed
from cli.retail.life import Life, Pace, World
from cli.retail.plan import Basket, Delivery, Plan, Step, StockCheck, Undo
from cli.retail.readback import Readback, wait_for
from cli.retail.result import SHORT_SHOWN, Check, ExceptionCount, Feeds, Result, Short, latencies
from cli.retail.tally import Tally
from consumers.connection import connect
from consumers.exceptions import list_exceptions

FOUND_SHOWN: Final = 20
EXCEPTIONS_READ_MAX: Final = 100_000
LEDGER_STALL_S: Final = 10.0
REGISTERING: Final = "items"
OPENING: Final = "opening stock"
SELLING: Final = "baskets"
SETTLING: Final = "rows compared"


class Simulation:
    """One run of a plan in a pool of its own, which is provisioned and empty."""

    def __init__(self, plan: Plan, pool: str, client: Client, js: JetStreamContext, *, speed: float, clients: int, report: Report) -> None:
        self._plan = plan
        self._js = js
        self._report = report
        self._safety = dict(plan.items)
        self._world = World(
            pool=pool,
            channel=plan.channel,
            client=client,
            feed=Feed(js, pool, Random(f"{plan.seed}/feed")),
            auditor=Auditor(self._safety),
            tally=Tally(),
            pace=Pace(speed),
            calls=asyncio.Semaphore(clients),
        )
        self._readback = Readback(client, pool, plan.channel, self._safety)
        self._lives: dict[str, Life] = {}
        self._done = 0
        self._selling_s = 0.0

    async def run(self, engine: Engine) -> Result:
        await self._open()
        await self._sell()
        wrong_rows, rows = await self._settle()
        return await self._judge(engine, wrong_rows, rows)

    # --- before -----------------------------------------------------------------------------------------------------
    async def _open(self) -> None:
        """Items and opening stock; a few SKUs are received first and registered afterwards, as happens."""
        world = self._world
        on_time = [item for item in self._plan.items if item[0] not in self._plan.late]
        self._report(REGISTERING, 0, len(self._plan.items))
        await world.feed.items(on_time)
        await world.feed.flush()
        if missing := await self._readback.known(sku for sku, _ in on_time):
            raise SimulationError(f"{len(missing)} items are not registered: do the consumers run?")
        self._report(REGISTERING, len(on_time), len(self._plan.items))
        for delivery in self._plan.opening:
            await self._deliver(delivery)
        await world.feed.items([item for item in self._plan.items if item[0] in self._plan.late])
        await world.feed.flush()
        self._report(REGISTERING, len(self._plan.items), len(self._plan.items))
        stock = world.auditor.stock()
        self._report(OPENING, 0, len(stock))
        if wrong := await self._readback.promised(stock):
            (sku, node), said = next(iter(wrong.items()))
            raise SimulationError(f"the opening stock of {counted(len(wrong), 'row')} has not arrived, for example {sku} at {node}: {said}")
        self._report(OPENING, len(stock), len(stock))

    async def _deliver(self, delivery: Delivery) -> None:
        self._world.auditor.received(time.monotonic(), delivery.node, delivery.lines)
        await self._world.feed.receipt(delivery.node, delivery.lines)

    # --- the run ----------------------------------------------------------------------------------------------------
    async def _sell(self) -> None:
        began = time.monotonic()
        self._world.pace.start()
        self._report(SELLING, 0, self._plan.baskets)
        async with asyncio.TaskGroup() as tasks:
            for step in self._plan.steps:
                await self._world.pace.until(step.at_s)
                tasks.create_task(self._take(step))
        await self._world.feed.flush()
        self._selling_s = time.monotonic() - began

    async def _take(self, step: Step) -> None:
        match step:
            case Basket():
                life = self._lives[step.id] = Life(self._world, step)
                await life.live()
                self._done += 1
                self._report(SELLING, self._done, self._plan.baskets)
            case Undo():
                await self._lives[step.basket].undo(step)
            case Delivery():
                await self._deliver(step)
            case StockCheck():
                self._world.auditor.corrected(time.monotonic(), step.node, step.sku, step.change)
                await self._world.feed.adjustment(step.node, step.sku, step.change)

    # --- after ------------------------------------------------------------------------------------------------------
    async def _settle(self) -> tuple[list[str], int]:
        """Waits until the service says what the auditor does, of every row; returns the rows where it does not, and how many there are."""
        stock = self._world.auditor.stock()
        self._report(SETTLING, 0, len(stock))
        promised = await self._readback.promised(stock)
        rows = await self._readback.rows(stock, lambda done: self._report(SETTLING, done, len(stock)))
        wrong = {row: ", ".join(said for said in (promised.get(row, ""), rows.get(row, "")) if said) for row in promised | rows}
        return [f"{sku} at {node}: {said}" for (sku, node), said in sorted(wrong.items())], len(stock)

    async def _judge(self, engine: Engine, wrong_rows: list[str], rows: int) -> Result:
        world = self._world
        verbs = await self._ledger()
        checks = [
            await self._verify(engine),
            _check("accepted ≤ supplied, by the auditor", f"{counted(rows, 'row')}, at every answer", world.auditor.oversold()),
            _check("stock read back equals the auditor's account", f"{counted(rows, 'row')}, every term", wrong_rows),
            _check("every event applied once", counted(world.feed.sent.total(), "event"), self._not_once(verbs)),
            await self._shortfalls_told(),
            _check(
                "every answer as the contract says", f"{sum(map(len, world.client.seconds.values())):,} answers", world.tally.unexpected
            ),
        ]
        return Result(
            ok=all(check.ok for check in checks),
            pool=world.pool,
            seed=self._plan.seed,
            counts={what.name.lower(): number for what, number in world.tally.counts.items()},
            short=[
                Short(sku, world.tally.short_baskets[sku], world.tally.short[sku])
                for sku, _ in world.tally.short_baskets.most_common(SHORT_SHOWN)
            ],
            feeds=Feeds(
                dict(world.feed.sent), {kind: verbs[kind] for kind in world.feed.sent}, world.feed.duplicates, world.feed.out_of_order
            ),
            exceptions=await self._exceptions(),
            overcommitted=len(world.auditor.overcommitted()),
            latencies=latencies(world.client.seconds),
            retries=world.client.retries.total(),
            unknown=world.client.unknown.total(),
            failures=dict(world.tally.failures),
            selling_s=round(self._selling_s, 1),
            checks=checks,
        )

    async def _verify(self, engine: Engine) -> Check:
        from cli.verify import verify_pool

        report = await verify_pool(engine.store, engine.nats, self._world.pool, self._report)
        entries, keys = (report.checked.get(name, 0) for name in ("ledger entries", "keys compared"))
        looked_at = f"{counted(entries, 'ledger entry', 'ledger entries')}, {counted(keys, 'key')}"
        return Check("atp verify", report.ok, looked_at, report.violations[:FOUND_SHOWN])

    async def _ledger(self) -> Counter[str]:
        """How many entries of each verb JetStream has, once all events sent are among them, or no more come."""
        verbs: Counter[str] = Counter()
        ledger = History(self._js, self._world.pool, None)
        revision = 0

        async def still(kinds: set[str]) -> set[str]:
            nonlocal revision
            async with contextlib.aclosing(ledger.published(revision)) as batches:
                async for batch in batches:
                    entries = [decode_entry(data) for data in batch]
                    verbs.update(entry.verb for entry in entries)
                    revision = entries[-1].revision
            return {kind for kind in kinds if verbs[kind] < self._world.feed.sent[kind]}

        await wait_for(self._world.feed.sent, still, LEDGER_STALL_S)
        return verbs

    def _not_once(self, verbs: Counter[str]) -> list[str]:
        sent = self._world.feed.sent
        return [f"{kind}: {sent[kind]} sent, {verbs[kind]} applied" for kind in sorted(sent) if verbs[kind] != sent[kind]]

    async def _shortfalls_told(self) -> Check:
        """Where a stock check left less than had been promised, and only there, a person must see an open exception."""
        short = set(self._world.auditor.overcommitted())
        wrong: set[Row] = set()

        async def still(_: set[bool]) -> set[bool]:
            found = await list_exceptions(self._js, pool=self._world.pool, state="open", limit=EXCEPTIONS_READ_MAX)
            told = {(entry.sku, entry.node) for entry in found if entry.reason == ExceptionReason.OVERCOMMITTED}
            wrong.clear()
            wrong.update(told ^ short)
            return {True} if wrong else set()

        if not self._world.client.unknown.total():  # else the account is not exact enough to say which rows
            await wait_for([True], still, LEDGER_STALL_S)
        said = [f"{sku} at {node}: {'not told' if (sku, node) in short else 'told without need'}" for sku, node in sorted(wrong)]
        return _check("every shortage after a stock check is an open exception", f"{len(short):,} of them", said)

    async def _exceptions(self) -> list[ExceptionCount]:
        counts: dict[str, Counter[str]] = {}
        for exception in await list_exceptions(self._js, pool=self._world.pool, limit=EXCEPTIONS_READ_MAX):
            counts.setdefault(exception.reason, Counter())[exception.state] += 1
        return [ExceptionCount(reason, states["open"], states["resolved"]) for reason, states in sorted(counts.items())]


def _check(name: str, looked_at: str, found: list[str]) -> Check:
    return Check(name, not found, looked_at, found[:FOUND_SHOWN])


async def simulate(plan: Plan, engine: Engine, pool: str, *, speed: float, clients: int, report: Report) -> Result:
    """Runs a plan on an engine, in a provisioned pool of its own. Raises SimulationError, and errors of servers away."""
    connection = await connect(engine.nats, "atp simulate")  # finds its way back when the server restarts in the middle
    try:
        async with Client(engine.address) as client:
            run = Simulation(plan, pool, client, connection.jetstream(), speed=speed, clients=clients, report=report)
            return await run.run(engine)
    finally:
        await connection.close()
