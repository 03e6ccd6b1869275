"""The race: many clients, few units, one SKU; as many win as there are units, and not one more."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec

from cli import history
from cli.retail.audit import Auditor, HeldLine
from cli.retail.client import CallFailedError, Client, UnknownOutcomeError
from cli.retail.engine import Engine, SimulationError
from cli.retail.feed import Feed
from cli.retail.readback import Readback
from cli.retail.result import Latency, latency
from inventory.availability.v1 import reservation_pb2 as reservation
from inventory.availability.v1 import reservation_service_pb2 as service

NODE: Final = "DC1"
CHANNEL: Final = "web"
SKU: Final = "LAST-ONES"

WAITING: Final = "·"
WON: Final = "█"
LOST: Final = "░"
FAILED: Final = "?"
LEGEND: Final = f"{WAITING} waits  {WON} has one  {LOST} was refused  {FAILED} had no answer"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """`left` units can be promised afterwards; `ok` if exactly as many won as could, every client was answered, and the rest is left."""

    ok: bool
    pool: str
    clients: int
    units: int
    won: int
    refused: int
    failed: int
    left: int
    took_s: float
    latency: Latency


async def race(engine: Engine, pool: str, *, clients: int, units: int, show: Callable[[list[str]], None]) -> Outcome:
    """Runs it in a provisioned pool of its own; `show` is told how each client stands, whenever that changes."""
    lanes = [WAITING] * clients
    auditor = Auditor()
    async with history.jetstream(engine.nats) as js, Client(engine.address) as client:
        feed = Feed(js, pool)
        readback = Readback(client, pool, CHANNEL, {})
        await feed.items([(SKU, 0)])
        auditor.received(time.monotonic(), NODE, [(SKU, units)])
        await feed.receipt(NODE, [(SKU, units)])
        if wrong := await readback.promised(auditor.stock()):
            raise SimulationError(f"the stock has not arrived: {wrong[SKU, NODE]}. Do the consumers run?")
        start = asyncio.Event()

        async def run(number: int) -> None:
            await start.wait()
            lanes[number] = await _want_one(client, pool, f"client-{number + 1}", auditor)
            show(lanes)

        async with asyncio.TaskGroup() as tasks:
            for number in range(clients):
                tasks.create_task(run(number))
            show(lanes)
            await asyncio.sleep(0)
            began = time.monotonic()
            start.set()
        took_s = time.monotonic() - began
        left = (await readback.available([SKU])).get((SKU, NODE), 0)
    won = lanes.count(WON)
    return Outcome(
        ok=won == min(clients, units) and left == units - won and FAILED not in lanes and not auditor.oversold(),
        pool=pool,
        clients=clients,
        units=units,
        won=won,
        refused=lanes.count(LOST),
        failed=lanes.count(FAILED),
        left=left,
        took_s=round(took_s, 3),
        latency=latency(client.seconds["Reserve"]),
    )


async def _want_one(client: Client, pool: str, reservation_id: str, auditor: Auditor) -> str:
    request = service.ReserveRequest(
        pool=pool, reservation_id=reservation_id, channel=CHANNEL, lines=[reservation.Want(sku=SKU, quantity=1)]
    )
    try:
        answer = await client.call("Reserve", client.reservations.Reserve, request)
    except (CallFailedError, UnknownOutcomeError):
        return FAILED
    if answer.outcome != reservation.OUTCOME_OK:
        return LOST
    auditor.held(time.monotonic(), reservation_id, [HeldLine(move.number, move.sku, move.node, move.quantity) for move in answer.moves])
    return WON
