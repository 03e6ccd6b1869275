"""The shapes of a run: how many users there are at each moment. Pure functions of time; locust's own class only asks them."""

from collections.abc import Callable
from typing import Final, NamedTuple

PEAK_FACTOR: Final = 8
RAMP_S_MAX: Final = 5.0
RAMP_SHARE_MAX: Final = 0.1
PEAK_FROM: Final = 0.2  # of the run
PEAK_TO: Final = 0.75
#: Nobody is there at the end, for longer than locust's processes take to report (3 s): so the last figures are in the sums.
REST_S: Final = 4.0


class Moment(NamedTuple):
    """How many users there shall be, and what one may call it."""

    users: int
    stage: str


Shape = Callable[[float, int, float], Moment]


def baseline(_elapsed_s: float, users: int, _duration_s: float) -> Moment:
    """As many as there are, all the time."""
    return Moment(users, "steady")


def flash_sale(elapsed_s: float, users: int, duration_s: float) -> Moment:
    """From as many as there are to eight times as many within seconds, held for more than half of the run, and back."""
    ramp_s = ramp(duration_s)
    up = (elapsed_s - PEAK_FROM * duration_s) / ramp_s
    down = (PEAK_TO * duration_s - elapsed_s) / ramp_s + 1
    height = max(0.0, min(1.0, up, down))
    stage = "before" if up <= 0 else "after" if down <= 0 else "up" if up < 1 else "down" if down < 1 else "peak"
    return Moment(round(users * (1 + (PEAK_FACTOR - 1) * height)), stage)


SHAPES: Final[dict[str, Shape]] = {"baseline": baseline, "flash-sale": flash_sale}


def at(name: str, elapsed_s: float, users: int, duration_s: float) -> Moment | None:
    """The moment of a run of a shape; none once it is over."""
    if elapsed_s < duration_s:
        return SHAPES[name](elapsed_s, users, duration_s)
    return Moment(0, "rest") if elapsed_s < duration_s + REST_S else None


def ramp(duration_s: float) -> float:
    """How long the way up takes, and the way down."""
    return min(RAMP_S_MAX, RAMP_SHARE_MAX * duration_s)


def users_a_second(users: int, duration_s: float) -> float:
    """How fast users may come: twice the steepest slope, so that locust is never behind the shape."""
    return max(1.0, 2 * (PEAK_FACTOR - 1) * users / ramp(duration_s))
