"""The life of a reservation in the model: what each verb answers, in order of precedence, and what it moves."""

import msgspec
import pytest

from atp import requests
from atp.model.pool import ModelLimits, Pool
from atp.model.verbs import ChannelConfig, Context, Expire, Move, NodeConfig, Provision, Reserve, Shortfall, Want
from tests.unit.model_world import CONTEXT, RUN, START, TTL, World


def world(n: int = 10, m: int = 5, bounds: ModelLimits | None = None) -> World:
    return World({"n": {"A": n, "B": n}, "m": {"A": m}}, bounds)


def test_a_pool_that_was_never_opened_is_unknown_and_a_former_run_is_refused() -> None:
    pool = Pool()
    assert pool.apply(Expire(CONTEXT), START, RUN).status == "UNKNOWN_POOL"
    assert pool.open(RUN, 1, 0, START).status == "DUPLICATE"
    assert pool.layout() == {}
    assert pool.open(RUN, 0, 0, START).revision == 1
    assert pool.open("run-2", 0, 0, START).status == "DUPLICATE"
    assert pool.open("run-2", 1, 1, START).revision == 2
    refused = pool.apply(Expire(CONTEXT), START, RUN)
    assert (refused.status, refused.revision, refused.time_ms) == ("POOL_NOT_OPEN", 2, 0)
    assert pool.apply(Expire(CONTEXT), START, "run-2").status == "OK"


def test_script_time_never_goes_back() -> None:
    it = world()
    it.now += 5_000
    it.reserve("R1", A=1)
    it.now -= 4_000
    assert it.reserve("R2", A=1).time_ms == START + 5_000


def test_a_line_takes_from_the_nodes_in_order() -> None:
    it = world()
    done = it.reserve("R", A=12, B=3)
    assert (done.status, done.state, done.expire_ms) == ("OK", "HELD", START + TTL)
    assert done.moves == [Move(1, "A", "n", 10), Move(2, "A", "m", 2), Move(3, "B", "n", 3)]
    assert it.reserve("S", A=1, nodes=["n"]).short == [Shortfall("A", 1, 0)]
    assert it.reserve("T", A=3, nodes=["m", "n"]).moves == [Move(1, "A", "m", 3)]


def test_all_lines_or_none_unless_partial_was_asked_for() -> None:
    it = world()
    before = it.pool.layout()
    refused = it.reserve("R", A=16, B=1)
    assert (refused.status, refused.short, it.pool.layout()) == ("INSUFFICIENT_STOCK", [Shortfall("A", 16, 15)], before)
    partial = it.reserve("R", A=16, B=1, partial=True)
    assert (partial.status, partial.short, sum(move.quantity for move in partial.moves)) == ("OK", [Shortfall("A", 16, 15)], 16)
    assert it.reserve("S", A=1, partial=True).status == "INSUFFICIENT_STOCK", "nothing at all was to be had"


def test_safety_stock_is_kept_back_at_every_node() -> None:
    it = World({"n": {"A": 10}, "m": {"A": 5}}, safety_stock=3)
    assert it.reserve("R", A=10).short == [Shortfall("A", 10, 9)]
    assert it.reserve("R", A=9).status == "OK"


def test_the_answers_of_reserve_stand_in_their_order() -> None:
    """One request that is wrong in every way; each step mends what was answered."""
    it = world(bounds=ModelLimits(ledger_backlog_max=20, script_rows_max=3, order_reservations_max=1))
    assert it.reserve("other", order="O", A=1).status == "OK"
    it.pool.published = it.pool.revision - 20
    request = Reserve(CONTEXT, "R", 1, "kiosk", "O", TTL, False, ["n", "x", "y", "m"], [Want("A", 99), Want("C", 1), Want("D", 1)], [0] * 6)
    steps = [
        ("RESERVATION_ID_STALE", [], {"id_time_ms": START}),
        ("LEDGER_BACKLOG", [], {}),
        ("UNKNOWN_CHANNEL", ["kiosk"], {"channel": "web"}),
        ("UNKNOWN_NODE", ["y"], {"nodes": ["n", "x", "m"]}),
        ("NODE_NOT_IN_CHANNEL", ["x"], {"nodes": ["n", "m"]}),
        ("TOO_MANY_ROWS", [], {"nodes": ["n"]}),
        ("UNKNOWN_SKU", ["C", "D"], {"lines": [Want("A", 99)]}),
        ("ORDER_FULL", [], {"order_reference": "P"}),
        ("INSUFFICIENT_STOCK", [], {"lines": [Want("A", 9)]}),
        ("OK", [], {}),
    ]
    for status, detail, mended in steps:
        answer = it.do(request)
        assert (answer.status, answer.detail) == (status, detail)
        if status == "LEDGER_BACKLOG":
            it.pool.published += 1
        request = msgspec.structs.replace(request, **mended)


@pytest.mark.parametrize(
    ("age_ms", "status"), [(86_400_000, "OK"), (86_400_001, "RESERVATION_ID_STALE"), (-300_000, "OK"), (-300_001, "RESERVATION_ID_STALE")]
)
def test_an_id_with_a_time_in_it_is_taken_within_the_retention_and_five_minutes_ahead(age_ms: int, status: str) -> None:
    request = Reserve(CONTEXT, "R", START - age_ms, "web", "", TTL, False, [], [Want("A", 1)], [0] * 6)
    assert world().do(request).status == status


def test_reserve_again_answers_as_created_whatever_became_of_it() -> None:
    it = world()
    first = it.reserve("R", A=16, partial=True)
    it.confirm("R")
    it.release("R")
    assert it.reserve("R", A=16, partial=True) == msgspec.structs.replace(first, replayed=True)
    differs = it.reserve("R", A=3, ttl_ms=TTL + 1, order="O")
    assert (differs.status, differs.detail) == ("KEY_REUSED", ["order_reference", "ttl_ms", "partial", "lines"])


def test_confirm_moves_reserved_to_allocated_and_ends_the_expiry() -> None:
    it = world()
    it.reserve("R", A=4)
    done = it.confirm("R")
    assert (done.state, done.expire_ms, done.moves, it.figures()) == ("CONFIRMED", 0, [Move(1, "A", "n", 4)], (10, 0, 4, 0))
    it.now += TTL
    assert it.confirm("R", "other").status == "CONFIRMED"
    assert "exp" not in it.pool.layout()


@pytest.mark.parametrize("verb", ["confirm", "release", "extend"])
def test_an_operation_is_answered_once_and_its_key_belongs_to_it(verb: str) -> None:
    it = world()
    operations = {
        "confirm": lambda other: it.confirm("R", "key", reacquire=other),
        "release": lambda other: it.release("R", "key", [(1, 2 if other else 1)]),
        "extend": lambda other: it.extend("R", "key", TTL + 1 if other else TTL),
    }
    assert operations[verb](False).status == "UNKNOWN_RESERVATION"
    it.reserve("R", A=4)
    it.now += 1
    first = operations[verb](False)
    after = it.pool.layout()
    assert operations[verb](False) == msgspec.structs.replace(first, replayed=True)
    field = {"confirm": "reacquire", "release": "lines", "extend": "ttl_ms"}[verb]
    for other, operation in operations.items():
        reused = operation(True)
        assert (reused.status, reused.detail) == ("KEY_REUSED", [field] if other == verb else ["verb"])
    assert it.pool.layout() == after


def test_release_gives_back_named_lines_and_ends_with_the_last_unit() -> None:
    it = world()
    it.reserve("R", A=12, order="O")
    assert it.release("R", "1", [(3, 1), (1, 1)]).detail == ["3"]
    assert it.release("R", "1", [(1, 11)]).detail == ["1"]
    assert it.release("R", "1", [(2, 0), (1, 4)]).moves == [Move(2, "A", "m", 2), Move(1, "A", "n", 4)]
    again = it.release("R", "2", [(2, 0)])
    assert (again.status, again.detail) == ("EXCEEDS_HELD", ["2"])
    assert it.pool.layout()["ord:O"] == {"R": 0}
    it.now += 5
    assert it.release("R", "3").state == "RELEASED"
    assert it.pool.layout()["ord:O"] == {"R": START + 5}
    assert it.release("R", "4").status == "RELEASED"
    assert (it.figures(), it.figures(node="m")) == ((10, 0, 0, 0), (5, 0, 0, 0))


def test_extend_never_shortens() -> None:
    it = world()
    it.reserve("R", A=1)
    assert it.extend("R", "1", TTL * 2).expire_ms == START + TTL * 2
    assert it.extend("R", "2", TTL).expire_ms == START + TTL * 2
    it.now += TTL * 2
    assert it.extend("R", "3").status == "EXPIRED"


def test_results_are_refused_when_full_but_confirm_and_a_whole_release_have_their_places() -> None:
    it = world(bounds=ModelLimits(operations_for_any=2))
    it.reserve("R", A=4)
    it.extend("R", "1")
    it.extend("R", "2")
    assert it.extend("R", "3").status == "OPERATIONS_FULL"
    assert it.release("R", "4", [(9, 1)]).status == "OPERATIONS_FULL"
    assert it.confirm("R", "5").status == "OK"
    assert it.release("R", "6").status == "OK"
    assert it.extend("R", "1").replayed


def test_a_due_hold_is_reaped_before_any_verb_decides() -> None:
    it = world()
    it.reserve("R", A=15, order="O")
    it.now += TTL - 1
    assert it.pool.available("A", "n", it.now) == 0
    assert it.reserve("S", A=1).status == "INSUFFICIENT_STOCK"
    it.now += 1
    before = it.pool.layout()
    assert (it.pool.available("A", "n", it.now), it.pool.layout()) == (10, before), "a read leaves due holds out and reaps nothing"
    assert it.reserve("S", A=15).status == "OK"
    entry = it.pool.entries[-2]
    assert (entry.verb, entry.cause, entry.time_ms, it.state("R")) == ("expire", "R", it.now, "EXPIRED")
    assert it.pool.layout()["ord:O"] == {"R": it.now}


def test_reaping_counts_rows_and_takes_at_least_one_hold() -> None:
    it = world(bounds=ModelLimits(reap_rows_max=2))
    it.reserve("c", ttl_ms=1_000, A=12, B=1)  # three rows: more than the bound, alone
    it.reserve("b", ttl_ms=1_001, B=1)
    it.reserve("a", ttl_ms=1_001, B=1)
    it.reserve("d", ttl_ms=1_001, B=1)
    it.now += 1_001
    revision = it.pool.revision
    assert [it.expire().status for _ in range(4)] == ["REAP_MORE", "REAP_MORE", "OK", "OK"]
    assert [entry.cause for entry in it.pool.entries[revision:]] == ["c", "a", "b", "d"]


def test_an_expired_hold_is_confirmed_again_only_if_its_stock_is_there() -> None:
    it = world()
    it.reserve("R", A=12, B=5, order="O")
    it.now += TTL
    assert it.confirm("R").status == "EXPIRED"
    assert it.reserve("S", A=4).status == "OK"
    refused = it.confirm("R", reacquire=True)
    assert (refused.status, refused.short) == ("INSUFFICIENT_STOCK", [Shortfall("A", 10, 6)])
    it.release("S")
    assert it.confirm("R", reacquire=True).state == "CONFIRMED"
    layout = it.pool.layout()
    assert (layout["opn"], layout["ord:O"], layout["rsv:R"]["exp"]) == ({"R": START}, {"R": 0}, "0")
    assert it.figures() == (10, 0, 10, 0)


def test_fulfil_ships_allocated_units_into_shipped_unbooked() -> None:
    it = world()
    it.sold("R", A=12, B=2)
    assert it.fulfil("R", "S1").detail == ["n", "m"]
    assert it.fulfil("R", "S1", [(9, 1)]).status == "UNKNOWN_LINE"
    assert it.fulfil("R", "S1", [(1, 11)]).status == "EXCEEDS_HELD"
    done = it.fulfil("R", "S1", [(3, 0), (1, 4)])
    assert (done.state, done.moves) == ("CONFIRMED", [Move(3, "B", "n", 2), Move(1, "A", "n", 4)])
    assert (it.figures("A"), it.figures("B")) == ((10, 0, 6, 4), (10, 0, 0, 2))
    assert it.pool.available("A", "n", it.now) == 0
    shipment = it.pool.layout()["shp:S1"]
    assert (shipment["settled"], shipment["open"]) == (["A", 4, "B", 2], "2")
    it.release("R", "rest", [(2, 0)])
    assert it.fulfil("R", "S2").state == "FULFILLED"
    assert it.fulfil("R", "S3").status == "FULFILLED"


def test_fulfil_again_is_replayed_by_shipment_and_compared_by_sku() -> None:
    it = world()
    it.sold("R", A=10, B=2)
    it.sold("other", B=1)
    first = it.fulfil("R", "S", [(1, 4)])
    after = it.pool.layout()
    for lines in ([(1, 4)], [(1, 0)], []):
        assert it.fulfil("R", "S", lines) == msgspec.structs.replace(first, replayed=True)
    for lines in ([(1, 5)], [(2, 4)], [(1, 0), (2, 0)], [(1, 4), (9, 0)]):
        assert (it.fulfil("R", "S", lines).status, it.fulfil("R", "S", lines).detail) == ("KEY_REUSED", ["lines"])
    assert it.fulfil("other", "S").detail == ["reservation_id"]
    assert it.pool.layout() == after


def test_a_held_reservation_is_not_fulfilled() -> None:
    it = world()
    it.reserve("R", A=1)
    assert it.fulfil("R", "S").status == "HELD"
    assert it.fulfil("Q", "S").status == "UNKNOWN_RESERVATION"


def test_provision_writes_only_what_differs() -> None:
    it = world()
    node = Provision(Context(), [NodeConfig("n", "store", "UTC", "wms")], [], [])
    revision = it.pool.revision
    assert (it.do(node).status, it.pool.revision) == ("OK", revision)
    assert it.do(msgspec.structs.replace(node, channels=[ChannelConfig("app", ["n"])])).revision == revision + 1
    assert it.pool.layout()["cfg"]["channel:app"] == ["n"]


def test_a_checked_request_is_what_the_model_takes() -> None:
    request = requests.reserve(
        CONTEXT,
        reservation_id="R",
        own_id=True,
        channel="web",
        order_reference="",
        ttl_ms=TTL,
        partial=False,
        nodes=[],
        lines=[("A", 6), ("A", 6)],
    )
    done = world().do(request)
    assert [move.quantity for move in done.moves] == [10, 2], "one SKU twice in a basket is added up first"
