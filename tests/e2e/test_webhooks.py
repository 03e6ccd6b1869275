"""Webhooks over real sockets and a real NATS: yes means that it is in the stream, and every no says what the sender can do."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from atp import events, limits
from atp.canonical import ContentError
from atp.exceptions import PublishedException
from atp.intake import Taken
from atp.model.status import ExceptionReason
from atp.store import Stores
from cli.embedded import NatsServer, free_port
from consumers import bootstrap, exceptions, feeds, streams
from consumers.connection import connect_once
from consumers.feeds import Adapter, FeedSettings
from consumers.intake import JetStreamIntake
from consumers.ways_in import WaysIn
from tests.e2e.consuming import DEADLINE_S, until
from tests.e2e.reading import in_stream

SECRET = "geheim"
WMS = FeedSettings(name="wms", adapter="csv", pool="main", source="wms", nodes={"1000": "DC1"}, secret=SECRET)
SHOP = FeedSettings(name="shop", adapter="shopify", pool="main", source="shop", nodes={"7": "DC1"}, secret=SECRET)
UNSIGNED = FeedSettings(name="drop", adapter="csv", pool="main", source="erp", nodes={})
HEAD = "type,id,time,node,sequence,sku,quantity\n"


class Answer(NamedTuple):
    status: int
    text: str
    retry: str | None


class Receiver:
    """The role, running beside the test."""

    def __init__(self, server: NatsServer, port: int, metrics: CollectorRegistry, stop: asyncio.Event) -> None:
        self.server = server
        self.port = port
        self.stop = stop
        self.metrics = metrics

    async def send(self, body: bytes, path: str = "/wms", method: str = "POST", **headers: str) -> Answer:
        def ask() -> Answer:
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)) as connection:
                connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
                response = connection.getresponse()
                return Answer(response.status, response.read().decode(), response.headers["Retry-After"])

        return await asyncio.to_thread(ask)

    async def deliver(self, *lines: str, secret: str = SECRET, age_s: int = 0) -> Answer:
        """Signed as the engine's own formats are."""
        body = (HEAD + "".join(f"{line}\n" for line in lines)).encode()
        when = str(int(time.time()) - age_s)
        mark = hmac.new(secret.encode(), f"{when}.".encode() + body, hashlib.sha256).hexdigest()
        return await self.send(body, X_Atp_Signature=f"t={when},v1={mark}")

    async def taken(self) -> list[events.Event]:
        return await in_stream(self.server, "main")

    async def exceptions(self) -> list[PublishedException]:
        client = await connect_once(self.server.url, "test")
        try:
            return await exceptions.list_exceptions(client.jetstream(), pool="main")
        finally:
            await client.close()

    def counted(self, **labels: str) -> float:
        return self.metrics.get_sample_value("atp_incoming_messages_total", labels) or 0


def line(name: str, quantity: object = 1) -> str:
    return f"receipt,{name},2026-01-02T03:04:05Z,1000,1,TEA,{quantity}"


@contextlib.asynccontextmanager
async def receiving(server: NatsServer) -> AsyncIterator[Receiver]:
    client = await connect_once(server.url, "test")
    for stream in (streams.inventory(), streams.exceptions()):
        await client.jetstream().add_stream(stream)
    await client.close()
    port, metrics, stop = free_port(), CollectorRegistry(), asyncio.Event()
    ways = WaysIn((WMS, SHOP, UNSIGNED), ("127.0.0.1", port))
    work = asyncio.create_task(bootstrap.consume("webhooks", Stores(), server.url, stop=stop, metrics=metrics, ways=ways))
    receiver = Receiver(server, port, metrics, stop)

    async def listens() -> bool:
        return (await receiver.send(b"", "/", "GET")).status == 404

    try:
        await until(listens, "it listens")
        yield receiver
    finally:
        stop.set()
        await asyncio.wait_for(work, DEADLINE_S)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with NatsServer(tmp_path, sync_interval="10s") as server:
        yield server


def run(server: NatsServer, scenario: Callable[[Receiver], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with receiving(server) as receiver:
            await scenario(receiver)

    asyncio.run(whole())


# --- signatures ---------------------------------------------------------------------------------------------------
def test_a_signed_message_is_answered_once_it_is_in_the_stream(server: NatsServer) -> None:
    async def scenario(receiver: Receiver) -> None:
        assert await receiver.deliver(line("e1"), line("e2")) == (200, "2 taken\n", None)
        assert [(one.id, one.source, one.data.node) for one in await receiver.taken()] == [("e1", "wms", "DC1"), ("e2", "wms", "DC1")]  # type: ignore[union-attr]  # receipts
        assert receiver.counted(feed="wms", outcome="taken") == 1

    run(server, scenario)


def test_what_is_not_signed_as_it_should_be_is_not_read(server: NatsServer) -> None:
    async def scenario(receiver: Receiver) -> None:
        for answer in (
            await receiver.deliver(line("e1"), secret="guessed"),
            await receiver.deliver(line("e1"), age_s=limits.WEBHOOK_SIGNATURE_AGE_S_MAX + 10),
            await receiver.send(f"{HEAD}{line('e1')}\n".encode()),
            await receiver.send(b"{}", "/shop", X_Shopify_Hmac_Sha256="AAAA"),
        ):
            assert answer == (401, "the signature is missing, wrong or too old\n", None)
        assert await receiver.taken() == []
        assert await receiver.exceptions() == []
        assert receiver.counted(feed="wms", outcome="unsigned") == 3

    run(server, scenario)


def test_a_format_with_a_signature_of_its_own_is_checked_by_that(server: NatsServer) -> None:
    level = {"inventory_item_id": 1, "location_id": 7, "available": 5, "updated_at": "2026-01-02T03:04:05Z"}
    body = json.dumps(level).encode()
    mark = base64.b64encode(hmac.new(SECRET.encode(), body, hashlib.sha256).digest()).decode()

    async def scenario(receiver: Receiver) -> None:
        assert (await receiver.send(body, "/shop", X_Shopify_Hmac_Sha256=mark)).status == 200
        (snapshot,) = await receiver.taken()
        assert isinstance(snapshot, events.Snapshot)
        assert [(one.alias, one.on_hand) for one in snapshot.data.lines] == [("shopify:1", 5)]

    run(server, scenario)


# --- content ------------------------------------------------------------------------------------------------------
def test_a_delivery_that_comes_twice_is_the_same_event(server: NatsServer) -> None:
    async def scenario(receiver: Receiver) -> None:
        for _ in range(2):
            assert (await receiver.deliver(line("e1"))).status == 200
        first, again = await receiver.taken()
        assert first == again

    run(server, scenario)


def test_what_cannot_be_read_is_told_to_the_sender_and_to_a_person_and_the_rest_is_taken(server: NatsServer) -> None:
    async def scenario(receiver: Receiver) -> None:
        for _ in range(2):  # the sender sends it again: that is the same exception
            answer = await receiver.deliver(line("e1"), line("e2", "many"), line("e3"))
            assert answer.status == 400
            assert answer.text.startswith("1 not read, 2 taken\nline 3: quantity: 'many' is not")
        assert [one.id for one in await receiver.taken()] == ["e1", "e3"] * 2
        (exception,) = await receiver.exceptions()
        assert (exception.reason, exception.source, exception.pool, exception.state) == ("MALFORMED", "wms", "main", "open")
        assert exception.sentence.startswith("A message from wms cannot be read: a webhook, line 3: quantity: 'many' is not")
        assert exception.original == line("e2", "many")
        assert receiver.counted(feed="wms", outcome="mistakes") == 2

    run(server, scenario)


def test_an_adapter_that_fails_is_our_fault_and_a_person_sees_the_message(server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Iterator[events.Event]:
        yield from map(msgspec.json.decode, [b"a bug"])

    monkeypatch.setitem(feeds.ADAPTERS, "csv", Adapter("csv", fail))

    async def scenario(receiver: Receiver) -> None:
        assert (await receiver.deliver(line("e1"))).status == 500
        (exception,) = await receiver.exceptions()
        assert exception.reason == ExceptionReason.INTERNAL
        assert exception.original == f"{HEAD}{line('e1')}\n"
        assert receiver.counted(feed="wms", outcome="fault") == 1

    run(server, scenario)


def test_an_event_too_large_for_the_stream_is_a_mistake(server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_pool: str, event: events.Event) -> None:
        raise ContentError(ExceptionReason.TOO_LARGE, "it is too large.", event)

    monkeypatch.setattr("atp.intake.pack", refuse)

    async def scenario(receiver: Receiver) -> None:
        answer = await receiver.deliver(line("e1"))
        assert (answer.status, answer.text) == (400, "1 not read, 0 taken\nevent e1: it is too large.\n")
        (exception,) = await receiver.exceptions()
        assert (exception.reason, exception.cause, exception.node) == ("TOO_LARGE", "e1", "DC1")

    run(server, scenario)


# --- without NATS -------------------------------------------------------------------------------------------------
def test_while_jetstream_is_away_the_sender_is_asked_to_send_again(server: NatsServer) -> None:
    async def scenario(receiver: Receiver) -> None:
        assert (await receiver.deliver(line("e1"))).status == 200
        server.kill()
        answer = await receiver.deliver(line("e2"))
        assert (answer.status, answer.retry) == (503, "5")
        bad = await receiver.deliver(line("e3", "many"))
        assert bad.status == 503, "its exception could not be published"
        server.start()

        async def taken() -> bool:
            return (await receiver.deliver(line("e2"))).status == 200

        await until(taken, "it is taken again")
        assert [one.id for one in await receiver.taken()] == ["e1", "e2"]
        assert receiver.counted(feed="wms", outcome="away") >= 2

    run(server, scenario)


def test_a_message_in_hand_is_answered_before_the_process_ends(server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(receiver: Receiver) -> None:
        in_hand = asyncio.Event()
        take = JetStreamIntake.take

        async def told(intake: JetStreamIntake, pool: str, event: events.Event) -> Taken:
            in_hand.set()
            return await take(intake, pool, event)

        monkeypatch.setattr(JetStreamIntake, "take", told)
        server.pause()
        asking = asyncio.create_task(receiver.deliver(line("e1")))
        await in_hand.wait()
        receiver.stop.set()
        server.resume()
        assert (await asking).status == 200

    run(server, scenario)


# --- HTTP ---------------------------------------------------------------------------------------------------------
def test_other_paths_and_methods_are_refused_by_name(server: NatsServer) -> None:
    async def scenario(receiver: Receiver) -> None:
        for path in ("/", "/nothing", "/drop", "/wms/more"):  # a feed without a secret takes no webhooks
            assert (await receiver.send(b"", path)).status == 404
        assert (await receiver.send(b"", method="GET")).status == 405

    run(server, scenario)


async def raw(receiver: Receiver, *pieces: bytes) -> bytes:
    """Sends bytes as they are, and reads all that is answered until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
    try:
        for piece in pieces:
            writer.write(piece)
        await writer.drain()
        return await asyncio.wait_for(reader.read(), DEADLINE_S)
    finally:
        writer.close()


def test_a_body_over_the_bound_is_refused_however_it_is_announced(server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FEED_BODY_BYTES_MAX", 1_000)

    async def scenario(receiver: Receiver) -> None:
        head = b"POST /wms HTTP/1.1\r\nHost: x\r\n"
        announced = await raw(receiver, head + b"Content-Length: 1001\r\n\r\n")
        chunked = await raw(receiver, head + b"Transfer-Encoding: chunked\r\n\r\n", b"3e9\r\n" + b"x" * 1001 + b"\r\n")
        for answer in (announced, chunked):
            assert answer.startswith(b"HTTP/1.1 413 ")
            assert b"at most 1000 bytes: send it in parts" in answer

    run(server, scenario)


def test_who_does_not_speak_http_or_stops_speaking_is_not_waited_for(server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(receiver: Receiver) -> None:
        assert (await raw(receiver, b"hello\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
        assert (await raw(receiver, b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000)).startswith(b"HTTP/1.1 431 ")
        monkeypatch.setattr(limits, "WEBHOOK_REQUEST_S_MAX", 0.2)
        assert (await raw(receiver, b"POST /wms HTTP/1.1\r\nHost: x\r\nContent-Le")).startswith(b"HTTP/1.1 408 ")
        assert (await raw(receiver, b"POST /wms HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")).startswith(b"HTTP/1.1 408 ")
        assert await raw(receiver) == b""

    run(server, scenario)


def test_who_does_not_read_the_answers_does_not_keep_the_connection(server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(receiver: Receiver) -> None:
        monkeypatch.setattr(limits, "WEBHOOK_REQUEST_S_MAX", 0.2)
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            deaf.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(deaf, ("127.0.0.1", receiver.port))
            with pytest.raises(ConnectionError):
                await asyncio.wait_for(loop.sock_sendall(deaf, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 1_000_000), DEADLINE_S)

    run(server, scenario)


def test_a_connection_can_be_used_again_and_a_sender_can_wait_to_be_asked_for_its_body(server: NatsServer) -> None:
    async def scenario(receiver: Receiver) -> None:
        once = b"POST /wms HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        waits = b"POST /wms HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
        writer.write(once + once + waits)
        said = await reader.readuntil(b"100 \r\n\r\n")
        assert said.count(b"HTTP/1.1 401 ") == 2
        writer.write(b"{}")
        assert (await reader.read()).startswith(b"HTTP/1.1 401 ")
        writer.close()

    run(server, scenario)


def test_connections_beyond_the_bound_are_closed_and_the_others_go_on(server: NatsServer) -> None:
    async def scenario(receiver: Receiver) -> None:
        idle = [await asyncio.open_connection("127.0.0.1", receiver.port) for _ in range(limits.WEBHOOK_CONNECTIONS_MAX)]

        async def is_turned_away() -> bool:
            try:
                await receiver.send(b"")
            except (ConnectionError, http.client.HTTPException):
                return True
            return False

        await until(is_turned_away, "there is no place")
        for _, writer in idle:
            writer.close()

        async def is_heard() -> bool:
            with contextlib.suppress(ConnectionError, http.client.HTTPException):
                return (await receiver.deliver(line("e1"))).status == 200
            return False

        await until(is_heard, "there is a place again")

    run(server, scenario)
