"""What names no provisioned pool is seen by somebody: once, whoever looks, and whatever its subject is made of."""

import asyncio
from collections.abc import Iterator

import pytest

from atp.exceptions import PublishedException
from atp.model.status import ExceptionReason
from cli.embedded import NatsServer, StoreServer
from consumers import exceptions
from consumers.ending import Who, retry
from consumers.refused import NO_POOL
from tests.e2e.consuming import Engine, consuming, engine, quick_store, receipt, running, until
from tests.e2e.test_feeds_waiting import publish_raw


@pytest.fixture(scope="module")
def store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with quick_store(tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One of its own: strays are looked for in all that it has."""
    with NatsServer(tmp_path_factory.mktemp("nats"), sync_interval="10s") as server:
        yield server


async def told_of(made: Engine, pool: str = NO_POOL) -> list[PublishedException]:
    return await exceptions.list_exceptions(made.js, pool=pool)


@pytest.mark.parametrize(
    "subject",
    [b"inv.nowhere.wms.receipt", b"inv.nowhere", b"inv.no!where.wms.receipt", b"inv.*.wms.receipt", b"inv.>", b"inv.\xff\xfe.receipt"],
    ids=["another pool", "no pool", "no name", "a wildcard", "all", "no text"],
)
def test_a_stray_is_told_whatever_its_subject_and_the_events_of_pools_are_not(
    subject: bytes, store_server: StoreServer, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        async with engine("home", store_server, nats_server) as made:
            await made.send(receipt(1, {"A": 1}))
            await publish_raw(nats_server.port, b"PUB " + subject + b" 2\r\nhi")
            await made.send(receipt(2, {"A": 1}))
            async with consuming("feeds", made, store_server, nats_server):

                async def told() -> list[PublishedException]:
                    return [one for pool in (NO_POOL, "nowhere") for one in await told_of(made, pool)]

                (stray,) = await until(told, "the stray is told")
                assert (stray.original, stray.subject) == ("hi", subject.decode("utf-8", "replace"))
                assert made.metric("atp_feed_events_total", pool="other") == 1

    asyncio.run(scenario())


def test_a_stray_is_told_once_however_many_look_and_again_when_it_is_sent_again(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with running("home", store_server, nats_server) as made:
            await made.send(receipt(1, {"A": 1}, id="astray"), "inv.nowhere.wms.receipt")
            first = await made.exception("event:wms/astray", pool="nowhere")
            assert first.reason == ExceptionReason.UNKNOWN_POOL
            async with consuming("feeds", made, store_server, nats_server):
                await made.send(receipt(1, {"A": 1}, id="later"), "inv.nowhere.wms.receipt")
                await made.exception("event:wms/later", pool="nowhere")  # so it has looked through what came before
                found = await exceptions.standing(made.js, "nowhere", "event:wms/astray")
                assert found is not None
                assert found.exception == first
                assert (await retry(made.js, found, Who("jane", "the pool should be there"))).resolution == "retried"
                again = await made.exception("event:wms/astray", pool="nowhere")
                assert again.time > first.time

    asyncio.run(scenario())
