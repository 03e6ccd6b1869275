"""Ids that the service makes: UUIDv7 (RFC 9562 §5.7), in order of time to the millisecond."""

import os
import random
import time

#: The ids are names, not secrets: they need to differ, between processes too, not to be hard to guess.
_chance = random.Random(os.urandom(32))
os.register_at_fork(after_in_child=lambda: _chance.seed(os.urandom(32)))
_bits = _chance.getrandbits


def uuid7() -> str:
    """A new UUIDv7 in its canonical form: 48 bits of Unix milliseconds, 74 random bits."""
    ms = time.time_ns() // 1_000_000
    chance = _bits(74)
    version, variant = 0x7000 | chance >> 62, 0x8000 | (chance >> 48 & 0x3FFF)
    return f"{ms >> 16:08x}-{ms & 0xFFFF:04x}-{version:04x}-{variant:04x}-{chance & 0xFFFF_FFFF_FFFF:012x}"
