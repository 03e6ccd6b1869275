"""Whether a figure grows: the slope of what was sampled, and a verdict against a bound."""

import statistics
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

Points = Sequence[tuple[float, float]]  # (seconds, value)
_HOUR_S = 3600.0


class Bound(NamedTuple):
    """A figure may grow by so much an hour; `per_unit` turns what was sampled into the unit that is shown."""

    name: str
    unit: str
    per_hour: float
    per_unit: float = 1.0


class Verdict(NamedTuple):
    """What a figure was halfway and at the end (medians of a few samples), and how fast it grew in between."""

    bound: Bound
    halfway: float
    end: float
    per_hour: float

    @property
    def flat(self) -> bool:
        return self.per_hour <= self.bound.per_hour


def second_half(points: Points) -> Points:
    """What was sampled once everything that fills up has filled up."""
    middle = (points[0][0] + points[-1][0]) / 2
    return [point for point in points if point[0] >= middle]


def slope(points: Points) -> float:
    """Theil and Sen's: the median of the slopes between all pairs, which a few odd samples do not move. Per second."""
    return statistics.median((b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2))


def judge(bound: Bound, points: Points) -> Verdict:
    """Over the second half."""
    late = second_half(points)
    few = max(1, len(late) // 10)
    halfway, end = (statistics.median(value for _, value in some) / bound.per_unit for some in (late[:few], late[-few:]))
    return Verdict(bound, halfway, end, slope(late) * _HOUR_S / bound.per_unit)
