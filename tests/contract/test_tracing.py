"""Spans of calls, as a collector of OpenTelemetry gets them over HTTP."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from atp.store import Store, Stores
from cli.config import ConfigurationError
from cli.config.sections import TraceSection
from cli.embedded import StoreServer
from cli.observe.tracing import SpanSender
from inventory.availability.v1 import reservation_service_pb2 as rp
from inventory.availability.v1.reservation_pb2 import Want
from service.observers import Observers
from tests.contract.conftest import Engine, Shop

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, NOT_SAMPLED = (("traceparent", f"00-{TRACE}-{PARENT}-{flag}") for flag in ("01", "00"))


class Collector:
    """Keeps every span it is sent."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        kept = self.requests

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                kept.append(ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}/v1/traces"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def spans(self) -> list[Span]:
        return [span for request in self.requests for of in request.resource_spans for scope in of.scope_spans for span in scope.spans]


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


class Traced:
    """An engine whose calls are traced; what is sent is known once it is closed."""

    def __init__(self, runner: asyncio.Runner, url: str, endpoint: str, ratio: float) -> None:
        section = TraceSection(endpoint=endpoint, ratio=ratio)
        self.engine = Engine(runner, url, observers=lambda stores: Observers(tracer=SpanSender.of(section, "service", stores)))
        self.shop = Shop(self.engine)

    def reserve(self, units: int, *metadata: tuple[str, str], pool: str = "") -> None:
        request = rp.ReserveRequest(pool=pool or self.shop.pool, channel="web", lines=[Want(sku="A", quantity=units)])
        try:
            self.engine.call(self.engine.reservations.Reserve, request, metadata=metadata)
        except grpc.aio.AioRpcError:
            assert pool

    def send(self) -> None:
        tracer = self.engine.observers.tracer
        assert isinstance(tracer, SpanSender)
        tracer.close()

    def close(self) -> None:
        self.send()
        self.engine.close()


def attributes(span: Span) -> dict[str, str]:
    return {pair.key: pair.value.string_value for pair in span.attributes}


def test_a_call_is_a_span_of_its_caller_with_the_round_trip_under_it(
    runner: asyncio.Runner, valkey: StoreServer, collector: Collector
) -> None:
    traced = Traced(runner, valkey.url, collector.endpoint, ratio=0)
    traced.reserve(1, SAMPLED, ("x-correlation-id", "C-1"))
    traced.close()
    store, call = collector.spans
    assert call.name == "inventory.availability.v1.ReservationService/Reserve"
    assert (call.trace_id.hex(), call.parent_span_id.hex()) == (TRACE, PARENT)
    assert call.kind == Span.SPAN_KIND_SERVER
    told = attributes(call)
    assert told.pop("atp.peer").startswith("ipv")
    assert told == {
        "atp.outcome": "OK",
        "atp.pool": traced.shop.pool,
        "atp.client": "local",
        "atp.correlation": "C-1",
        "atp.method": "Reserve",
    }
    assert (store.name, store.parent_span_id, store.trace_id) == ("store reserve", call.span_id, call.trace_id)
    assert call.start_time_unix_nano <= store.start_time_unix_nano < store.end_time_unix_nano <= call.end_time_unix_nano
    (resource,) = {
        pair.value.string_value for pair in collector.requests[0].resource_spans[0].resource.attributes if pair.key == "service.name"
    }
    assert resource == "atp-service"


def test_the_caller_decides_and_else_the_ratio(runner: asyncio.Runner, valkey: StoreServer, collector: Collector) -> None:
    always = Traced(runner, valkey.url, collector.endpoint, ratio=1)
    always.reserve(1, NOT_SAMPLED)
    always.reserve(2)
    always.reserve(3, ("traceparent", "no such thing"))
    always.close()
    assert [span.name for span in collector.spans].count("inventory.availability.v1.ReservationService/Reserve") == 2
    collector.requests.clear()
    never = Traced(runner, valkey.url, collector.endpoint, ratio=0)
    never.reserve(1)
    never.close()
    assert collector.spans == []


def test_faults_of_ours_are_errors_and_refusals_are_not(runner: asyncio.Runner, valkey: StoreServer, collector: Collector) -> None:
    traced = Traced(runner, valkey.url, collector.endpoint, ratio=1)
    traced.reserve(1_000)
    traced.reserve(1, pool="nobody")
    traced.engine.run(traced.engine.store.close())
    traced.reserve(1, pool=traced.shop.pool)
    traced.close()
    calls = [span for span in collector.spans if span.kind == Span.SPAN_KIND_SERVER]
    assert [(attributes(span)["atp.outcome"], span.status.code == Status.STATUS_CODE_ERROR) for span in calls] == [
        ("INSUFFICIENT_STOCK", False),
        ("UNKNOWN_POOL", False),
        ("STORE_UNAVAILABLE", True),
    ]


def test_without_an_endpoint_nothing_is_traced(runner: asyncio.Runner) -> None:
    async def off() -> None:
        stores = Stores(Store("redis://127.0.0.1:1"))
        assert SpanSender.of(TraceSection(), "service", stores) is None
        assert [store.observed.listener for store in stores] == [None]
        await stores.close()

    runner.run(off())


def test_without_the_packages_it_is_a_mistake_in_the_configuration(runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)

    async def ask() -> None:
        stores = Stores(Store("redis://127.0.0.1:1"))
        try:
            SpanSender.of(TraceSection(endpoint="http://127.0.0.1:1/v1/traces"), "service", stores)
        finally:
            await stores.close()

    with pytest.raises(ConfigurationError, match=r"pip install 'atp-promise-engine\[trace\]'"):
        runner.run(ask())


def test_a_collector_that_is_away_keeps_nobody_from_ending(runner: asyncio.Runner, valkey: StoreServer) -> None:
    traced = Traced(runner, valkey.url, "http://127.0.0.1:1/v1/traces", ratio=1)
    traced.reserve(1)
    ending = threading.Thread(target=traced.send)
    ending.start()
    ending.join(20)
    assert not ending.is_alive()
    traced.engine.close()
