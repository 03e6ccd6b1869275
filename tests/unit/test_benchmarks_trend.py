"""Whether the soak tells a leak from noise, and draws what it saw."""

import random
from xml.etree import ElementTree as ET

import pytest

from benchmarks import chart
from benchmarks.size import Latency, latency, ratios
from benchmarks.trend import Bound, judge, slope

KILOBYTES = Bound("memory", "kB", 10, 1_000)


def sampled(value, count=150):
    return [(2.0 * number, value(2.0 * number)) for number in range(count)]


def test_a_leak_is_found_under_noise_and_odd_samples():
    chance = random.Random(1)
    leak = sampled(lambda at: 5_000 + 3 * at + chance.uniform(-50, 50) + (100_000 if chance.random() < 0.1 else 0))
    assert slope(leak) == pytest.approx(3, rel=0.05)


def test_a_saw_tooth_does_not_grow():
    assert abs(slope(sampled(lambda at: at % 20))) < 0.01


def test_what_fills_up_in_the_first_half_is_flat():
    verdict = judge(KILOBYTES, sampled(lambda at: 1_000 * min(at, 140)))
    assert verdict.flat
    assert (verdict.halfway, verdict.end, verdict.per_hour) == (140, 140, 0)


def test_what_begins_to_grow_in_the_second_half_is_not_flat():
    verdict = judge(KILOBYTES, sampled(lambda at: 1_000 * max(at, 140)))
    assert not verdict.flat
    assert verdict.per_hour == pytest.approx(3_600)


def test_what_grows_as_fast_as_its_bound_is_flat_and_what_shrinks_too():
    assert judge(KILOBYTES, sampled(lambda at: 10_000 * at / 3_600)).per_hour == pytest.approx(10)
    assert judge(KILOBYTES, sampled(lambda at: 9_999 * at / 3_600)).flat
    assert judge(KILOBYTES, sampled(lambda at: -1_000 * at)).flat


def test_ratios_are_medians_of_rounds_that_followed_one_another():
    quiet, noisy = Latency(1, 2, 2, 4), Latency(100, 200, 200, 400)
    ours, theirs = [quiet, noisy, quiet], [Latency(2, 2, 2, 2), noisy, Latency(3, 6, 6, 12)]
    assert ratios(ours, theirs) == (2, 1, 1, 1)


def test_a_stall_in_one_second_moves_the_p99_but_not_that_of_the_median_second():
    quiet = [0.001] * 300
    stalled = [*quiet[:100], *[0.5] * 20, *quiet[120:]]
    assert latency(quiet, 100) == (1, 1, 1, 1)
    assert latency(stalled, 100) == (1, 500, 1, 500)


def test_a_chart_has_a_line_for_each_figure_with_its_highest_point_on_top():
    drawn = ET.fromstring(chart.svg("a & b", {"rises": [(0, 0), (60, 10)], "never there": [(0, 0), (60, 0)]}))
    rises, nought = (line.attrib["points"].split() for line in drawn.iter("{http://www.w3.org/2000/svg}polyline"))
    heights = [float(point.split(",")[1]) for point in rises]
    assert heights[0] > heights[1] > 0
    assert len({point.split(",")[1] for point in nought}) == 1
    assert "a & b" in [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
