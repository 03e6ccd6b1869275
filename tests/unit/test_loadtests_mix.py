"""What load tests do, without locust: baskets, the hand-over's arithmetic, and the shapes as functions of time."""

import itertools
import subprocess
import sys
from collections import Counter
from random import Random

import pytest

from loadtests import mix, shapes, world

SKUS = world.names(1_000, 5)
DURATION_S = 60.0
USERS = 22


def test_the_first_of_the_tail_is_wanted_far_more_often_than_the_last_and_the_last_is_wanted_at_all() -> None:
    catalogue = mix.Catalogue(SKUS, 5)
    chance = Random(1)
    wanted = Counter(sku for _ in range(20_000) for sku in catalogue.basket(chance))
    first, tenth = wanted[catalogue.tail[0]], wanted[catalogue.tail[9]]
    assert 5 < first / tenth < 20  # 1/n: ten times
    assert sum(wanted[sku] for sku in catalogue.tail[-100:]) > 0
    assert set(wanted) <= set(SKUS)


def test_a_quarter_of_the_baskets_have_a_hot_sku() -> None:
    catalogue = mix.Catalogue(SKUS, 5)
    chance = Random(1)
    hot = sum(1 for _ in range(10_000) if set(catalogue.basket(chance)) & set(catalogue.hot))
    assert hot == pytest.approx(10_000 * mix.HOT_SHARE, rel=0.1)


@pytest.mark.parametrize("skus", [["A"], ["A", "B"], SKUS[:6]])
@pytest.mark.parametrize("hot", [0, 1, 5])
def test_a_basket_is_never_empty_however_few_skus_there_are(skus: list[str], hot: int) -> None:
    catalogue = mix.Catalogue(skus, hot)
    chance = Random(1)
    for _ in range(200):
        assert catalogue.basket(chance)


def test_every_fate_of_a_hold_occurs() -> None:
    chance = Random(1)
    assert {mix.fate(chance) for _ in range(1_000)} == set(mix.FATES)


def test_hot_skus_are_few_at_every_node_and_the_tail_lies_at_two() -> None:
    stock = world.supply(SKUS, 5)
    assert all(stock[node][sku] == world.HOT_UNITS for node in world.NODES for sku in SKUS[:5])
    assert all(len(world.at_nodes(stock, sku)) == 2 for sku in SKUS[5:])
    assert world.there(stock)[SKUS[0]] == world.HOT_UNITS * len(world.NODES)


DEAL = """
from locust import User
from locust.dispatch import UsersDispatcher
from locust.runners import WorkerNode
from loadtests import mix

kinds = [type(name, (User,), {"weight": weight}) for name, weight in (("C", mix.CHECKOUTS), ("O", mix.OMS), ("W", mix.WAREHOUSES))]
for processes in range(1, 25):
    dispatcher = UsersDispatcher([WorkerNode(str(number)) for number in range(processes)], kinds)
    fewest = mix.TEAM * processes
    for users in (fewest, 8 * fewest, fewest):  # up and down again
        dispatcher.new_dispatch(users, 1_000_000)
        for dealt in dispatcher:
            pass
        complete = all(all(count > 0 for count in kinds.values()) for kinds in dealt.values())
        assert complete is (mix.users_problem(users, processes) is None), (processes, users, dealt)
"""


def test_locust_deals_some_of_each_kind_to_every_process_unless_we_warned() -> None:
    """In a process of its own: locust patches the standard library."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", DEAL], check=True, timeout=60)


def test_too_few_users_are_told_how_many_it_takes() -> None:
    assert mix.users_problem(2 * mix.TEAM, 2) is None
    assert f"at least {2 * mix.TEAM}" in str(mix.users_problem(2 * mix.TEAM - 1, 2))


def test_a_flash_sale_goes_to_eight_times_the_users_within_seconds_holds_and_goes_back() -> None:
    def users(share: float) -> int:
        moment = shapes.at("flash-sale", share * DURATION_S, USERS, DURATION_S)
        assert moment is not None
        return moment.users

    assert users(0) == users(shapes.PEAK_FROM) == users(0.99) == USERS
    ramp = shapes.ramp(DURATION_S) / DURATION_S
    assert USERS < users(shapes.PEAK_FROM + ramp / 2) < users(shapes.PEAK_FROM + ramp) == 8 * USERS
    assert users(shapes.PEAK_TO) == 8 * USERS
    assert shapes.ramp(DURATION_S) <= 5
    assert (shapes.PEAK_TO - shapes.PEAK_FROM - ramp) > 0.4  # most of a run is the peak


def test_a_flash_sale_never_jumps_faster_than_users_may_come() -> None:
    slope = shapes.users_a_second(USERS, DURATION_S)
    moments = [shapes.at("flash-sale", second, USERS, DURATION_S) for second in range(int(DURATION_S))]
    users = [moment.users for moment in moments if moment]
    assert max(abs(later - earlier) for earlier, later in itertools.pairwise(users)) <= slope


@pytest.mark.parametrize("shape", shapes.SHAPES)
def test_every_shape_rests_before_it_ends_so_that_the_last_figures_come_in(shape: str) -> None:
    rest = shapes.at(shape, DURATION_S, USERS, DURATION_S)
    assert rest is not None and rest.users == 0
    assert shapes.at(shape, DURATION_S + shapes.REST_S, USERS, DURATION_S) is None


def test_the_baseline_is_steady() -> None:
    assert {shapes.at("baseline", second, USERS, DURATION_S) for second in range(int(DURATION_S))} == {shapes.Moment(USERS, "steady")}
