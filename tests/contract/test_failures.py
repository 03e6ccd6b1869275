"""What a caller is told when the service or its store is in trouble, and that it recovers by itself."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from atp.errors import StoreBusyError
from cli.embedded import StoreServer
from inventory.availability.v1 import reservation_service_pb2 as rp
from service import bounds, grpc_shell
from service.call import Identity, Scope
from service.methods import SERVICES
from tests.conftest import start_store
from tests.contract.conftest import NOT_SERVING, SERVING, Engine, Failure, Shop, await_health, health, told


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StoreServer]:
    """A store of this test's own, to be killed."""
    with start_store("valkey", tmp_path) as server:
        yield server


@pytest.fixture
def own(runner: asyncio.Runner, server: StoreServer) -> Iterator[Engine]:
    engine = Engine(runner, server.url)
    yield engine
    engine.close()


def reserve_request(shop: Shop, **fields: object) -> rp.ReserveRequest:
    return rp.ReserveRequest(**{"pool": shop.pool, "channel": "web", "lines": [{"sku": "A", "quantity": 1}], **fields})


def failure_of(engine: Engine, shop: Shop, **options: object) -> Failure:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        engine.call(engine.reservations.Reserve, reserve_request(shop), **options)
    return told(raised.value)


def until(engine: Engine, expected: int) -> None:
    engine.run(await_health(engine.channel, expected))


def test_a_store_that_is_away_is_said_to_be_and_comes_back_without_restart(own: Engine, server: StoreServer) -> None:
    shop = Shop(own)
    assert [own.run(health(own.channel, name)) for name in ("", *SERVICES)] == [SERVING] * (1 + len(SERVICES))
    server.kill()
    until(own, NOT_SERVING)
    failure = failure_of(own, shop)
    assert (failure.code, failure.reason, failure.metadata, failure.retry_ms) == (
        "UNAVAILABLE",
        "STORE_UNAVAILABLE",
        {"outcome_unknown": "false"},
        1_000,
    )
    server.start()
    until(own, SERVING)
    assert Shop(own).reserve(("A", 1)).reservation_id


def test_a_call_whose_answer_was_lost_is_told_that_it_may_have_been_done(own: Engine, server: StoreServer) -> None:
    shop = Shop(own)
    server.pause()

    async def killed_meanwhile() -> grpc.aio.AioRpcError:
        call = own.reservations.Reserve(reserve_request(shop), timeout=10)
        await asyncio.sleep(0.2)
        server.kill()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call
        return raised.value

    failure = told(own.runner.run(killed_meanwhile()))
    assert (failure.code, failure.reason, failure.metadata) == ("UNAVAILABLE", "STORE_UNAVAILABLE", {"outcome_unknown": "true"})


def test_a_store_that_hangs_runs_into_the_deadline_and_out_of_health(
    own: Engine, server: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(own)
    monkeypatch.setattr(bounds, "HEALTH_PROBE_TIMEOUT_S", 0.1)
    monkeypatch.setattr(grpc_shell, "_CALL_TIMEOUT_S", 0.2)
    server.pause()
    failure = failure_of(own, shop, timeout=None)
    assert (failure.code, failure.reason, failure.metadata) == ("DEADLINE_EXCEEDED", "CALL_TIMEOUT", {"outcome_unknown": "true"})
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        own.call(own.reservations.GetReservation, rp.GetReservationRequest(pool=shop.pool, reservation_id="r"), timeout=None)
    assert told(raised.value).metadata == {"outcome_unknown": "false"}  # a read leaves nothing in doubt
    until(own, NOT_SERVING)
    server.resume()
    until(own, SERVING)


def test_the_callers_own_deadline_ends_the_call(own: Engine, server: StoreServer) -> None:
    shop = Shop(own)
    server.pause()
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        own.call(own.reservations.Reserve, reserve_request(shop), timeout=0.2)
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    server.resume()


def test_a_pool_that_is_not_open_takes_no_writes_but_answers_reads(engine: Engine) -> None:
    shop = Shop(engine)
    held = shop.reserve(("A", 1), rid="r1")
    engine.run(engine.store._command("HSET", f"{{{shop.pool}}}:pool", "run", "another"))
    with shop.fails("UNAVAILABLE", "POOL_NOT_OPEN", pool=shop.pool) as failure:
        shop.confirm("r1")
    assert failure.retry_ms == 1_000
    assert shop.get("r1").revision == held.revision
    assert shop.available(("A", 1)).lines[0].available == 14


def test_a_ledger_that_is_not_passed_on_stops_new_holds_and_nothing_else(runner: asyncio.Runner, valkey: StoreServer) -> None:
    engine = Engine(runner, valkey.url, bounds={"LEDGER_BACKLOG_MAX": 8})
    shop = Shop(engine)
    while shop.reserve(("A", 1), rid=f"r{engine.now_ms}").revision < 8:
        shop.tick(1)
    with shop.fails("RESOURCE_EXHAUSTED", "LEDGER_BACKLOG", pool=shop.pool) as failure:
        shop.reserve(("A", 1))
    assert failure.retry_ms == 1_000
    first = f"r{engine.now_ms}"
    assert shop.reserve(("A", 1), rid=first).replayed  # what is done already is answered
    confirmed = shop.confirm(first)
    shop.fulfil(first)
    engine.run(engine.store.published(shop.pool, confirmed.revision))
    assert shop.reserve(("A", 1)).reservation_id
    engine.close()


def test_a_store_with_too_many_calls_in_flight(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(engine)

    async def busy(*_: object, **__: object) -> None:
        raise StoreBusyError("busy")

    monkeypatch.setattr(engine.store, "write", busy)
    failure = failure_of(engine, shop)
    assert (failure.code, failure.reason, failure.metadata, failure.retry_ms) == ("RESOURCE_EXHAUSTED", "STORE_BUSY", {}, 100)


def test_a_bug_is_logged_and_its_insides_are_not_told(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shop = Shop(engine)

    async def broken(*_: object, **__: object) -> None:
        raise KeyError("the secret of the house")

    monkeypatch.setattr(engine.store, "write", broken)
    with caplog.at_level(logging.ERROR):
        failure = failure_of(engine, shop, metadata=(("x-correlation-id", "checkout-7"),))
    assert (failure.code, failure.reason) == ("INTERNAL", "INTERNAL")
    assert failure.metadata == {"correlation": "checkout-7", "outcome_unknown": "true"}
    assert "secret" not in str(failure)
    assert "checkout-7" in caplog.text
    assert "the secret of the house" in caplog.text


@pytest.mark.parametrize("given", ["", "x" * 65, "two words"])
def test_a_call_without_a_usable_correlation_id_gets_one(engine: Engine, given: str) -> None:
    shop = Shop(engine)
    engine.call(engine.reservations.Reserve, reserve_request(shop), metadata=(("x-correlation-id", given),))
    assert shop.explain("A", "N1").entry.correlation not in {"", given}


def test_an_identity_without_the_scope_is_refused(runner: asyncio.Runner, valkey: StoreServer) -> None:
    window = Identity("window", frozenset({Scope.READ}))
    engine = Engine(runner, valkey.url, identity=window)
    shop = Shop(engine)
    assert shop.available(("A", 1)).lines[0].available == 15
    with shop.fails("PERMISSION_DENIED", "SCOPE_MISSING", scope="reserve"):
        shop.reserve(("A", 1))
    engine.close()
    till = Engine(runner, valkey.url, identity=Identity("till", frozenset({Scope.RESERVE})))
    shop = Shop(till)
    assert shop.reserve(("A", 1), rid="r1").reservation_id == "r1"
    with shop.fails("PERMISSION_DENIED", "SCOPE_MISSING", scope="read"):
        shop.get("r1")
    till.close()


def test_the_details_of_the_worst_request_fit_into_the_trailers(engine: Engine) -> None:
    shop = Shop(engine)
    names = [f"{number:03}" + "😀" * 61 for number in range(300)]
    with shop.fails("NOT_FOUND", "UNKNOWN_SKU", count="300", skus=" ".join(names[:10])):
        shop.reserve(*((name, 1) for name in names))
    with shop.fails("INVALID_ARGUMENT", "INVALID_REQUEST", count="900") as failure:
        shop.reserve(*[("", -(2**63))] * 450)
    assert failure.violations is not None
    assert len(failure.violations) == 20
