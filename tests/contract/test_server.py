"""The server itself: where it listens, how it starts and ends, what it says of itself."""

import asyncio
import contextlib
from pathlib import Path

import grpc
import pytest
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from atp.store import Store, Stores
from cli.embedded import StoreServer, free_port
from inventory.availability.v1 import reservation_service_pb2 as rp
from inventory.availability.v1.reservation_pb2 import OUTCOME_INSUFFICIENT_STOCK, OUTCOME_OK
from inventory.availability.v1.reservation_service_pb2_grpc import ReservationServiceStub
from service import bootstrap, bounds
from service.listen import ListenError
from service.settings import ServiceSettings
from tests.conftest import start_store
from tests.contract.conftest import NOT_SERVING, SERVING, Engine, Shop, await_health, health, told


def test_reflection_tells_the_services_and_their_files(engine: Engine) -> None:
    async def ask(request: ServerReflectionRequest) -> ServerReflectionResponse:
        info: grpc.aio.StreamStreamMultiCallable[ServerReflectionRequest, ServerReflectionResponse] = engine.channel.stream_stream(
            f"/{reflection.SERVICE_NAME}/ServerReflectionInfo",
            ServerReflectionRequest.SerializeToString,
            ServerReflectionResponse.FromString,
        )
        return await anext(aiter(info(iter([request]))))

    listed = engine.run(ask(ServerReflectionRequest(list_services="")))
    names = {service.name for service in listed.list_services_response.service}
    assert names >= {
        "inventory.availability.v1.AvailabilityService",
        "inventory.availability.v1.ReservationService",
        "grpc.health.v1.Health",
    }
    found = engine.run(ask(ServerReflectionRequest(file_containing_symbol="inventory.availability.v1.ReserveRequest")))
    assert found.file_descriptor_response.file_descriptor_proto


def test_an_address_that_is_not_this_machines_own_is_refused(engine: Engine) -> None:
    async def listen(address: str) -> None:
        async with bootstrap.running(engine.stores, ServiceSettings(address)):
            raise AssertionError("listens")

    for address in ("0.0.0.0:0", "[::]:0", ":0"):
        with pytest.raises(ListenError, match="nobody is asked who they are"):
            engine.run(listen(address))


def test_a_port_that_is_taken_is_refused_and_not_shared(engine: Engine) -> None:
    async def listen() -> None:
        async with bootstrap.running(engine.stores, ServiceSettings(engine.address)):
            raise AssertionError("listens")

    with pytest.raises(ListenError, match="cannot listen"):
        engine.run(listen())


async def serving(store_url: str, address: "asyncio.Future[str]") -> None:
    await bootstrap.serve(Stores(Store(store_url)), ServiceSettings(), address.set_result)


def test_it_starts_while_the_store_is_away_and_serves_once_it_is_there(runner: asyncio.Runner, tmp_path: Path) -> None:
    port = free_port()

    async def play() -> None:
        address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(serving(f"redis://127.0.0.1:{port}", address))
        async with grpc.aio.insecure_channel(await address) as channel:
            assert await health(channel) == NOT_SERVING
            assert await read(channel) == "STORE_UNAVAILABLE"
            with await asyncio.to_thread(start_store_at, port, tmp_path) as server:
                await await_health(channel, SERVING)
                assert await read(channel) == "UNKNOWN_POOL"
                assert server.running
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    runner.run(play())


def start_store_at(port: int, folder: Path) -> StoreServer:
    return StoreServer(folder, port=port, fsync="no", options={"appendonly": "no"}).start()


def test_when_asked_to_stop_it_finishes_what_it_has_begun(runner: asyncio.Runner, tmp_path: Path) -> None:
    with start_store("valkey", tmp_path) as server:

        async def play() -> None:
            address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            task = asyncio.create_task(serving(server.url, address))
            async with grpc.aio.insecure_channel(await address) as channel:
                server.pause()
                call = asyncio.ensure_future(read(channel))
                await asyncio.sleep(0.2)
                task.cancel()
                await asyncio.sleep(0.2)
                assert not task.done()
                server.resume()
                assert await call == "UNKNOWN_POOL"
            with pytest.raises(asyncio.CancelledError):
                await task

        runner.run(play())


async def read(channel: grpc.aio.Channel) -> str:
    """The reason of a call that reaches the store and fails there."""
    try:
        await ReservationServiceStub(channel).GetReservation(rp.GetReservationRequest(pool="de", reservation_id="r"))
    except grpc.aio.AioRpcError as error:
        return told(error).reason
    return ""


def test_a_large_page_arrives_in_parts(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.bounds.PAGE_LINES_MAX", 3)
    shop = Shop(engine)
    for number in range(3):
        shop.reserve(("A", 1), ("B", 1) if not number else ("A", 1), rid=f"r{number}", order_reference="o1")
    first = shop.list("o1")
    assert [len(reservation.lines) for reservation in first.reservations] == [2, 1]
    rest = shop.list("o1", page_token=first.next_page_token)
    assert [reservation.reservation_id for reservation in rest.reservations] == ["r2"]


def test_thousands_of_calls_at_once_are_all_answered(shop: Shop) -> None:
    """By itself gRPC drops what comes beyond a thousand, with a bare CANCELLED."""

    async def call_all() -> set[int]:
        request = rp.ReserveRequest(pool=shop.pool, channel="web")
        request.lines.add(sku="A", quantity=1)
        answers = await asyncio.gather(*(ReservationServiceStub(shop.engine.channel).Reserve(request) for _ in range(3_000)))
        return {answer.outcome for answer in answers}

    outcomes = shop.engine.run(call_all())
    assert outcomes == {OUTCOME_OK, OUTCOME_INSUFFICIENT_STOCK}


@pytest.mark.slow
def test_who_connects_and_says_nothing_is_not_waited_for(engine: Engine) -> None:
    """Each such connection holds one of the process's files: with enough of them nobody else gets in."""
    host, _, port = engine.address.rpartition(":")

    async def until_closed() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        with contextlib.suppress(ConnectionResetError):
            await reader.read()  # what it says by itself, up to its end
        writer.close()

    engine.run(asyncio.wait_for(until_closed(), 3 * bounds.HANDSHAKE_S))
