"""The auditor is content with what the scripts do, and names each rule that a planted violation bends; all on a real store."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
import redis
from msgspec.structs import replace

from atp import limits
from atp.audit import Audit, VerifyReport
from atp.audit.findings import VIOLATIONS_OF_A_RULE_MAX
from atp.ledger import Entry, Fact, decode_entry, image_value
from atp.model.stock import StockRow
from atp.replay import EXPIRED_KEPT_MS
from atp.store import scripts
from cli.embedded import StoreServer
from tests.lua.scenario import Player
from tests.lua.scenarios import SCENARIOS, STOCK
from tests.pair import Pair
from tests.selling import Selling

Plant = Callable[[Selling, redis.Redis], Awaitable[None]]
REAP = "local due = call('ZRANGEBYSCORE', PREFIX .. 'exp', '-inf', now, 'LIMIT', 0, limits.REAP_ROWS_MAX + 1)"


async def audit(pool: Selling | Pair, entries: list[bytes] | None = None) -> VerifyReport:
    """Follows the whole ledger, or `entries` in its place, then compares every key."""
    found = Audit()
    for data in entries if entries is not None else [r.entry for r in await pool.store.ledger_after(pool.pool, 0, 10_000)]:
        found.follow(data)
    names = {name for name in await pool.store.scan_keys(pool.pool) if name != "ledger"} | found.replay.keys.keys()
    revision, stored = await pool.store.read_keys(pool.pool, sorted(names))
    if not found.broken and revision == found.revision:
        for name in names:
            found.compare(name, stored.get(name, {}), pool.now_ms)
    return found.report()


def planted(server: StoreServer, plant: Plant, *, trade: bool = True) -> list[str]:
    """The violations of a pool, after a day's work, in which something was planted."""

    async def run() -> list[str]:
        async with Selling(server.url) as pool:
            if trade:
                await pool.trade()
            with redis.Redis.from_url(server.url, protocol=2) as direct:
                await plant(pool, direct)
            return (await audit(pool)).violations

    return asyncio.run(run())


def altered(server: StoreServer, change: Callable[[Entry], Entry], verb: str, number: int = 0) -> list[str]:
    """The violations of a ledger in which one entry of a verb was changed after the fact."""

    async def run() -> list[str]:
        async with Selling(server.url) as pool:
            await pool.trade()
            entries = await pool.entries()
            at = [i for i, data in enumerate(entries) if decode_entry(data).verb == verb][number]
            entries[at] = msgspec.msgpack.encode(change(decode_entry(entries[at])))
            return (await audit(pool, entries)).violations

    return asyncio.run(run())


def change_row(pool: Selling, direct: redis.Redis, node: str, **terms: int) -> None:
    """Moves terms of SKU A at a node behind the scripts' back."""
    value = direct.hget(pool.key("stk:A"), node)
    assert isinstance(value, bytes)
    row = msgspec.msgpack.decode(value, type=StockRow)
    for term, delta in terms.items():
        setattr(row, term, getattr(row, term) + delta)
    direct.hset(pool.key("stk:A"), node, msgspec.msgpack.encode(row))


def sabotaged(monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    """Scripts of stores made from now on have `new` where the sources have `old`."""
    expand = scripts.expand
    seen = []

    def changed(text: str, values: Any) -> str:
        full = expand(text, values)
        part = expand(old, values)
        seen.append(part in full)
        return full.replace(part, new)

    monkeypatch.setattr(scripts, "expand", changed)
    scripts.load()
    assert any(seen), "the sources no longer have that line"


# --- nothing to find ----------------------------------------------------------------------------------------------------
def test_a_days_work_bends_no_rule_and_the_report_says_what_was_checked(store_server: StoreServer) -> None:
    async def run() -> VerifyReport:
        async with Selling(store_server.url) as pool:
            await pool.trade()
            return await audit(pool)

    report = asyncio.run(run())
    assert report.violations == []
    assert report.ok
    assert report.checked["ledger entries"] > 15
    assert report.checked["admissions"] == 5
    assert report.checked["expiries"] == 1
    assert report.checked["keys compared"] > 10


@pytest.mark.parametrize("title", SCENARIOS)
def test_every_scenario_leaves_a_sound_ledger(valkey: StoreServer, title: str) -> None:
    async def run() -> VerifyReport:
        pair = Pair(valkey.url)
        await pair.start()
        try:
            await Player(pair).play(STOCK + SCENARIOS[title])
            return await audit(pair)
        finally:
            await pair.close()

    assert asyncio.run(run()).violations == []


# --- rule 1 -------------------------------------------------------------------------------------------------------------
def test_rule_1_a_hold_beyond_what_can_be_promised(store_server: StoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    sabotaged(monkeypatch, "math.min(left, math.max(0, row.before - safety))", "left")

    async def oversell(pool: Selling, _: redis.Redis) -> None:
        await pool.reserve("R9", B=4)

    found = planted(store_server, oversell, trade=False)
    assert found == ["rule 1: stk:B N1: revision 6: reserve of R9 took 4 units, 1 more than could be promised"]


def test_rule_1_an_expired_hold_confirmed_without_looking_at_stock(valkey: StoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    sabotaged(monkeypatch, "if move[4] > free then", "if false then")

    async def oversell(pool: Selling, _: redis.Redis) -> None:
        await pool.reserve("R8", B=3, ttl_s=1)
        pool.now_ms += 2_000
        await pool.reserve("R9", B=1)
        await pool.confirm("R8", reacquire=True)

    found = planted(valkey, oversell, trade=False)
    assert found == ["rule 1: stk:B N1: revision 9: confirm of R8 took 3 units, 1 more than could be promised"]


def test_rule_1_stock_short_of_its_commitments_without_an_exception(valkey: StoreServer) -> None:
    found = altered(valkey, lambda entry: replace(entry, exceptions=[]), "receipt", 2)
    assert any("rule 1: stk:A N1: " in line and "5 units short, and no exception over:N1:A is open" in line for line in found), found


def test_rule_1_an_exception_that_tells_of_other_units(valkey: StoreServer) -> None:
    def say_less(entry: Entry) -> Entry:
        return replace(entry, exceptions=[replace(entry.exceptions[0], quantity=4)])

    found = altered(valkey, say_less, "receipt", 2)
    assert any("rule 1: over:N1:A: " in line and "tells of 4 units, short are 5" in line for line in found), found


def test_rule_1_an_exception_that_stays_open(valkey: StoreServer) -> None:
    found = altered(valkey, lambda entry: replace(entry, exceptions=[]), "snapshot")
    assert any("no longer short, but the exception over:N1:A is still open" in line for line in found), found


def test_rule_1_a_verb_that_admits_nothing_raises_commitments(valkey: StoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    sabotaged(monkeypatch, "shift(row, sku, node, SHIPPED_UNBOOKED, units)", "shift(row, sku, node, SHIPPED_UNBOOKED, units + 1)")

    async def ship(pool: Selling, _: redis.Redis) -> None:
        await pool.reserve("R1", A=5)
        await pool.confirm("R1")
        await pool.fulfil("R1", "S1")

    found = planted(valkey, ship, trade=False)
    assert "rule 1: stk:A N1: revision 8: fulfil of S1 raised the commitments by 1, which it must not" in found
    assert "rule 2: stk:A N1: revision 8: shipped_unbooked is 6, what is open adds up to 5" in found


# --- rule 2 -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("term", ["reserved", "allocated", "shipped_unbooked"])
def test_rule_2_a_counter_that_is_not_the_sum_of_its_records(store_server: StoreServer, term: str) -> None:
    async def change(pool: Selling, direct: redis.Redis) -> None:
        change_row(pool, direct, "N1", **{term: 1})
        await pool.receive("N1", A=50)

    found = planted(store_server, change)
    assert any("rule 2: stk:A N1: " in line and f"{term} is " in line and "what is open adds up to" in line for line in found), found
    assert any("rule 2: stk:A N1: " in line and f"{term} changed by 1, the facts of the entry say 0" in line for line in found), found


def test_rule_2_stock_that_no_event_explains(valkey: StoreServer) -> None:
    async def more_stock(pool: Selling, direct: redis.Redis) -> None:
        change_row(pool, direct, "N1", on_hand=40)
        await pool.reserve("R9", A=20)

    found = planted(valkey, more_stock, trade=False)
    assert "rule 2: stk:A N1: revision 6: on_hand changed by 40, the facts of the entry say 0" in found
    assert "rule 2: stk:A N1: revision 6: on_hand is 50, snapshot and deltas since add up to 10" in found


def test_rule_2_a_line_that_gave_back_more_than_it_held(valkey: StoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    sabotaged(monkeypatch, "r.lines[number][RELEASED] = r.lines[number][RELEASED] + units", "r.lines[number][RELEASED] = 99")

    async def give_back(pool: Selling, _: redis.Redis) -> None:
        await pool.reserve("R1", A=5)
        await pool.release("R1", [(1, 2)])

    found = planted(valkey, give_back, trade=False)
    assert "rule 2: rsv:R1: revision 7: line 1 has given back or shipped more than it held" in found


def test_rule_2_facts_that_are_not_what_was_moved(valkey: StoreServer) -> None:
    def lie(entry: Entry) -> Entry:
        return replace(entry, facts=[replace(entry.facts[0], delta=-3), *entry.facts[1:]])

    found = altered(valkey, lie, "fulfil")
    assert any("rule 2: stk:A N1: " in line and "allocated changed by -5, the facts of the entry say -3" in line for line in found), found


def test_rule_2_a_fact_of_a_row_that_was_not_written(valkey: StoreServer) -> None:
    found = altered(valkey, lambda entry: replace(entry, facts=[*entry.facts, Fact("A", "N2", 0, "reserved", 1)]), "fulfil")
    assert any("rule 2: stk:A N2: " in line and "but the row was not written" in line for line in found), found


def test_a_hold_that_its_indexes_do_not_know(valkey: StoreServer) -> None:
    def without_indexes(entry: Entry) -> Entry:
        return replace(entry, images=[image for image in entry.images if image_value(image[0]) != b"ZADD"])

    found = altered(valkey, without_indexes, "reserve")
    assert any("rule 2: opn R1: " in line and "has nothing, the reservation is HELD" in line for line in found), found
    assert any("rule 5: exp R1: " in line and "has nothing, the reservation is HELD" in line for line in found), found


# --- rule 5 -------------------------------------------------------------------------------------------------------------
def test_rule_5_a_verb_that_decides_while_a_hold_is_due(store_server: StoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    sabotaged(monkeypatch, REAP, "local due = {}")

    async def decide(pool: Selling, _: redis.Redis) -> None:
        await pool.reserve("R8", A=1, ttl_s=1)
        pool.now_ms += 1_000
        await pool.reserve("R9", A=1)

    found = planted(store_server, decide, trade=False)
    assert len(found) == 1
    assert found[0].startswith("rule 5: rsv:R8: revision 7: reserve of R9 was decided at ")


def test_rule_5_an_expiry_that_was_put_off_in_the_index(valkey: StoreServer) -> None:
    async def put_off(pool: Selling, direct: redis.Redis) -> None:
        await pool.reserve("R9", B=1, ttl_s=5)
        direct.zadd(pool.key("exp"), {"R9": pool.now_ms + 3_600_000})
        await pool.receive("N1", B=1)
        pool.now_ms += 5_000
        await pool.receive("N1", B=1)

    found = planted(valkey, put_off, trade=False)
    assert len(found) == 2
    assert found[0].startswith("rule 5: rsv:R9: revision 8: receipt of ")
    assert found[1].startswith("rule 9: exp: revision 8: R9 is ")


def test_rule_5_a_hold_that_expires_before_its_time(valkey: StoreServer) -> None:
    async def too_soon(pool: Selling, direct: redis.Redis) -> None:
        await pool.reserve("R9", B=1)
        direct.zadd(pool.key("exp"), {"R9": pool.now_ms})
        await pool.expire()

    found = planted(valkey, too_soon, trade=False)
    assert len(found) == 1
    assert found[0].startswith("rule 5: rsv:R9: revision 7: it expired at ")
    assert "before its time" in found[0]


def test_rule_5_an_expiry_that_does_not_give_back_what_was_open(valkey: StoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    sabotaged(monkeypatch, "shift(row, line[SKU], line[NODE], RESERVED, -units)", "shift(row, line[SKU], line[NODE], RESERVED, 1 - units)")

    async def lapse(pool: Selling, _: redis.Redis) -> None:
        await pool.reserve("R9", A=5, ttl_s=1)
        pool.now_ms += 1_000
        await pool.expire()

    found = planted(valkey, lapse, trade=False)
    assert "rule 5: rsv:R9: revision 7: its expiry gave back 4 units, open were 5" in found
    assert "rule 2: stk:A N1: revision 7: reserved is 1, what is open adds up to 0" in found


# --- rule 9 -------------------------------------------------------------------------------------------------------------
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
