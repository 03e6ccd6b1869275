"""The store layer on real servers: reads, servers that go away and come back, calls that nobody answers."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from atp import limits, requests
from atp.errors import CallTimeoutError, RefusedError, StoreBusyError, StoreUnavailableError
from atp.model.verbs import Adjust, Expire, Figures, ItemLine, Park, Register, Reserve, Unpark
from atp.store import Store
from cli.embedded import StoreServer
from tests.pair import CONTEXT, WORLD, Pair

SKUS = [f"SKU-{number}" for number in range(12)]


def reserve(reservation_id: str, sku: str = SKUS[0], ttl_ms: int = 60_000) -> Reserve:
    return requests.reserve(
        CONTEXT,
        reservation_id=reservation_id,
        own_id=False,
        channel="web",
        order_reference="",
        ttl_ms=ttl_ms,
        partial=False,
        nodes=[],
        lines=[(sku, 1)],
    )


async def stocked(pair: Pair) -> Store:
    await pair.start()
    await pair.store.write(pair.pool, Register(CONTEXT, "e", "erp", 1, 1, [ItemLine(sku, 0) for sku in SKUS]))
    await pair.store.write(pair.pool, Adjust(CONTEXT, "e", "receipt", "wms", "N1", 1, 1, [Figures(sku, 10, 0, 0) for sku in SKUS]))
    return pair.store


def test_what_waits_is_read_in_pieces_and_what_waits_no_longer_by_then_is_left_out(store_server: StoreServer) -> None:
    async def play() -> None:
        pair = Pair(store_server.url)
        store = await stocked(pair)
        keys = [f"wms/e{number}/X" for number in range(2 * limits.WAITING_READ_MAX + 1)]
        for key in keys:
            assert (await store.write(pair.pool, Park(CONTEXT, "X", key, key))).status == "OK"
        pages = []
        async for page in store.waiting(pair.pool, "X"):
            pages.append(page)
            await store.write(pair.pool, Unpark(CONTEXT, "X", keys[-1]))
        assert max(map(len, pages)) == limits.WAITING_READ_MAX
        assert {key: original for page in pages for key, original in page.items()} == dict(zip(keys[:-1], keys[:-1], strict=True))
        assert [await store.parked(pair.pool, "X", key) for key in (keys[0], keys[-1])] == [keys[0], None]
        await pair.close()

    asyncio.run(play())


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[StoreServer]:
    """A durable server of the test's own, to be killed."""
    with StoreServer(tmp_path) as server:
        yield server


def test_reads_leave_due_holds_out_and_change_nothing(store_server: StoreServer) -> None:
    async def play() -> None:
        pair = Pair(store_server.url)
        store = await stocked(pair)
        await store.write(pair.pool, reserve("R1", ttl_ms=1_000))
        pair.now_ms += 1_000
        before = await store.pool_info(pair.pool)
        (line,) = (await store.availability(pair.pool, "web", [], SKUS[:1])).lines
        explained = await store.explain(pair.pool, SKUS[0], "N1")
        assert (line.rows[0][1].reserved, explained.row.reserved, explained.due) == (0, 0, 1)
        assert (await store.get_reservation(pair.pool, "R1")).state == "EXPIRED"
        assert await store.pool_info(pair.pool) == before
        await pair.close()

    asyncio.run(play())


def test_a_read_that_meets_too_many_due_holds_has_them_given_back_first(valkey: StoreServer) -> None:
    async def play() -> None:
        pair = Pair(valkey.url, {"REAP_ROWS_MAX": 2})
        store = await stocked(pair)
        for number in range(5):
            await store.write(pair.pool, reserve(f"R{number}", ttl_ms=1_000))
        pair.now_ms += 1_000
        (line,) = (await store.availability(pair.pool, "web", [], SKUS[:1])).lines
        assert line.rows[0][1].reserved == 0
        assert (await store.explain(pair.pool, SKUS[0], "N1")).due == 0
        await pair.close()

    asyncio.run(play())


def test_a_large_read_is_split_and_each_line_carries_its_revision(valkey: StoreServer) -> None:
    async def play() -> None:
        pair = Pair(valkey.url, {"SCRIPT_ROWS_MAX": 5})
        store = await stocked(pair)
        asked = [*SKUS, "nobody's"]
        found = await store.availability(pair.pool, "web", [], asked)
        assert [line.sku for line in found.lines] == asked
        assert [line.item is None for line in found.lines] == [False] * len(SKUS) + [True]
        assert {line.revision for line in found.lines} == {(await store.pool_info(pair.pool)).revision}
        await pair.close()

    asyncio.run(play())


def test_scripts_that_the_server_forgot_are_sent_again(valkey: StoreServer) -> None:
    async def play() -> None:
        pair = Pair(valkey.url)
        store = await stocked(pair)
        with redis.Redis.from_url(valkey.url) as server:
            server.script_flush()
        results = await asyncio.gather(*(store.write(pair.pool, reserve(f"R{number}")) for number in range(10)))
        assert [result.status for result in results] == ["OK"] * 10
        await pair.close()

    asyncio.run(play())


def test_a_killed_store_fails_calls_at_once_and_is_found_again_closed_until_it_is_opened(own_server: StoreServer) -> None:
    async def play() -> None:
        store = await Store.connect(own_server.url)
        await store.open("p", 0, 0)
        await store.write("p", WORLD)
        own_server.pause()  # the call is on its way when the server dies
        call = asyncio.create_task(store.write("p", Expire(CONTEXT)))
        await asyncio.sleep(0.05)
        own_server.kill()
        with pytest.raises(StoreUnavailableError) as lost:
            await call
        assert lost.value.outcome_unknown
        with pytest.raises(StoreUnavailableError) as away:
            await store.write("p", Expire(CONTEXT))
        assert not away.value.outcome_unknown
        own_server.restart()
        async with asyncio.timeout(10):
            while not store.connected:  # noqa: ASYNC110 (a caller can only look)
                await asyncio.sleep(0.02)
        assert (await store.write("p", Expire(CONTEXT))).status == "POOL_NOT_OPEN"
        assert not (await store.pool_info("p")).open
        assert (await store.availability("p", "web", [], ["A"])).lines[0].item is None, "reads go on"
        await store.open("p", 1, 0)
        assert (await store.write("p", Expire(CONTEXT))).status == "OK"
        await store.close()

    asyncio.run(play())


def test_a_pool_that_is_closed_takes_no_write_from_anyone_until_it_is_opened(valkey: StoreServer) -> None:
    async def play() -> None:
        pair = Pair(valkey.url)
        store = await stocked(pair)
        assert (await store.close_pool(pair.pool, expected_epoch=7)).status == "DUPLICATE", "another epoch: another has opened it"
        assert (await store.write(pair.pool, Expire(CONTEXT))).status == "OK"
        assert (await store.close_pool(pair.pool, expected_epoch=1)).status == "OK"
        assert (await store.write(pair.pool, Expire(CONTEXT))).status == "POOL_NOT_OPEN"
        await store.open(pair.pool, 1, 0)
        assert (await store.write(pair.pool, Expire(CONTEXT))).status == "OK"
        await pair.close()

    asyncio.run(play())


def test_a_pool_that_is_half_there_answers_no_caller_until_it_is_opened(own_server: StoreServer, valkey: StoreServer) -> None:
    async def play() -> None:
        pair = Pair(valkey.url)
        store = await stocked(pair)
        await store.write(pair.pool, reserve("R1"))
        entries = [record.entry for record in await store.ledger_after(pair.pool, 0, 1_000)]
        made_again = await Store.connect(own_server.url)
        await made_again.replay(pair.pool, entries[:-1])
        for read in (
            made_again.availability(pair.pool, "web", [], [SKUS[0]]),
            made_again.explain(pair.pool, SKUS[0], "N1"),
            made_again.get_reservation(pair.pool, "R1"),
        ):
            with pytest.raises(RefusedError) as refused:
                await read
            assert refused.value.status == "POOL_NOT_OPEN"
        assert await made_again.open_reservations(pair.pool, 0, 10) == [], "the engine itself may look"
        await made_again.replay(pair.pool, entries[-1:])
        await made_again.open(pair.pool, 1, 0)
        assert (await made_again.get_reservation(pair.pool, "R1")).state == "HELD"
        await made_again.close()
        await pair.close()

    asyncio.run(play())


def test_a_history_that_changes_under_a_living_connection_is_noticed(own_server: StoreServer, tmp_path: Path) -> None:
    """The first replica gives its primary a new replication id, and breaks no connection."""

    async def play() -> None:
        old = await Store.connect(own_server.url)
        await old.open("p", 0, 0)
        with StoreServer(tmp_path / "replica") as replica, redis.Redis.from_url(replica.url) as server:
            server.replicaof("127.0.0.1", own_server.port)
            async with asyncio.timeout(20):
                while server.info("replication")["master_link_status"] != "up":  # noqa: ASYNC110 (it can only be asked)
                    await asyncio.sleep(0.05)
        new = await Store.connect(own_server.url)
        assert not (await new.pool_info("p")).open
        await new.open("p", 1, 0)
        async with asyncio.timeout(10):
            while (await old.write("p", Expire(CONTEXT))).status != "OK":  # noqa: ASYNC110 (a caller can only try)
                await asyncio.sleep(0.05)
        await old.close()
        await new.close()

    asyncio.run(play())


def test_a_store_that_does_not_answer_costs_a_call_its_deadline_and_its_neighbours_nothing(own_server: StoreServer) -> None:
    async def play() -> None:
        store = await Store.connect(own_server.url)
        await store.open("p", 0, 0)
        own_server.pause()
        patient = asyncio.create_task(store.write("p", WORLD, timeout_s=30))
        with pytest.raises(CallTimeoutError):
            await store.write("p", Expire(CONTEXT), timeout_s=0.1)
        with pytest.raises(CallTimeoutError, match="nothing was done"):
            await store.write("p", Expire(CONTEXT), timeout_s=0)
        own_server.resume()
        assert (await patient).revision == 2, "each reply finds its own call"
        assert (await store.write("p", Expire(CONTEXT))).status == "OK"
        await store.close()

    asyncio.run(play())


def test_calls_in_flight_are_bounded(own_server: StoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        store = await Store.connect(own_server.url)
        await store.open("p", 0, 0)
        monkeypatch.setattr(limits, "CALLS_IN_FLIGHT_MAX", 5)
        own_server.pause()
        calls = [asyncio.create_task(store.write("p", Expire(CONTEXT))) for _ in range(5)]
        await asyncio.sleep(0)
        with pytest.raises(StoreBusyError):
            await store.write("p", Expire(CONTEXT))
        own_server.resume()
        assert {result.status for result in await asyncio.gather(*calls)} == {"OK"}
        await store.close()

    asyncio.run(play())


def test_unknown_names_are_refused_by_name(valkey: StoreServer) -> None:
    async def play() -> None:
        pair = Pair(valkey.url)
        store = await stocked(pair)
        for call, status in (
            (store.availability("nowhere", "web", [], ["A"]), "UNKNOWN_POOL"),
            (store.availability(pair.pool, "fax", [], ["A"]), "UNKNOWN_CHANNEL"),
            (store.availability(pair.pool, "web", ["N9"], ["A"]), "UNKNOWN_NODE"),
            (store.availability(pair.pool, "shop", ["N1"], ["A"]), "NODE_NOT_IN_CHANNEL"),
            (store.explain(pair.pool, "nobody's", "N1"), "UNKNOWN_SKU"),
            (store.explain(pair.pool, SKUS[0], "N9"), "UNKNOWN_NODE"),
            (store.get_reservation(pair.pool, "RX"), "UNKNOWN_RESERVATION"),
        ):
            with pytest.raises(RefusedError) as refused:
                await call
            assert refused.value.status == status
        await pair.close()

    asyncio.run(play())


def test_a_cancelled_task_ends_wherever_it_was(own_server: StoreServer) -> None:
    async def play() -> None:
        store = await Store.connect(own_server.url)

        async def again_and_again() -> None:
            while True:
                await store.pool_info("none")

        for turns_of_the_loop in range(100):
            task = asyncio.create_task(again_and_again())
            for _ in range(turns_of_the_loop):
                await asyncio.sleep(0)
            task.cancel()
            done, _ = await asyncio.wait([task], timeout=10)
            assert done, f"cancelled after {turns_of_the_loop} turns, it goes on"
        await store.close()

    asyncio.run(play())
