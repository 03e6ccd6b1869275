"""The auditor is content with what the scripts do, and names each rule that a planted violation bends; all on a real store."""

import asyncio

import pytest
import redis
from msgspec.structs import replace

from atp.audit import Audit, Miscount, VerifyReport
from atp.ledger import Entry, Fact, image_value
from atp.model.verbs import ITEM_STATES, LOCATION_STATES, Adjust, Figures, ItemState, SetItemStates, SetLocationState
from cli.embedded import StoreServer
from tests.auditing import REAP, altered, audit, change_row, planted, sabotaged
from tests.lua.scenario import Player
from tests.lua.scenarios import SCENARIOS, STOCK
from tests.pair import Pair
from tests.selling import CONTEXT, Selling


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


def test_rule_1_a_hold_on_what_must_not_be_promised(valkey: StoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    sabotaged(monkeypatch, "if item[5] == BLOCKED then", "if false then")
    sabotaged(monkeypatch, "cells[i + 1] and not shut[node] then", "cells[i + 1] then")

    async def sell(pool: Selling, _: redis.Redis) -> None:
        await pool.do(SetItemStates(CONTEXT, "blocked", "erp", 1, 1, [ItemState("A", ITEM_STATES.index("blocked"))]))
        await pool.reserve("R8", A=2)
        await pool.do(SetLocationState(CONTEXT, "closed", "erp", "N1", 1, 1, LOCATION_STATES.index("closed")))
        await pool.reserve("R9", B=1)

    assert planted(valkey, sell, trade=False) == [
        "rule 1: stk:A N1: revision 7: reserve of R8 took 2 units, 2 more than could be promised",
        "rule 1: stk:B N1: revision 9: reserve of R9 took 1 units, 1 more than could be promised",
    ]


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


def test_rule_1_a_pick_that_is_taken_back_allocates_more(valkey: StoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    sabotaged(monkeypatch, "shift(row, sku, node, ROW_PICKED, -units)\n      left", "shift(row, sku, node, ALLOCATED, units)\n      left")

    async def take_back(pool: Selling, _: redis.Redis) -> None:
        await pool.do(Adjust(CONTEXT, "stock", "receipt", "wcs", "N3", 1_000, 1, [Figures("A", 9, 0, 0)]))
        await pool.reserve("R1", channel="depot", order="O1", A=5)
        await pool.confirm("R1")
        await pool.pick("N3", "O1", A=5)
        await pool.pick("N3", "O1", kind="pick_reversed", A=2)

    found = planted(valkey, take_back, trade=False)
    assert "rule 1: stk:A N3: revision 10: pick_reversed of O1 raised the commitments by 2, which it must not" in found


# --- rule 2 -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("term", ["reserved", "allocated", "shipped_unbooked", "in_transit", "picked"])
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


def test_rule_2_a_line_that_gave_back_more_than_it_held(valkey: StoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    sabotaged(monkeypatch, "line[to] = line[to] + units", "line[to] = 99")

    async def give_back(pool: Selling, _: redis.Redis) -> None:
        await pool.reserve("R1", A=5)
        await pool.release("R1", [(1, 2)])

    found = planted(valkey, give_back, trade=False)
    assert "rule 2: rsv:R1: revision 7: line 1 has given back or shipped more than it held" in found


def test_rule_2_a_line_of_which_more_is_picked_than_is_open(valkey: StoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    sabotaged(monkeypatch, "open_units(line) - picked_units(line)", "left")

    async def pick(pool: Selling, _: redis.Redis) -> None:
        await pool.count("N3", source="wcs", A=5)
        await pool.reserve("R1", channel="depot", order="O1", A=2)
        await pool.pick("N3", "O1", A=3)

    found = planted(valkey, pick, trade=False)
    assert found == ["rule 2: rsv:R1: revision 8: line 1 of 2 units has 3 picks"]


def test_rule_2_a_transfer_of_which_less_than_nothing_is_in_transit(valkey: StoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    sabotaged(monkeypatch, "math.max(0, u[LEFT] - u[CAME])", "(u[LEFT] - u[CAME])")

    async def transfer(pool: Selling, _: redis.Redis) -> None:
        await pool.transfer("transfer_in", "wms", "N2", "N1", A=3)
        await pool.transfer("transfer_out", "wms", "N1", "N2", A=2)

    found = planted(valkey, transfer, trade=False)
    assert "rule 2: trf:T1: revision 7: of A 2 units left and 3 came, -1 are in transit" in found


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


def test_rule_2_a_repair_that_is_wrong_is_found_and_one_that_is_right_ends_it(valkey: StoreServer) -> None:
    async def run() -> tuple[Audit, Audit]:
        pair = Pair(valkey.url)
        await pair.start()
        try:
            player = Player(pair)
            await player.play(STOCK + "reserve R1 A 2 → OK 1×2\n repair P1 A N1 reserved 2 7 → OK")
            wrong = await audited(pair)
            await player.play("repair P2 A N1 reserved 7 2 → OK")
            return wrong, await audited(pair)
        finally:
            await pair.close()

    wrong, right = asyncio.run(run())
    assert [line.split(": ", 2)[1:] for line in wrong.report().violations] == [
        ["stk:A N1", "revision 7: reserved is 7, what is open adds up to 2"]
    ]
    assert list(wrong.miscounted()) == [Miscount("A", "N1", "reserved", 7, 2)]
    assert right.unbalanced == {}
    assert list(right.miscounted()) == []
    assert right.findings.numbers == wrong.findings.numbers, "a repair promises nothing: it raises what is committed without a hold"


async def audited(pair: Pair) -> Audit:
    """What stands in the store's ledger, followed."""
    found = Audit(comparing=False)
    for record in await pair.store.ledger_after(pair.pool, 0, 1_000):
        found.follow(record.entry)
    return found


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
    sabotaged(monkeypatch, "lower_open(r, line, row, units)", "lower_open(r, line, row, units - 1)")

    async def lapse(pool: Selling, _: redis.Redis) -> None:
        await pool.reserve("R9", A=5, ttl_s=1)
        pool.now_ms += 1_000
        await pool.expire()

    found = planted(valkey, lapse, trade=False)
    assert "rule 5: rsv:R9: revision 7: its expiry gave back 4 units, open were 5" in found
    assert "rule 2: stk:A N1: revision 7: reserved is 1, what is open adds up to 0" in found
