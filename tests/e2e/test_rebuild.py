"""`atp rebuild` over real servers: the identical store from nothing but JetStream, and every difference found."""

import asyncio
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from atp import limits
from cli import comparing
from cli.embedded import NatsServer, StoreServer, free_port
from cli.exit_codes import CommandError
from cli.rebuilding import Rebuilt, rebuild_pool
from consumers import checkpoints, streams
from consumers.checkpoint_taker import take
from tests.conftest import start_store
from tests.e2e import commands, ledgered
from tests.e2e.wild import carry_all
from tests.selling import Selling


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[StoreServer]:
    """A second store with nothing in it."""
    with start_store("valkey", tmp_path) as server:
        yield server


def quiet(_what: str, _done: int, _total: int) -> None:
    """Nobody watches."""


def rebuilt(store: StoreServer, nats: NatsServer, pool: str, into: StoreServer, *, must_compare: bool = True) -> Rebuilt:
    return asyncio.run(rebuild_pool(store.url, nats.url, pool, into.url, quiet, must_compare=must_compare))


def traded(store: StoreServer, nats: NatsServer, *, unpublished: int = 4) -> Selling:
    """A pool after a day's work, of which JetStream lacks the last entries."""

    async def run() -> Selling:
        async with Selling(store.url) as pool:
            await pool.trade()
            await ledgered.publish_all(nats.url, pool, but=unpublished)
            return pool

    return asyncio.run(run())


def test_the_rebuilt_store_is_identical_key_by_key(store_server: StoreServer, nats_server: NatsServer, empty: StoreServer) -> None:
    pool = traded(store_server, nats_server)
    result = rebuilt(store_server, nats_server, pool.pool, empty)
    assert result.equal
    assert result.differing == []
    assert result.revision == result.entries == 20
    assert result.compared
    assert result.compared.keys > 10
    with redis.Redis.from_url(empty.url) as copy, redis.Redis.from_url(store_server.url) as live:
        for name in (name for name in live.scan_iter(f"{{{pool.pool}}}:*", _type="hash") if not name.endswith(b":pool")):
            assert copy.hgetall(name) == live.hgetall(name)
            assert copy.ttl(name) > 0 or live.ttl(name) == -1
        assert copy.hget(pool.key("pool"), "run") == b"restoring", "the rebuilt pool is not open"


def test_a_pool_that_goes_on_selling_is_compared_at_the_revision_of_each_read(
    valkey: StoreServer, nats_server: NatsServer, empty: StoreServer
) -> None:
    async def sell(pool: Selling, stop: asyncio.Event) -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            await pool.receive("N1", A=1)
            await pool.reserve(f"L{number}", A=1, ttl_s=1, order=f"O{number % 20}")
            pool.now_ms += 100

    async def run() -> Rebuilt:
        async with Selling(valkey.url) as pool:
            await pool.trade()
            await ledgered.publish_all(nats_server.url, pool)
            stop = asyncio.Event()
            selling = asyncio.create_task(sell(pool, stop))
            await asyncio.sleep(0.2)
            try:
                return await rebuild_pool(valkey.url, nats_server.url, pool.pool, empty.url, quiet)
            finally:
                stop.set()
                await selling

    result = asyncio.run(run())
    assert result.differing == []
    assert result.equal
    assert result.revision > 20


@pytest.mark.parametrize(
    ("field", "told"),
    [
        (("stk:A", "N1", b"\x97\x01\x00\x00\x00\x00\x00\x01"), "stk:A: N1: on_hand is 1, by the ledger "),
        (("rsv:R1", "state", b"HELD"), "rsv:R1: state is HELD, by the ledger FULFILLED"),
        (("rsv:R99", "state", b"HELD"), "rsv:R99: the store has it with 1 fields, the ledger does not"),
        (("pool", "epoch", b"9"), "pool: epoch is 9, by the ledger 1"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_differs_is_named(
    valkey: StoreServer, nats_server: NatsServer, empty: StoreServer, field: tuple[str, str, bytes], told: str
) -> None:
    pool = traded(valkey, nats_server)
    with redis.Redis.from_url(valkey.url) as direct:
        direct.hset(pool.key(field[0]), field[1], field[2])
    result = rebuilt(valkey, nats_server, pool.pool, empty)
    assert result.equal is False
    assert len(result.differing) == 1
    assert result.differing[0].startswith(told)


def test_a_record_past_its_retention_may_be_gone_from_the_live_store(
    valkey: StoreServer, nats_server: NatsServer, empty: StoreServer
) -> None:
    async def run(age_ms: int) -> Selling:
        pool = Selling(valkey.url)
        pool.now_ms -= age_ms
        async with pool:
            await pool.trade()
            await ledgered.publish_all(nats_server.url, pool)
        with redis.Redis.from_url(valkey.url) as direct:
            direct.delete(pool.key("rsv:R3"))
        return pool

    old = asyncio.run(run(limits.RETENTION_MS - 10_000))
    assert rebuilt(valkey, nats_server, old.pool, empty).equal
    fresh = asyncio.run(run(0))
    assert rebuilt(valkey, nats_server, fresh.pool, empty).differing == [
        "rsv:R3: the ledger makes it with 7 fields, the store does not have it"
    ]


def test_a_store_that_is_lost_is_made_again_without_it(
    valkey: StoreServer, nats_server: NatsServer, empty: StoreServer, tmp_path: Path
) -> None:
    with start_store("valkey", tmp_path / "lost") as lost:
        pool = traded(lost, nats_server, unpublished=0)
        lost.kill()
        result = rebuilt(lost, nats_server, pool.pool, empty, must_compare=False)
    assert result.equal is None
    assert result.revision == 20
    with redis.Redis.from_url(empty.url) as copy:
        assert copy.hget(pool.key("rsv:R1"), "state") == b"FULFILLED"


def test_a_store_that_has_the_pool_already_is_not_touched(valkey: StoreServer, nats_server: NatsServer) -> None:
    pool = traded(valkey, nats_server)
    with pytest.raises(CommandError, match="has keys of pool"):
        rebuilt(valkey, nats_server, pool.pool, valkey)


def test_the_command_says_how_long_it_took_and_whether_all_is_equal(
    valkey: StoreServer, nats_server: NatsServer, empty: StoreServer
) -> None:
    pool = traded(valkey, nats_server)
    words = ("rebuild", "--pool", pool.pool, "--store-url", valkey.url, "--nats-url", nats_server.url)
    began = time.monotonic()
    ran = commands.run(*words)
    assert ran.code == 0
    assert f"Pool {pool.pool}, from the first entry on.\n20 entries replayed in " in ran.said
    assert "compared with the live store: all are equal. That took " in ran.said
    assert time.monotonic() - began < 30
    into = commands.run(*words, "--into", empty.url, "--json")
    assert into.code == 0
    assert into.json["equal"] is True
    with redis.Redis.from_url(valkey.url) as direct:
        direct.hset(pool.key("cfg"), "node:N9", "x")
    differs = commands.run(*words)
    assert differs.code == 1
    assert "cfg: node:N9 is in the store, not in the ledger" in differs.said
    away = commands.run(*words[:3], "--store-url", f"redis://127.0.0.1:{free_port()}", "--nats-url", nats_server.url)
    assert away.code == 3


# --- what is compared ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("PERSIST", "rsv:R3"), "rsv:R3: it vanishes at no time, by the ledger at "),
        (("PEXPIRE", "rsv:R3", "7200000"), "rsv:R3: it vanishes at "),
        (("PEXPIRE", "rsv:R2", "7200000"), "by the ledger at no time (ms)"),
        (("ZADD", "opn", "5", "R9"), "opn: R9 is in the store, not in the ledger"),
        (("ZADD", "opn", "5", "R2"), "opn: R2 is 5, by the ledger "),
        (("ZREM", "opn", "R2"), "opn: "),
    ],
    ids=" ".join,
)
def test_times_and_indexes_are_compared_too(
    valkey: StoreServer,
    nats_server: NatsServer,
    empty: StoreServer,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    told: str,
) -> None:
    monkeypatch.setattr(comparing, "READ_FIELDS_MAX", 2)  # indexes in parts
    pool = traded(valkey, nats_server)
    assert rebuilt(valkey, nats_server, pool.pool, empty).equal
    with redis.Redis.from_url(valkey.url) as direct, redis.Redis.from_url(empty.url) as copy:
        direct.execute_command(command[0], pool.key(command[1]), *command[2:])
        copy.flushall()
    result = rebuilt(valkey, nats_server, pool.pool, empty)
    assert len(result.differing) == 1
    assert told in result.differing[0]


def test_an_index_with_many_of_one_time_is_compared_whole(
    valkey: StoreServer, nats_server: NatsServer, empty: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "READ_FIELDS_MAX", 3)

    async def run() -> Selling:
        async with Selling(valkey.url) as pool:
            await pool.receive("N1", A=100)
            for number in range(40):
                await pool.reserve(f"R{number:02}", A=1)
                pool.now_ms -= number % 20 > 0  # twenty at a time
            await ledgered.publish_all(nats_server.url, pool)
            return pool

    pool = asyncio.run(run())
    result = rebuilt(valkey, nats_server, pool.pool, empty)
    assert result.equal
    assert result.compared
    assert result.compared.fields > 2 * 40
    with redis.Redis.from_url(valkey.url) as direct, redis.Redis.from_url(empty.url) as copy:
        assert len({score for _, score in direct.zrange(pool.key("opn"), 0, -1, withscores=True)}) <= 3
        direct.zrem(pool.key("opn"), "R39")
        copy.flushall()
    assert len(rebuilt(valkey, nats_server, pool.pool, empty).differing) == 1


# --- with a checkpoint --------------------------------------------------------------------------------------------
def checkpointed(store: StoreServer, nats: NatsServer, *, wrong: bool = False) -> Selling:
    """A pool with checkpoints of revision 20 and 21, and an entry behind them; `wrong`: the store had another row than its ledger."""

    async def run() -> Selling:
        async with Selling(store.url) as pool, ledgered.jetstream(nats.url) as js:
            await pool.trade()
            await carry_all(pool, js)
            await take(js, pool.store, pool.pool)
            await pool.receive("N1", A=1)
            await carry_all(pool, js)
            if wrong:
                await pool.store._command("HSET", pool.key("cfg"), "node:N9", "x")
            await take(js, pool.store, pool.pool)
            await pool.receive("N1", A=1)
            await carry_all(pool, js)
            return pool

    return asyncio.run(run())


def test_it_begins_with_the_checkpoint_that_is_named_and_says_so(valkey: StoreServer, nats_server: NatsServer) -> None:
    pool = checkpointed(valkey, nats_server)
    words = ("rebuild", "--pool", pool.pool, "--store-url", valkey.url, "--nats-url", nats_server.url)
    latest = commands.run(*words)
    assert latest.code == 0
    assert f"Pool {pool.pool}, from the checkpoint of revision 21, taken " in latest.said
    assert "\n1 entry replayed in " in latest.said
    assert "compared with the live store: all are equal." in latest.said
    older = commands.run(*words, "--from", "20", "--json").json
    assert (older["checkpoint"]["revision"], older["entries"], older["equal"]) == (20, 2, True)
    start = commands.run(*words, "--from", "start", "--json").json
    assert (start["checkpoint"], start["entries"], start["equal"]) == (None, 22, True)
    unknown = commands.run(*words, "--from", "7")
    assert unknown.code == 2
    assert "no checkpoint of revision 7, there are 21, 20: say one that is there, latest or start" in unknown.error


def test_a_checkpoint_is_proved_by_the_whole_ledger(valkey: StoreServer, nats_server: NatsServer) -> None:
    pool = checkpointed(valkey, nats_server)
    words = ("rebuild", "--deep", "--store-url", valkey.url, "--nats-url", nats_server.url)
    proved = commands.run(*words, "--pool", pool.pool)
    assert proved.code == 0
    assert "Another store: 21 entries replayed from the first on" in proved.said
    assert "where the checkpoint is whole, compared with each other: all are equal." in proved.said
    wrong = checkpointed(valkey, nats_server, wrong=True)
    disproved = commands.run(*words, "--pool", wrong.pool)
    assert disproved.code == 1
    assert "compared with each other: they differ, as told below." in disproved.said
    assert "compared with the live store: all are equal." in disproved.said, "which is as wrong"
    assert "cfg: node:N9 is in the store, not in the ledger" in disproved.said
    none = commands.run(*words, "--pool", traded(valkey, nats_server).pool)
    assert none.code == 1
    assert "has no checkpoint to prove" in none.error


def test_a_torn_checkpoint_that_is_named_is_refused(valkey: StoreServer, nats_server: NatsServer) -> None:
    pool = checkpointed(valkey, nats_server)

    async def tear() -> None:
        async with ledgered.jetstream(nats_server.url) as js:
            newest = (await checkpoints.manifests(js, pool.pool))[0]
            await js.publish(streams.checkpoint_subject(pool.pool, newest.slot, 0), b"another in its place")

    asyncio.run(tear())
    words = ("rebuild", "--pool", pool.pool, "--store-url", valkey.url, "--nats-url", nats_server.url)
    refused = commands.run(*words, "--from", "21")
    assert refused.code == 1
    assert "the checkpoint of revision 21 is of no use: message 1 of its 1 is missing" in refused.error
    assert commands.run(*words, "--json").json["checkpoint"]["revision"] == 20
