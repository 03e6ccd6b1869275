"""Whether the event loop turns, and how late it is."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

BEAT_S: Final = 0.25
BEATS_KEPT: Final = 60  # a scrape every 15 seconds misses none
LIVE_AGE_S: Final = 10.0  # older than this, the loop is stuck: nothing it serves can be answered in time


class Heartbeat:
    """Beats in the event loop, is read from any thread."""

    def __init__(self, each_second: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._each_second = each_second
        self._clock = clock
        self._last = clock()
        self._lags: deque[float] = deque([0.0], BEATS_KEPT)

    async def beat(self) -> None:
        """Beats until cancelled."""
        while True:
            for _ in range(round(1 / BEAT_S)):
                before = self._clock()
                await asyncio.sleep(BEAT_S)
                self._last = self._clock()
                self._lags.append(max(0.0, self._last - before - BEAT_S))
            self._each_second()

    @property
    def lag_s(self) -> float:
        """How late the loop was at the worst of the last beats."""
        return max(self._lags.copy())

    def why_not_live(self) -> str:
        """Empty while the loop turns."""
        age = self._clock() - self._last
        return f"the event loop has not turned for {age:.0f} s" if age > LIVE_AGE_S else ""
