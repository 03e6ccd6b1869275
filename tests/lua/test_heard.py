"""What was heard of sources, merged in the store: by many workers, late, twice, and never more than is provisioned."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from atp import limits
from atp.audit import is_operational
from atp.errors import RefusedError
from atp.model.heard import Counts, Heard, News
from atp.model.verbs import Provision, SourceConfig
from atp.store import Store
from cli.embedded import StoreServer
from consumers.heard import ranges
from consumers.known_feeds import read_feeds
from tests.pair import CONTEXT, Pair

T = 1_700_000_000_000


def news(*come: int, source: str = "wms", node: str = "N1", at: int = T, **others: Any) -> News:
    """One worker heard these sequences, and applied each."""
    said = {"first_ms": at, "last_ms": at, "event_ms": at - 500, "whole_beat_ms": 0, "counts": Counts(len(come))}
    return News(source, node, **{**said, **others}, come=ranges(set(come)))


class Pool:
    def __init__(self, pair: Pair) -> None:
        self.name = pair.pool
        self.store: Store = pair.store

    async def hears(self, *heard: News) -> None:
        await self.store.tell_heard(self.name, list(heard))

    async def known(self, source: str = "wms", node: str = "N1") -> Heard:
        return (await read_feeds(self.store, self.name)).heard[source, node]


@asynccontextmanager
async def opened(server: StoreServer) -> AsyncIterator[Pool]:
    pair = Pair(server.url)
    await pair.start()
    try:
        yield Pool(pair)
    finally:
        await pair.close()


def played(server: StoreServer, scenario: Callable[[Pool], Coroutine[Any, Any, None]]) -> None:
    async def play() -> None:
        async with opened(server) as pool:
            await scenario(pool)

    asyncio.run(play())


def test_what_several_workers_heard_is_added_up_and_the_latest_event_tells_the_lag(store_server: StoreServer) -> None:
    async def scenario(pool: Pool) -> None:
        await pool.hears(news(3, 4, at=T + 2_000, event_ms=T + 1_100))
        await pool.hears(news(1, 2, at=T, first_ms=T - 50, counts=Counts(0, 1, 1, 2)), news(7, node="N2"))
        assert await pool.known() == Heard(T - 50, T + 2_000, T + 1_100, 0, 4, Counts(2, 1, 1, 2), [])
        assert (await pool.known(node="N2")).counts == Counts(1)

    played(store_server, scenario)


def test_what_is_missing_below_the_highest_is_known_and_a_late_one_closes_its_gap(store_server: StoreServer) -> None:
    async def scenario(pool: Pool) -> None:
        await pool.hears(news(10, 11))
        await pool.hears(news(20))
        assert (await pool.known()).gaps == [(12, 19)]
        await pool.hears(news(14, 15))
        assert (await pool.known()).gaps == [(12, 13), (16, 19)]
        await pool.hears(news(12, 13, 19))
        found = await pool.known()
        assert (found.gaps, found.missing_events, found.sequence) == ([(16, 18)], 3, 20)
        await pool.hears(news(16, 17, 18, 21))
        assert ((await pool.known()).gaps, (await pool.known()).sequence) == ([], 21)

    played(store_server, scenario)


def test_what_came_before_anybody_listened_is_not_missing(store_server: StoreServer) -> None:
    async def scenario(pool: Pool) -> None:
        await pool.hears(news(5_000, 5_002))
        await pool.hears(news(4_990))
        assert (await pool.known()).gaps == [(5_001, 5_001)]

    played(store_server, scenario)


@pytest.mark.parametrize("seed", range(8))
def test_any_order_and_doubling_of_a_stream_leaves_what_never_came(seed: int, valkey: StoreServer) -> None:
    chance = random.Random(seed)
    lost = set(chance.sample(range(2, 300), 6))
    stream = [sequence for sequence in range(2, 300) if sequence not in lost] * 2
    stream.sort(key=lambda sequence: sequence + chance.uniform(0, 12))

    async def scenario(pool: Pool) -> None:
        await pool.hears(news(1))
        while stream:
            size = chance.randint(1, 40)
            await pool.hears(news(*stream[:size]))
            del stream[:size]
        missing = [sequence for low, high in (await pool.known()).gaps for sequence in range(low, high + 1)]
        assert missing == sorted(lost - {299})

    played(valkey, scenario)


def test_of_many_gaps_the_oldest_are_forgotten(store_server: StoreServer) -> None:
    async def scenario(pool: Pool) -> None:
        count = limits.GAPS_KEPT_MAX + 4
        await pool.hears(news(*range(1, 2 * count + 2, 2)))
        assert (await pool.known()).gaps == [(even, even) for even in range(2 * 5, 2 * count + 1, 2)]

    played(store_server, scenario)


def test_a_whole_full_snapshot_says_what_those_before_it_would_have_said(store_server: StoreServer) -> None:
    async def scenario(pool: Pool) -> None:
        await pool.hears(news(1, 5))
        await pool.hears(news(9, 12, whole=9))
        assert (await pool.known()).gaps == [(10, 11)]

    played(store_server, scenario)


def test_a_source_without_a_count_of_its_own_misses_nothing(store_server: StoreServer) -> None:
    async def scenario(pool: Pool) -> None:
        tills = SourceConfig("tills", False, order="time")
        assert (await pool.store.write(pool.name, Provision(CONTEXT, [], [], [tills]))).status == "OK"
        await pool.hears(news(1, 9, source="tills"), news(20, source="tills", whole=7))  # numbers that it need not give, and may
        found = await pool.known("tills")
        assert (found.sequence, found.gaps, found.counts) == (0, [], Counts(3))

    played(store_server, scenario)


def test_nobody_who_is_not_provisioned_takes_up_a_place(store_server: StoreServer) -> None:
    async def scenario(pool: Pool) -> None:
        await pool.hears(news(1, source="stranger"), *(news(1, 5, node=f"N{number}") for number in range(50, 60)))
        assert set((await read_feeds(pool.store, pool.name)).heard) == {("wms", "")}
        found = await pool.known(node="")
        assert (found.sequence, found.gaps, found.counts) == (0, [], Counts(20))

    played(store_server, scenario)


def test_a_pool_that_is_closed_or_unknown_hears_nothing_and_the_ledger_tells_nothing(store_server: StoreServer) -> None:
    async def scenario(pool: Pool) -> None:
        before = await pool.store.pool_info(pool.name)
        await pool.hears(news(1))
        assert await pool.store.pool_info(pool.name) == before
        assert {name for name in await pool.store.scan_keys(pool.name) if is_operational(name)} == {"ledger", "fed"}
        await pool.store.close_pool(pool.name, before.epoch)
        with pytest.raises(RefusedError, match="POOL_NOT_OPEN"):
            await pool.hears(news(2))
        with pytest.raises(RefusedError, match="UNKNOWN_POOL"):
            await pool.store.tell_heard("nowhere", [news(1)])
        assert (await pool.known()).sequence == 1

    played(store_server, scenario)
