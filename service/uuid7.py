"""Ids that the service makes: UUIDv7 (RFC 9562 §5.7), in order of time to the millisecond."""

import os
import time
from typing import Final

_DRAWN_AT_ONCE: Final = 256
_drawn: list[str] = []  # 20 random hexadecimal digits each: one system call for many ids
os.register_at_fork(after_in_child=_drawn.clear)

#: The variant's two bits are 10, which leaves two bits of its digit to chance.
_VARIANT: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def uuid7() -> str:
    """A new UUIDv7 in its canonical form: 48 bits of Unix milliseconds, 74 random bits."""
    if not _drawn:
        digits = os.urandom(10 * _DRAWN_AT_ONCE).hex()
        _drawn.extend(digits[at : at + 20] for at in range(0, len(digits), 20))
    random = _drawn.pop()
    when = f"{time.time_ns() // 1_000_000:012x}"
    return f"{when[:8]}-{when[8:]}-7{random[:3]}-{_VARIANT[random[3]]}{random[4:7]}-{random[7:19]}"
