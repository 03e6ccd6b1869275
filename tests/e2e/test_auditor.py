"""The role `auditor` on real servers: quiet over a sound ledger, and heard at once, by every way there is, over one that is not."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from atp.checkpoint import Manifest
from atp.exceptions import digest
from atp.ledger import Fact, decode_entry
from atp.model.status import ExceptionReason
from atp.model.verbs import Confirm, Fulfil, Release
from atp.store import Stores
from cli.embedded import NatsServer, StoreServer
from consumers import checkpoint_role, checkpoints, exceptions, ledger_writer, streams
from consumers.auditor import LOOK_S
from consumers.checkpoint_role import Cadence, keep_checkpoints
from consumers.checkpoint_taker import take
from consumers.metrics import CheckpointMetrics
from consumers.opening import open_pool
from consumers.pools import Pools
from tests.auditing import sabotaged
from tests.e2e.consuming import (
    CONTEXT,
    Engine,
    adjust,
    consuming,
    engine,
    items,
    ledger_of,
    publish_as_a_relay_that_dies,
    quick_store,
    receipt,
    running,
    shows,
    stock,
    until,
)

RULE_2 = "rule:2"


@pytest.fixture(scope="module")
def store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with quick_store(tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One of its own: an auditor audits every pool that it knows."""
    with NatsServer(tmp_path_factory.mktemp("nats"), sync_interval="10s") as server:
        yield server


async def write_behind_its_back(made: Engine, *, reserved: int) -> None:
    """Appends an entry to a ledger that no relay carries: units of A at N1 are counted as reserved, and no reservation has them."""
    position, _ = await ledger_writer.learn(made.js, made.pool)
    entries = [decode_entry(entry) for entry in await ledger_of(made)]
    before = sum(fact.delta for entry in entries for fact in entry.facts if fact.term == "reserved")
    row = msgspec.msgpack.encode(replace(await made.row("A"), reserved=reserved, revision=position.revision + 1))
    image = ["HSET", "stk:A", "N1", msgspec.Raw(b"\xd9" + bytes([len(row)]) + row)]  # binary text, as Lua writes it
    facts = [Fact("A", "N1", 0, "reserved", reserved - before)]
    entry = [1, position.revision + 1, position.epoch, entries[-1].time_ms, "reserve", "R", "", "", facts, [image], []]
    await ledger_writer.append(made.js, made.pool, position, [msgspec.msgpack.encode(entry)], position.epoch)


async def times_told(made: Engine, exception_id: str) -> int:
    subject = streams.exception_subject(made.pool, digest(exception_id))
    state = (await made.js.stream_info(streams.EXCEPTIONS, subjects_filter=subject)).state
    return (state.subjects or {}).get(subject, 0)


async def audited(made: Engine) -> int:
    """Waits until all that JetStream has is audited; up to which revision."""

    async def true() -> int:
        revision = (await ledger_writer.last_position(made.js, made.pool)).revision
        return revision if made.metric("atp_audit_revision", pool=made.pool) == revision else 0

    return int(await until(true, "audited to the end"))


def test_a_sound_pool_at_work_is_followed_to_its_end_and_found_sound(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with running("sound", store_server, nats_server) as made:
            await made.send(items(1, "A"))
            await made.send(receipt(1, {"A": 500}))
            await made.has("A", 500)
            for number in range(200):
                await made.reserve(f"R{number}", "A", 1, ttl_ms=1_000 if number % 2 else 60_000)
            revision = await made.relayed()
            assert await audited(made) >= revision
            assert made.metric("atp_counts_not_sums", pool=made.pool) == 0
            assert made.metric("atp_audit_violations", pool=made.pool) == 0
            await shows(made, 0, "atp_audit_behind_entries", pool=made.pool)
            assert await made.exceptions() == []

    asyncio.run(scenario())


def test_a_counter_that_is_not_the_sum_of_its_records_is_shown_told_once_and_logged_until_it_is_put_right(
    store_server: StoreServer, nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with engine("miscounted", store_server, nats_server) as made:
            await stock(made)
            await publish_as_a_relay_that_dies(made)
            async with consuming("auditor", made, store_server, nats_server):
                await audited(made)
                await write_behind_its_back(made, reserved=5)
                told = await made.exception(RULE_2)
                assert told.reason == ExceptionReason.RULE_BROKEN
                assert "stk:A N1: revision 5: reserved is 5, what is open adds up to 0" in told.sentence
                await shows(made, 1, "atp_counts_not_sums", pool=made.pool)
                assert made.metric("atp_audit_violations", pool=made.pool, rule="2") == 1
                assert any(record.levelno == logging.ERROR and "stk:A N1" in record.getMessage() for record in caplog.records)
            made.metrics.clear()
            async with consuming("auditor", made, store_server, nats_server):
                await audited(made)
                await shows(made, 1, "atp_exceptions_open", pool=made.pool, reason="RULE_BROKEN")
                await write_behind_its_back(made, reserved=0)
                resolved = await made.exception(RULE_2, "resolved")
                assert resolved.revision == 6
                await shows(made, 0, "atp_counts_not_sums", pool=made.pool)
                await shows(made, 0, "atp_exceptions_open", pool=made.pool, reason="RULE_BROKEN")
                await shows(made, 1, "atp_exceptions_published_total", pool=made.pool, reason="RULE_BROKEN")
            assert await times_told(made, RULE_2) == 2

    asyncio.run(scenario())


def test_what_was_put_right_before_an_auditor_came_is_no_news(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with engine("past", store_server, nats_server) as made:
            await stock(made)
            await publish_as_a_relay_that_dies(made)
            await write_behind_its_back(made, reserved=5)
            await write_behind_its_back(made, reserved=0)
            async with consuming("auditor", made, store_server, nats_server):
                await shows(made, 1, "atp_audit_violations", pool=made.pool, rule="2")
                await audited(made)
                await told_if_at_all()
            assert await made.exceptions() == []

    asyncio.run(scenario())


async def told_if_at_all() -> None:
    """Time enough for what should not be told to be told."""
    await asyncio.sleep(2 * LOOK_S)


def test_a_script_that_forgets_a_counter_is_found_out(
    store_server: StoreServer, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sabotaged(monkeypatch, "lower_open(r, line, row, units)", "0")

    async def scenario() -> None:
        async with running("sabotaged", store_server, nats_server) as made:
            await made.send(items(1, "A"))
            await made.send(receipt(1, {"A": 5}))
            await made.has("A", 5)
            await made.reserve("R1", "A", 3, ttl_ms=1_000)
            told = await made.exception(RULE_2)
            assert "reserved is 3, what is open adds up to 0" in told.sentence
            await made.exception("rule:5")
            await shows(made, 1, "atp_counts_not_sums", pool=made.pool)

    asyncio.run(scenario())


def test_a_rule_that_nothing_puts_right_is_open_until_a_person_ends_it_and_then_not_told_again(
    store_server: StoreServer, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        async with engine("lasting", store_server, nats_server) as made:
            await made.js.update_stream(streams.exceptions().evolve(duplicate_window=0.1))  # what is told twice is seen twice
            await stock(made)
            await made.reserve("R1", "A", 5)
            await publish_as_a_relay_that_dies(made)
            position, _ = await ledger_writer.learn(made.js, made.pool)
            last = decode_entry((await ledger_of(made))[-1])
            earlier = msgspec.msgpack.encode([1, last.revision + 1, 1, last.time_ms - 1, "unpark", "e", "", "", [], [], []])
            await ledger_writer.append(made.js, made.pool, position, [earlier], 1)
            async with consuming("auditor", made, store_server, nats_server):
                told = await made.exception("rule:9")
                assert "is before" in told.sentence
            await exceptions.publish(made.js, replace(told, state="resolved"), "by a person")
            made.metrics.clear()
            async with consuming("auditor", made, store_server, nats_server):
                await shows(made, 1, "atp_audit_violations", pool=made.pool, rule="9")
                await told_if_at_all()
            assert await times_told(made, "rule:9") == 2

    asyncio.run(scenario())


def test_a_ledger_that_cannot_be_followed_is_told_and_harms_no_other_pool(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with engine("torn", store_server, nats_server) as made, engine("whole", store_server, nats_server) as other:
            for each in (made, other):
                await stock(each)
                await publish_as_a_relay_that_dies(each)
            position, _ = await ledger_writer.learn(made.js, made.pool)
            skipping = replace_revision(await ledger_of(made), position.revision + 7)
            await ledger_writer.append(made.js, made.pool, position, [skipping], 1)
            async with consuming("auditor", made, store_server, nats_server):
                told = await made.exception("rule:9")
                assert "cannot be followed" in told.sentence
                other.metrics = made.metrics
                assert await audited(other) == 4
                await adjust(other, 2, 1)
                await publish_as_a_relay_that_dies(other)
                assert await audited(other) == 5

    asyncio.run(scenario())


def replace_revision(entries: list[bytes], revision: int) -> bytes:
    return msgspec.msgpack.encode(replace(decode_entry(entries[-1]), revision=revision))


# --- with a checkpoint ----------------------------------------------------------------------------------------------
async def checkpointed(made: Engine) -> Manifest:
    """A pool with holds of every kind and a row short of its commitments, and a checkpoint of it; all of it in JetStream."""
    await stock(made, 10)
    for number in range(6):
        await made.reserve(f"R{number}", "A", 1, ttl_ms=1_000 if number == 5 else 600_000)
    await made.store.write(made.pool, Confirm(CONTEXT, "R1", "k", 1, False))
    await made.store.write(made.pool, Confirm(CONTEXT, "R2", "k", 1, False))
    await made.store.write(made.pool, Fulfil(CONTEXT, "R2", "S2", 0, []))
    await made.store.write(made.pool, Release(CONTEXT, "R3", "k", 1, []))
    await adjust(made, 2, -9)
    await publish_as_a_relay_that_dies(made)
    return await take(made.js, made.store, made.pool)


def test_an_auditor_begins_with_the_latest_checkpoint_says_so_and_finds_sound_what_is(
    store_server: StoreServer, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        async with engine("begun", store_server, nats_server) as made:
            manifest = await checkpointed(made)
            await made.reserve("R9", "A", 1)
            await made.store.write(made.pool, Release(CONTEXT, "R0", "k", 1, []))
            await adjust(made, 3, 20)
            await made.reserve("R9", "A", 2)
            async with consuming("all", made, store_server, nats_server):
                await until(lambda: expired(made, "R5"), "a hold of the checkpoint expires")
                await made.relayed()
                await audited(made)
                assert made.metric("atp_audit_begun_revision", pool=made.pool) == manifest.whole
                assert made.metric("atp_audit_violations", pool=made.pool) == 0
                assert made.metric("atp_counts_not_sums", pool=made.pool) == 0
            assert [told.reason for told in await made.exceptions("open")] == []

    asyncio.run(scenario())


async def expired(made: Engine, reservation_id: str) -> bool:
    return (await made.store.get_reservation(made.pool, reservation_id)).state == "EXPIRED"


def test_what_does_not_add_up_in_a_checkpoint_is_found_there_and_what_bends_a_rule_behind_it_too(
    store_server: StoreServer, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        async with engine("begun-wrong", store_server, nats_server) as made:
            await stock(made)
            await publish_as_a_relay_that_dies(made)
            await write_behind_its_back(made, reserved=5)
            await bring_up(made)
            manifest = await take(made.js, made.store, made.pool)
            async with consuming("auditor", made, store_server, nats_server):
                told = await made.exception(RULE_2)
                assert f"stk:A N1: revision {manifest.whole}: reserved is 5, what is open adds up to 0" in told.sentence
                await shows(made, 1, "atp_counts_not_sums", pool=made.pool)
                await write_behind_its_back(made, reserved=0)
                await made.exception(RULE_2, "resolved")
                await write_behind_its_back(made, reserved=3)
                await made.exception(RULE_2)
                assert made.metric("atp_audit_begun_revision", pool=made.pool) == manifest.whole

    asyncio.run(scenario())


def test_what_was_told_before_a_checkpoint_stays_open_for_a_person(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with engine("begun-later", store_server, nats_server) as made:
            await stock(made)
            await publish_as_a_relay_that_dies(made)
            await write_behind_its_back(made, reserved=5)
            async with consuming("auditor", made, store_server, nats_server):
                await made.exception(RULE_2)
            made.metrics.clear()
            await write_behind_its_back(made, reserved=0)
            await bring_up(made)
            await take(made.js, made.store, made.pool)
            async with consuming("auditor", made, store_server, nats_server):
                await audited(made)
                assert made.metric("atp_audit_begun_revision", pool=made.pool) > 0
                await told_if_at_all()
            assert [told.id for told in await made.exceptions("open")] == [RULE_2]

    asyncio.run(scenario())


async def bring_up(made: Engine) -> None:
    """The store takes what was written behind its back."""
    info = await made.store.pool_info(made.pool)
    await made.store.close_pool(made.pool, info.epoch)
    await open_pool(made.js, made.store, made.pool)
    await publish_as_a_relay_that_dies(made)


@asynccontextmanager
async def keeping(made: Engine, cadence: Cadence) -> AsyncIterator[None]:
    """Checkpoints are taken when they are due."""
    stop, pools = asyncio.Event(), Pools(made.js)
    pools.names = {made.pool}
    made.metrics.append(CollectorRegistry())
    work = keep_checkpoints(made.js, Stores(made.store), pools, CheckpointMetrics(made.metrics[-1]), cadence, stop)
    running = asyncio.create_task(work)
    try:
        yield
    finally:
        stop.set()
        await running


async def looked_again() -> None:
    """Time enough for what is not due to be taken."""
    await asyncio.sleep(6 * LOOK_AGAIN_S)


LOOK_AGAIN_S = 0.05


@pytest.mark.parametrize("cadence", [Cadence(hours=6, entries=5), Cadence(hours=1e-6, entries=0)], ids=["entries", "hours"])
def test_a_checkpoint_is_taken_when_it_is_due_and_again_only_if_anything_has_changed(
    store_server: StoreServer, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch, cadence: Cadence
) -> None:
    monkeypatch.setattr(checkpoint_role, "LOOK_S", LOOK_AGAIN_S)

    async def scenario() -> None:
        async with engine(f"due-{cadence.entries}", store_server, nats_server) as made, keeping(made, cadence):
            await looked_again()
            assert await checkpoints.manifests(made.js, made.pool) == [], "JetStream has nothing yet"
            await stock(made)
            await publish_as_a_relay_that_dies(made)
            await looked_again()
            if cadence.entries:
                assert await checkpoints.manifests(made.js, made.pool) == [], "4 entries"
            for sequence in range(2, 4):
                last = await adjust(made, sequence, 1)
            await publish_as_a_relay_that_dies(made)
            await shows(made, last, "atp_checkpoint_revision", pool=made.pool)
            taken = await checkpoints.manifests(made.js, made.pool)
            assert taken[0].whole == last
            await looked_again()
            assert await checkpoints.manifests(made.js, made.pool) == taken

    asyncio.run(scenario())
