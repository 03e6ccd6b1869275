"""The ledger's way to JetStream and back: whole, once, in order, whatever dies in between."""

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from atp.errors import InvalidRequestError
from atp.exceptions import SPLIT_HISTORY
from atp.ledger import decode_entry
from atp.model.status import ExceptionReason
from atp.model.verbs import Adjust, Confirm, Figures, ItemLine, Register
from cli.embedded import NatsServer, StoreServer
from consumers import bootstrap, ledger_writer, streams
from consumers.ledger_reader import LedgerGapError, read_ledger
from consumers.ledger_writer import Position, PositionLostError
from consumers.opening import SplitHistoryError, open_pool
from consumers.provision import provision
from consumers.publisher import Publisher, StaleStoreError
from tests.e2e.consuming import CONTEXT, Engine, consuming, engine, quick_store, until


@pytest.fixture(scope="module")
def store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with quick_store(tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One of its own: a relay serves every pool that it knows."""
    with NatsServer(tmp_path_factory.mktemp("nats"), sync_interval="10s") as server:
        yield server


async def adjust(made: Engine, sequence: int, on_hand: int, sku: str = "A") -> int:
    request = Adjust(CONTEXT, f"e{sequence}", "receipt", "wms", "N1", sequence, 1, [Figures(sku, on_hand, 0, 0)])
    result = await made.store.write(made.pool, request)
    assert result.status == "OK"
    return result.revision


async def stock(made: Engine, units: int = 100, sku: str = "A") -> None:
    assert (await made.store.write(made.pool, Register(CONTEXT, "i", "erp", 1, 1, [ItemLine(sku, 0)]))).status == "OK"
    await adjust(made, 1, units, sku)


async def ledger_of(made: Engine, after: int = 0) -> list[bytes]:
    return [entry async for entries in read_ledger(made.js, made.pool, after) for entry in entries]


async def assert_whole(made: Engine) -> None:
    """JetStream has every revision once, each as the store has it."""
    published = await ledger_of(made)
    revision = (await made.store.pool_info(made.pool)).revision
    assert [decode_entry(entry).revision for entry in published] == list(range(1, revision + 1))
    for record in await made.store.ledger_after(made.pool, 0, revision):
        assert published[record.revision - 1] == record.entry


async def publish_as_a_relay_that_dies(made: Engine) -> Position:
    """Carries what is new to JetStream, and tells neither the store nor the exceptions."""
    position, _ = await ledger_writer.learn(made.js, made.pool)
    records = await made.store.ledger_after(made.pool, position.revision, 500)
    epoch = ledger_writer.decode_head(records[-1].entry).epoch
    return await ledger_writer.append(made.js, made.pool, position, [record.entry for record in records], epoch)


# --- relaying -----------------------------------------------------------------------------------------------------
def test_every_change_reaches_jetstream_once_and_in_order(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with engine("order", store_server, nats_server) as made, consuming("relay", made, store_server, nats_server):
            await stock(made, 10_000)
            for wave in range(5):
                await asyncio.gather(*(made.reserve(f"R{wave}-{number}", "A", 1) for number in range(400)))
            assert await made.relayed() > 2000
            await assert_whole(made)

    asyncio.run(scenario())


def test_two_relays_publish_one_ledger(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with (
            engine("two", store_server, nats_server) as made,
            consuming("relay", made, store_server, nats_server),
            consuming("relay", made, store_server, nats_server),
        ):
            await stock(made, 10_000)
            for wave in range(20):
                await asyncio.gather(*(made.reserve(f"R{wave}-{number}", "A", 1) for number in range(50)))
            await made.relayed()
            await assert_whole(made)

    asyncio.run(scenario())


def test_a_relay_that_died_between_publishing_and_telling_the_store_is_taken_over_without_a_double_or_a_loss(
    store_server: StoreServer, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        async with engine("killed", store_server, nats_server) as made:
            await stock(made, 5)
            await made.reserve("R1", "A", 5)
            await adjust(made, 2, -3)  # overcommitted: an exception that the dead relay did not publish
            await publish_as_a_relay_that_dies(made)
            assert await made.exceptions() == []
            async with consuming("relay", made, store_server, nats_server):
                await made.relayed()
                told = await made.exception("over:N1:A")
                assert (told.reason, told.quantity) == (ExceptionReason.OVERCOMMITTED, 3)
                await adjust(made, 3, 1)
                await made.relayed()
                await assert_whole(made)

    asyncio.run(scenario())


def test_an_overcommitted_sku_names_the_orders_at_risk_newest_first_until_stock_covers_them(
    store_server: StoreServer, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        async with engine("risk", store_server, nats_server) as made, consuming("relay", made, store_server, nats_server):
            await stock(made, 200)
            for number in range(105):
                await made.reserve(f"R{number:03}", "A", 1, order=f"O{number:03}")
                await asyncio.sleep(0.001)  # the next millisecond: newest first is by creation
            await made.store.write(made.pool, Confirm(CONTEXT, "R104", "k", 1, False))
            await adjust(made, 2, -190)
            told = await made.exception("over:N1:A")
            assert (told.sku, told.node, told.quantity, told.state) == ("A", "N1", 95, "open")
            assert [order.order_reference for order in told.orders_at_risk] == [f"O{number:03}" for number in range(104, 4, -1)]
            assert told.orders_at_risk[0].state == "CONFIRMED"
            assert told.more_at_risk
            await adjust(made, 3, 190)
            resolved = await made.exception("over:N1:A", "resolved")
            assert resolved.orders_at_risk == []

    asyncio.run(scenario())


def test_a_relay_keeps_up_and_is_never_far_behind(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with engine("quick", store_server, nats_server) as made, consuming("relay", made, store_server, nats_server):
            await stock(made)
            await made.relayed()
            loop = asyncio.get_running_loop()
            delays = []
            for number in range(20):
                revision = (await made.reserve(f"R{number}", "A", 1)).revision
                began = loop.time()
                await made.relayed(revision)
                delays.append(loop.time() - began)
            assert sorted(delays)[len(delays) // 2] < 0.25, "far more than it takes, for a busy machine"

    asyncio.run(scenario())


def test_a_late_publish_from_before_an_opening_is_refused(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with engine("fence", store_server, nats_server) as made:
            await stock(made)
            old, _ = await ledger_writer.learn(made.js, made.pool)
            late = await made.store.ledger_after(made.pool, old.revision, 500)
            publisher = Publisher(made.js, made.store, made.pool)
            await publisher.learn()
            await publisher.fence(2)
            with pytest.raises(PositionLostError):
                await ledger_writer.append(made.js, made.pool, old, [record.entry for record in late], 1)
            await publisher.learn()
            with pytest.raises(StaleStoreError):
                await publisher.publish(late)
            assert await ledger_of(made) == []

    asyncio.run(scenario())


def test_the_sweeper_gives_back_a_hold_that_is_due_although_nobody_writes(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with engine("sweep", store_server, nats_server) as made, consuming("sweeper", made, store_server, nats_server):
            await stock(made)
            held = await made.reserve("R1", "A", 1, ttl_ms=1_000)

            async def given_back() -> bool:
                records = await made.store.ledger_after(made.pool, held.revision, 10)
                return [decode_entry(record.entry).verb for record in records] == ["expire"]

            await until(given_back, "the hold has expired")

    asyncio.run(scenario())


def test_servers_that_are_not_there_yet_are_waited_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        with StoreServer(tmp_path / "store") as store_server, NatsServer(tmp_path / "nats") as nats_server:
            async with engine("first", store_server, nats_server) as made:
                await stock(made)
            store_server.stop()
            nats_server.stop()
            ready, stop = asyncio.Event(), asyncio.Event()
            work = asyncio.create_task(bootstrap.consume("all", store_server.url, nats_server.url, stop=stop, on_ready=ready.set))
            await asyncio.sleep(0.3)
            assert not ready.is_set()
            nats_server.start()
            store_server.start()
            await asyncio.wait_for(ready.wait(), 20)
            async with engine("first", store_server, nats_server, provisioned=False) as made:
                await made.relayed()
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work

    asyncio.run(scenario())


def test_a_role_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="feeds, relay, sweeper or all"):
        asyncio.run(bootstrap.consume("cook", "redis://127.0.0.1:1", "nats://127.0.0.1:1"))


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
                assert await made.reserve("R-new", "A", 1)
                entries = [decode_entry(entry) for entry in await ledger_of(made)]
                assert next(entry.verb for entry in entries if entry.epoch == 2) == "open"

    asyncio.run(scenario())


async def emptied(made: Engine) -> bool:
    return (await made.store.pool_info(made.pool)).revision == 0 and made.store.connected


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
    import shutil

    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


async def is_open(made: Engine) -> bool:
    return (await made.store.pool_info(made.pool)).open


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


async def reachable(made: Engine) -> bool:
    await made.store.pool_info(made.pool)
    return made.store.connected


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


def test_a_split_history_is_refused_told_and_healed_by_emptying_the_store(tmp_path: Path, nats_server: NatsServer) -> None:
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
                    told = await made.exception(SPLIT_HISTORY)
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
                await made.exception(SPLIT_HISTORY)
                await made.store._command("FLUSHALL")
                await made.exception(SPLIT_HISTORY, "resolved")
                assert (await made.reserve("R1", "A", 1)).status == "OK"

    asyncio.run(scenario())


# --- reading ------------------------------------------------------------------------------------------------------
def test_the_ledger_can_be_read_from_any_revision_and_followed(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with engine("read", store_server, nats_server) as made, consuming("relay", made, store_server, nats_server):
            await stock(made)
            for number in range(30):
                await made.reserve(f"R{number}", "A", 1)
                await asyncio.sleep(0.003)
            revision = await made.relayed()
            for after in (0, 1, revision // 2, revision - 1, revision):
                read = [decode_entry(entry).revision for entry in await ledger_of(made, after)]
                assert read == list(range(after + 1, revision + 1))
            async with contextlib.aclosing(read_ledger(made.js, made.pool, revision, follow=True)) as following:
                coming = asyncio.ensure_future(anext(following))
                await asyncio.sleep(0.1)
                assert not coming.done()
                await made.reserve("R-next", "A", 1)
                (entry,) = await asyncio.wait_for(coming, 10)
                assert decode_entry(entry).cause == "R-next"

    asyncio.run(scenario())


def test_a_gap_in_the_ledger_is_an_error(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with engine("gap", store_server, nats_server) as made:
            await stock(made)
            position = await publish_as_a_relay_that_dies(made)
            entry = (await ledger_of(made))[-1]
            skipped = position._replace(revision=position.revision + 1)
            await ledger_writer.append(made.js, made.pool, skipped, [entry], 1)
            with pytest.raises(LedgerGapError, match=f"from revision {position.revision} to {position.revision + 2}"):
                await ledger_of(made)

    asyncio.run(scenario())


def test_nobody_can_delete_from_a_ledger(store_server: StoreServer, nats_server: NatsServer) -> None:
    from nats.js.errors import APIError

    async def scenario() -> None:
        async with engine("kept", store_server, nats_server) as made:
            await stock(made)
            await publish_as_a_relay_that_dies(made)
            with pytest.raises(APIError):
                await made.js.delete_msg(streams.ledger_stream(made.pool), 1)
            with pytest.raises(APIError):
                await made.js.purge_stream(streams.ledger_stream(made.pool))

    asyncio.run(scenario())


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
        first = await provision(path, store_server.url, nats_server.url)
        assert {item.outcome for item in first.items if item.kind in {"node", "channel", "source"}} == {"made"}
        again = await provision(path, store_server.url, nats_server.url)
        assert not again.changed
        assert {item.outcome for item in again.items} == {"unchanged"}
        path.write_text(POOL_FILE.replace("Europe/London", "Europe/Paris").replace('"web"', '"app"'))
        changed = await provision(path, store_server.url, nats_server.url)
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
        asyncio.run(provision(path, "redis://127.0.0.1:1", nats_server.url))
    assert {violation.field for violation in error.value.violations} == {"nodes[0].time_zone", "nodes[0].authority"}


def test_what_is_told_says_when(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with engine("when", store_server, nats_server) as made, consuming("relay", made, store_server, nats_server):
            await stock(made, 1)
            await made.reserve("R1", "A", 1)
            await adjust(made, 2, -1)
            told = await made.exception("over:N1:A")
            assert abs((datetime.now(UTC) - told.time).total_seconds()) < 60
            assert told.revision == await made.relayed()

    asyncio.run(scenario())
