"""The client's retries, over a way that loses answers, a store that dies and services that come and go: done once, whatever happens."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from atp.errors import AtpError as StoreError
from atp.errors import StoreBusyError
from atp_client import AsyncAtpClient, AtpClient, InvalidRequestError, TimedOutError, UnavailableError
from cli.embedded import StoreServer
from tests.contract.conftest import Engine, Shop
from tests.contract.test_client import KINDS, calling


@pytest.fixture(params=KINDS, ids=["plain", "asyncio"])
def kind(request: pytest.FixtureRequest) -> type[AtpClient | AsyncAtpClient]:
    found: type[AtpClient | AsyncAtpClient] = request.param
    return found


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StoreServer]:
    """A store of this test's own that keeps what it acknowledged, to be killed."""
    with StoreServer(tmp_path) as server:
        yield server


@pytest.fixture
def own(runner: asyncio.Runner, server: StoreServer) -> Iterator[Engine]:
    engine = Engine(runner, server.url)
    yield engine
    engine.close()


class Way:
    """A way to the service: it can be shut, and it breaks when an answer with certain bytes passes. The request has got there then."""

    def __init__(self, address: str, losing: bytes, times: int) -> None:
        self._there = address.rpartition(":")
        self._losing = losing
        self._port = 0
        self._connections: set[asyncio.StreamWriter] = set()
        self.times = times
        self.lost = 0
        self.carried = 0  # answers, or pieces of them

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        self._server.close()
        for writer in self._connections:
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self._there
        there, out = await asyncio.open_connection(host, int(port))
        self._connections |= {writer, out}
        await asyncio.gather(self._carry(reader, out, b""), self._carry(there, writer, self._losing))
        self._connections -= {writer, out}

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, losing: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await source.read(65_536):
                if losing and losing in chunk and self.lost < self.times:
                    self.lost += 1
                    break
                self.carried += b"r1" in chunk
                sink.write(chunk)
                await sink.drain()
        sink.transport.abort()


@contextlib.contextmanager
def way_to(engine: Engine, losing: bytes = b"", times: int = 0) -> Iterator[Way]:
    way = Way(engine.address, losing, times)
    engine.run(way.open())
    yield way
    engine.run(way.shut())


# --- answers that are lost --------------------------------------------------------------------------------------------
def test_a_lost_answer_is_asked_for_again_and_the_hold_exists_once(
    kind: type[AtpClient | AsyncAtpClient], engine: Engine, shop: Shop
) -> None:
    with way_to(engine, b"lost-1", times=2) as way, calling(kind, engine, way.address, pool=shop.pool) as client:
        held = client.reserve({"A": 3}, reservation_id="lost-1", order_reference="o1")
    assert way.lost == 2
    assert held.replayed, "the first try had done it"
    assert [reservation.reservation_id for reservation in shop.list("o1").reservations] == ["lost-1"]
    assert shop.available(("A", 1)).lines[0].available == 12


def test_without_an_id_of_the_caller_it_is_done_once_too(kind: type[AtpClient | AsyncAtpClient], engine: Engine, shop: Shop) -> None:
    ids_of_the_client = b"-7"
    with way_to(engine, ids_of_the_client, times=1) as way, calling(kind, engine, way.address, pool=shop.pool) as client:
        held = client.reserve({"A": 3}, order_reference="o1")
    assert (way.lost, held.replayed) == (1, True)
    assert shop.available(("A", 1)).lines[0].available == 12


def test_every_verb_is_done_once(kind: type[AtpClient | AsyncAtpClient], engine: Engine, shop: Shop) -> None:
    with way_to(engine, b"life-1", times=0) as way, calling(kind, engine, way.address, pool=shop.pool) as client:
        client.reserve({"A": 5}, reservation_id="life-1")
        calls: list[Callable[[], Any]] = [
            lambda: client.extend("life-1", ttl_ms=3_600_000),
            lambda: client.release("life-1", {1: 1}),
            lambda: client.confirm("life-1"),
            lambda: client.fulfil("life-1", {1: 1}, shipment_id="s1"),
        ]
        for call in calls:
            way.times += 1
            assert call().replayed
    assert way.lost == len(calls)
    line = shop.get("life-1").reservation.lines[0]
    assert (line.released, line.shipped, line.open) == (1, 1, 3)


def test_an_end_that_stays_unknown_says_how_to_make_the_same_call_again(
    kind: type[AtpClient | AsyncAtpClient], engine: Engine, shop: Shop
) -> None:
    with (
        way_to(engine, b"-7", times=1_000_000) as way,
        calling(kind, engine, way.address, pool=shop.pool, timeout_s=1) as client,
        pytest.raises((UnavailableError, TimedOutError)) as raised,
    ):
        client.reserve({"A": 3})
    assert way.lost > 1
    assert raised.value.outcome_unknown
    assert f"send the same call again, with reservation_id='{raised.value.same_call['reservation_id']}'" in str(raised.value)
    with calling(kind, engine, engine.address, pool=shop.pool) as client:
        assert client.reserve({"A": 3}, **raised.value.same_call).replayed
    assert shop.available(("A", 1)).lines[0].available == 12


def test_an_unknown_end_is_not_forgotten_when_a_later_try_fails_otherwise(
    kind: type[AtpClient | AsyncAtpClient], engine: Engine, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, tries = engine.store.write, 0

    async def done_and_then_busy(*args: Any, **kwargs: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries > 1:
            raise StoreBusyError("busy")
        return await write(*args, **kwargs)

    monkeypatch.setattr(engine.store, "write", done_and_then_busy)
    with (
        way_to(engine, b"lost-2", times=1) as way,
        calling(kind, engine, way.address, pool=shop.pool, timeout_s=1) as client,
        pytest.raises(UnavailableError) as raised,
    ):
        client.reserve({"A": 3}, reservation_id="lost-2")
    assert tries > 2
    assert (raised.value.reason, raised.value.outcome_unknown) == ("STORE_BUSY", True)
    assert shop.get("lost-2").reservation.reservation_id == "lost-2"


# --- a store in trouble -----------------------------------------------------------------------------------------------
def test_a_store_killed_under_a_call_costs_the_caller_a_pause_and_nothing_else(
    kind: type[AtpClient | AsyncAtpClient], own: Engine, server: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(own)
    under_way = asyncio.Event()
    write = own.store.write

    def told_of(*args: Any, **kwargs: Any) -> Awaitable[Any]:
        under_way.set()
        return write(*args, **kwargs)

    monkeypatch.setattr(own.store, "write", told_of)

    async def killed_under(call: Awaitable[Any]) -> Any:
        waiting = asyncio.ensure_future(call)
        await under_way.wait()
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        await until_done(own.store.open, shop.pool, 1, 0)
        return await waiting

    with calling(kind, own, own.address, pool=shop.pool) as client:
        server.pause()
        held = own.run(killed_under(client.begin("reserve", {"A": 3}, order_reference="o1")))
    assert held
    assert [reservation.reservation_id for reservation in shop.list("o1").reservations] == [held.reservation_id]
    assert shop.available(("A", 1)).lines[0].available == 12


async def until_done(command: Callable[..., Awaitable[Any]], *args: Any) -> None:
    """Repeats a command of a store that is coming back."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(StoreError, OSError):
                await command(*args)
                return
            await asyncio.sleep(0.05)


def test_it_waits_as_long_as_the_service_asks_and_not_past_its_time(
    kind: type[AtpClient | AsyncAtpClient], engine: Engine, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries, write = 0, engine.store.write

    def counted(*args: Any, **kwargs: Any) -> Awaitable[Any]:
        nonlocal tries
        tries += 1
        return write(*args, **kwargs)

    engine.run(engine.store._command("HSET", f"{{{shop.pool}}}:pool", "run", "another"))
    monkeypatch.setattr(engine.store, "write", counted)
    with calling(kind, engine, engine.address, pool=shop.pool, timeout_s=0.9) as client, pytest.raises(UnavailableError) as raised:
        client.reserve({"A": 1})
    told = raised.value
    assert (told.reason, told.retry_after_s, told.outcome_unknown) == ("POOL_NOT_OPEN", 1.0, False)
    assert tries == 1, "a second one would have been too soon, or too late"


def test_a_store_that_hangs_ends_in_a_time_out_with_the_outcome_unknown(
    kind: type[AtpClient | AsyncAtpClient], own: Engine, server: StoreServer
) -> None:
    shop = Shop(own)
    server.pause()
    with calling(kind, own, own.address, pool=shop.pool, timeout_s=0.5) as client:
        with pytest.raises(TimedOutError) as raised:
            client.reserve({"A": 1}, reservation_id="r1")
        assert raised.value.same_call == {"reservation_id": "r1"}
        assert raised.value.outcome_unknown
        with pytest.raises(TimedOutError) as read:
            client.get("r1")
        assert not read.value.outcome_unknown
    server.resume()


def test_a_call_that_is_wrong_is_sent_once(
    kind: type[AtpClient | AsyncAtpClient], engine: Engine, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = noted(engine, monkeypatch)
    with calling(kind, engine, engine.address, pool=shop.pool) as client, pytest.raises(InvalidRequestError):
        client.release("r1", {0: 1})
    assert sent == []
    with calling(kind, engine, engine.address, pool=shop.pool, retry=False) as client, pytest.raises(UnavailableError):
        client.reserve({"A": 1})
    assert len(sent) == 1


def noted(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Makes the store busy, and notes what it was asked."""
    sent: list[object] = []

    async def busy(_: str, verb: object, **__: object) -> None:
        sent.append(verb)
        raise StoreBusyError("busy")

    monkeypatch.setattr(engine.store, "write", busy)
    return sent


# --- several services -------------------------------------------------------------------------------------------------
def test_services_go_and_come_in_turn_without_a_failed_call(kind: type[AtpClient | AsyncAtpClient], engine: Engine, shop: Shop) -> None:
    shop.reserve(("A", 1), rid="r1")
    with (
        way_to(engine) as first,
        way_to(engine) as second,
        calling(kind, engine, [first.address, second.address], pool=shop.pool) as client,
    ):
        for away in (first, second, first):
            engine.run(away.shut())
            for _ in range(5):
                assert client.get("r1").reservation_id == "r1"
            engine.run(away.open())


def test_calls_are_shared_among_the_services(kind: type[AtpClient | AsyncAtpClient], engine: Engine, shop: Shop) -> None:
    shop.reserve(("A", 1), rid="r1")
    with (
        way_to(engine) as first,
        way_to(engine) as second,
        calling(kind, engine, [first.address, second.address], pool=shop.pool) as client,
    ):
        for _ in range(200):  # the second connection may take a moment
            assert client.get("r1").reservation_id == "r1"
            if first.carried and second.carried:
                return
    pytest.fail("one of them got every call")
