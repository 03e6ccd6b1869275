"""The whole job, done by the users of `deploy/` with the rights that are written there and no others, on each kind of store."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import redis

from atp.model.verbs import Confirm, Context, Extend, Fulfil, Part, Release, Reserve, Want
from atp.store import Store
from atp.store.store import Write
from cli import demo, history
from cli.embedded import NatsServer, StoreKind, StoreServer
from cli.rebuilding import rebuild_pool
from cli.trace_names import Thread
from cli.trace_search import Search
from cli.verify import verify_pool
from consumers import ending, exceptions, streams
from consumers.checkpoint_taker import take
from consumers.connection import connect_once
from consumers.provision import provision
from tests.e2e.consuming import Engine, envelope, is_open, items, receipt, until
from tests.e2e.secured import POOL, nats_as, password, role, secured_nats, secured_store, store_as

CONTEXT = Context("tester")
ROLES = {"feeds": "atp-feeds", "relay": "atp-relay", "sweeper": "atp-sweeper", "auditor": "atp-auditor"}
ALL = {"all": "atp-consumers"}


@pytest.fixture(params=["valkey", "redis"])
def kind(request: pytest.FixtureRequest) -> StoreKind:
    kind: StoreKind = request.param
    if kind == "redis":
        request.getfixturevalue("redis7")  # skips where there is none
    return kind


@dataclass
class Installation:
    """Servers with the users of the files; each part logs in as its own."""

    kind: StoreKind
    folder: Path
    store: StoreServer
    nats: NatsServer

    async def provision(self) -> bool:
        """Whether anything changed."""
        report = await provision(demo.PROVISIONING, lambda _pool: store_as("atp-admin", self.store), nats_as("atp-admin", self.nats))
        return report.changed

    def denied(self) -> list[str]:
        """What the store has denied to anybody."""
        with redis.Redis(port=self.store.port, username="default", password=password("default"), protocol=2) as operator:
            return [f"{entry['username']}: {entry['object']}" for entry in operator.acl_log()]


@pytest.fixture
def installation(tmp_path: Path, kind: StoreKind, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    with secured_store(tmp_path / "store", kind) as store, secured_nats(tmp_path / "nats", monkeypatch) as nats:
        yield Installation(kind, tmp_path, store, nats)


@pytest.mark.parametrize("roles", [ROLES, ALL], ids=["a role a process", "all in one"])
def test_the_whole_job_is_done_by_the_users_of_the_files(
    installation: Installation, roles: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        assert await installation.provision()
        assert not await installation.provision()
        async with AsyncExitStack() as parts:
            for name, user in roles.items():
                await parts.enter_async_context(role(name, user, installation.store, installation.nats))
            store = await Store.connect(store_as("atp-service", installation.store))
            parts.push_async_callback(store.close)
            admin = await connect_once(nats_as("atp-admin", installation.nats), "atp")
            parts.push_async_callback(admin.close)
            made = Engine(POOL, admin, admin.jetstream(), store)
            await events_come_in(installation, made)
            await baskets_are_sold(made)
            await a_hold_expires(made)
            await a_checkpoint_is_taken(installation)
            installation.store.restart()  # it has kept nothing
            await until(lambda: is_open(made), "restored and open again")
            assert (await made.reserve("after", "TEA", 1)).status == "UNKNOWN_NODE"  # N1 is no node of this pool: it was decided
            await what_a_person_asks(installation, made)

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    assert installation.denied() == []
    assert [text for text in caplog.messages if "refuses" in text] == []


async def events_come_in(installation: Installation, made: Engine) -> None:
    """Each source under its own user: a shipment that must wait for its item, registration, receipts, a count, an adjustment."""
    sources = {}
    try:
        for name in ("wms", "erp"):
            sources[name] = await connect_once(nats_as(name, installation.nats), name)
        ours = {name: replace(made, js=connection.jetstream()) for name, connection in sources.items()}
        at = {"node": "DC1"}
        left = {**at, "sequence": 1, "shipment_id": "S0", "lines": [{"sku": "TEA", "quantity": 1}]}
        await ours["wms"].send(envelope("shipment", "wms", left, id="early"))
        await made.exception("wait:wms/early/TEA")
        await ours["erp"].send(items(1, "TEA"))
        await made.exception("wait:wms/early/TEA", "resolved")
        counted = {**at, "sequence": 2, "as_of": "2026-01-03T22:00:00Z", "lines": [{"sku": "TEA", "on_hand": 50}]}
        await ours["wms"].send(envelope("snapshot", "wms", counted))
        await ours["wms"].send(receipt(3, {"TEA": 51}, "DC1"))
        broken = {**at, "sequence": 4, "reason": "broken", "lines": [{"sku": "TEA", "on_hand": -1}]}
        await ours["wms"].send(envelope("adjustment", "wms", broken))
        await until(lambda: stands(made, on_hand=100), "all is in the store")
        await ours["wms"].send(b"no event")
        await until(lambda: made.exceptions("open"), "the bad event is an exception")
        await made.send(receipt(1, {"TEA": 1}), "inv.nowhere.wms.receipt")  # by hand
        await until(lambda: exceptions.list_exceptions(made.js, pool="nowhere"), "so is one for a pool that is none")
    finally:
        for connection in sources.values():
            await connection.close()


async def stands(made: Engine, **figures: int) -> bool:
    row = await made.row("TEA", "DC1")
    return all(getattr(row, name) == units for name, units in figures.items())


async def baskets_are_sold(made: Engine) -> None:
    """Every verb and read of the service."""

    async def do(request: Write) -> None:
        assert (await made.store.write(made.pool, request)).status == "OK"

    def hold(name: str, units: int) -> Reserve:
        return Reserve(CONTEXT, name, 0, "web", "order", 600_000, False, [], [Want("TEA", units)], [1] * 6)

    for name in ("R1", "R2", "R3"):
        await do(hold(name, 3))
    await do(Extend(CONTEXT, "R1", "e1", 1, 900_000))
    await do(Confirm(CONTEXT, "R1", "c1", 1, False))
    await do(Release(CONTEXT, "R2", "r2", 1, [Part(1, 1)]))
    await do(Release(CONTEXT, "R2", "r3", 1, []))
    await do(Fulfil(CONTEXT, "R1", "S1", 0, [Part(1, 1)]))
    await do(Fulfil(CONTEXT, "R1", "S2", 0, []))
    assert (await made.store.get_reservation(made.pool, "R1")).state == "FULFILLED"
    assert len(await made.store.reservations_of_order(made.pool, "order")) == 3
    assert len(await made.store.open_reservations(made.pool, 0, 10)) == 1
    assert (await made.store.availability(made.pool, "web", [], ["TEA"])).lines
    assert await stands(made, on_hand=100, reserved=3)


async def a_hold_expires(made: Engine) -> None:
    request = Reserve(CONTEXT, "R9", 0, "web", "", 50, False, [], [Want("TEA", 2)], [1] * 6)
    assert (await made.store.write(made.pool, request)).status == "OK"

    async def expired() -> bool:
        return (await made.store.get_reservation(made.pool, "R9")).state == "EXPIRED"

    await until(expired, "swept")
    await made.relayed()


async def a_checkpoint_is_taken(installation: Installation) -> None:
    """By each who may; a relay restores from it, and an auditor that starts begins with it."""
    takers = [
        ("atp-auditor", "atp auditor", "atp-consumers"),
        ("atp-consumers", "atp all", "atp-consumers"),
        ("atp-admin", "atp", "atp-admin"),
    ]
    for user, name, store_user in takers:
        connection = await connect_once(nats_as(user, installation.nats), name)
        store = await Store.connect(store_as(store_user, installation.store))
        try:
            await take(connection.jetstream(), store, POOL)
        finally:
            await store.close()
            await connection.close()


async def what_a_person_asks(installation: Installation, made: Engine) -> None:
    """verify, rebuild, ledger, trace, exceptions: what there is, and what is done about it."""
    store, nats = store_as("atp-admin", installation.store), nats_as("atp-admin", installation.nats)
    await made.relayed()
    for origin in ("start", "latest"):
        report = await verify_pool(store, nats, POOL, origin=origin)
        assert report.ok, report.violations
    with secured_store(installation.folder / "rebuilt", installation.kind) as other:
        rebuilt = await rebuild_pool(store, nats, POOL, store_as("atp-admin", other), lambda *_: None)
    assert rebuilt.equal, rebuilt.differing
    assert rebuilt.checkpoint
    async with history.connected(store) as live, history.jetstream(nats) as js:
        assert [entries async for entries in history.History(js, POOL, live).published()]
        assert (await js.stream_info(streams.ledger_stream(POOL))).state.messages
        traced = await Search(js, live, POOL, Thread("S0"), None).run(lambda *_: None)
        assert [len(found) for found in (traced.came, traced.entries)] == [1, 3], "a shipment that waited: parked, shipped, taken out"
        (bad,) = await exceptions.list_standing(js, pool=POOL, state="open", reason="MALFORMED")
        await ending.retry(js, bad, ending.Who("jane", "to see it again"))
        await until(lambda: stands_open(made, bad.exception.id, bad.sequence), "it is wrong again")
        await made.send(receipt(9, {"GONE": 1}, "DC1", id="never"))
        await made.exception("wait:wms/never/GONE")
        parked = await exceptions.standing(js, POOL, "wait:wms/never/GONE")
        assert parked is not None
        assert (await ending.discard(js, live, parked, ending.Who("jane", "never ours"))).resolution == "discarded"


async def stands_open(made: Engine, exception_id: str, after: int) -> bool:
    found = await exceptions.standing(made.js, made.pool, exception_id)
    return found is not None and found.sequence > after and found.exception.state == "open"
