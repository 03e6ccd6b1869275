"""A rolling restart under load: every process is asked to end and started again, and callers with several addresses see nothing of it."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from atp.store import Store, Stores
from atp_client import AsyncAtpClient, AtpError
from cli.embedded import NatsServer, StoreServer
from inventory.availability.v1.availability_service_pb2 import BatchGetAvailabilityRequest
from inventory.availability.v1.availability_service_pb2_grpc import AvailabilityServiceStub
from inventory.availability.v1.reservation_pb2 import Want
from service import bootstrap, bounds
from service.settings import ServiceSettings
from tests.e2e.consuming import Engine, engine, stock, until
from tests.e2e.fleet import Fleet
from tests.e2e.market import HOT, Market, trading

CALLS = 20  # in a row; while two services are called, half of them go to each


@contextlib.asynccontextmanager
async def asking(market: Market, addresses: list[str], **settings: Any) -> AsyncIterator[Counter[str]]:
    """A client that asks again and again; what came of it."""
    came: Counter[str] = Counter()

    async def ask(client: AsyncAtpClient) -> None:
        while True:
            try:
                await client.availability([HOT])
                came["OK"] += 1
            except AtpError as error:
                came[f"{error.code.name} {error.reason}".strip()] += 1
            await asyncio.sleep(0.03)

    async with AsyncAtpClient(addresses, pool=market.made.pool, channel="web", **settings) as client:
        task = asyncio.create_task(ask(client))
        try:
            yield came
        finally:
            task.cancel()
            await asyncio.wait([task])


@pytest.mark.slow
def test_a_rolling_restart_fails_no_call_of_a_client_with_several_addresses(tmp_path: Path) -> None:
    async def scenario(fleet: Fleet, market: Market, _: Engine) -> None:
        everywhere, at_one = fleet.addresses, fleet.addresses[:1]
        async with (
            asking(market, everywhere, retry=False) as hasty,
            asking(market, at_one) as faithful,
            asking(market, at_one, retry=False) as naive,
        ):
            for member in fleet.of("service", "relay", "feeds", "sweeper"):
                member.ask_to_end()
                assert await member.ended() == 0, member.log_tail()
                await market.goes_on()
                await member.restarted()
        for who, came in {"all, no retry": hasty, "one": faithful, "one, no retry": naive}.items():
            print(f"addresses {who}: {dict(came)}")
            assert came["OK"], who

    trading(tmp_path, scenario)


def test_a_client_goes_elsewhere_before_the_service_stops(
    tmp_path: Path, valkey: StoreServer, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "NOTICE_S", 2.0)

    async def scenario() -> None:
        async with engine("notice", valkey, nats_server) as made, contextlib.AsyncExitStack() as ends, contextlib.AsyncExitStack() as end:
            await stock(made)
            ending, staying = [await Store.connect(valkey.url) for _ in range(2)]
            for store in (ending, staying):
                ends.push_async_callback(store.close)
            addresses = [
                await end.enter_async_context(bootstrap.running(Stores(ending), ServiceSettings())),
                await ends.enter_async_context(bootstrap.running(Stores(staying), ServiceSettings())),
            ]
            client = await ends.enter_async_context(AsyncAtpClient(addresses, pool=made.pool, channel="web", retry=False))

            async def reaches(*expected: Store) -> bool:
                before = [asked(store) for store in (ending, staying)]
                for _ in range(CALLS):
                    await client.availability(["A"])
                return [asked(store) > had for store, had in zip((ending, staying), before, strict=True)] == [
                    store in expected for store in (ending, staying)
                ]

            await until(lambda: reaches(ending, staying), "both are called")
            stopping = asyncio.create_task(end.aclose())
            await until(lambda: reaches(staying), "only the one that stays is called")
            async with grpc.aio.insecure_channel(addresses[0]) as channel:  # which does not look at health
                request = BatchGetAvailabilityRequest(pool=made.pool, channel="web", lines=[Want(sku="A")])
                assert (await AvailabilityServiceStub(channel).BatchGetAvailability(request)).lines
            await stopping
            assert await reaches(staying)

    asyncio.run(scenario())


def asked(store: Store) -> int:
    """How often availability was asked for over this connection to the store: calls of the service that has it."""
    return sum(store.observed.round_trips["availability"].counts)
