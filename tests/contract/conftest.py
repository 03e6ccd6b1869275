"""A real server over a real store, and a client, on one event loop that runs while a test asks something."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import code_pb2
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from atp.intake import Intake
from atp.model.verbs import (
    ITEM_STATES,
    LOCATION_STATES,
    Adjust,
    ChannelConfig,
    Context,
    Figures,
    ItemLine,
    ItemState,
    NodeConfig,
    Provision,
    Register,
    SetItemStates,
    SetLocationState,
    SourceConfig,
)
from atp.store import Store, Stores
from atp.store.store import Write
from cli.embedded import NatsServer, StoreServer
from consumers import streams
from consumers.connection import connect_once
from consumers.intake import JetStreamIntake
from inventory.availability.v1 import availability_service_pb2 as ap
from inventory.availability.v1 import reservation_service_pb2 as rp
from inventory.availability.v1.availability_service_pb2_grpc import AvailabilityServiceStub
from inventory.availability.v1.inventory_service_pb2_grpc import InventoryServiceStub
from inventory.availability.v1.reservation_pb2 import Part, Want
from inventory.availability.v1.reservation_service_pb2_grpc import ReservationServiceStub
from service import bootstrap
from service.call import LOCAL, Identity
from service.errors import DOMAIN, ERRORS
from service.observers import Observers
from service.settings import ServiceSettings
from tests.pair import stored_layout

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING
DETAILS_KEY = "grpc-status-details-bin"
ASKER = Context("test", "")
NODES = ("N1", "N2", "N3")
CHANNELS = {"web": ["N1", "N2"], "shop": ["N2"]}
STOCK = {"A": {"N1": 10, "N2": 5}, "B": {"N1": 3}, "C": {}}
SAFETY_STOCK = {"B": 1}
_pool_names = itertools.count(1)


@dataclass
class Failure:
    """What a failed call told."""

    code: str = ""
    reason: str = ""
    metadata: dict[str, str] | None = None
    message: str = ""
    violations: dict[str, str] | None = None
    retry_ms: int = 0


def told(error: grpc.aio.AioRpcError) -> Failure:
    """Reads the details of a failed call, and checks the form that all of them have."""
    packed = [value for key, value in error.trailing_metadata() or () if key == DETAILS_KEY]
    assert len(packed) == 1, error
    assert isinstance(packed[0], bytes)
    status = Status.FromString(packed[0])
    assert code_pb2.Code.Name(status.code) == error.code().name
    assert status.message == error.details()
    info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
    kinds = [detail.TypeName().rpartition(".")[2] for detail in status.details]
    assert kinds.count("ErrorInfo") == 1
    assert len(set(kinds)) == len(kinds)
    for detail in status.details:
        assert any(detail.Unpack(kind) for kind in (info, bad, retry))
    assert info.domain == DOMAIN
    reason = info.reason.removeprefix("ERROR_REASON_")
    row = ERRORS[reason]
    assert row.code == status.code
    assert ("RetryInfo" in kinds) == bool(row.retry_ms)
    assert ("BadRequest" in kinds) == (reason == "INVALID_REQUEST")
    violations = {violation.field: violation.description for violation in bad.field_violations}
    return Failure(error.code().name, reason, dict(info.metadata), status.message, violations, retry.retry_delay.ToMilliseconds())


async def health(channel: grpc.aio.Channel, service: str = "") -> int:
    """What the service says of its health, once."""
    check: grpc.aio.UnaryUnaryMultiCallable[HealthCheckRequest, HealthCheckResponse] = channel.unary_unary(
        "/grpc.health.v1.Health/Check", HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString
    )
    return (await check(HealthCheckRequest(service=service))).status


async def await_health(channel: grpc.aio.Channel, expected: int) -> None:
    """Watches until the service says so."""
    watch: grpc.aio.UnaryStreamMultiCallable[HealthCheckRequest, HealthCheckResponse] = channel.unary_stream(
        "/grpc.health.v1.Health/Watch", HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString
    )
    async with asyncio.timeout(20):
        async for seen in watch(HealthCheckRequest()):
            if seen.status == expected:
                return


async def until(true: Callable[[], bool], what: str) -> None:
    """Waits until a condition is true."""
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.01)


class Engine:
    """A service at an address, over one store. Its clock stands still between ticks, so that holds expire when a test says."""

    def __init__(
        self,
        runner: asyncio.Runner,
        url: str,
        bounds: dict[str, int] | None = None,
        identity: Identity = LOCAL,
        observers: Callable[[Stores], Observers] | None = None,
        intake: Intake | None = None,
    ) -> None:
        self.runner = runner
        self.now_ms = int(time.time() * 1000)
        self._observed_by = observers
        self._intake = intake
        self._exits = contextlib.AsyncExitStack()
        runner.run(self._start(url, bounds, identity))

    async def _start(self, url: str, bounds: dict[str, int] | None, identity: Identity) -> None:
        self.store = Store(url, clock=lambda: self.now_ms, bounds=bounds)
        self.stores = Stores(self.store)
        self.observers = self._observed_by(self.stores) if self._observed_by else Observers()
        await self.store.start()
        self._exits.push_async_callback(self.store.close)
        running = bootstrap.running(self.stores, ServiceSettings(), intake=self._intake, identity=identity, observers=self.observers)
        self.address = await self._exits.enter_async_context(running)
        self.channel = await self._exits.enter_async_context(grpc.aio.insecure_channel(self.address))
        self.reservations, self.availability = ReservationServiceStub(self.channel), AvailabilityServiceStub(self.channel)
        self.inventory = InventoryServiceStub(self.channel)

    def close(self) -> None:
        self.runner.run(self._exits.aclose())

    def run(self, work: Any) -> Any:
        """Runs a coroutine, or a call of a stub."""

        async def wait() -> Any:
            return await work

        return self.runner.run(wait())

    def raw(self, method: str, body: bytes, **options: Any) -> bytes:
        """Sends bytes as they are to a method of the contract."""
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(f"/inventory.availability.v1.{method}")

        async def send() -> bytes:
            return await call(body, **options)

        return self.runner.run(send())

    def call(self, stub_method: Callable[..., Any], request: Message, **options: Any) -> Any:
        async def send() -> Any:
            return await stub_method(request, **{"timeout": 10, **options})

        return self.runner.run(send())


class Shop:
    """One stocked pool behind an engine, in few words: lines are (SKU, quantity) or (number, quantity)."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.pool = f"contract-{next(_pool_names)}"
        self._sequences = itertools.count(1)
        engine.run(self._provision())

    async def _provision(self) -> None:
        store = self.engine.store
        await store.open(self.pool, 0, 0)
        nodes = [NodeConfig(node, "store", "Europe/Berlin", "wms") for node in NODES]
        channels = [ChannelConfig(name, nodes) for name, nodes in CHANNELS.items()]
        sources = [SourceConfig("wms", False), SourceConfig("erp", registers_items=True, registers_locations=True)]
        await store.write(self.pool, Provision(ASKER, nodes, channels, sources))
        await self.register({sku: SAFETY_STOCK.get(sku, 0) for sku in STOCK})
        for sku, nodes_of in STOCK.items():
            for node, units in nodes_of.items():
                await self.receive(sku, node, units)

    async def register(self, skus: dict[str, int]) -> None:
        items = [ItemLine(sku, safety) for sku, safety in skus.items()]
        await self._written(Register(ASKER, "items", "erp", next(self._sequences), 1, items))

    async def add_channel(self, name: str, nodes: Sequence[str]) -> None:
        await self._written(Provision(ASKER, [], [ChannelConfig(name, list(nodes))], []))

    async def receive(self, sku: str, node: str, units: int) -> None:
        sequence = next(self._sequences)
        await self._written(Adjust(ASKER, f"receipt-{sequence}", "receipt", "wms", node, sequence, 1, [Figures(sku, units, 0, 0)]))

    async def set_item(self, sku: str, state: str) -> None:
        sequence = next(self._sequences)
        line = ItemState(sku, ITEM_STATES.index(state))
        await self._written(SetItemStates(ASKER, f"state-{sequence}", "erp", sequence, 1, [line]))

    async def set_node(self, node: str, state: str) -> None:
        sequence = next(self._sequences)
        number = LOCATION_STATES.index(state)
        await self._written(SetLocationState(ASKER, f"state-{sequence}", "erp", node, sequence, 1, number))

    async def _written(self, request: Write) -> None:
        result = await self.engine.store.write(self.pool, request)
        assert result.status == "OK", result

    # --- calls ------------------------------------------------------------------------------------------------------
    def reserve(
        self, *lines: tuple[str, int], rid: str = "", channel: str = "web", nodes: Sequence[str] = (), **more: Any
    ) -> rp.ReserveResponse:
        wants = [Want(sku=sku, quantity=quantity) for sku, quantity in lines]
        request = rp.ReserveRequest(**{"pool": self.pool, **more}, reservation_id=rid, channel=channel, nodes=nodes, lines=wants)
        return self.engine.call(self.engine.reservations.Reserve, request)

    def confirm(self, rid: str, key: str = "c", **more: Any) -> rp.ConfirmResponse:
        request = rp.ConfirmRequest(**{"pool": self.pool, **more}, reservation_id=rid, operation_key=key)
        return self.engine.call(self.engine.reservations.Confirm, request)

    def release(self, rid: str, *lines: tuple[int, int], key: str = "r") -> rp.ReleaseResponse:
        parts = [Part(number=number, quantity=quantity) for number, quantity in lines]
        request = rp.ReleaseRequest(pool=self.pool, reservation_id=rid, operation_key=key, lines=parts)
        return self.engine.call(self.engine.reservations.Release, request)

    def extend(self, rid: str, ttl_ms: int = 0, key: str = "e") -> rp.ExtendResponse:
        request = rp.ExtendRequest(pool=self.pool, reservation_id=rid, operation_key=key, ttl_ms=ttl_ms)
        return self.engine.call(self.engine.reservations.Extend, request)

    def fulfil(self, rid: str, *lines: tuple[int, int], shipment: str = "s1", **more: Any) -> rp.FulfilResponse:
        parts = [Part(number=number, quantity=quantity) for number, quantity in lines]
        request = rp.FulfilRequest(pool=self.pool, reservation_id=rid, shipment_id=shipment, lines=parts, **more)
        return self.engine.call(self.engine.reservations.Fulfil, request)

    def get(self, rid: str) -> rp.GetReservationResponse:
        return self.engine.call(self.engine.reservations.GetReservation, rp.GetReservationRequest(pool=self.pool, reservation_id=rid))

    def list(self, order_reference: str, **more: Any) -> rp.ListReservationsResponse:
        request = rp.ListReservationsRequest(pool=self.pool, order_reference=order_reference, **more)
        return self.engine.call(self.engine.reservations.ListReservations, request)

    def available(
        self, *lines: tuple[str, int], channel: str = "web", nodes: Sequence[str] = (), **more: Any
    ) -> ap.BatchGetAvailabilityResponse:
        wants = [Want(sku=sku, quantity=quantity) for sku, quantity in lines]
        request = ap.BatchGetAvailabilityRequest(**{"pool": self.pool, **more}, channel=channel, nodes=nodes, lines=wants)
        return self.engine.call(self.engine.availability.BatchGetAvailability, request)

    def explain(self, sku: str, node: str) -> ap.ExplainAvailabilityResponse:
        request = ap.ExplainAvailabilityRequest(pool=self.pool, sku=sku, node=node)
        return self.engine.call(self.engine.availability.ExplainAvailability, request)

    # --- claims -----------------------------------------------------------------------------------------------------
    def tick(self, ms: int) -> None:
        self.engine.now_ms += ms

    def layout(self) -> Any:
        """The whole pool, key by key, its revision among them."""
        return self.engine.run(stored_layout(self.engine.store, self.pool))

    @contextlib.contextmanager
    def unchanged(self) -> Iterator[None]:
        """What happens inside changes nothing in the whole pool."""
        before = self.layout()
        yield
        assert self.layout() == before

    @contextlib.contextmanager
    def fails(self, code: str, reason: str, **metadata: str) -> Iterator[Failure]:
        """The call inside fails so, with metadata that has these entries, and changes nothing."""
        failure = Failure()
        with self.unchanged(), pytest.raises(grpc.aio.AioRpcError) as raised:
            yield failure
        failure.__dict__.update(told(raised.value).__dict__)
        assert (failure.code, failure.reason) == (code, reason), failure
        assert failure.metadata is not None
        assert failure.metadata.items() >= metadata.items(), failure


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="session")
def engine(runner: asyncio.Runner, valkey: StoreServer) -> Iterator[Engine]:
    engine = Engine(runner, valkey.url)
    yield engine
    engine.close()


@pytest.fixture
def shop(engine: Engine) -> Shop:
    return Shop(engine)


# --- with NATS ----------------------------------------------------------------------------------------------------
async def make_stream(server: NatsServer) -> None:
    client = await connect_once(server.url, "test")
    await client.jetstream().add_stream(streams.inventory())
    await client.close()


@contextlib.contextmanager
def serving(runner: asyncio.Runner, store: StoreServer, server: NatsServer, identity: Identity = LOCAL) -> Iterator[Shop]:
    """A shop behind a service whose events go to this NATS."""
    intake = JetStreamIntake()
    runner.run(intake.connect(server.url, "atp service"))
    engine = Engine(runner, store.url, identity=identity, intake=intake)
    yield Shop(engine)
    engine.close()
    runner.run(intake.close())


@pytest.fixture(scope="module")
def nats(runner: asyncio.Runner, nats_server: NatsServer) -> NatsServer:
    runner.run(make_stream(nats_server))
    return nats_server


@pytest.fixture(scope="module")
def fed_shop(runner: asyncio.Runner, valkey: StoreServer, nats: NatsServer) -> Iterator[Shop]:
    with serving(runner, valkey, nats) as shop:
        yield shop
