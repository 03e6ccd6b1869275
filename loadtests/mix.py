"""What shoppers want and do: baskets with a long tail and a few hot SKUs, and what becomes of a hold. No locust in here."""

import itertools
from bisect import bisect
from collections.abc import Sequence
from random import Random
from typing import Final, Literal

#: Of eleven users nine are checkouts, one is the OMS, one the warehouse. Locust deals users to its processes in turn: with a prime in
#: all, each process gets some of each kind, unless the processes are a multiple of it.
CHECKOUTS: Final = 9
OMS: Final = 1
WAREHOUSES: Final = 1
TEAM: Final = CHECKOUTS + OMS + WAREHOUSES

BASKETS_A_SECOND: Final = 1.0  # of one checkout
#: Of one OMS, and of one warehouse: more than their checkouts can give them.
DECISIONS_A_SECOND: Final = 12.0

HOT_SHARE: Final = 0.25  # of the baskets have a hot SKU
LINES_WEIGHTS: Final = (40, 30, 15, 10, 5)  # baskets of one line, of two, …
TWO_UNITS_SHARE: Final = 0.2  # of the lines
STALE_SHARE: Final = 0.3  # of those who are told that something is sold out try all the same: their page is older than the answer

Fate = Literal["ordered", "abandoned", "forgotten"]
#: What a checkout does with its hold: hands it to the OMS, gives it back, or leaves it to expire.
FATES: Final[dict[Fate, int]] = {"ordered": 88, "abandoned": 7, "forgotten": 5}
FORGOTTEN_TTL_MS: Final = 2_000
PAID_SHARE: Final = 0.92  # of what the OMS gets is confirmed; the rest is released, since it was not paid

assert DECISIONS_A_SECOND * OMS > CHECKOUTS * BASKETS_A_SECOND


class Catalogue:
    """SKUs, the most wanted first: some hot ones, then the tail, where the one of rank n is wanted 1/n times as often as the first."""

    def __init__(self, skus: Sequence[str], hot: int) -> None:
        if not skus:
            raise ValueError("a catalogue needs at least one SKU")
        self.first = skus[0]
        self.hot = list(skus[:hot])
        self.tail = list(skus[hot:])
        self._wanted = list(itertools.accumulate(1 / rank for rank in range(1, len(self.tail) + 1)))

    def basket(self, chance: Random) -> dict[str, int]:
        """Units by SKU: one to five lines, some with a hot SKU."""
        lines = chance.choices(range(1, len(LINES_WEIGHTS) + 1), LINES_WEIGHTS)[0]
        is_hot = bool(self.hot) and (not self.tail or chance.random() < HOT_SHARE)
        skus = [chance.choice(self.hot)] if is_hot else []
        if self.tail:
            skus += [self._from_tail(chance) for _ in range(lines - len(skus))]
        return {sku: 2 if chance.random() < TWO_UNITS_SHARE else 1 for sku in skus}

    def _from_tail(self, chance: Random) -> str:
        return self.tail[bisect(self._wanted, chance.random() * self._wanted[-1], hi=len(self.tail) - 1)]


def fate(chance: Random) -> Fate:
    """What becomes of a hold."""
    return chance.choices(list(FATES), list(FATES.values()))[0]


def users_problem(users: int, processes: int) -> str | None:
    """Why so many users cannot be dealt to so many processes, each with some of every kind; none if they can."""
    if processes % TEAM == 0:
        return f"{processes} processes are a multiple of {TEAM}, so some would get no OMS: take one more or one less"
    if users < TEAM * processes:
        return f"{users} users are too few for {processes} processes, each of which needs {TEAM}: take at least {TEAM * processes}"
    return None
