"""Drift on real servers: an ERP's books beside the stock of a warehouse, seen, told, put right with a reason, and over."""

import asyncio
import csv
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from atp import requests
from atp.model.status import ExceptionReason
from atp.model.verbs import RepairLine
from atp.store import Store, Stores
from cli.embedded import NatsServer, StoreServer
from consumers import bootstrap
from consumers.drift_role import DriftSettings
from tests.e2e import commands
from tests.e2e.commands import Ran
from tests.e2e.consuming import CONTEXT, DEADLINE_S, Engine, consuming, engine, envelope, quick_store, receipt, shows, stock, until

AT_ERP = {"node": "N1", "source": "erp"}
EXCEPTION = "drift:N1:erp"
REASON = "counted on the floor by two people"


@pytest.fixture(scope="module")
def store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with quick_store(tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("nats"), sync_interval="10s") as server:
        yield server


@asynccontextmanager
async def watching(made: Engine, store_server: StoreServer, nats_server: NatsServer) -> AsyncIterator[None]:
    """The role `drift`, which begins anew as soon as it has ended."""
    stop = asyncio.Event()
    made.metrics.append(CollectorRegistry())
    work = asyncio.create_task(
        bootstrap.consume(
            "drift",
            Stores(Store(store_server.url)),
            nats_server.url,
            stop=stop,
            metrics=made.metrics[-1],
            drift=DriftSettings(every_minutes=0.001),
        )
    )
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(work, DEADLINE_S)


async def books(made: Engine, sequence: int, as_of: datetime, **on_hand: int) -> None:
    """The ERP tells what its books have at N1."""
    lines = [{"sku": sku, "on_hand": units} for sku, units in on_hand.items()]
    data = {"node": "N1", "sequence": sequence, "as_of": as_of.isoformat(), "lines": lines}
    await made.send(envelope("snapshot", "erp", data))


async def stocked(made: Engine) -> None:
    """The warehouse has ten of A, five of B, four of C; the ERP's books are three of A short."""
    cost = {"amount": 250, "currency": "EUR"}
    lines = [{"sku": "A", "cost": cost}, {"sku": "B", "cost": cost}, {"sku": "C"}]
    await made.send(envelope("item_registered", "erp", {"sequence": 1, "lines": lines}))
    await made.send(receipt(1, {"A": 10, "B": 5, "C": 4}))
    await made.has("C", 4)
    await books(made, 2, datetime.now(UTC), A=7, B=5, C=4)
    await until(lambda: said(made, "A"), "the books are known")


async def said(made: Engine, sku: str) -> bool:
    _, keys = await made.store.read_keys(made.pool, [f"cmp:{sku}"])
    return bool(keys)


async def atp(made: Engine, store: StoreServer, nats: NatsServer, *words: str) -> Ran:
    where = ["--pool", made.pool, "--store-url", store.url, "--nats-url", nats.url]
    return await asyncio.to_thread(commands.run, *words, *where)


def test_a_difference_is_seen_told_put_right_with_a_reason_and_over(
    store_server: StoreServer, nats_server: NatsServer, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with (
            engine("drifting", store_server, nats_server) as made,
            consuming("feeds", made, store_server, nats_server),
            consuming("relay", made, store_server, nats_server),
        ):
            await stocked(made)
            await seen(made, store_server, nats_server, tmp_path / "drift.csv")
            async with watching(made, store_server, nats_server):
                told = await made.exception(EXCEPTION)
                assert (told.reason, told.sku, told.quantity) == (ExceptionReason.DRIFT, "A", 3)
                assert "erp says of the stock at N1" in told.sentence
                assert "a difference of 3 units over 1 SKU (7.50 EUR), A the most" in told.sentence
                await shows(made, 3, "atp_drift_units", pool=made.pool, **AT_ERP)
                await shows(made, 7.5, "atp_drift_value", pool=made.pool, **AT_ERP, currency="EUR")
                assert made.metric("atp_drift_skus", pool=made.pool, **AT_ERP) == 1
                assert made.metric("atp_drift_compared", pool=made.pool, **AT_ERP) == 3
                await timing_stands_apart(made, store_server, nats_server)
                await put_right(made, store_server, nats_server)
                resolved = await made.exception(EXCEPTION, "resolved")
                assert resolved.sentence == "What erp says of the stock at N1 is what is sold from again, within the tolerance."
                await shows(made, 0, "atp_drift_units", pool=made.pool, **AT_ERP)
                assert made.metric("atp_drift_last_run_timestamp_seconds", pool=made.pool) > 0
            assert (await atp(made, store_server, nats_server, "drift", "--ledger")).code == 0
            assert (await atp(made, store_server, nats_server, "rebuild", "--from", "start")).code == 0

    asyncio.run(scenario())


async def seen(made: Engine, store: StoreServer, nats: NatsServer, file: Path) -> None:
    looked = await atp(made, store, nats, "drift", "--csv", str(file))
    assert looked.code == 1
    assert "N1 erp 3 1 0 -3 3 -7.50 EUR 7.50 EUR" in looked.words
    assert "A N1 erp -3 -7.50 EUR" in looked.words
    with file.open(newline="") as lines:
        (line,) = csv.DictReader(lines)
    figures = {"sku": "A", "on_hand": "-3", "damaged": "0", "units": "-3", "value_minor": "-750", "may_be_timing": "no", "beyond": "yes"}
    assert figures.items() <= line.items()
    for words, code in ((["--units", "3"], 0), (["--value", "749"], 1), (["--node", "N2"], 0), (["--source", "wms"], 0)):
        assert (await atp(made, store, nats, "drift", *words)).code == code, words


async def timing_stands_apart(made: Engine, store: StoreServer, nats: NatsServer) -> None:
    """B is counted by the ERP an hour ago, and received since."""
    await books(made, 3, datetime.now(UTC) - timedelta(hours=1), B=5)
    await made.send(receipt(2, {"B": 6}))
    await made.has("B", 11)
    await shows(made, 1, "atp_drift_timing_skus", pool=made.pool, **AT_ERP)
    looked = (await atp(made, store, nats, "drift", "--json")).json
    (sums,) = looked["sums"]
    assert (sums["beyond"], sums["timing"], sums["units"]) == (1, 1, 3)
    assert [(one["sku"], one["on_hand"], one["may_be_timing"]) for one in looked["worst"]] == [("A", -3, False), ("B", -6, True)]


async def put_right(made: Engine, store: StoreServer, nats: NatsServer) -> None:
    fix = ["drift", "fix", "--sku", "A", "--node", "N1", "--reason", REASON, "--actor", "ann"]
    assert (await atp(made, store, nats, *fix)).code == 2, "to what?"
    fixed = await atp(made, store, nats, *fix, "--to", "erp", "--key", "P1")
    assert (fixed.code, fixed.words) == (0, "A at N1: on hand 10 → 7 Put right by ann as P1: atp ledger shows it.")
    assert (await made.row("A")).on_hand == 7
    again = await atp(made, store, nats, *fix, "--to", "erp", "--key", "P1")
    assert (again.code, again.words) == (0, "There is nothing to put right.")
    assert (await atp(made, store, nats, *fix, "--set-on-hand", "8", "--key", "P1")).code == 1, "a key is one repair's"
    (line,) = [line for line in (await atp(made, store, nats, "ledger", "--json")).said.splitlines() if '"repair"' in line]
    for part in ('"verb":"repair"', '"cause":"P1"', '"actor":"ann"', f'"reason":"{REASON}"', '"delta":-3'):
        assert part in line
    assert f"by ann A at N1: on hand -3; because: {REASON}" in (await atp(made, store, nats, "ledger")).words
    await made.send(receipt(3, {"A": 1}))
    await made.has("A", 8)  # what comes later adds to what was put right …
    await books(made, 4, datetime.now(UTC), A=8, B=11)  # … and is in the books soon


def test_counters_that_are_not_sums_are_put_right_from_the_ledger(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with engine("miscounted", store_server, nats_server) as made, consuming("relay", made, store_server, nats_server):
            await stock(made)
            await made.reserve("R1", "A", 4)
            wrong = [RepairLine("A", "N1", "reserved", 4, 9)]
            await made.store.write(made.pool, requests.repair(CONTEXT, repair_id="wrong", reason="a mistake", lines=wrong))
            await made.relayed()
            fixed = await atp(made, store_server, nats_server, "drift", "fix", "--counts", "--reason", "miscounted", "--actor", "ann")
            assert fixed.words.startswith("A at N1: reserved 9 → 4 Put right by ann")
            assert (await made.row("A")).reserved == 4
            again = await atp(made, store_server, nats_server, "drift", "fix", "--counts", "--reason", "miscounted", "--actor", "ann")
            assert again.words == "There is nothing to put right."

    asyncio.run(scenario())
