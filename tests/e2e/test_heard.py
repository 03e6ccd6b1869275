"""What is heard of each source on its way through real servers: every verdict, heartbeats, and a store that does not take it."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from atp import limits
from atp.errors import StoreUnavailableError
from atp.model.heard import Counts, Heard, News
from atp.store import ScriptError, Store
from cli.embedded import NatsServer, StoreServer
from consumers.known_feeds import read_feeds
from tests.e2e import commands
from tests.e2e.consuming import Engine, consuming, engine, envelope, items, quick_store, receipt, running, shows, until
from tests.e2e.test_full_snapshot import part


@pytest.fixture(scope="module")
def store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with quick_store(tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One of its own: the consumers of these tests serve every pool that it knows."""
    with NatsServer(tmp_path_factory.mktemp("nats"), sync_interval="10s") as server:
        yield server


def heartbeat(source: str, node: str = "", sequence: int = 0, **others: Any) -> dict[str, Any]:
    return envelope("heartbeat", source, {"node": node, "sequence": sequence}, **others)


async def heard(made: Engine, source: str, node: str, number: int) -> Heard:
    """What is known of a source at a node once so many events of it were heard."""

    async def known() -> Heard | None:
        found = (await read_feeds(made.store, made.pool)).heard.get((source, node))
        return found if found and found.counts.all == number else None

    found: Heard = await until(known, f"{number} events of {source} at {node!r} were heard")
    return found


def test_every_verdict_is_heard_with_its_place_and_its_time(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with running("heard", store_server, nats_server) as made:
            await made.send(items(1, "A"))
            await heard(made, "erp", "", 1)
            began = datetime.now(UTC)
            event = receipt(1, {"A": 5}, time=began - timedelta(minutes=3))
            for one in (event, event, receipt(2, {"B": 1}), {**receipt(1, {"A": 6}), "time": began - timedelta(minutes=2)}):
                await made.send(one)
            found = await heard(made, "wms", "N1", 4)
            assert found.counts == Counts(applied=1, duplicate=1, parked=1, exceptions=1)
            assert (found.sequence, found.gaps) == (2, [])
            assert int(began.timestamp() * 1000) <= found.first_ms <= found.last_ms
            assert 120_000 <= found.last_ms - found.event_ms < 180_000
            await made.send(items(2, "B"))
            await made.has("B", 1)
            assert (await heard(made, "erp", "", 2)).counts == Counts(2)
            # The later turn of what was parked is no news of its source.
            assert await heard(made, "wms", "N1", 4) == found

    asyncio.run(scenario())


def test_a_heartbeat_is_heard_and_speaks_for_every_node_of_its_source(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with running("beats", store_server, nats_server) as made:
            await made.send(heartbeat("wms", "N1", 7))
            await made.send(heartbeat("tills", "N2"))
            first = await heard(made, "wms", "N1", 1)
            assert (first.sequence, first.counts) == (7, Counts(1))
            await made.send(heartbeat("wms"))
            whole = await heard(made, "wms", "", 1)
            feeds = await read_feeds(made.store, made.pool)
            assert feeds.last_ms("wms", "N1") == feeds.last_ms("wms", "") == whole.last_ms > first.last_ms
            assert feeds.last_ms("tills", "N2") == feeds.last_ms("tills", "") < whole.last_ms

    asyncio.run(scenario())


def test_a_source_that_nobody_provisioned_is_not_heard_and_makes_no_labels(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with running("strangers", store_server, nats_server) as made:
            await made.send(heartbeat("stranger"))
            await made.send(receipt(1, {"A": 1}, source="stranger"))
            await made.send(receipt(1, {"A": 1}), f"inv.{made.pool}.tills.receipt")  # as another
            await made.send(heartbeat("wms", "N9"))
            await heard(made, "wms", "", 1)
            assert set((await read_feeds(made.store, made.pool)).heard) == {("wms", "")}
            assert made.settled("applied") == 2
            assert made.metric("atp_feed_events_total", source="other", type="heartbeat") >= 1
            assert made.metric("atp_feed_events_total", source="stranger") == 0

    asyncio.run(scenario())


def test_a_full_snapshot_closes_the_gaps_before_it_once_its_last_part_has_come(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with running("full", store_server, nats_server) as made:
            for sequence in (1, 4):
                await made.send(heartbeat("wms", "N1", sequence))
            await made.send(part(1, 2, 6, {}))
            assert (await heard(made, "wms", "N1", 3)).gaps == [(2, 3), (5, 5)]
            await made.send(part(2, 2, 6, {}))
            assert (await heard(made, "wms", "N1", 4)).gaps == []
            await made.send(heartbeat("wms", "N1", 8))
            assert (await heard(made, "wms", "N1", 5)).gaps == [(7, 7)]

    asyncio.run(scenario())


def test_two_workers_tell_of_one_source_together(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with running("together", store_server, nats_server) as made, consuming("feeds", made, store_server, nats_server):
            count = 4 * limits.FEED_FETCH_MAX
            await asyncio.gather(*(made.send(heartbeat("wms", "N1", number)) for number in range(1, count + 1) if number != 99))
            found = await heard(made, "wms", "N1", count - 1)
            assert (found.sequence, found.gaps) == (count, [(99, 99)])

    asyncio.run(scenario())


@pytest.mark.parametrize("error", [StoreUnavailableError("away"), ScriptError("a bug")], ids=["away", "a bug"])
def test_what_cannot_be_told_holds_no_event_up(
    error: Exception, store_server: StoreServer, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    untold: list[News] = []
    is_bug = isinstance(error, ScriptError)

    async def fails(_store: Store, _pool: str, news: list[News]) -> None:
        untold.extend(one for one in news if one.source == "wms")
        raise error

    async def scenario() -> None:
        async with running(f"untold-{is_bug:d}", store_server, nats_server) as made:
            with monkeypatch.context() as patch:
                patch.setattr(Store, "tell_heard", fails)
                await made.send(items(1, "A"))
                for number in range(1, 4):
                    await made.send(receipt(number, {"A": 1}))
                await made.has("A", 3)
                await until(lambda: _is(any(3 in one.come for one in untold)), "the store was told of the last")
            await made.send(receipt(4, {"A": 1}))
            # While the store was away it was kept in mind; what met a bug is not told again and again.
            assert (await heard(made, "wms", "N1", 1 if is_bug else 4)).sequence == 4

    asyncio.run(scenario())


def test_a_consumer_that_ends_tells_what_it_heard(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with engine("ending", store_server, nats_server) as made:
            for number in range(1, 6):
                await made.send(heartbeat("wms", "N1", number))
            async with consuming("feeds", made, store_server, nats_server):
                await until(lambda: _is(made.settled("applied") == 5), "all are settled")
            assert (await heard(made, "wms", "N1", 5)).sequence == 5

    asyncio.run(scenario())


def test_what_was_heard_is_no_part_of_the_ledger(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with running("unledgered", store_server, nats_server) as made:
            await made.send(items(1, "A"))
            await heard(made, "erp", "", 1)

    asyncio.run(scenario())
    servers = ["--pool", "unledgered", "--store-url", store_server.url, "--nats-url", nats_server.url]
    assert commands.run("verify", *servers).code == 0
    assert commands.run("rebuild", *servers, "--json").json["equal"] is True


async def _is(true: bool) -> bool:
    return true


def test_what_was_heard_is_shown_to_prometheus(store_server: StoreServer, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with running("shown", store_server, nats_server) as made:
            await made.send(heartbeat("wms", "N1", 1, time=datetime.now(UTC) - timedelta(hours=1)))
            await made.send(heartbeat("wms", "N1", 4, time=datetime.now(UTC) - timedelta(hours=1)))
            who = {"pool": made.pool, "source": "wms", "node": "N1"}
            await shows(made, 2, "atp_feed_sequence_gaps", **who)
            assert 3_600 <= made.metric("atp_feed_lag_seconds", **who) < 3_660
            assert made.metric("atp_feed_rhythm_seconds", pool=made.pool, source="wms") == 0
            last = (await heard(made, "wms", "N1", 2)).last_ms / 1000
            assert made.metric("atp_feed_last_heard_seconds", **who) == last
            assert 0 <= made.metric("atp_feed_silent_seconds", **who) <= datetime.now(UTC).timestamp() - last

    asyncio.run(scenario())
