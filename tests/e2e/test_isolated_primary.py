"""A primary that was told to need its replica takes no write without it: what nobody may ever hear of is little."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import redis

from atp.errors import StoreUnavailableError
from atp.model.status import ExceptionReason
from atp.model.verbs import Confirm
from atp.store import Store
from atp.store.scripts import load
from cli.embedded import HOST, NatsServer, StoreKind, StoreServer
from consumers import streams
from consumers.ledger_writer import last_position
from consumers.opening import open_pool
from tests.conftest import start_store
from tests.e2e.consuming import CONTEXT, Engine, assert_whole, consuming, engine, is_open, shows, stock, until

UNITS, HELD, LATE = 10, 4, 3
READS = "#!lua flags=no-writes"
SAYS_WHAT_TO_DO = r"refuses writes until it has its replica again, or processes are led to the primary .*NOREPLICAS"


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """One of its own: a relay serves every pool that it knows."""
    with NatsServer(tmp_path / "nats", sync_interval="10s") as server:
        yield server


class Parted(NamedTuple):
    """A pool at a primary whose replica was promoted before two holds were made: one that is due, and "late"."""

    made: Engine
    primary: StoreServer
    replica: StoreServer


@contextmanager
def commands(server: StoreServer) -> Iterator["redis.Redis"]:
    with redis.Redis(host=HOST, port=server.port, protocol=2) as client:
        yield client


@asynccontextmanager
async def parted(kind: StoreKind, folder: Path, nats_server: NatsServer) -> AsyncIterator[Parted]:
    with (
        start_store(kind, folder / "primary") as primary,
        start_store(kind, folder / "replica") as replica,
        commands(primary) as at_primary,
        commands(replica) as at_replica,
    ):
        at_primary.config_set("repl-diskless-sync-delay", 0)
        at_replica.replicaof(HOST, primary.port)

        async def linked() -> bool:
            return bool(at_replica.info("replication")["master_link_status"] == "up")

        await until(linked, "the replica follows")  # before the pool is opened: with its first replica a server begins a new history
        async with engine(f"parted-{kind}", primary, nats_server) as made:

            async def follows() -> bool:
                revision = at_replica.hget(f"{{{made.pool}}}:pool", "rev")
                return bool(revision) and int(revision) == (await made.store.pool_info(made.pool)).revision

            await stock(made, UNITS)
            assert (await made.reserve("R1", "A", HELD)).status == "OK"
            await until(follows, "the replica has all")
            at_replica.replicaof("NO", "ONE")
            assert (await made.reserve("late", "A", LATE)).status == "OK"
            assert (await made.reserve("due", "A", 1, ttl_ms=1)).status == "OK"
            at_primary.config_set("min-replicas-to-write", 1)
            yield Parted(made, primary, replica)


@pytest.mark.parametrize("kind", ["valkey", "redis"])
def test_without_its_replica_it_answers_reads_and_refuses_each_write_before_it_begins(
    kind: StoreKind, tmp_path: Path, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        async with parted(kind, tmp_path, nats_server) as (made, primary, _):
            before = await made.contents()
            assert b"due" in before["exp"]
            for write in (lambda: made.reserve("new", "A", 1), lambda: made.store.write(made.pool, Confirm(CONTEXT, "R1", "k", 1, False))):
                with pytest.raises(StoreUnavailableError, match=SAYS_WHAT_TO_DO) as refused:
                    await write()
                assert not refused.value.outcome_unknown
            with commands(primary) as server:
                for script in load().values():
                    if not script.text.startswith(READS):
                        with pytest.raises(redis.ResponseError, match="NOREPLICAS"):
                            server.eval(script.text, 1, f"{{{made.pool}}}:pool")
            assert await made.contents() == before  # what is due is given back by no half of a script
            assert (await made.row("A")).reserved == HELD + LATE  # reads leave out what is due

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", ["valkey", "redis"])
def test_a_relay_that_reaches_it_carries_what_it_took_and_no_unit_is_promised_twice(
    kind: StoreKind, tmp_path: Path, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        async with parted(kind, tmp_path, nats_server) as (old, primary, replica):
            revision = (await old.store.pool_info(old.pool)).revision

            async def carried() -> bool:
                return (await last_position(old.js, old.pool)).revision == revision

            async with consuming("relay", old, primary, nats_server):
                await until(carried, "JetStream has what the primary took")
            store = await Store.connect(replica.url)
            try:
                new = Engine(old.pool, old.connection, old.js, store)
                async with consuming("relay", new, replica, nats_server):
                    await until(lambda: is_open(new), "the replica is open")
                    left = UNITS - HELD - LATE
                    assert (await new.reserve("more", "A", left + 1)).status == "INSUFFICIENT_STOCK"
                    assert (await new.reserve("all", "A", left)).status == "OK"
                    with pytest.raises(StoreUnavailableError):
                        await old.reserve("once-more", "A", 1)
                    await new.relayed()
                    await assert_whole(new)
            finally:
                await store.close()

    asyncio.run(scenario())


def test_a_relay_that_starts_at_a_primary_that_was_replaced_says_so_once_and_before_anything_is_lost(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        async with parted("valkey", tmp_path, nats_server) as (old, primary, replica):
            store = await Store.connect(replica.url)
            try:
                new = Engine(old.pool, old.connection, old.js, store)
                await open_pool(new.js, new.store, new.pool)
                told = await messages(old)
                for _ in range(2):
                    async with consuming("relay", old, primary, nats_server):
                        relay = Engine(old.pool, old.connection, old.js, old.store, old.metrics[-1:])
                        await shows(relay, 1, "atp_relay_split", pool=old.pool)
                assert "was opened at another store" in (await old.exception(ExceptionReason.SPLIT_HISTORY)).sentence
                assert await messages(old) == told + 1
            finally:
                await store.close()

    asyncio.run(scenario())


async def messages(made: Engine) -> int:
    """How often anybody was told of anything."""
    return int((await made.js.stream_info(streams.EXCEPTIONS)).state.last_seq)
