"""The replay in memory makes what the store holds, at every revision, from nothing but the ledger."""

import asyncio
from typing import Any

import msgspec
import pytest
import redis

from atp import limits
from atp.ledger import Entry, decode_entry
from atp.model.verbs import Result
from atp.replay import EXPIRED_KEPT_MS, Expiries, Replay, ReplayError
from atp.store.store import Write
from cli.embedded import StoreServer
from tests.selling import Selling

HOUR_MS = 3_600_000


def entry(revision: int, *images: list[Any], time_ms: int = 1_000, epoch: int = 1) -> Entry:
    """An entry as the scripts write it."""
    return decode_entry(msgspec.msgpack.encode([1, revision, epoch, time_ms, "reserve", "R1", "", "", [], list(images), []]))


class Followed(Selling):
    """Replays the ledger after every verb, and compares."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.replay = Replay()

    async def do(self, request: Write) -> Result:
        result = await super().do(request)
        for data in await self.entries(self.replay.revision):
            self.replay.apply(decode_entry(data))
        names = [name for name in await self.store.scan_keys(self.pool) if name not in {"ledger", "pool"}]
        revision, stored = await self.store.read_keys(self.pool, names)
        assert revision == self.replay.revision
        assert stored == self.replay.keys
        return result


def test_the_replay_makes_the_store_at_every_revision(store_server: StoreServer) -> None:
    async def check() -> None:
        async with Followed(store_server.url) as pool:
            await pool.trade()
            info, replay = await pool.store.pool_info(pool.pool), pool.replay
            assert (replay.revision, replay.epoch, replay.time_ms) == (info.revision, info.epoch, info.time_ms)
            assert replay.revision > 15

    asyncio.run(check())


def test_a_missing_entry_and_one_that_comes_twice_are_refused_by_name() -> None:
    replay = Replay()
    replay.apply(entry(1))
    with pytest.raises(ReplayError, match="revision 4 follows 1: 2 missing"):
        replay.apply(entry(4))
    with pytest.raises(ReplayError, match="revision 1 follows 1: it came twice"):
        replay.apply(entry(1))
    replay.apply(entry(2))
    assert replay.revision == 2


@pytest.mark.parametrize("image", [["FLUSHALL", "x"], ["HSET", "cfg", "odd"], ["HSET"], ["PEXPIREAT", "cfg", "soon"]])
def test_what_no_script_writes_is_refused(image: list[Any]) -> None:
    replay = Replay()
    replay.apply(entry(1, ["HSET", "cfg", "a", "b"]))
    with pytest.raises(ReplayError, match="revision 2 holds an image"):
        replay.apply(entry(2, image))


def test_a_key_that_loses_its_last_field_is_gone() -> None:
    replay = Replay()
    replay.apply(entry(1, ["HSET", "wait:A", "k", "v"], ["ZADD", "exp", 5, "R1"]))
    replay.apply(entry(2, ["HDEL", "wait:A", "k", "unknown"], ["ZREM", "exp", "R1"], ["ZREM", "opn", "R1"]))
    assert replay.keys == {}


def test_numbers_and_binary_text_become_the_bytes_that_redis_keeps() -> None:
    replay = Replay()
    replay.apply(entry(1, ["HSET", "rsv:R1", 1, "x" * 40, "exp", 1_700_000_000_000, "long", "y" * 300], ["ZADD", "opn", -2, "é"]))
    assert replay.keys["rsv:R1"] == {b"1": b"x" * 40, b"exp": b"1700000000000", b"long": b"y" * 300}
    assert replay.keys["opn"] == {"é".encode(): b"-2"}


def test_a_record_past_its_expiry_goes_after_a_while_and_not_if_it_was_taken_up_again() -> None:
    replay = Replay()
    replay.apply(entry(1, ["HSET", "rsv:R1", "head", "h"], ["PEXPIREAT", "rsv:R1", 2_000], ["HSET", "rsv:R2", "head", "h"]))
    replay.apply(entry(2, ["PEXPIREAT", "rsv:R2", 2_000]))
    replay.apply(entry(3, ["PERSIST", "rsv:R2"], time_ms=2_000))
    assert replay.expiries.passed("rsv:R1", 2_000)
    assert not replay.expiries.passed("rsv:R1", 1_999)
    assert not replay.expiries.passed("rsv:R2", 9_000)
    replay.apply(entry(4, time_ms=2_000 + EXPIRED_KEPT_MS - 1))
    assert set(replay.keys) == {"rsv:R1", "rsv:R2"}
    replay.apply(entry(5, time_ms=2_000 + EXPIRED_KEPT_MS))
    assert set(replay.keys) == {"rsv:R2"}
    assert replay.dropped == {"rsv:R1"}


def test_an_id_used_again_after_its_record_expired_is_a_new_record(store_server: StoreServer) -> None:
    async def check() -> None:
        async with Selling(store_server.url) as pool:
            await pool.reserve("R1", A=1, order="O1")
            await pool.release("R1")
            await pool.reserve("R2", B=2)
            await pool.confirm("R2")
            await pool.fulfil("R2", "S1", [(1, 1)])
            await pool.ship("N1", "S1", "R2", B=1)
            with redis.Redis.from_url(store_server.url) as direct:  # as their expiry does
                direct.delete(pool.key("rsv:R1"), pool.key("ord:O1"), pool.key("shp:S1"))
            await pool.reserve("R1", A=2, B=1, order="O1")
            await pool.fulfil("R2", "S1")
            replay = Replay()
            for data in await pool.entries():
                replay.apply(decode_entry(data))
            _, stored = await pool.store.read_keys(pool.pool, ["rsv:R1", "ord:O1", "shp:S1"])
            assert stored == {name: replay.keys[name] for name in stored}
            assert len(stored) == 3
            assert not replay.expiries.passed("rsv:R1", 2**60)

    asyncio.run(check())


def test_expiries_alone_tell_the_same_as_the_replay(store_server: StoreServer) -> None:
    async def check() -> None:
        async with Selling(store_server.url) as pool:
            await pool.trade()
            replay, expiries = Replay(), Expiries()
            for data in await pool.entries():
                replay.apply(decode_entry(data))
                expiries.follow(data)
            late = pool.now_ms + limits.SHIPMENT_RETENTION_MS
            assert expiries.due(late) == replay.expiries.due(late)
            assert {"rsv:R3", "rsv:R1", "shp:S1"} <= set(expiries.due(late))

    asyncio.run(check())
