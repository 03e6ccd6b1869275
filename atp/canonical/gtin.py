"""Global Trade Item Numbers: GTIN-8, -12, -13 and -14 with their check digit (GS1 General Specifications, section 7.9)."""

from typing import Final

_LENGTHS: Final = frozenset({8, 12, 13, 14})


def is_valid(code: str) -> bool:
    """Whether it is 8, 12, 13 or 14 digits of which the last is the check digit of the others."""
    if len(code) not in _LENGTHS or not (code.isascii() and code.isdigit()):
        return False
    weighted = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(code[:-1])))
    return (10 - weighted % 10) % 10 == int(code[-1])


def item_name(name: str) -> str:
    """A name of an item as it is looked up: a GTIN of any length with 14 digits, anything else as it is."""
    return name.zfill(14) if is_valid(name) else name
