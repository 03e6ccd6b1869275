"""`atp verify` over real servers: a sound pool, a live one, and one of each way in which store and ledger can fall apart."""

import asyncio
import contextlib
import itertools
import random
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
import redis
from msgspec.structs import replace

from atp.audit import VerifyReport
from atp.ledger import decode_entry
from cli.embedded import NatsServer, StoreServer, free_port
from cli.verify import CHECKED, verify_pool
from consumers import ledger_writer
from consumers.checkpoint_taker import take
from tests.e2e import commands, ledgered
from tests.e2e.test_up import ATP, environment
from tests.e2e.wild import carry_all
from tests.selling import Selling

Change = Callable[[Selling, redis.Redis], Awaitable[None]]


def verified(store: StoreServer, nats: NatsServer, *, change: Change | None = None, unpublished: int = 4) -> VerifyReport:
    """The report on a pool after a day's work, of which JetStream lacks the last entries, and after a change behind its back."""

    async def run() -> VerifyReport:
        async with Selling(store.url) as pool:
            await pool.trade()
            await ledgered.publish_all(nats.url, pool, but=unpublished)
            if change:
                with redis.Redis.from_url(store.url, protocol=2) as direct:
                    await change(pool, direct)
            return await verify_pool(store.url, nats.url, pool.pool)

    return asyncio.run(run())


@pytest.mark.parametrize("unpublished", [0, 4])
def test_a_sound_pool_is_found_sound_wherever_its_latest_entries_are(
    store_server: StoreServer, nats_server: NatsServer, unpublished: int
) -> None:
    report = verified(store_server, nats_server, unpublished=unpublished)
    assert report.violations == []
    assert report.ok
    assert report.checked["ledger entries"] - report.checked["entries in both"] == unpublished
    assert set(report.checked) == set(CHECKED)


def test_a_pool_that_goes_on_selling_is_verified_at_the_revision_of_each_read(valkey: StoreServer, nats_server: NatsServer) -> None:
    async def sell(pool: Selling, stop: asyncio.Event) -> None:
        chance = random.Random(7)
        for number in itertools.count():
            if stop.is_set():
                return
            await pool.receive("N1", A=2)
            await pool.reserve(f"L{number}", A=1, ttl_s=chance.choice([1, 60]), order=f"O{number % 50}")
            if number % 3:
                await pool.confirm(f"L{number}")
            pool.now_ms += 400

    async def run() -> list[VerifyReport]:
        async with Selling(valkey.url) as pool:
            await pool.trade()
            for number in range(600):
                await pool.receive("N2", A=1)
                await pool.reserve(f"B{number}", A=1)
            await ledgered.publish_all(nats_server.url, pool, but=10)
            stop = asyncio.Event()
            selling = asyncio.create_task(sell(pool, stop))
            try:
                return [await verify_pool(valkey.url, nats_server.url, pool.pool) for _ in range(3)]
            finally:
                stop.set()
                await selling

    reports = asyncio.run(run())
    assert [report.violations for report in reports] == [[], [], []]
    assert reports[0].checked["ledger entries"] < reports[2].checked["ledger entries"]


async def _change_a_counter(pool: Selling, direct: redis.Redis) -> None:
    value = direct.hget(pool.key("stk:A"), "N1")
    assert isinstance(value, bytes)
    row = msgspec.msgpack.decode(value)
    row[3] += 1
    direct.hset(pool.key("stk:A"), "N1", msgspec.msgpack.encode(row))


async def _lose_a_reservation(pool: Selling, direct: redis.Redis) -> None:
    direct.delete(pool.key("rsv:R2"))


async def _add_a_key(pool: Selling, direct: redis.Redis) -> None:
    direct.hset(pool.key("unb:A"), "N1 S9", msgspec.msgpack.encode([4, 1]))


async def _lose_the_tail(pool: Selling, direct: redis.Redis) -> None:
    """As a server that comes back with an older disk."""
    direct.hincrby(pool.key("pool"), "rev", -6)


async def _lose_all(pool: Selling, direct: redis.Redis) -> None:
    for key in direct.scan_iter(f"{{{pool.pool}}}:*"):
        direct.delete(key)


async def _trim_what_was_not_published(pool: Selling, direct: redis.Redis) -> None:
    direct.xtrim(pool.key("ledger"), maxlen=2, approximate=False)


async def _believe_in_more_than_was_published(pool: Selling, direct: redis.Redis) -> None:
    direct.hset(pool.key("pool"), "pub", 10_000)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_change_a_counter, "rule 9: stk:A: revision 20: N1: reserved is 1, by the ledger 0"),
        (_lose_a_reservation, "rule 9: rsv:R2: "),
        (_add_a_key, "rule 9: unb:A: "),
        (_lose_the_tail, "the store has lost entries that JetStream has"),
        (_lose_all, "the store is at revision 0, the ledger at 16: the store has lost entries that JetStream has"),
        (_trim_what_was_not_published, "rule 9: ledger: "),
        (_believe_in_more_than_was_published, "the store takes all up to 10000 to be in JetStream, whose last is 16"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_falls_apart_is_named(store_server: StoreServer, nats_server: NatsServer, change: Change, told: str) -> None:
    report = verified(store_server, nats_server, change=change)
    assert not report.ok
    assert len(report.violations) == 1, report.violations
    assert told in report.violations[0]


def test_a_revision_that_was_used_twice_is_told(valkey: StoreServer, nats_server: NatsServer) -> None:
    async def run() -> VerifyReport:
        async with Selling(valkey.url) as pool:
            await pool.trade()
            entries = await pool.entries()
            entries[7] = msgspec.msgpack.encode(replace(decode_entry(entries[7]), correlation="another"))
            async with ledgered.jetstream(nats_server.url) as js:
                await ledgered.publish(js, pool.pool, entries)
            return await verify_pool(valkey.url, nats_server.url, pool.pool)

    assert asyncio.run(run()).violations == ["rule 9: ledger 8: the store and JetStream have different entries of this revision"]


def test_a_gap_in_jetstream_is_told_by_verify_and_stops_a_rebuild(valkey: StoreServer, nats_server: NatsServer) -> None:
    async def run() -> Selling:
        async with Selling(valkey.url) as pool:
            await pool.trade()
            entries = await pool.entries()
            async with ledgered.jetstream(nats_server.url) as js:
                await ledgered.publish(js, pool.pool, entries[:6], batch=6)
                position, _ = await ledger_writer.learn(js, pool.pool)
                await ledger_writer.append(js, pool.pool, position._replace(revision=7), entries[7:], 1)
            return pool

    pool = asyncio.run(run())
    words = ("--pool", pool.pool, "--store-url", valkey.url, "--nats-url", nats_server.url)
    verified = commands.run("verify", *words, "--json")
    assert verified.code == 1
    assert len(verified.json["violations"]) == 1
    assert verified.json["violations"][0].startswith("rule 9: ledger: ")
    assert verified.json["violations"][0].endswith("the ledger goes from revision 6 to 8")
    rebuilt = commands.run("rebuild", *words)
    assert rebuilt.code == 1
    assert rebuilt.error.startswith("the ledger cannot be replayed: ")
    assert rebuilt.error.endswith("the ledger goes from revision 6 to 8")


def test_the_command_says_what_and_how_many_it_checked_and_its_exit_code_is_the_verdict(
    valkey: StoreServer, nats_server: NatsServer
) -> None:
    async def prepare() -> Selling:
        async with Selling(valkey.url) as pool:
            await pool.trade()
            await ledgered.publish_all(nats_server.url, pool)
            return pool

    pool = asyncio.run(prepare())
    words = ("verify", "--pool", pool.pool, "--store-url", valkey.url, "--nats-url", nats_server.url)
    sound = commands.run(*words)
    assert sound.code == 0
    assert "No rule was bent" in sound.said
    assert all(name in sound.said for name in CHECKED)
    with contextlib.closing(redis.Redis.from_url(valkey.url)) as direct:
        direct.hset(pool.key("cfg"), "node:N9", "x")
    violation = "rule 9: cfg: revision 20: node:N9 is in the store, not in the ledger"
    broken = commands.run(*words)
    assert broken.code == 1
    assert violation in broken.said
    for_scripts = commands.run(*words, "--json")
    assert for_scripts.code == 1
    assert for_scripts.json["violations"] == [violation]


def test_a_pool_that_nobody_provisioned_is_no_sound_pool(valkey: StoreServer, nats_server: NatsServer) -> None:
    ran = commands.run("verify", "--pool", "nowhere", "--store-url", valkey.url, "--nats-url", nats_server.url)
    assert ran.code == 1
    assert ran.error.startswith("there is no pool nowhere")


def test_a_jetstream_that_does_not_answer_is_told_too(valkey: StoreServer, tmp_path: Path) -> None:
    with NatsServer(tmp_path, sync_interval="10s") as frozen:
        frozen.pause()
        said = [*ATP, "verify", "--store-url", valkey.url, "--nats-url", frozen.url]
        ran = subprocess.run(said, env=environment(), capture_output=True, text=True, check=False)
    assert ran.returncode == 3
    assert ran.stderr.startswith("atp: NATS with JetStream does not answer")


@pytest.mark.parametrize("away", ["store", "nats"])
def test_a_server_that_is_away_is_told_apart_from_a_bent_rule(valkey: StoreServer, nats_server: NatsServer, away: str) -> None:
    urls = {"store": valkey.url, "nats": nats_server.url, away: f"{'redis' if away == 'store' else 'nats'}://127.0.0.1:{free_port()}"}
    ran = commands.run("verify", "--store-url", urls["store"], "--nats-url", urls["nats"])
    assert ran.code == 3
    assert ("cannot connect to the store" if away == "store" else "NATS with JetStream does not answer") in ran.error


# --- behind a checkpoint ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("change", "told"),
    [(None, ""), (_change_a_counter, "N1: reserved is 1, by the ledger 0"), (_lose_a_reservation, "the store does not have it")],
    ids=["sound", "a counter", "a reservation"],
)
def test_a_pool_is_verified_behind_its_latest_checkpoint(
    valkey: StoreServer, nats_server: NatsServer, change: Change | None, told: str
) -> None:
    async def run() -> VerifyReport:
        async with Selling(valkey.url) as pool, ledgered.jetstream(nats_server.url) as js:
            await pool.trade()
            await carry_all(pool, js)
            manifest = await take(js, pool.store, pool.pool)
            await pool.receive("N1", A=9)
            await pool.reserve("R8", A=2)
            await carry_all(pool, js)
            await pool.confirm("R8")
            if change:
                with redis.Redis.from_url(valkey.url, protocol=2) as direct:
                    await change(pool, direct)
            report = await verify_pool(valkey.url, nats_server.url, pool.pool, origin="latest")
            assert report.begun == manifest.whole
            assert report.checked["ledger entries"] == 3
            assert report.checked["entries in both"] == 2
            return report

    violations = asyncio.run(run()).violations
    assert len(violations) == bool(told)
    assert not told or told in violations[0]
