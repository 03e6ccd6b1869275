"""Says the same thing seldom: for warnings about what happens again and again."""

import time
from typing import Final

PERIOD_S: Final = 60.0
KNOWN_MAX: Final = 100  # different things said in a period; more of them are not said


class Seldom:
    """Remembers what was said in the last PERIOD_S."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}

    def may_say(self, what: str) -> bool:
        """Whether it was not said lately; it counts as said now."""
        now = time.monotonic()
        self._said = {known: at for known, at in self._said.items() if now - at < PERIOD_S}
        if what in self._said or len(self._said) >= KNOWN_MAX:
            return False
        self._said[what] = now
        return True
