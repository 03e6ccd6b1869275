"""Rule 9: the ledger can be followed, and the store holds byte by byte what the ledger makes; all on a real store."""

import asyncio
from collections.abc import Callable

import pytest
import redis
from msgspec.structs import replace

from atp import limits
from atp.audit.findings import VIOLATIONS_OF_A_RULE_MAX
from atp.replay import EXPIRED_KEPT_MS
from cli.embedded import StoreServer
from tests.auditing import altered, audit, change_row, planted
from tests.selling import Selling


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda entries: entries[:6] + entries[7:], "revision 8 follows 6: 1 missing"),
        (lambda entries: entries[:6] + entries[5:], "revision 6 follows 6: it came twice"),
        (lambda entries: [*entries[:6], b"\xc1", *entries[7:]], ""),
    ],
    ids=["missing", "twice", "unreadable"],
)
def test_rule_9_a_ledger_that_cannot_be_followed(valkey: StoreServer, change: Callable[[list[bytes]], list[bytes]], told: str) -> None:
    async def run() -> list[str]:
        async with Selling(valkey.url) as pool:
            await pool.trade()
            return (await audit(pool, change(await pool.entries()))).violations

    found = asyncio.run(run())
    assert len(found) == 1
    assert found[0].startswith(f"rule 9: ledger: after revision 6 it cannot be followed: {told}")


def test_rule_9_a_time_that_falls(valkey: StoreServer) -> None:
    found = altered(valkey, lambda entry: replace(entry, time_ms=entry.time_ms - 60_000), "shipment")
    assert any(line.startswith("rule 9: ledger ") and "its time " in line for line in found), found


def test_rule_9_an_epoch_that_changes_without_an_opening(valkey: StoreServer) -> None:
    found = altered(valkey, lambda entry: replace(entry, epoch=0), "shipment")
    assert any(line.startswith("rule 9: ledger ") and "verb shipment in epoch 0 follows epoch 1" in line for line in found), found


@pytest.mark.parametrize("key", ["stk:A", "win:A", "rsv:R1", "ord:O1", "shp:S1", "opn", "cfg"])
def test_rule_9_a_key_that_the_store_lost(store_server: StoreServer, key: str) -> None:
    async def lose(pool: Selling, direct: redis.Redis) -> None:
        direct.delete(pool.key(key))

    found = planted(store_server, lose)
    assert len(found) == 1
    assert found[0].startswith(f"rule 9: {key}: ")
    assert "the store does not have it" in found[0]


def test_rule_9_keys_and_fields_that_no_entry_made(valkey: StoreServer) -> None:
    async def add(pool: Selling, direct: redis.Redis) -> None:
        direct.hset(pool.key("rsv:R99"), "state", "HELD")
        direct.hset(pool.key("cfg"), "node:N9", "x")
        direct.hset(pool.key("rsv:R3"), "state", "HELD")
        direct.hset(pool.key("pool"), "time", "5")

    found = planted(valkey, add)
    assert len(found) == 4
    assert any("rule 9: rsv:R99: " in line and "the ledger does not" in line for line in found)
    assert any("rule 9: cfg: " in line and "node:N9 is in the store, not in the ledger" in line for line in found)
    assert any("rule 9: rsv:R3: " in line and "state is HELD, by the ledger RELEASED" in line for line in found)
    assert any("rule 9: pool: " in line and "time is 5, by the ledger " in line for line in found)


def test_rule_9_a_row_that_differs_is_told_by_term(valkey: StoreServer) -> None:
    async def change(pool: Selling, direct: redis.Redis) -> None:
        change_row(pool, direct, "N2", on_hand=27, damaged=1)

    found = planted(valkey, change)
    assert len(found) == 1
    assert found[0].endswith("N2: on_hand is 30, by the ledger 3, damaged is 1, by the ledger 0")


def test_a_record_past_its_retention_may_be_gone_and_one_before_it_may_not(valkey: StoreServer) -> None:
    async def run(later_ms: int) -> list[str]:
        async with Selling(valkey.url) as pool:
            await pool.trade()
            with redis.Redis.from_url(valkey.url) as direct:
                direct.delete(pool.key("rsv:R3"))
            pool.now_ms += later_ms
            return (await audit(pool)).violations

    assert asyncio.run(run(limits.RETENTION_MS)) == []
    assert len(asyncio.run(run(limits.RETENTION_MS // 2))) == 1


def test_a_store_that_was_made_again_may_keep_records_past_their_retention_for_a_while(valkey: StoreServer) -> None:
    async def run() -> list[str]:
        async with Selling(valkey.url) as pool:
            await pool.trade()
            pool.now_ms += limits.RETENTION_MS + EXPIRED_KEPT_MS  # of the scripts only: the server goes on keeping the records
            await pool.receive("N1", A=1)
            return (await audit(pool)).violations

    assert asyncio.run(run()) == []


def test_many_violations_of_one_rule_are_counted_and_leave_room_for_the_others(valkey: StoreServer) -> None:
    async def change(pool: Selling, direct: redis.Redis) -> None:
        for number in range(VIOLATIONS_OF_A_RULE_MAX + 5):
            direct.hset(pool.key(f"rsv:X{number}"), "state", "HELD")

    found = planted(valkey, change)
    assert len(found) == VIOLATIONS_OF_A_RULE_MAX + 1
    assert found[-1] == "rule 9: and 5 more"
