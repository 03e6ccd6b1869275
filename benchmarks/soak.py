"""A steady life for some minutes: what must stay flat is sampled, and whether it did is judged over the second half.

Service and consumers run as processes on durable servers, with every verb, reads, holds that are left to expire, and a warehouse's
events over NATS. The rows, windows, records and the kept end of the ledger fill up in the first half; from then on whatever grows, leaks.
"""

import asyncio
import contextlib
import itertools
import random
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import Message
from nats.js import JetStreamContext
from rich.console import Console
from rich.table import Table

from benchmarks import chart, servers, world
from benchmarks.sampling import Parts, Sampler
from benchmarks.trend import Bound, Verdict, judge
from cli.retail.client import Client
from cli.retail.feed import Feed
from consumers import exceptions
from consumers.connection import connect_once
from inventory.availability.v1 import availability_service_pb2 as availability
from inventory.availability.v1 import reservation_service_pb2 as pb
from inventory.availability.v1.reservation_pb2 import OUTCOME_OK, Part, Want

SKUS, NODES, UNITS = 20, 4, 100_000
ORDERS_A_SECOND = 60
MINUTES, MINUTES_MIN = 10.0, 4.0  # the first half must be long enough for all to fill up
SAMPLE_S = 2.0
CHART = Path("build/soak.svg")

MB: Final = 1e6
#: What may grow by how much an hour. A byte lost with every call would be a megabyte an hour, a key lost with every order 216,000.
BOUNDS: Final = (
    Bound("service, resident", "MB", 12, MB),
    Bound("consumers, resident", "MB", 12, MB),
    Bound("store, used_memory", "MB", 12, MB),
    Bound("store, keys", "keys", 3_600),
    Bound("store, ledger entries", "entries", 3_600),
    Bound("relay backlog", "entries", 3_600),
    Bound("service, descriptors", "descriptors", 6),
    Bound("consumers, descriptors", "descriptors", 6),
    Bound("service, tasks", "tasks", 60),
    Bound("consumers, tasks", "tasks", 60),
)


# --- the life of orders -----------------------------------------------------------------------------------------------
@dataclass
class Shop:
    """What sells, ships and counts. `failures` are answers that should not have come, by what they were."""

    client: Client
    feed: Feed
    random: random.Random
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    shipped: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def order(self) -> None:
        """One customer, from the look at the shelf to whatever becomes of the order."""
        life = self.random.choices([self.sold, self.released, self.cancelled, self.left], [50, 15, 10, 25])[0]
        number = f"{next(self._numbers)}"
        try:
            await life(number)
        except Exception as error:
            self.failures[f"{life.__name__}: {error!r}"[:200]] += 1

    async def sold(self, number: str) -> None:
        await self._look()
        held = await self._reserve(number, 60_000)
        await self._think()
        await self._call("Confirm", pb.ConfirmRequest(pool=world.POOL, reservation_id=held.reservation_id, operation_key="pay"))
        await self._call("ListReservations", pb.ListReservationsRequest(pool=world.POOL, order_reference=f"order-{number}"))
        await self._think()
        shipment = f"ship-{number}"
        await self._call("Fulfil", pb.FulfilRequest(pool=world.POOL, reservation_id=held.reservation_id, shipment_id=shipment))
        await self._think()
        lines = Counter({move.sku: move.quantity for move in held.moves})
        node = held.moves[0].node
        self.shipped[node].update(lines)
        await self.feed.shipment(node, shipment, held.reservation_id, lines.items())

    async def released(self, number: str) -> None:
        held = await self._reserve(number, 30_000)
        await self._call("Extend", pb.ExtendRequest(pool=world.POOL, reservation_id=held.reservation_id, ttl_ms=60_000))
        await self._think()
        some = [Part(number=held.moves[0].number, quantity=1)]
        await self._call("Release", pb.ReleaseRequest(pool=world.POOL, reservation_id=held.reservation_id, lines=some))
        await self._call("Release", pb.ReleaseRequest(pool=world.POOL, reservation_id=held.reservation_id))

    async def cancelled(self, number: str) -> None:
        held = await self._reserve(number, 30_000)
        await self._call("Confirm", pb.ConfirmRequest(pool=world.POOL, reservation_id=held.reservation_id))
        await self._think()
        await self._call("Release", pb.ReleaseRequest(pool=world.POOL, reservation_id=held.reservation_id))

    async def left(self, number: str) -> None:
        """A cart that nobody comes back to: the sweeper gives its stock back."""
        held = await self._reserve(number, self.random.randint(1_000, 5_000))
        await self._call("GetReservation", pb.GetReservationRequest(pool=world.POOL, reservation_id=held.reservation_id))

    async def restock(self) -> None:
        """One receipt at every node of what it shipped since the last; now and then a return, and a find on the shelf."""
        for node in list(self.shipped):
            lines = list(self.shipped.pop(node).items())
            await self.feed.receipt(node, lines)
            if self.random.random() < 0.2:
                await self.feed.returned(node, lines[:1], "sellable")
                await self.feed.adjustment(node, lines[0][0], -lines[0][1])

    async def _look(self) -> None:
        lines = [Want(sku=sku, quantity=1) for sku in world.skus_named(SKUS)[:10]]
        await self._call(
            "BatchGetAvailability", availability.BatchGetAvailabilityRequest(pool=world.POOL, channel=world.CHANNEL, lines=lines)
        )

    async def _reserve(self, number: str, ttl_ms: int) -> pb.ReserveResponse:
        skus = self.random.sample(world.skus_named(SKUS), self.random.randint(1, 3))
        request = pb.ReserveRequest(
            pool=world.POOL,
            channel=world.CHANNEL,
            reservation_id=f"order-{number}",
            order_reference=f"order-{number}",
            ttl_ms=ttl_ms,
            nodes=[self.random.choice(world.nodes_named(NODES))],
            lines=[Want(sku=sku, quantity=self.random.randint(2, 4)) for sku in skus],
        )
        held: pb.ReserveResponse = await self._call("Reserve", request)
        return held

    async def _call(self, name: str, request: Message) -> Any:
        """One call; an answer with another outcome than OK is a failure."""
        client = self.client
        stub = client.availability if name == "BatchGetAvailability" else client.reservations
        answer: Any = await client.call(name, getattr(stub, name), request)
        if getattr(answer, "outcome", OUTCOME_OK) != OUTCOME_OK:
            raise RuntimeError(f"{name} answered {answer.outcome}")
        self.outcomes[name] += 1
        return answer

    async def _think(self) -> None:
        await asyncio.sleep(self.random.uniform(0.1, 1.0))


async def _steadily(make: Callable[[], Coroutine[Any, Any, None]], a_second: float, until: float) -> None:
    """Starts one after another at a constant rate, however long each takes, and waits for all."""
    running: set[asyncio.Task[None]] = set()
    began = time.monotonic()
    for number in itertools.count():
        due = began + number / a_second
        if due >= until:
            break
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        task = asyncio.create_task(make())
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)


# --- all of it --------------------------------------------------------------------------------------------------------
async def _live(parts: Parts, minutes: float, console: Console) -> tuple[Sampler, Shop, list[str]]:
    """The run, the samples, and what should not have been."""
    connection = await connect_once(parts.nats.url, "soak")
    try:
        js = connection.jetstream()
        async with Client(parts.address) as client, Sampler(parts, js) as sampler:
            shop = Shop(client, Feed(js, world.POOL), random.Random(4711))
            await world.feed_stock(js, shop.feed, SKUS, NODES, UNITS)
            until = time.monotonic() + minutes * 60
            async with asyncio.TaskGroup() as group:
                group.create_task(_steadily(shop.order, ORDERS_A_SECOND, until))
                group.create_task(_steadily(shop.restock, 1.0, until))
                group.create_task(sampler.run(SAMPLE_S, until, console))
            await world.settled(js)
            wrong = [f"{count} × {what}" for what, count in shop.failures.most_common(10)]
            wrong += await _exceptions(js)
            await sampler.growth(sum(shop.feed.sent.values()))
    finally:
        await connection.close()
    return sampler, shop, wrong


async def _exceptions(js: JetStreamContext) -> list[str]:
    found = await exceptions.list_exceptions(js, pool=world.POOL, state="open")
    return [f"{count} × exception {reason}" for reason, count in Counter(exception.reason for exception in found).items()]


def measure(console: Console, minutes: float = MINUTES) -> bool:
    """Runs, prints the verdicts and draws the chart; true if all is flat and nothing went wrong."""
    servers.tell_of_other_work(console, "the memory that calls take when they pile up")
    with tempfile.TemporaryDirectory(prefix="atp-") as folder, contextlib.ExitStack() as stack:
        parts = Parts.start(Path(folder), stack, NODES)
        sampler, shop, wrong = asyncio.run(_live(parts, minutes, console))
    verdicts = [judge(bound, sampler.series[bound.name]) for bound in BOUNDS]
    CHART.parent.mkdir(exist_ok=True)
    units = {bound.name: bound for bound in BOUNDS}
    panels = {f"{name}, {units[name].unit}": [(at, value / units[name].per_unit) for at, value in sampler.series[name]] for name in units}
    CHART.write_text(chart.svg(f"Soak of {minutes:g} minutes, {ORDERS_A_SECOND} orders a second", panels))
    calls, events = sum(shop.outcomes.values()), sum(shop.feed.sent.values())
    console.print(_table(verdicts, f"Soak: {minutes:g} minutes, {calls:,} calls, {events:,} events; the second half"))
    for line in (*sampler.by_design, *(f"[red]wrong:[/] {what}" for what in wrong)):
        console.print(line)
    console.print(f"chart: {CHART.absolute()}", soft_wrap=True)
    return not wrong and all(verdict.flat for verdict in verdicts)


def _table(verdicts: list[Verdict], title: str) -> Table:
    table = Table("", "halfway", "end", "grows an hour", "may", "", title=title)
    for verdict in verdicts:
        bound = verdict.bound
        figures = (f"{verdict.halfway:,.1f}", f"{verdict.end:,.1f}", f"{verdict.per_hour:+,.1f}", f"{bound.per_hour:,g} {bound.unit}")
        table.add_row(bound.name, *figures, "[green]flat[/]" if verdict.flat else "[red]GROWS[/]")
    return table
