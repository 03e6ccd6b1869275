"""Checkpoints over real servers: what is copied while the pool works is the pool, and what is not whole does not count."""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
import redis
from msgspec.structs import replace
from nats.js import JetStreamContext

from atp.checkpoint import SCHEMA, Manifest
from atp.errors import RefusedError
from atp.store import Store
from cli.embedded import NatsServer, StoreServer
from cli.rebuilding import Rebuilt, rebuild_pool
from consumers import checkpoint_taker, checkpoints, ledger_writer, restoring, streams
from consumers.checkpoint_taker import take
from consumers.checkpoints import CheckpointError, TornCheckpointError
from consumers.ledger_reader import read_ledger
from consumers.ledger_writer import Position
from tests.conftest import start_store
from tests.e2e import commands, ledgered
from tests.e2e.wild import Wild, carry_all, living
from tests.selling import Selling

SHORT_READS = {"COPY_FIELDS_MAX": 7, "COPY_BYTES_MAX": 2_000}  # so that much happens between two


@contextlib.asynccontextmanager
async def store_of(server: StoreServer) -> AsyncIterator[Store]:
    """One that reads little at a time."""
    store = Store(server.url, bounds=SHORT_READS)
    await store.start()
    try:
        yield store
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def traded(server: StoreServer, nats: NatsServer) -> AsyncIterator[tuple[Selling, JetStreamContext, Store]]:
    """A pool after a day's work, all of it in JetStream, where its checkpoints may be kept too."""
    async with Selling(server.url) as pool, ledgered.jetstream(nats.url) as js, store_of(server) as store:
        await pool.trade()
        await carry_all(pool, js)
        yield pool, js, store


# --- what is copied -----------------------------------------------------------------------------------------------------
@pytest.fixture
def empty(tmp_path: Path) -> Iterator[StoreServer]:
    with start_store("valkey", tmp_path / "empty") as server:
        yield server


@pytest.fixture
def another(tmp_path: Path) -> Iterator[StoreServer]:
    with start_store("valkey", tmp_path / "another") as server:
        yield server


def test_a_pool_that_is_copied_while_it_lives_is_made_again_exactly(
    store_server: StoreServer, nats_server: NatsServer, empty: StoreServer, another: StoreServer
) -> None:
    """From the checkpoint, from the first entry, and the live store: the same, key by key, and vanishing at the same times."""

    @contextlib.asynccontextmanager
    async def beside() -> AsyncIterator[str]:
        yield another.url

    async def run() -> tuple[Manifest, Rebuilt]:
        async with Wild(store_server.url, random.randrange(2**32), lasts_ms=1_000) as pool, ledgered.jetstream(nats_server.url) as js:
            async with store_of(store_server) as store, living(pool, js):
                await pool.live(1_500)
                pool.now_ms += 60_000  # what ends from now on stays, what ended before vanishes meanwhile
                manifest = await take_at_last(pool.pool, js, store)
                await pool.live(300)
            return manifest, await rebuild_pool(store_server.url, nats_server.url, pool.pool, empty.url, lambda *_: None, beside=beside)

    manifest, rebuilt = asyncio.run(run())
    assert manifest.whole - manifest.after > 50, "nothing happened while it was copied"
    assert rebuilt.differing == []
    assert rebuilt.equal
    assert rebuilt.checkpoint
    assert rebuilt.checkpoint.revision == manifest.whole
    assert rebuilt.revision - rebuilt.entries == manifest.after
    assert rebuilt.proof
    assert rebuilt.proof.entries == manifest.whole


async def take_at_last(pool: str, js: JetStreamContext, store: Store) -> Manifest:
    """As whoever takes them does: one that is given up, since a record was written to just before it vanished, is begun anew."""
    while True:
        with contextlib.suppress(CheckpointError):
            return await take(js, store, pool)


def test_a_large_key_comes_in_several_reads_and_several_messages(
    store_server: StoreServer, nats_server: NatsServer, empty: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_taker.limits, "CHECKPOINT_MESSAGE_BYTES_MAX", 3_000)

    async def run() -> None:
        async with traded(store_server, nats_server) as (pool, js, store):
            for number in range(300):
                await pool.receive("N1", A=1)
                await pool.reserve(f"L{number}", A=1, order="" if number else "x" * 64)
            await carry_all(pool, js)
            manifest = await take(js, store, pool.pool)
            assert manifest.messages > 10
            assert manifest.bytes / manifest.messages < 3_000
            rebuilt = await rebuild_pool(store_server.url, nats_server.url, pool.pool, empty.url, lambda *_: None)
            assert rebuilt.equal, rebuilt.differing
            assert rebuilt.compared
            assert manifest.keys == rebuilt.compared.keys - 1, "all but `pool`"

    asyncio.run(run())


# --- what counts --------------------------------------------------------------------------------------------------------
def test_the_latest_two_are_there_while_another_is_taken(valkey: StoreServer, nats_server: NatsServer) -> None:
    async def run() -> None:
        async with traded(valkey, nats_server) as (pool, js, store):
            taken: list[Manifest] = []
            for _ in range(5):
                await pool.receive("N1", A=1)
                await carry_all(pool, js)
                taken.append(await take_and_look(pool.pool, js, store, kept=taken[-2:]))
            assert (await checkpoints.manifests(js, pool.pool))[0] == taken[-1]

    asyncio.run(run())


async def take_and_look(pool: str, js: JetStreamContext, store: Store, *, kept: list[Manifest]) -> Manifest:
    """Takes one, and finds that others are whole as soon as it is begun."""

    async def look() -> None:
        assert [found for found in await checkpoints.manifests(js, pool) if found in kept] == kept[::-1]
        for manifest in kept:
            await checkpoints.check(js, manifest)

    looks: list[asyncio.Task[None]] = []
    manifest = await take(js, store, pool, lambda *_: looks.append(asyncio.create_task(look())))
    assert looks
    await asyncio.gather(*looks)
    return manifest


def test_one_that_is_broken_off_leaves_nothing_that_counts(valkey: StoreServer, nats_server: NatsServer) -> None:
    async def run() -> None:
        async with traded(valkey, nats_server) as (pool, js, store):
            first = await take(js, store, pool.pool)
            stop = asyncio.Event()
            stop.set()  # heard of once something has been read
            with pytest.raises(CheckpointError, match="given up"):
                await take(js, store, pool.pool, stop=stop)
            assert await checkpoints.manifests(js, pool.pool) == [first]
            await checkpoints.Writer.begin(js, pool.pool)  # whose process dies
            with pytest.raises(CheckpointError, match="is being taken"):
                await take(js, store, pool.pool)
            assert await checkpoints.manifests(js, pool.pool) == [first]

    asyncio.run(run())


def test_of_two_that_take_one_the_first_is_stopped(valkey: StoreServer, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "TAKING_S", 0)  # as if the first had been quiet for long

    async def run() -> None:
        async with traded(valkey, nats_server) as (pool, js, store):
            begun = await checkpoints.Writer.begin(js, pool.pool)
            second = await take(js, store, pool.pool)
            with pytest.raises(CheckpointError, match="another process has begun"):
                await begun.add([b"late"])
            assert await checkpoints.manifests(js, pool.pool) == [second]
            await checkpoints.check(js, second)

    asyncio.run(run())


def test_a_pool_that_is_opened_again_meanwhile_has_no_checkpoint_of_it(valkey: StoreServer, nats_server: NatsServer) -> None:
    async def run() -> None:
        async with traded(valkey, nats_server) as (pool, js, store):
            openings: list[asyncio.Task[object]] = []

            async def open_again() -> None:
                await store.close_pool(pool.pool, 1)
                await store.open(pool.pool, 1, 0)
                await carry_all(pool, js)

            with pytest.raises(CheckpointError, match="was closed while"):
                await take(js, store, pool.pool, lambda *_: openings.append(asyncio.create_task(open_again())))
            assert await checkpoints.manifests(js, pool.pool) == []
            await store.close_pool(pool.pool, 2)
            with pytest.raises(RefusedError, match="POOL_NOT_OPEN"):
                await take(js, store, pool.pool)

    asyncio.run(run())


def test_a_key_that_vanishes_after_an_entry_wrote_to_it_and_before_it_is_read_is_not_passed_over(
    valkey: StoreServer, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its beginning would be in no entry that is replayed, and not in the copy."""

    async def run() -> None:
        async with traded(valkey, nats_server) as (pool, js, store):
            await pool.reserve("R9", A=1)
            await carry_all(pool, js)
            names = store.bulk.names

            async def late(of: str) -> AsyncIterator[list[str]]:
                await pool.release("R9")
                await carry_all(pool, js)
                with redis.Redis.from_url(valkey.url) as direct:  # as its expiry would
                    direct.delete(pool.key("rsv:R9"))
                async for page in names(of):
                    yield page

            monkeypatch.setattr(store.bulk, "names", late)
            with pytest.raises(CheckpointError, match="rsv:R9 vanished by its expiry"):
                await take(js, store, pool.pool)
            assert await checkpoints.manifests(js, pool.pool) == []

    asyncio.run(run())


def test_what_jetstream_does_not_have_yet_is_waited_for(
    valkey: StoreServer, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with traded(valkey, nats_server) as (pool, js, store):
            last = await pool.receive("N1", A=1)
            taking = asyncio.create_task(take(js, store, pool.pool))
            await asyncio.sleep(0.3)
            assert not taking.done()
            await carry_all(pool, js)
            assert (await taking).whole == last.revision
            await pool.receive("N1", A=1)
            monkeypatch.setattr(checkpoint_taker, "LEDGER_WAIT_S", 0.1)
            with pytest.raises(CheckpointError, match=f"up to {last.revision} only"):
                await take(js, store, pool.pool)

    asyncio.run(run())


# --- what is torn -------------------------------------------------------------------------------------------------------
async def lose_the_manifest(js: JetStreamContext, manifest: Manifest) -> None:
    await js.publish(streams.checkpoint_subject(manifest.pool, manifest.slot, streams.MANIFEST), b"given up")


async def garble_the_manifest(js: JetStreamContext, manifest: Manifest) -> None:
    await js.publish(streams.checkpoint_subject(manifest.pool, manifest.slot, streams.MANIFEST), b'{"schema": 1')


async def lose_a_message(js: JetStreamContext, manifest: Manifest) -> None:
    await js.publish(streams.checkpoint_subject(manifest.pool, manifest.slot, 0), b"another in its place")


async def change_a_message(js: JetStreamContext, manifest: Manifest) -> None:
    await say(js, replace(manifest, digest="0" * 64))


async def say_more(js: JetStreamContext, manifest: Manifest) -> None:
    await say(js, replace(manifest, messages=manifest.messages + 1))


async def be_of_another_ledger(js: JetStreamContext, manifest: Manifest) -> None:
    await say(js, replace(manifest, entry="0" * 32))


async def be_ahead_of_the_ledger(js: JetStreamContext, manifest: Manifest) -> None:
    await say(js, replace(manifest, whole=manifest.whole + 1))


async def say(js: JetStreamContext, manifest: Manifest) -> None:
    await js.publish(streams.checkpoint_subject(manifest.pool, manifest.slot, streams.MANIFEST), msgspec.json.encode(manifest))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lose_the_manifest, ""),
        (garble_the_manifest, "its manifest cannot be read"),
        (lose_a_message, "message 1 of its"),
        (change_a_message, "a message of it is not as it was written"),
        (say_more, "is missing"),
        (be_of_another_ledger, "is another in JetStream"),
        (be_ahead_of_the_ledger, "JetStream has the ledger up to revision"),
    ],
)
def test_one_that_is_torn_is_passed_over_for_the_older_one_and_that_for_the_first_entry(
    valkey: StoreServer, nats_server: NatsServer, caplog: pytest.LogCaptureFixture, damage, told: str
) -> None:
    async def run() -> None:
        async with traded(valkey, nats_server) as (pool, js, store):
            older = await take(js, store, pool.pool)
            await pool.receive("N1", A=1)
            await carry_all(pool, js)
            newer = await take(js, store, pool.pool)
            published = (await ledger_writer.last_position(js, pool.pool)).revision
            assert await restoring.newest(js, pool.pool, published) == newer
            await damage(js, newer)
            with caplog.at_level(logging.WARNING):
                assert await restoring.newest(js, pool.pool, published) == older
            assert told in caplog.text
            assert ("is passed over" in caplog.text) == bool(told)
            await damage(js, older)
            assert await restoring.newest(js, pool.pool, published) is None

    asyncio.run(run())


def test_one_that_is_overwritten_while_it_is_read_is_torn(valkey: StoreServer, nats_server: NatsServer) -> None:
    async def run() -> None:
        async with traded(valkey, nats_server) as (pool, js, store):
            manifest = await take(js, store, pool.pool)
            for _ in range(3):
                await take(js, store, pool.pool)
            with pytest.raises(TornCheckpointError, match="is missing"):
                _ = [pieces async for pieces in checkpoints.read(js, manifest)]

    asyncio.run(run())


def test_a_checkpoint_and_a_ledger_larger_than_what_the_server_keeps_for_a_slow_reader_are_read(nats_server: NatsServer) -> None:
    """It throws out whoever has 64 MB on the way."""

    async def run() -> None:
        message = bytes(700 * 1024)
        async with ledgered.jetstream(nats_server.url) as js:
            await js.add_stream(streams.ledger("large"))
            await js.add_stream(streams.checkpoint("large"))
            writer, position = await checkpoints.Writer.begin(js, "large"), Position(0, 0, 0)
            for _ in range(150):
                await writer.add([message])
                position = await ledger_writer.append(js, "large", position, [message], 1)
            manifest = Manifest(
                SCHEMA, "large", 1, 1, 1, 1, "", 1, 1.0, "", writer.slot, writer.first, 150, 1, 1, writer.totals.bytes, writer.totals.digest
            )
            await checkpoints.check(js, manifest)
            assert [len(entries) async for entries in read_ledger(js, "large")] == [1] * 150

    asyncio.run(run())


# --- the command --------------------------------------------------------------------------------------------------------
def test_the_command_takes_one_and_lists_those_that_are_there(valkey: StoreServer, nats_server: NatsServer) -> None:
    async def made() -> str:
        async with traded(valkey, nats_server) as (pool, _, _):
            return pool.pool

    pool = asyncio.run(made())
    where = ("--pool", pool, "--store-url", valkey.url, "--nats-url", nats_server.url)
    assert f"Pool {pool} has no checkpoint" in commands.run("checkpoint", "--list", *where).said
    taken = commands.run("checkpoint", *where)
    assert taken.code == 0
    assert f"Pool {pool}: checkpoint of revision 20 taken: 15 keys with " in taken.said
    again = commands.run("checkpoint", "--json", *where).json
    assert (again["whole"], again["keys"]) == (20, 15)
    listed = commands.run("checkpoint", "--list", *where).words
    assert "revision taken ago keys fields MB by version" in listed
    assert listed.count(" 20 ") == 2
    unknown = commands.run("checkpoint", "--pool", "nowhere", *where[2:])
    assert unknown.code == 1
    assert "there is no pool nowhere" in unknown.error
