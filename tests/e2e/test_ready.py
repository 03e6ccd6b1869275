"""`/ready`, `/live`, the log and the end of the processes, as whoever runs them meets them."""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from atp.model.verbs import ChannelConfig, Context, ItemLine, NodeConfig, Provision, Register, SourceConfig
from atp.store import Store
from cli.embedded import NatsServer, StoreServer, free_port
from inventory.availability.v1 import reservation_pb2 as types
from inventory.availability.v1 import reservation_service_pb2 as rp
from inventory.availability.v1.reservation_service_pb2_grpc import ReservationServiceStub
from tests.conftest import start_store
from tests.e2e.test_up import ATP, READY_S, environment, eventually

READY = (200, "yes\n")


class Running:
    """One command with its metrics on a port of its own, and what it has said."""

    def __init__(self, *command: str, **variables: str) -> None:
        self.page = f"127.0.0.1:{free_port()}"
        self.process = subprocess.Popen(
            [*ATP, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**environment(), "ATP_METRICS_LISTEN": self.page, "ATP_LOG_FORMAT": "json", **variables},
        )
        self.said = ""
        self.lines: list[dict[str, Any]] = []
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read_said, self._read_log)]
        for reader in self._readers:
            reader.start()

    def _read_said(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(json.loads(line))

    def get(self, path: str) -> tuple[int, str]:
        """Status and text; 0 while nobody listens."""
        with contextlib.closing(http.client.HTTPConnection(self.page, timeout=10)) as connection:
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
            except OSError as error:
                return 0, str(error)

    def until_ready_is(self, expected: tuple[int, str]) -> None:
        eventually(lambda: self.get("/ready") == expected, f"/ready is never {expected}, but {self.get('/ready')}")

    @property
    def address(self) -> str:
        """Where the service listens."""
        eventually(lambda: "serving on " in self.said, "it never serves")
        return self.said.rpartition(" ")[2].strip()

    def ends(self) -> int:
        return self.process.wait(READY_S)

    def close(self) -> None:
        self.process.kill()
        for reader in self._readers:
            reader.join(READY_S)
        with self.process:
            pass


@contextlib.contextmanager
def running(*command: str, **variables: str) -> Iterator[Running]:
    process = Running(*command, **variables)
    try:
        yield process
    finally:
        process.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StoreServer]:
    """A store of this test's own, to be killed."""
    with start_store("valkey", tmp_path) as server:
        yield server


async def _sell(url: str) -> None:
    store = await Store.connect(url)
    nodes, context = [NodeConfig("N1", "store", "Europe/Berlin", "wms")], Context("test")
    await store.open("main", 0, 0)
    await store.write("main", Provision(context, nodes, [ChannelConfig("web", ["N1"])], [SourceConfig("erp", True)]))
    await store.write("main", Register(context, "items", "erp", 1, 1, [ItemLine("A", 0)]))
    await store.close()


@contextlib.contextmanager
def call_in_flight(address: str, server: StoreServer) -> Iterator[Any]:
    """A reserve that waits for a store that has stopped to answer."""
    asyncio.run(_sell(server.url))
    with grpc.insecure_channel(address) as channel:
        stub = ReservationServiceStub(channel)
        stub.Reserve(rp.ReserveRequest(pool="main", channel="web", lines=[types.Want(sku="A", quantity=1)]), timeout=10)
        server.pause()
        try:
            yield stub.Reserve.future(rp.ReserveRequest(pool="main", channel="web", lines=[types.Want(sku="A", quantity=1)]), timeout=30)
        finally:
            server.resume()


def test_who_cannot_speak_tls_writes_nothing_into_the_log_of_the_service(server: StoreServer, tmp_path: Path) -> None:
    certificate = trustme.CA().issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    tls = {f"ATP_SERVICE_{name}_FILE": str(tmp_path / "both.pem") for name in ("CERTIFICATE", "KEY")}
    with subprocess.Popen(
        [*ATP, "serve", "--store-url", server.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment(), "ATP_LOG_FORMAT": "json", **tls},
    ) as service:
        assert service.stdout is not None
        host, _, port = service.stdout.readline().rpartition(" ")[2].strip().rpartition(":")
        with socket.create_connection((host, int(port))) as caller:
            caller.sendall(b"GET / HTTP/1.1\r\n\r\n")
            while caller.recv(4096):
                pass
        service.terminate()
        _, log = service.communicate(timeout=READY_S)
    assert [line for line in log.splitlines() if not line.startswith("{")] == []


def in_flight(process: Running) -> bool:
    return 'atp_calls_in_flight{method="Reserve"} 1.0' in process.get("/metrics")[1]


def test_a_service_is_ready_while_its_store_answers_and_alive_all_the_time(server: StoreServer) -> None:
    with running("serve", "--store-url", server.url) as service:
        service.until_ready_is(READY)
        server.kill()
        service.until_ready_is((503, "no: no store answers\n"))
        assert service.get("/live") == READY
        server.start()
        service.until_ready_is(READY)
        eventually(lambda: "\natp_ready 1.0\n" in service.get("/metrics")[1], "the metrics never say that it is ready")
        service.process.terminate()
        assert service.ends() == 0
        assert {"no store answers", "a store answers"} <= {line["message"] for line in service.lines}


def test_a_service_that_is_asked_to_stop_says_so_first_and_finishes_what_it_has(server: StoreServer) -> None:
    with running("serve", "--store-url", server.url) as service, call_in_flight(service.address, server) as call:
        eventually(lambda: in_flight(service), "the call never arrives")
        service.process.terminate()
        service.until_ready_is((503, "no: it is stopping: calls under way are finished, new ones should go elsewhere\n"))
        assert not call.done()
        server.resume()
        assert call.result().outcome == types.OUTCOME_INSUFFICIENT_STOCK
        assert service.ends() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(server: StoreServer, number: signal.Signals) -> None:
    with running("serve", "--store-url", server.url) as service, call_in_flight(service.address, server) as call:
        eventually(lambda: in_flight(service), "the call never arrives")
        service.process.send_signal(number)
        eventually(lambda: "it is stopping" in service.get("/ready")[1], "it never stops")
        service.process.send_signal(number)
        assert service.ends() != 0
        assert not call.done() or isinstance(call.exception(), grpc.RpcError)


def test_consumers_are_ready_while_nats_and_a_store_can_be_reached(server: StoreServer, tmp_path: Path) -> None:
    with (
        NatsServer(tmp_path / "nats", sync_interval="10s") as nats,
        running("consume", "relay", "--store-url", server.url, "--nats-url", nats.url) as consumers,
    ):
        consumers.until_ready_is(READY)
        assert "atp_nats_connected 1.0" in consumers.get("/metrics")[1]
        nats.kill()
        consumers.until_ready_is((503, "no: NATS is away\n"))
        nats.start()
        consumers.until_ready_is(READY)
        server.kill()
        consumers.until_ready_is((503, "no: no store can be reached\n"))
        assert consumers.get("/live") == READY


def test_consumers_give_way_to_who_shares_their_machine(server: StoreServer, tmp_path: Path) -> None:
    with (
        NatsServer(tmp_path / "nats", sync_interval="10s") as nats,
        running("consume", "feeds", "--store-url", server.url, "--nats-url", nats.url) as consumers,
    ):
        consumers.until_ready_is(READY)
        assert os.getpriority(os.PRIO_PROCESS, consumers.process.pid) > os.getpriority(os.PRIO_PROCESS, server.pid)


def test_an_address_that_is_taken_ends_it_with_one_line(server: StoreServer) -> None:
    with running("serve", "--store-url", server.url) as first:
        first.until_ready_is(READY)
        taken = first.page
        again = subprocess.run(
            [*ATP, "serve", "--store-url", server.url],
            env={**environment(), "ATP_METRICS_LISTEN": taken},
            capture_output=True,
            text=True,
            timeout=READY_S,
            check=False,
        )
    assert again.returncode == 2
    assert again.stderr.splitlines() == [
        f"atp: metrics.listen: cannot listen on {taken}: Address already in use; every process needs an address of its own"
    ]
