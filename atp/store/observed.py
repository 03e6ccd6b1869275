"""What is counted of the calls to a store, in plain Python: kept by its event loop, read by any thread, shown by whoever wants to.

`Store.observed` has them. `cli/observe` makes the metrics `atp_store_…` of them for every process, whichever face it runs.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from itertools import accumulate
from typing import Final

#: Upper bounds that durations are counted by: from a call that hits nothing to one that meets its deadline. The last bin is all above.
BOUNDS_S: Final = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_BUCKET_NAMES: Final = (*map(str, BOUNDS_S), "+Inf")


class Durations:
    """How long something took, counted by BOUNDS_S: ten times cheaper than a histogram that locks, since one thread writes."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.seconds += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """How many were at most as long as each bound, in the form that Prometheus has it."""
        return list(zip(_BUCKET_NAMES, accumulate(self.counts), strict=True))


class StoreObserved:
    """Counts since the store was made."""

    __slots__ = ("connects", "failures", "listener", "round_trips")

    def __init__(self, scripts: list[str]) -> None:
        self.connects = 0  # each after the first is a reconnect
        self.round_trips = {name: Durations() for name in scripts}  # by script; from sending it to having its reply
        self.failures: Counter[str] = Counter()  # calls without a reply, by the name of the error they raised
        #: Told the script and the seconds of each round trip, in the context of the task that made it; for traces.
        self.listener: Callable[[str, float], None] | None = None

    def replied(self, script: str, seconds: float) -> None:
        self.round_trips[script].add(seconds)
        if self.listener is not None:
            self.listener(script, seconds)
