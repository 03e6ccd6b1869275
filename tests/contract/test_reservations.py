"""The life of a reservation, over gRPC."""

import uuid

import pytest

from atp import limits
from inventory.availability.v1.reservation_pb2 import Outcome, Reservation
from tests.contract.conftest import Shop


def outcome(answer) -> str:
    return Outcome.Name(answer.outcome).removeprefix("OUTCOME_")


def state(answer) -> str:
    return Reservation.State.Name(answer.state).removeprefix("STATE_")


def moves(answer) -> list[tuple[int, str, str, int]]:
    return [(move.number, move.sku, move.node, move.quantity) for move in answer.moves]


def short(answer) -> list[tuple[str, int, int]]:
    return [(line.sku, line.requested, line.available) for line in answer.shortfalls]


def in_all(shop: Shop, sku: str) -> int:
    return shop.available((sku, 1)).lines[0].available


def test_a_hold_takes_from_the_nodes_in_order_and_says_when_it_ends(shop: Shop) -> None:
    held = shop.reserve(("A", 12), rid="r1", order_reference="o1")
    assert (outcome(held), state(held), held.reservation_id, held.replayed) == ("OK", "HELD", "r1", False)
    assert moves(held) == [(1, "A", "N1", 10), (2, "A", "N2", 2)]
    assert held.time.ToMilliseconds() == shop.engine.now_ms
    assert held.expire_time.ToMilliseconds() == shop.engine.now_ms + limits.HOLD_TTL_MS_DEFAULT
    assert in_all(shop, "A") == 3


def test_nodes_named_are_taken_from_in_the_order_named(shop: Shop) -> None:
    assert moves(shop.reserve(("A", 6), nodes=["N2", "N1"])) == [(1, "A", "N2", 5), (2, "A", "N1", 1)]


def test_all_lines_or_none(shop: Shop) -> None:
    with shop.unchanged():
        refused = shop.reserve(("A", 1), ("B", 4), rid="r1")
        assert (outcome(refused), state(refused)) == ("INSUFFICIENT_STOCK", "UNSPECIFIED")
        assert short(refused) == [("B", 4, 2)]  # of 3 units 1 is safety stock
        assert not refused.moves
        assert not refused.HasField("expire_time")
    with shop.fails("NOT_FOUND", "UNKNOWN_RESERVATION", reservation_id="r1"):
        shop.get("r1")


def test_partial_holds_what_there_is_and_says_what_is_short(shop: Shop) -> None:
    held = shop.reserve(("A", 1), ("B", 4), rid="r1", partial=True)
    assert (outcome(held), moves(held), short(held)) == ("OK", [(1, "A", "N1", 1), (2, "B", "N1", 2)], [("B", 4, 2)])
    assert short(shop.get("r1").reservation) == [("B", 4, 2)]


def test_partial_of_nothing_is_refused(shop: Shop) -> None:
    with shop.unchanged():
        assert outcome(shop.reserve(("C", 1), partial=True)) == "INSUFFICIENT_STOCK"


def test_a_sku_that_stands_twice_is_added_up(shop: Shop) -> None:
    with shop.unchanged():
        assert short(shop.reserve(("A", 8), ("A", 8))) == [("A", 16, 15)]
    assert moves(shop.reserve(("A", 2), ("A", 3))) == [(1, "A", "N1", 5)]


def test_the_service_makes_an_id_if_the_caller_has_none(shop: Shop) -> None:
    first, second = shop.reserve(("A", 1)), shop.reserve(("A", 1))
    assert uuid.UUID(first.reservation_id).version == 7
    assert first.reservation_id != second.reservation_id
    assert shop.get(first.reservation_id).reservation.lines[0].quantity == 1


def test_the_same_reserve_again_gets_the_first_answer(shop: Shop) -> None:
    first = shop.reserve(("A", 2), rid="r1")
    shop.confirm("r1")
    with shop.unchanged():
        again = shop.reserve(("A", 2), rid="r1")
    assert again.replayed
    again.replayed = False
    assert again == first


def test_an_explicit_default_is_the_same_request_as_none(shop: Shop) -> None:
    shop.reserve(("A", 2), rid="r1")
    assert shop.reserve(("A", 2), rid="r1", ttl_ms=limits.HOLD_TTL_MS_DEFAULT).replayed


def test_held_confirmed_shipped(shop: Shop) -> None:
    shop.reserve(("A", 2), ("B", 1), rid="r1")
    confirmed = shop.confirm("r1")
    assert (outcome(confirmed), state(confirmed)) == ("OK", "CONFIRMED")
    assert moves(confirmed) == [(1, "A", "N1", 2), (2, "B", "N1", 1)]
    assert not confirmed.HasField("expire_time")
    part = shop.fulfil("r1", (1, 1), shipment="s1")
    assert (outcome(part), state(part), moves(part)) == ("OK", "CONFIRMED", [(1, "A", "N1", 1)])
    rest = shop.fulfil("r1", shipment="s2")
    assert (outcome(rest), state(rest), moves(rest)) == ("OK", "FULFILLED", [(1, "A", "N1", 1), (2, "B", "N1", 1)])
    assert [(line.quantity, line.shipped, line.open) for line in shop.get("r1").reservation.lines] == [(2, 2, 0), (1, 1, 0)]


@pytest.mark.parametrize("verb", ["confirm", "release", "extend", "fulfil"])
def test_an_operation_sent_again_gets_its_first_answer(shop: Shop, verb: str) -> None:
    shop.reserve(("A", 2), rid="r1")
    if verb == "fulfil":
        shop.confirm("r1")
    first = getattr(shop, verb)("r1")
    assert outcome(first) == "OK"
    with shop.unchanged():
        again = getattr(shop, verb)("r1")
    assert again.replayed
    again.replayed = False
    assert again == first


def test_an_operation_without_a_key_is_another_one_each_time(shop: Shop) -> None:
    shop.reserve(("A", 2), rid="r1")
    assert outcome(shop.confirm("r1", key="")) == "OK"
    assert outcome(shop.confirm("r1", key="")) == "CONFIRMED"


def test_a_release_gives_back_what_it_names_and_then_all(shop: Shop) -> None:
    shop.reserve(("A", 5), ("B", 1), rid="r1")
    some = shop.release("r1", (1, 2), (2, 0), key="some")
    assert (outcome(some), state(some), moves(some)) == ("OK", "HELD", [(1, "A", "N1", 2), (2, "B", "N1", 1)])
    assert in_all(shop, "A") == 12
    rest = shop.release("r1", key="rest")
    assert (outcome(rest), state(rest), moves(rest)) == ("OK", "RELEASED", [(1, "A", "N1", 3)])
    assert in_all(shop, "A") == 15


def test_extend_moves_the_expiry_away_and_never_nearer(shop: Shop) -> None:
    held = shop.reserve(("A", 1), rid="r1", ttl_ms=60_000)
    assert shop.extend("r1", 1_000, key="nearer").expire_time == held.expire_time
    assert shop.extend("r1", 90_000, key="away").expire_time.ToMilliseconds() == shop.engine.now_ms + 90_000


def test_an_expired_hold_is_back_at_once_and_says_so(shop: Shop) -> None:
    shop.reserve(("A", 15), rid="r1", ttl_ms=1_000)
    assert in_all(shop, "A") == 0
    shop.tick(1_000)
    with shop.unchanged():  # reads never reap
        assert in_all(shop, "A") == 15
        assert state(shop.get("r1").reservation) == "EXPIRED"
        assert [line.open for line in shop.get("r1").reservation.lines] == [0, 0]
    assert (outcome(shop.confirm("r1")), state(shop.confirm("r1"))) == ("EXPIRED", "EXPIRED")
    assert outcome(shop.extend("r1")) == "EXPIRED"


def test_an_expired_hold_can_be_taken_again_while_there_is_stock(shop: Shop) -> None:
    shop.reserve(("A", 12), rid="r1", ttl_ms=1_000)
    shop.tick(1_000)
    other = shop.reserve(("A", 1), rid="other")
    refused = shop.confirm("r1", reacquire=True)
    assert (outcome(refused), short(refused)) == ("INSUFFICIENT_STOCK", [("A", 10, 9)])
    shop.release(other.reservation_id)
    confirmed = shop.confirm("r1", reacquire=True)
    assert (outcome(confirmed), state(confirmed)) == ("OK", "CONFIRMED")


def test_every_state_answers_verbs_that_come_too_late(shop: Shop) -> None:
    shop.reserve(("A", 1), rid="held")
    shop.reserve(("A", 1), rid="released")
    shop.release("released")
    shop.reserve(("A", 1), rid="fulfilled")
    shop.confirm("fulfilled")
    shop.fulfil("fulfilled")
    with shop.unchanged():
        assert outcome(shop.fulfil("held", shipment="s2")) == "HELD"
        for verb in (shop.confirm, shop.extend, shop.release):
            assert outcome(verb("released", key="late")) == "RELEASED"
            assert state(verb("fulfilled", key="late")) == "FULFILLED"


def test_more_than_is_open_is_not_released_or_shipped_and_the_lines_are_named(shop: Shop) -> None:
    shop.reserve(("A", 2), ("B", 1), rid="r1")
    shop.confirm("r1")
    with shop.unchanged():
        for answer in (shop.release("r1", (1, 1), (2, 2)), shop.fulfil("r1", (1, 1), (2, 2))):
            assert (outcome(answer), list(answer.exceeding_lines)) == ("EXCEEDS_HELD", [2])
            assert not answer.moves


def test_a_reservation_tells_all_that_it_was_made_with(shop: Shop) -> None:
    held = shop.reserve(("A", 2), rid="r1", order_reference="o1")
    read = shop.get("r1")
    reservation = read.reservation
    assert (reservation.reservation_id, reservation.channel, reservation.order_reference) == ("r1", "web", "o1")
    assert (reservation.create_time, reservation.expire_time) == (held.time, held.expire_time)
    assert (reservation.create_revision, read.revision) == (held.revision, held.revision)
    assert read.read_time.ToMilliseconds() == shop.engine.now_ms
    line = reservation.lines[0]
    assert (line.number, line.sku, line.node, line.quantity, line.released, line.shipped, line.open) == (1, "A", "N1", 2, 0, 0, 2)


def test_the_reservations_of_an_order_are_listed_oldest_first_page_by_page(shop: Shop) -> None:
    ids = [shop.reserve(("A", 1), rid=f"r{number}", order_reference="o1").reservation_id for number in (3, 1, 2)]
    shop.reserve(("A", 1), order_reference="another")
    assert [reservation.reservation_id for reservation in shop.list("o1").reservations] == ids
    first = shop.list("o1", page_size=2)
    assert [reservation.reservation_id for reservation in first.reservations] == ids[:2]
    rest = shop.list("o1", page_size=2, page_token=first.next_page_token)
    assert [reservation.reservation_id for reservation in rest.reservations] == ids[2:]
    assert not rest.next_page_token
    assert shop.list("o1", page_size=1_000).reservations == shop.list("o1").reservations


def test_an_order_that_nothing_was_reserved_for_has_no_reservations(shop: Shop) -> None:
    assert not shop.list("never").reservations
