"""A call by its correlation id: in its answer, in the ledger, and in every line of the log."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from cli.embedded import StoreServer
from cli.observe import logs
from inventory.availability.v1 import reservation_service_pb2 as rp
from inventory.availability.v1.reservation_pb2 import Want
from tests.conftest import start_store
from tests.contract.conftest import Engine, Shop, until

KEY = "x-correlation-id"


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


class Log:
    """What the service writes, in JSON."""

    def __init__(self) -> None:
        self._text = io.StringIO()
        self.flood = logs.Flood()
        self.handler = logs.writer("json", self._text, self.flood)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._text.getvalue().splitlines()]


@pytest.fixture
def log() -> Iterator[Log]:
    log = Log()
    loggers = [logging.getLogger(name) for name in ("service", "cli")]
    for logger in loggers:
        logger.addHandler(log.handler)
    yield log
    for logger in loggers:
        logger.removeHandler(log.handler)
        logger.setLevel(logging.NOTSET)


def reserve_request(shop: Shop, units: int = 1, sku: str = "A") -> rp.ReserveRequest:
    return rp.ReserveRequest(pool=shop.pool, channel="web", lines=[Want(sku=sku, quantity=units)])


def answered(engine: Engine, request: rp.ReserveRequest, *sent: tuple[str, str]) -> str:
    """The correlation id that the answer, or the error, carries."""

    async def call() -> Any:
        call = engine.reservations.Reserve(request, metadata=sent, timeout=10)
        try:
            await call
        except grpc.aio.AioRpcError as error:
            return error.trailing_metadata()
        return await call.trailing_metadata()

    (found,) = [value for key, value in engine.run(call()) if key == KEY]
    return str(found)


# --- answers ------------------------------------------------------------------------------------------------------------
def test_answers_refusals_and_errors_carry_the_callers_id(shop: Shop) -> None:
    sent = (KEY, "checkout-81f3")
    for request in (reserve_request(shop), reserve_request(shop, 1_000), reserve_request(shop, 0), rp.ReserveRequest(pool="none")):
        assert answered(shop.engine, request, sent) == "checkout-81f3"


def test_a_call_without_an_id_is_given_one_and_told_it(shop: Shop) -> None:
    made = [answered(shop.engine, request) for request in (reserve_request(shop), reserve_request(shop), reserve_request(shop, 0))]
    assert len(set(made)) == 3
    assert all(made)


def test_what_is_no_id_is_not_sent_back(shop: Shop) -> None:
    for wrong in ("", "with a space", "x" * 65):
        assert answered(shop.engine, reserve_request(shop), (KEY, wrong)) not in {"", wrong}


def test_the_ledger_keeps_the_id_of_the_answer(shop: Shop) -> None:
    engine = shop.engine
    made = answered(engine, reserve_request(shop))
    assert engine.run(engine.store.explain(shop.pool, "A", "N1")).entry.correlation == made


# --- lines --------------------------------------------------------------------------------------------------------------
def test_debug_tells_every_call_with_its_outcome_and_time(shop: Shop, log: Log) -> None:
    logging.getLogger("service").setLevel(logging.DEBUG)
    answered(shop.engine, reserve_request(shop), (KEY, "C-1"))
    answered(shop.engine, reserve_request(shop, 1_000), (KEY, "C-2"))
    answered(shop.engine, reserve_request(shop, sku="no such"), (KEY, "C-3"))
    shop.engine.run(until(lambda: len(log.lines()) == 3, "all three are told"))
    told = [(line["correlation"], line["outcome"], line["method"], line["client"], line["pool"]) for line in log.lines()]
    assert told == [
        ("C-1", "OK", "Reserve", "local", shop.pool),
        ("C-2", "INSUFFICIENT_STOCK", "Reserve", "local", shop.pool),
        ("C-3", "INVALID_REQUEST", "Reserve", "local", shop.pool),
    ]
    assert all(line["seconds"] > 0 and line["peer"].startswith("ipv") for line in log.lines())


def test_what_is_wrong_with_a_call_is_no_line_at_info(shop: Shop, log: Log) -> None:
    logging.getLogger("service").setLevel(logging.INFO)
    answered(shop.engine, reserve_request(shop))
    answered(shop.engine, reserve_request(shop, sku="no such"))
    assert log.lines() == []


def test_whatever_module_writes_while_a_call_is_handled_its_lines_carry_the_call(
    shop: Shop, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = shop.engine.store.write

    async def telling(pool: str, request: Any, **options: Any) -> Any:
        await asyncio.sleep(0)
        logging.getLogger("service.elsewhere").warning("deep inside")
        return await write(pool, request, **options)

    monkeypatch.setattr(shop.engine.store, "write", telling)
    answered(shop.engine, reserve_request(shop), (KEY, "C-deep"))
    logging.getLogger("service.elsewhere").warning("outside")
    inside, outside = log.lines()
    assert (inside["message"], inside["correlation"], inside["pool"]) == ("deep inside", "C-deep", shop.pool)
    assert "correlation" not in outside


def test_a_bug_is_an_error_with_its_traceback_and_the_call(shop: Shop, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_args: Any, **_options: Any) -> Any:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(shop.engine.store, "write", broken)
    answered(shop.engine, reserve_request(shop), (KEY, "C-bug"))
    (line,) = log.lines()
    assert (line["level"], line["correlation"], line["outcome"]) == ("ERROR", "C-bug", "INTERNAL")
    assert line["exception"].endswith("ZeroDivisionError: a bug")


def test_an_outage_is_told_in_a_few_lines(own: Engine, server: StoreServer, log: Log) -> None:
    shop = Shop(own)
    server.kill()

    async def fail_many() -> int:
        calls = [own.reservations.Reserve(reserve_request(shop), timeout=10) for _ in range(300)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        return sum(isinstance(outcome, grpc.aio.AioRpcError) for outcome in outcomes)

    assert own.run(fail_many()) == 300
    log.flood.tell(all_of_them=True)
    lines = [line for line in log.lines() if line.get("outcome") == "STORE_UNAVAILABLE"]
    written = [line for line in lines if "left_out" not in line]
    assert len(written) + sum(line["left_out"] for line in lines if "left_out" in line) == 300
    assert len(lines) < 100, "a line of each call is a flood"
    assert {line["level"] for line in lines} == {"WARNING"}
    assert len({line["correlation"] for line in written}) == len(written)
