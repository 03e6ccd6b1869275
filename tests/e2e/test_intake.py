"""Events taken into JetStream: on disk before it says so, and a word at once while NATS is away."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from atp import events, limits
from atp.errors import IntakeUnavailableError
from atp.intake import Taken
from cli.embedded import NatsServer, StoreServer
from consumers import streams
from consumers.connection import connect_once
from consumers.intake import JetStreamIntake, reaching
from inventory.availability.v1.inventory_event_pb2 import Heartbeat, InventoryEvent
from inventory.availability.v1.inventory_service_pb2 import AdjustRequest, EventResult
from inventory.availability.v1.inventory_service_pb2_grpc import InventoryServiceStub
from tests.e2e.consuming import until
from tests.e2e.test_ready import READY, running
from tests.e2e.test_up import eventually

NOW = datetime.now(UTC)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with NatsServer(tmp_path, sync_interval="10s") as server:
        yield server


async def make_stream(server: NatsServer) -> None:
    client = await connect_once(server.url, "test")
    await client.jetstream().add_stream(streams.inventory())
    await client.close()


def heartbeat(name: str) -> events.Event:
    data = events.HeartbeatData()
    return events.Heartbeat(specversion="1.0", id=name, source="wms", time=NOW, data=data)


async def taken(intake: JetStreamIntake, event: events.Event) -> Taken:
    """Waits for the first connection, too."""

    async def take() -> Taken | None:
        try:
            return await intake.take("main", event)
        except IntakeUnavailableError:
            return None

    found: Taken = await until(take, "it is taken")
    return found


def test_an_event_that_is_sent_again_is_taken_again_and_names_nothing_by_which_another_could_keep_it_out(server: NatsServer) -> None:
    async def scenario() -> None:
        await make_stream(server)
        async with reaching(server.url, "atp test") as intake:
            assert await taken(intake, heartbeat("e1")) == Taken(1)
            assert await intake.take("main", heartbeat("e1")) == Taken(2)
        client = await connect_once(server.url, "test")
        headers = (await client.jetstream().get_msg(streams.INVENTORY, 2)).headers or {}
        await client.close()
        assert "Nats-Msg-Id" not in headers

    asyncio.run(scenario())


def test_a_message_id_that_somebody_has_used_is_free_again_at_once(server: NatsServer) -> None:
    async def scenario() -> None:
        await make_stream(server)
        client = await connect_once(server.url, "test")

        async def is_taken() -> bool:
            ack = await client.jetstream().publish("inv.main.wms.sale", b"of the one it belongs to", headers={"Nats-Msg-Id": "sale-1"})
            return not ack.duplicate

        await client.jetstream().publish("inv.main.stranger.sale", b"of another", headers={"Nats-Msg-Id": "sale-1"})
        await until(is_taken, "it is taken")
        await client.close()

    asyncio.run(scenario())


def test_while_nats_is_away_nothing_is_taken_and_nothing_waits_and_then_it_goes_on(server: NatsServer) -> None:
    async def scenario() -> None:
        await make_stream(server)
        server.stop()
        async with reaching(server.url, "atp test") as intake:
            with pytest.raises(IntakeUnavailableError, match="NATS is away") as raised:
                await intake.take("main", heartbeat("e1"))
            assert not raised.value.outcome_unknown
            server.start()
            assert await taken(intake, heartbeat("e1")) == Taken(1)
            server.kill()
            await until(lambda: fails(intake), "it says so")
            server.start()
            await taken(intake, heartbeat("e2"))

    asyncio.run(scenario())


async def fails(intake: JetStreamIntake) -> bool:
    try:
        await intake.take("main", heartbeat("e1"))
    except IntakeUnavailableError:
        return True
    return False


def test_an_event_whose_ack_is_lost_may_have_been_taken(server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumers.intake._ACK_S", 0.2)

    async def scenario() -> None:
        await make_stream(server)
        async with reaching(server.url, "atp test") as intake:
            await taken(intake, heartbeat("e1"))
            server.pause()
            with pytest.raises(IntakeUnavailableError) as raised:
                await intake.take("main", heartbeat("e2"))
            assert raised.value.outcome_unknown
            server.resume()
            assert await taken(intake, heartbeat("e2")) == Taken(3)

    asyncio.run(scenario())


def test_without_its_stream_nothing_is_taken(server: NatsServer) -> None:
    async def scenario() -> None:
        intake = JetStreamIntake()
        await intake.connect(server.url, "atp test")
        with pytest.raises(IntakeUnavailableError, match="does not take events") as raised:
            await intake.take("main", heartbeat("e1"))
        assert not raised.value.outcome_unknown
        await intake.close()

    asyncio.run(scenario())


def test_more_at_once_than_may_be_under_way_are_all_taken(server: NatsServer) -> None:
    async def scenario() -> None:
        await make_stream(server)
        intake = JetStreamIntake()
        await intake.connect(server.url, "atp test")
        found = await asyncio.gather(*(intake.take("main", heartbeat(f"e{n}")) for n in range(2 * limits.INTAKE_IN_FLIGHT_MAX)))
        assert {one.sequence for one in found} == set(range(1, 2 * limits.INTAKE_IN_FLIGHT_MAX + 1))
        await intake.close()

    asyncio.run(scenario())


def test_a_service_whose_nats_is_away_starts_and_takes_events_once_it_is_there(server: NatsServer, valkey: StoreServer) -> None:
    asyncio.run(make_stream(server))
    server.stop()
    with running("serve", "--store-url", valkey.url, "--nats-url", server.url) as service:
        service.until_ready_is(READY)
        with grpc.insecure_channel(service.address) as channel:
            adjust = InventoryServiceStub(channel).Adjust
            beat = InventoryEvent(id="e1", source="wms", time=Timestamp(seconds=1_700_000_000), heartbeat=Heartbeat())

            said: list[str] = []

            def results() -> list[EventResult]:
                try:
                    return list(adjust(AdjustRequest(pool="main", events=[beat]), timeout=10).results)
                except grpc.RpcError as error:
                    said.append(str(error))
                    return []

            assert results() == []
            server.start()
            eventually(lambda: bool(results()), "it is never taken")
            assert all("INTAKE_UNAVAILABLE" in one for one in said)
            assert [result.stream_sequence for result in results()] == [2]
        service.process.terminate()
        assert service.ends() == 0
