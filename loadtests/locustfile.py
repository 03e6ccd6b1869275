"""The users, for plain locust: `locust -f loadtests/locustfile.py --host HOST:PORT --sku-file FILE`; docs/peak.md has more.

A checkout looks at a basket and holds it; the OMS confirms or releases what was held; the warehouse ships what was confirmed. They hand
ids to each other within one process of locust.
"""

import logging
import random
import sys
import time
import uuid
from argparse import Namespace
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple, TypeVar

import gevent
import grpc.experimental.gevent
from locust import LoadTestShape, User, constant_throughput, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner
from locust.stats import StatsEntry

from atp_client import Confirmed, Held, Move, Released, Shipped
from loadtests import mix, shapes, summary
from loadtests.calls import DEADLINE_S, Calls, Target

QUEUE_MAX: Final = 2_000  # ids waiting for the OMS, and for the warehouse, of one process
DURATION_S: Final = 60  # if --run-time does not say
SUMMARY_EVERY_S: Final = 1.0
PartT = TypeVar("PartT")


class ToDecide(NamedTuple):
    """A hold, for the OMS."""

    reservation_id: str
    units: int


class ToShip(NamedTuple):
    """What was confirmed, for the warehouse: the lines of each node together."""

    reservation_id: str
    nodes: list[list[Move]]


class Process:
    """What the users of one locust process share."""

    def __init__(self, target: Target, catalogue: mix.Catalogue) -> None:
        self.target = target
        self.catalogue = catalogue
        self.chance = random.Random()
        self.counts = summary.Counts()
        self.to_decide: deque[ToDecide] = deque()
        self.to_ship: deque[ToShip] = deque()

    def doubt(self, name: str, units: int) -> Callable[[], None]:
        """What counts these units as held, confirmed, … or not."""

        def count() -> None:
            field = f"{name}_in_doubt"
            setattr(self.counts, field, getattr(self.counts, field) + units)

        return count

    def hand_over(self, queue: deque[Any], what: ToDecide | ToShip) -> None:
        """To whoever of this process comes next. What finds no room stays as it is: a hold expires, an order is not shipped."""
        if len(queue) < QUEUE_MAX:
            queue.append(what)
        else:
            self.counts.left += 1


here: Process  # made in each process, after locust has forked, else all would take the same chances; and anew for each test


class Person(User):
    """One user with a connection of its own. Its first task comes at a random moment: users who come together do not stay in step."""

    abstract = True
    pace: ClassVar[float]  # tasks a second

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.calls = Calls(here.target, environment.events.request.fire)

    def on_start(self) -> None:
        self.calls.connect(here.catalogue.first)
        gevent.sleep(here.chance.random() / self.pace)
        self._cp_last_run = time.perf_counter()  # constant_throughput counts from here, not from when the user was made

    def on_stop(self) -> None:
        self.calls.close()


class Checkout(Person):
    """Looks at a basket, holds what it can, and hands it on, gives it back, or forgets it."""

    weight = mix.CHECKOUTS
    pace = mix.BASKETS_A_SECOND
    wait_time = constant_throughput(mix.BASKETS_A_SECOND)
    _began: float | None = None

    @task
    def shop(self) -> None:
        self._count_arrival()
        basket = self._look(here.catalogue.basket(here.chance))
        if not basket:
            return
        fate = mix.fate(here.chance)
        held = self._hold(basket, mix.FORGOTTEN_TTL_MS if fate == "forgotten" else 0)
        if held is None or fate == "forgotten":
            return
        if fate == "abandoned":
            _release(self.calls, held)
        else:
            here.hand_over(here.to_decide, held)

    def _count_arrival(self) -> None:
        now = time.perf_counter()
        if self._began is not None:
            here.counts.baskets_lost += max(0.0, (now - self._began) * self.pace - 1)
        self._began = now
        here.counts.baskets += 1

    def _look(self, basket: dict[str, int]) -> dict[str, int]:
        """What the shopper goes on with, once the page has said what is sold out."""
        answer = self.calls.make("BatchGetAvailability", lambda: self.calls.client.availability(basket))
        if answer is None:
            return {}
        there = {line.sku for line in answer.lines if line.fulfillable}
        if len(there) == len(basket):
            return basket
        here.counts.seen_sold_out += 1
        return basket if here.chance.random() < mix.STALE_SHARE else {sku: units for sku, units in basket.items() if sku in there}

    def _hold(self, basket: dict[str, int], ttl_ms: int) -> ToDecide | None:
        hold = ToDecide(uuid.uuid4().hex, sum(basket.values()))
        answer = self.calls.make(
            "Reserve",
            lambda: self.calls.client.reserve(basket, reservation_id=hold.reservation_id, ttl_ms=ttl_ms),
            "INSUFFICIENT_STOCK",
            in_doubt=here.doubt("held", hold.units),
        )
        if isinstance(answer, Held):
            here.counts.held += _units(answer.moves)
            return hold
        here.counts.refused += answer is not None
        return None


class OMS(Person):
    """Confirms what was paid, releases what was not."""

    weight = mix.OMS
    pace = mix.DECISIONS_A_SECOND
    wait_time = constant_throughput(mix.DECISIONS_A_SECOND)

    @task
    def decide(self) -> None:
        if not here.to_decide:
            return
        hold = here.to_decide.popleft()
        if here.chance.random() < mix.PAID_SHARE:
            self._confirm(hold)
        else:
            _release(self.calls, hold)

    def _confirm(self, hold: ToDecide) -> None:
        doubt = here.doubt("confirmed", hold.units)
        answer = self.calls.make("Confirm", lambda: self.calls.client.confirm(hold.reservation_id), "EXPIRED", in_doubt=doubt)
        if isinstance(answer, Confirmed):
            nodes: dict[str, list[Move]] = {}
            for move in answer.moves:
                here.counts.confirmed += move.quantity
                here.counts.sold[move.sku] = here.counts.sold.get(move.sku, 0) + move.quantity
                nodes.setdefault(move.node, []).append(move)
            here.hand_over(here.to_ship, ToShip(hold.reservation_id, list(nodes.values())))


class Warehouse(Person):
    """Ships what was confirmed: one shipment from each node."""

    weight = mix.WAREHOUSES
    pace = mix.DECISIONS_A_SECOND
    wait_time = constant_throughput(mix.DECISIONS_A_SECOND)

    @task
    def ship(self) -> None:
        if not here.to_ship:
            return
        reservation_id, nodes = here.to_ship.popleft()
        for moves in nodes:
            self._ship(reservation_id, moves)

    def _ship(self, reservation_id: str, moves: list[Move]) -> None:
        lines = {move.number: move.quantity for move in moves}
        answer = self.calls.make(
            "Fulfil",
            lambda: self.calls.client.fulfil(reservation_id, lines, shipment_id=uuid.uuid4().hex),
            in_doubt=here.doubt("shipped", _units(moves)),
        )
        if isinstance(answer, Shipped):
            here.counts.shipped += _units(answer.moves)


def _release(calls: Calls, hold: ToDecide) -> None:
    doubt = here.doubt("released", hold.units)
    answer = calls.make("Release", lambda: calls.client.release(hold.reservation_id), "EXPIRED", in_doubt=doubt)
    if isinstance(answer, Released):
        here.counts.released += _units(answer.moves)


def _units(moves: Iterable[Move]) -> int:
    return sum(move.quantity for move in moves)


class Shape(LoadTestShape):
    """The shape that --shape names, of --users users for --run-time."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        options = _options(_present(self.runner).environment)
        users, duration_s = options.num_users or mix.TEAM, float(options.run_time or DURATION_S)
        moment = shapes.at(options.shape, self.get_run_time(), users, duration_s)
        return moment and (moment.users, shapes.users_a_second(users, duration_s))


def _options(environment: Environment) -> Namespace:
    return _present(environment.parsed_options)


def _present(what: PartT | None) -> PartT:
    """Locust makes its parts one after the other; ours are asked when all are there."""
    assert what is not None
    return what


@events.init_command_line_parser.add_listener
def _add_options(parser: LocustArgumentParser) -> None:
    parser.add_argument("--shape", choices=list(shapes.SHAPES), default="baseline", help="How the number of users moves")
    parser.add_argument("--pool", env_var="ATP_POOL", default="main", help="The stock pool")
    parser.add_argument("--channel", default="web", help="The channel that is sold through")
    parser.add_argument("--sku-file", default="", help="The pool's SKUs, one a line, the most wanted first")
    parser.add_argument("--hot", type=int, default=5, help="How many of the first SKUs are hot: a quarter of the baskets have one")
    parser.add_argument("--token", env_var="ATP_TOKEN", default="", is_secret=True, help="The bearer token of each call")
    parser.add_argument("--ca-file", env_var="ATP_CA_FILE", default="", help="Speak TLS, and believe the certificates of this file")
    parser.add_argument("--certificate-file", env_var="ATP_CERTIFICATE_FILE", default="", help="Our own certificate, if the service asks")
    parser.add_argument("--key-file", env_var="ATP_KEY_FILE", default="", help="Its key")
    parser.add_argument("--summary", default="", include_in_web_ui=False, help="Write what came of the run to this file, as JSON")


@events.init.add_listener
def _set_up(environment: Environment, **_: Any) -> None:
    """In each process, after locust has forked: grpc must not have been used before."""
    runner, options = environment.runner, _options(environment)
    if "://" in (environment.host or ""):
        sys.exit(f"Say --host HOST:PORT, not {environment.host}; for TLS, say --ca-file.")
    if not Path(options.sku_file).is_file():
        sys.exit(f"There is no file {options.sku_file!r}: say --sku-file FILE, one SKU of the pool a line, the most wanted first.")
    grpc.experimental.gevent.init_gevent()
    _renew(environment)
    try:
        Calls(here.target, environment.events.request.fire).close()
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    environment.stop_timeout = max(environment.stop_timeout, 2 * DEADLINE_S)  # a call under way is not cut off: it would be in doubt
    if isinstance(runner, MasterRunner):
        events.worker_report.add_listener(_add_report)
    elif isinstance(runner, WorkerRunner):
        events.report_to_master.add_listener(_report)
    if options.summary and not isinstance(runner, WorkerRunner):
        gevent.spawn(_keep_summary, environment)
        events.quitting.add_listener(_write_summary)


@events.test_start.add_listener
def _renew(environment: Environment, **_: Any) -> None:
    """Nothing is left of the test before; the options are as they are now, which the web UI may have changed."""
    global here  # noqa: PLW0603 (locust makes the users, and gives them nothing of ours)
    options = _options(environment)
    target = Target(
        environment.host or "",
        options.pool,
        options.channel,
        options.token or None,
        options.ca_file or None,
        options.certificate_file or None,
        options.key_file or None,
    )
    here = Process(target, mix.Catalogue(Path(options.sku_file).read_text().split(), options.hot))


@events.test_start.add_listener
def _warn(environment: Environment, **_: Any) -> None:
    runner, users = environment.runner, _options(environment).num_users or mix.TEAM
    processes = runner.worker_count if isinstance(runner, MasterRunner) else 1
    if not isinstance(runner, WorkerRunner) and (problem := mix.users_problem(users, processes)):
        logging.getLogger(__name__).warning(problem)


def _report(client_id: str, data: dict[str, Any]) -> None:
    data["counts"] = {name: getattr(here.counts, name) for name in here.counts.__struct_fields__}
    here.counts = summary.Counts()


def _add_report(client_id: str, data: dict[str, Any]) -> None:
    here.counts.add(summary.Counts(**data["counts"]))


def _keep_summary(environment: Environment) -> None:
    while True:
        _write_summary(environment)
        gevent.sleep(SUMMARY_EVERY_S)


def _write_summary(environment: Environment, **_: Any) -> None:
    stats, runner = environment.stats, _present(environment.runner)
    seconds = (stats.last_request_timestamp or stats.start_time) - stats.start_time
    calls = [_call(name, stats.entries[name, "grpc"]) for name in summary.METHODS if (name, "grpc") in stats.entries]
    errors = {f"{error.name}: {error.error}": error.occurrences for error in stats.errors.values()}
    summary.write(Path(_options(environment).summary), summary.Summary(seconds, runner.user_count, calls, here.counts, errors))


def _call(name: str, entry: StatsEntry) -> summary.Call:
    p50_ms, p99_ms = (entry.get_response_time_percentile(share) for share in (0.5, 0.99))
    return summary.Call(name, entry.num_requests, entry.num_failures, p50_ms, p99_ms, entry.max_response_time)
