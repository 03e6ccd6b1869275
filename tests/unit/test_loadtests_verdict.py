"""The verdict on a load test can fail: each criterion, sabotaged by itself."""

import copy
import os
from collections.abc import Callable

import msgspec
import pytest

from loadtests import cpu
from loadtests.cpu import Sample, Use
from loadtests.summary import Call, Counts
from loadtests.verdict import Books, Bounds, Line, Run, Verdict, judge, passed

GOOD = Run(
    calls=[Call("BatchGetAvailability", 1_000, 0, 2, 20, 90), Call("Reserve", 900, 0, 3, 30, 95)],
    counts=Counts(baskets=1_000, refused=40, held=2_000, confirmed=1_500, released=200, shipped=1_400, sold={"HOT-00": 120, "SKU-1": 30}),
    generator=Use(20, 60),
    machine=Use(100, 150),
    cores=2,
    books=Books(
        held=2_000,
        confirmed=1_500,
        released=200,
        shipped=1_400,
        expired=300,
        verified=True,
        violations=[],
        looked_at="9,000 ledger entries",
    ),
    supply={"HOT-00": 120, "SKU-1": 10_000},
)


def lines(run: Run, bounds: Bounds = Bounds()) -> dict[str, Line]:  # noqa: B008 (frozen)
    return {line.criterion: line for line in judge(run, bounds)}


def changed(**counts: float) -> Run:
    different = copy.deepcopy(GOOD.counts)
    for name, value in counts.items():
        setattr(different, name, value)
    return msgspec.structs.replace(GOOD, counts=different)


def test_a_good_run_passes_every_criterion() -> None:
    found = lines(GOOD)
    assert {line.verdict for line in found.values()} == {Verdict.PASS}
    assert "1 SKUs sold to the last" in found["oversold"].found


def bent() -> Run:
    assert GOOD.books is not None
    return msgspec.structs.replace(GOOD, books=msgspec.structs.replace(GOOD.books, verified=False, violations=["rule 1: SKU-1 at DC1"]))


def oversold() -> Run:
    return msgspec.structs.replace(GOOD, supply={"HOT-00": 119, "SKU-1": 10_000})


def failing(*, calls: int, errors: int) -> Run:
    return msgspec.structs.replace(GOOD, calls=[Call("Reserve", calls, errors, 3, 30, 95)])


def slow(p50_ms: float, p99_ms: float) -> Run:
    return msgspec.structs.replace(GOOD, calls=[Call("Reserve", 900, 0, p50_ms, p99_ms, 9_000)])


SABOTAGE: dict[str, tuple[Callable[[], Run], str, str]] = {
    "a rule was bent": (bent, "atp verify", "rule 1: SKU-1 at DC1"),
    "one unit more was confirmed than there was": (oversold, "oversold", "1 units: 1 of HOT-00"),
    "the ledger has a hold that nobody was told of": (lambda: changed(held=1_999), "units held", "1,999 answered, 2,000 in the ledger"),
    "a confirmation was answered and is not there": (lambda: changed(confirmed=1_501), "units confirmed", "1,501 answered"),
    "a release was answered and is not there": (lambda: changed(released=201), "units released", "201 answered"),
    "a shipment was answered and is not there": (lambda: changed(shipped=1_401), "units shipped", "1,401 answered"),
    "nothing was shipped": (lambda: changed(shipped=0), "the whole way", "nothing was shipped"),
    "one call failed": (lambda: failing(calls=1_000, errors=1), "errors", "1 of 1,000 (0.10%)"),
    "no call was made": (lambda: msgspec.structs.replace(GOOD, calls=[]), "errors", "0 of 0"),
    "locust fell over": (lambda: msgspec.structs.replace(GOOD, generator_exit=2), "errors", "locust ended with 2"),
    "half of the calls are slow": (lambda: slow(101, 200), "Reserve", "p50 101"),
    "one in a hundred is slow": (lambda: slow(3, 1_001), "Reserve", "p99 1,001"),
    "the generator kept its users waiting": (lambda: changed(baskets_lost=100), "load as asked for", "1,000 of 1,100"),
}


@pytest.mark.parametrize("sabotage", SABOTAGE)
def test_a_run_fails_when(sabotage: str) -> None:
    make, criterion, said = SABOTAGE[sabotage]
    found = lines(make())
    assert found[criterion].verdict is Verdict.FAIL
    assert said in found[criterion].found
    assert not passed(found.values())


def test_errors_within_the_bound_pass_and_beyond_it_fail() -> None:
    bounds = Bounds(error_share=0.01)
    assert lines(failing(calls=1_000, errors=10), bounds)["errors"].verdict is Verdict.PASS
    assert lines(failing(calls=1_000, errors=11), bounds)["errors"].verdict is Verdict.FAIL


def test_what_is_sold_out_is_no_error() -> None:
    assert passed(judge(changed(refused=900, seen_sold_out=1_000), Bounds()))


def test_calls_without_an_answer_may_have_been_done_or_not() -> None:
    assert passed(judge(changed(held=1_990, held_in_doubt=10), Bounds()))
    assert not passed(judge(changed(held=1_990, held_in_doubt=9), Bounds()))


def test_a_starved_generator_is_a_warning_that_says_whose_times_these_are() -> None:
    found = lines(msgspec.structs.replace(GOOD, generator=Use(50, 81)))
    assert found["generator"].verdict is Verdict.WARN
    assert "the generator was the bottleneck" in found["generator"].found
    assert passed(found.values())


def test_a_full_machine_is_a_warning() -> None:
    found = lines(msgspec.structs.replace(GOOD, machine=Use(150, 190)))
    assert found["machine"].verdict is Verdict.WARN
    assert passed(found.values())


def test_what_nobody_could_look_at_is_neither_passed_nor_failed() -> None:
    found = lines(msgspec.structs.replace(GOOD, books=None, supply=None))
    skipped = {name for name, line in found.items() if line.verdict is Verdict.SKIPPED}
    assert skipped == {"atp verify", "oversold", "units held", "units confirmed", "units released", "units shipped"}


def test_counts_of_several_processes_add_up() -> None:
    total = Counts()
    for held in (3, 4):
        total.add(Counts(held=held, baskets_lost=0.5, sold={"A": held}))
    assert (total.held, total.baskets_lost, total.sold) == (7, 1.0, {"A": 7})


def test_the_busiest_seconds_of_processes_are_found_in_a_quiet_run() -> None:
    used_s = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 5.5, 5.6, 5.7]  # five seconds' work within one
    samples = [Sample(float(second), {7: seconds, 8: 0.0}, 2 * seconds) for second, seconds in enumerate(used_s)]
    assert cpu.used(samples, [7, 8]).mean == pytest.approx(71.25)
    assert cpu.used(samples, [7]).busiest == pytest.approx(108)
    assert cpu.machine(samples).busiest == pytest.approx(216)
    assert cpu.used(samples, [8]) == Use(0, 0)


def test_a_process_that_works_is_seen_to_work() -> None:
    before = cpu.sample()
    while (after := cpu.sample()).seconds[os.getpid()] - before.seconds[os.getpid()] < 0.05:
        sum(range(100_000))
    assert cpu.used([before, after], [os.getpid()]).mean > 0
    assert os.getpid() in cpu.groups([os.getpgrp()])[os.getpgrp()]
