"""Ids that the service makes: UUIDv7 (RFC 9562 §5.7), in order of time to the millisecond."""

import os
import time


def uuid7() -> str:
    """A new UUIDv7 in its canonical form: 48 bits of Unix milliseconds, 74 random bits."""
    random = int.from_bytes(os.urandom(10), "big")
    head = (time.time_ns() // 1_000_000 << 16) | 0x7000 | (random >> 68)
    tail = 0x8000_0000_0000_0000 | (random & 0x3FFF_FFFF_FFFF_FFFF)
    text = f"{head:016x}{tail:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
