"""A pool is open for one run of its store: what was lost comes back, what differs is refused; and how a pool is provisioned."""

import asyncio
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from atp.checkpoint import Manifest
from atp.errors import InvalidRequestError, RefusedError
from atp.ledger import decode_entry
from atp.model.status import ExceptionReason
from atp.model.verbs import Confirm, Park, Release, Unpark
from cli.embedded import NatsServer, StoreServer
from consumers import checkpoints, ledger_writer, streams
from consumers.checkpoint_taker import take
from consumers.ledger_writer import PositionLostError
from consumers.opening import SplitHistoryError, open_pool
from consumers.provision import provision
from tests.e2e.consuming import (
    CONTEXT,
    Engine,
    assert_whole,
    consuming,
    emptied,
    engine,
    is_open,
    ledger_of,
    publish_as_a_relay_that_dies,
    quick_store,
    reachable,
    stock,
    until,
)


@pytest.fixture(scope="module")
def store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with quick_store(tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One of its own: a relay serves every pool that it knows."""
    with NatsServer(tmp_path_factory.mktemp("nats"), sync_interval="10s") as server:
        yield server


# --- opening ------------------------------------------------------------------------------------------------------
def test_a_store_that_lost_everything_is_restored_to_the_same_contents_under_a_new_epoch(tmp_path: Path, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        with quick_store(tmp_path) as store_server:
            async with engine("lost", store_server, nats_server) as made:
                async with consuming("relay", made, store_server, nats_server):
                    await stock(made, 1000)
                    for number in range(700):
                        await made.reserve(f"R{number}", "A", 1, order=f"O{number}")
                        if number % 3 == 0:
                            await made.store.write(made.pool, Confirm(CONTEXT, f"R{number}", "k", 1, False))
                    await made.relayed()
                before = await made.contents()
                store_server.restart()  # it keeps nothing
                await until(lambda: emptied(made), "the store is empty")
                assert (await made.reserve("R-late", "A", 1)).status == "UNKNOWN_POOL"
                async with consuming("relay", made, store_server, nats_server):
                    await made.relayed()
                after = await made.contents()
                for contents in (before, after):
                    for name in (b"rev", b"epoch", b"time"):
                        contents["pool"].pop(name)
                assert after == before
                info = await made.store.pool_info(made.pool)
                assert info.epoch == 2
                await made.reserve("R-new", "A", 1)
                entries = [decode_entry(entry) for entry in await ledger_of(made)]
                assert next(entry.verb for entry in entries if entry.epoch == 2) == "open"

    asyncio.run(scenario())


def test_a_store_that_lost_its_tail_gets_it_back(tmp_path: Path, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        with StoreServer(tmp_path / "now") as store_server:
            async with engine("tail", store_server, nats_server) as made:
                await stock(made)
                backup = tmp_path / "backup"
                store_server.stop()
                copy_folder(tmp_path / "now", backup)
                store_server.start()
                async with consuming("relay", made, store_server, nats_server):
                    await until(lambda: is_open(made), "open again")
                    await made.reserve("R1", "A", 1)
                    await made.reserve("R2", "A", 2)
                    revision = await made.relayed()
                store_server.stop()
                copy_folder(backup, tmp_path / "now")
                store_server.start()
                async with consuming("relay", made, store_server, nats_server):
                    await until(lambda: is_open(made), "open again")
                    assert (await made.row("A")).reserved == 3
                    assert await made.relayed() == revision + 1
                    assert (await made.reserve("R1", "A", 1)).replayed
                    published = [decode_entry(entry).revision for entry in await ledger_of(made)]
                    assert published == list(range(1, revision + 2))

    asyncio.run(scenario())


def copy_folder(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


def test_a_restarted_store_refuses_writes_until_its_own_tail_is_in_jetstream(tmp_path: Path, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        with StoreServer(tmp_path) as store_server:
            async with engine("restart", store_server, nats_server) as made:
                await stock(made)
                assert await ledger_of(made) == []
                store_server.kill()
                store_server.start()

                async def refused() -> bool:
                    return (await made.reserve("R1", "A", 1)).status == "POOL_NOT_OPEN"

                await until(refused, "writes are refused")
                info = await open_pool(made.js, made.store, made.pool)
                assert info.epoch == 2
                assert len(await ledger_of(made)) == info.revision - 1
                assert (await made.reserve("R1", "A", 1)).status == "OK"

    asyncio.run(scenario())


def test_a_batch_that_was_on_its_way_when_the_store_died_finds_its_place_taken(tmp_path: Path, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        with StoreServer(tmp_path) as store_server:
            async with engine("late", store_server, nats_server) as made:
                await stock(made)
                before = await publish_as_a_relay_that_dies(made)
                entry = (await ledger_of(made))[-1]
                store_server.kill()
                store_server.start()
                await until(lambda: reachable(made), "the store is back")
                await open_pool(made.js, made.store, made.pool)
                with pytest.raises(PositionLostError):
                    await ledger_writer.append(made.js, made.pool, before, [entry], before.epoch)

    asyncio.run(scenario())


def test_many_may_open_a_pool_at_once_and_it_is_opened_once(tmp_path: Path, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        with StoreServer(tmp_path) as store_server:
            async with engine("race", store_server, nats_server) as made:
                await stock(made)
                store_server.restart()
                await until(lambda: reachable(made), "the store is back")
                infos = await asyncio.gather(*(open_pool(made.js, made.store, made.pool) for _ in range(5)))
                assert {info.epoch for info in infos} == {2}

    asyncio.run(scenario())


def test_with_jetstream_away_an_open_pool_goes_on_and_a_closed_one_waits(tmp_path: Path) -> None:
    async def scenario() -> None:
        with StoreServer(tmp_path / "store") as store_server, NatsServer(tmp_path / "nats") as nats_server:
            async with engine("away", store_server, nats_server) as made, consuming("relay", made, store_server, nats_server):
                await stock(made)
                await made.relayed()
                nats_server.kill()
                assert (await made.reserve("R1", "A", 1)).status == "OK"
                store_server.restart()
                await until(lambda: reachable(made), "the store is back")
                await asyncio.sleep(0.3)
                assert (await made.reserve("R2", "A", 1)).status == "POOL_NOT_OPEN"
                nats_server.start()
                await until(lambda: is_open(made), "open once JetStream is back", 40)
                assert (await made.reserve("R2", "A", 1)).status == "OK"
                await made.relayed()
                await assert_whole(made)

    asyncio.run(scenario())


def test_a_split_history_is_refused_and_told(tmp_path: Path, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        with quick_store(tmp_path) as store_server:
            async with engine("split", store_server, nats_server) as made:
                await stock(made)
                info = await made.store.pool_info(made.pool)
                records = await made.store.ledger_after(made.pool, 0, 100)
                # Another history of the same revisions is in JetStream, as after a failover to a store that was behind.
                other = [*(record.entry for record in records[:-1]), records[0].entry]
                position, _ = await ledger_writer.learn(made.js, made.pool)
                await ledger_writer.append(made.js, made.pool, position, other, info.epoch)
                await made.store._command("HSET", f"{{{made.pool}}}:pool", "run", "an-earlier-run")
                with pytest.raises(SplitHistoryError, match=f"revision {info.revision}"):
                    await open_pool(made.js, made.store, made.pool)
                async with consuming("relay", made, store_server, nats_server):
                    told = await made.exception(ExceptionReason.SPLIT_HISTORY)
                    assert f"revision {info.revision}" in told.sentence
                    assert (await made.reserve("R1", "A", 1)).status == "POOL_NOT_OPEN"

    asyncio.run(scenario())


def test_a_pool_that_could_not_go_on_is_told_to_go_on_again_once_it_does(tmp_path: Path, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        with quick_store(tmp_path) as store_server:
            async with engine("healed", store_server, nats_server) as made, consuming("relay", made, store_server, nats_server):
                await stock(made)
                await made.relayed()
                await made.store._command("HSET", f"{{{made.pool}}}:pool", "run", "an-earlier-run", "rev", 1_000)
                await made.exception(ExceptionReason.SPLIT_HISTORY)
                await made.store._command("FLUSHALL")
                await made.exception(ExceptionReason.SPLIT_HISTORY, "resolved")
                assert (await made.reserve("R1", "A", 1)).status == "OK"

    asyncio.run(scenario())


# --- with a checkpoint --------------------------------------------------------------------------------------------
async def sell(made: Engine, first: int, count: int) -> None:
    """Reserves, some of them confirmed or given back: records of each kind."""
    for number in range(first, first + count):
        await made.reserve(f"R{number}", "A", 1, order=f"O{number % 7}")
        if number % 3 == 0:
            await made.store.write(made.pool, Confirm(CONTEXT, f"R{number}", "k", 1, False))
        elif number % 3 == 1:
            await made.store.write(made.pool, Release(CONTEXT, f"R{number}", "k", 1, []))


async def checkpointed(made: Engine, *, before: int = 150, behind: int = 20) -> Manifest:
    """A pool with a checkpoint, and entries behind it, all in JetStream."""
    await stock(made, 1000)
    await sell(made, 0, before)
    await publish_as_a_relay_that_dies(made)
    manifest = await take(made.js, made.store, made.pool)
    await sell(made, before, behind)
    await publish_as_a_relay_that_dies(made)
    return manifest


async def ledgered_contents(made: Engine) -> dict[str, dict[bytes, bytes]]:
    """The keys, but for what an opening changes."""
    contents = await made.contents()
    for name in (b"rev", b"epoch", b"time"):
        contents["pool"].pop(name)
    return contents


def loaded(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says of checkpoints."""
    return [text for text in caplog.messages if "keys loaded" in text or "is passed over" in text]


def test_an_emptied_store_begins_with_the_checkpoint_and_is_the_same_again(
    tmp_path: Path, nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        with quick_store(tmp_path) as store_server:
            async with engine("checkpointed", store_server, nats_server) as made:
                manifest = await checkpointed(made)
                before = await ledgered_contents(made)
                store_server.restart()  # it keeps nothing
                await until(lambda: emptied(made), "the store is empty")
                infos = await asyncio.gather(*(open_pool(made.js, made.store, made.pool) for _ in range(3)))
                assert {info.epoch for info in infos} == {2}
                assert await ledgered_contents(made) == before
                assert loaded(caplog)[0] == f"pool checkpointed: {manifest.keys} keys loaded; going on from revision {manifest.after}"
                assert (await made.reserve("R0", "A", 1, order="O0")).replayed
                async with consuming("relay", made, store_server, nats_server):
                    await made.relayed()
                await assert_whole(made)

    with caplog.at_level(logging.INFO):
        asyncio.run(scenario())


@pytest.mark.parametrize("kept", [0, 2], ids=["both are torn", "the newer one is"])
def test_a_torn_checkpoint_is_passed_over_and_told(
    tmp_path: Path, nats_server: NatsServer, caplog: pytest.LogCaptureFixture, kept: int
) -> None:
    async def scenario() -> None:
        with quick_store(tmp_path) as store_server:
            async with engine(f"torn-{kept}", store_server, nats_server) as made:
                older = await checkpointed(made)
                newer = await take(made.js, made.store, made.pool)
                for manifest in (newer,) if kept else (newer, older):
                    await made.js.publish(streams.checkpoint_subject(made.pool, manifest.slot, 0), b"another in its place")
                before = await ledgered_contents(made)
                store_server.restart()
                await until(lambda: emptied(made), "the store is empty")
                await open_pool(made.js, made.store, made.pool)
                assert await ledgered_contents(made) == before
                said = loaded(caplog)
                assert said[0].startswith(f"pool {made.pool}: the checkpoint of revision {newer.whole} is passed over: message 1 of its")
                assert said[-1].endswith(f"going on from revision {older.after}" if kept else "is missing")

    with caplog.at_level(logging.INFO):
        asyncio.run(scenario())


@pytest.mark.parametrize("taken", ["taken", "not taken any more"])
def test_a_process_that_dies_while_it_loads_leaves_nothing_that_is_taken_for_the_pool(
    tmp_path: Path, nats_server: NatsServer, taken: str
) -> None:
    async def scenario() -> None:
        with StoreServer(tmp_path) as store_server:
            async with engine(f"killed-{len(taken)}", store_server, nats_server) as made:
                manifest = await checkpointed(made)
                before = await ledgered_contents(made)
                await made.store._command("FLUSHALL")
                pieces = [piece async for some in checkpoints.read(made.js, manifest) for piece in some]
                await made.store.bulk.begin(made.pool, "dies", 0)
                await made.store.bulk.put(made.pool, "dies", pieces[:1])
                store_server.kill()  # and the one who loads with it
                store_server.start()
                await until(lambda: reachable(made), "the store is back")
                if taken != "taken":
                    await made.js.publish(streams.checkpoint_subject(made.pool, manifest.slot, streams.MANIFEST), b"given up")
                info = await made.store.pool_info(made.pool)
                assert (info.open, info.loading, info.revision) == (False, True, 0)
                with pytest.raises(RefusedError, match="POOL_NOT_OPEN"):
                    await made.row("A")
                with pytest.raises(RefusedError, match="DUPLICATE"):  # it could still be alive
                    await open_pool(made.js, made.store, made.pool)
                with pytest.raises(RefusedError, match="POOL_NOT_OPEN"):
                    await made.row("A")
                await until(lambda: opened(made), "another took over")
                with pytest.raises(RefusedError, match="DUPLICATE"):
                    await made.store.bulk.put(made.pool, "dies", pieces[:1])
                assert await ledgered_contents(made) == before

    asyncio.run(scenario())


async def opened(made: Engine) -> bool:
    try:
        return (await open_pool(made.js, made.store, made.pool)).open
    except RefusedError:
        return False


def test_nobody_replays_into_a_store_while_a_checkpoint_is_loaded(tmp_path: Path, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        with quick_store(tmp_path) as store_server:
            async with engine("loading", store_server, nats_server) as made:
                await checkpointed(made)
                entries = await ledger_of(made)
                await made.store._command("FLUSHALL")
                await made.store.bulk.begin(made.pool, "ours", 0)
                with pytest.raises(RefusedError, match="DUPLICATE"):
                    await made.store.replay(made.pool, entries[:1])
                await made.store.bulk.end(made.pool, "ours", 0, 0, 0)
                await made.store.replay(made.pool, entries[:1])
                with pytest.raises(RefusedError, match="DUPLICATE"):  # it is elsewhere by now
                    await made.store.bulk.begin(made.pool, "theirs", 0)

    asyncio.run(scenario())


@pytest.mark.parametrize("behind", ["far behind", "not behind the checkpoint", "without its last entry", "elsewhere"])
def test_a_store_that_is_behind_is_cleared_for_a_checkpoint_only_if_that_spares_work_and_loses_nothing(
    tmp_path: Path, nats_server: NatsServer, caplog: pytest.LogCaptureFixture, behind: str
) -> None:
    async def scenario() -> None:
        with StoreServer(tmp_path / "now") as store_server:
            async with engine(behind.replace(" ", "-"), store_server, nats_server) as made:
                backup = tmp_path / "backup"
                if behind != "not behind the checkpoint":
                    await stock(made, 1000)
                    await made.store.write(made.pool, Park(CONTEXT, "B", "wms/e/B", "{}"))
                    await publish_as_a_relay_that_dies(made)
                    keep(store_server, tmp_path / "now", backup)
                    await until(lambda: reachable(made), "the store is back")
                    await open_pool(made.js, made.store, made.pool)
                    await made.store.write(made.pool, Unpark(CONTEXT, "B", "wms/e/B"))  # what is gone is in no checkpoint
                    await sell(made, 0, 150)
                    await publish_as_a_relay_that_dies(made)
                    await take(made.js, made.store, made.pool)
                else:
                    await checkpointed(made, behind=1)
                    keep(store_server, tmp_path / "now", backup)
                    await until(lambda: reachable(made), "the store is back")
                    await open_pool(made.js, made.store, made.pool)
                await sell(made, 1000, 20)
                await publish_as_a_relay_that_dies(made)
                before = await ledgered_contents(made)
                store_server.stop()
                copy_folder(backup, tmp_path / "now")
                store_server.start()
                await until(lambda: reachable(made), "the store is back")
                if behind == "without its last entry":  # whether it is JetStream's cannot be told
                    await made.store._command("DEL", f"{{{made.pool}}}:ledger")
                if behind == "elsewhere":
                    await write_alone(made)
                    with pytest.raises(SplitHistoryError):
                        await open_pool(made.js, made.store, made.pool)
                    assert "stk:A" in await made.contents(), "nothing was cleared"
                    return
                await open_pool(made.js, made.store, made.pool)
                assert await ledgered_contents(made) == before
                assert bool(loaded(caplog)) == (behind == "far behind")

    with caplog.at_level(logging.INFO):
        asyncio.run(scenario())


def keep(store_server: StoreServer, folder: Path, backup: Path) -> None:
    """A copy of what the store has on disk now; it restarts for that."""
    store_server.stop()
    copy_folder(folder, backup)
    store_server.start()


async def write_alone(made: Engine) -> None:
    """The store takes a write that JetStream is not told of, at a revision that JetStream has another entry of."""
    info = await made.store.pool_info(made.pool)
    await made.store.open(made.pool, info.epoch, info.published)
    await made.reserve("alone", "A", 1)
    await made.store.close_pool(made.pool, info.epoch + 1)


# --- provisioning -------------------------------------------------------------------------------------------------
POOL_FILE = """
[pool]
id = "shop"
[[nodes]]
id = "DC"
kind = "distribution_centre"
time_zone = "Europe/London"
authority = "wms"
[[channels]]
id = "web"
nodes = ["DC"]
[[sources]]
id = "wms"
registers_items = true
"""


def test_provisioning_makes_what_is_missing_and_changes_what_differs_and_nothing_else(
    tmp_path: Path, store_server: StoreServer, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        path = tmp_path / "shop.toml"
        path.write_text(POOL_FILE)
        first = await provision(path, lambda _: store_server.url, nats_server.url)
        assert {item.outcome for item in first.items if item.kind in {"node", "channel", "source"}} == {"made"}
        again = await provision(path, lambda _: store_server.url, nats_server.url)
        assert not again.changed
        assert {item.outcome for item in again.items} == {"unchanged"}
        path.write_text(POOL_FILE.replace("Europe/London", "Europe/Paris").replace('"web"', '"app"'))
        changed = await provision(path, lambda _: store_server.url, nats_server.url)
        outcomes = {(item.kind, item.name): item.outcome for item in changed.items}
        assert outcomes["node", "DC"] == "changed"
        assert outcomes["channel", "app"] == "made"
        assert outcomes["channel", "web"] == "kept"
        assert "changed   node DC" in str(changed)

    asyncio.run(scenario())


def test_a_file_with_mistakes_touches_nothing(tmp_path: Path, nats_server: NatsServer) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(POOL_FILE.replace("Europe/London", "Mars/Base").replace('authority = "wms"', 'authority = "nobody"'))
    with pytest.raises(InvalidRequestError) as error:
        asyncio.run(provision(path, lambda _: "redis://127.0.0.1:1", nats_server.url))
    assert {violation.field for violation in error.value.violations} == {"nodes[0].time_zone", "nodes[0].authority"}
