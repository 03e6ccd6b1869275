"""Ids that the client makes for a caller who gave none: UUIDv7 (RFC 9562 §5.7), in order of time to the millisecond."""

import os
import time


def uuid7() -> str:
    """A new UUIDv7 in its canonical form: 48 bits of Unix milliseconds, 74 random bits; different in every thread and process."""
    ms = time.time_ns() // 1_000_000
    chance = int.from_bytes(os.urandom(10)) >> 6
    version, variant = 0x7000 | chance >> 62, 0x8000 | (chance >> 48 & 0x3FFF)
    return f"{ms >> 16:08x}-{ms & 0xFFFF:04x}-{version:04x}-{variant:04x}-{chance & 0xFFFF_FFFF_FFFF:012x}"
