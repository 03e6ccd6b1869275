"""Reads the words people type, `SKU=QTY`, `15m`, a time; raises CommandError with the form. And makes others' words visible."""

import contextlib
import re
from datetime import datetime
from typing import Final

from cli.exit_codes import USAGE, CommandError

_UNIT_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"(\d{1,12})(ms|s|m|h|d)").fullmatch
_NUMBER = re.compile(r"-?\d{1,18}").fullmatch
_LINE = re.compile(r"\d{1,9}").fullmatch


def duration_ms(text: str) -> int:
    """`90s`, `15m`, `2h`, `1d` in milliseconds."""
    found = _DURATION(text)
    if not found:
        raise CommandError(f"a time reads 90s, 15m, 2h or 1d, not {text!r}", USAGE)
    return int(found[1]) * _UNIT_MS[found[2]]


def moment(text: str) -> datetime:
    """A time with its offset from UTC: two people may read one without it as two times."""
    with contextlib.suppress(ValueError):
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None:
            return found
    form = "a time reads 2026-01-03T22:00:00Z, or 2026-01-03T22:00:00+01:00 with its offset from UTC"
    raise CommandError(f"{form}, not {text!r}", USAGE)


def wanted(text: str) -> tuple[str, int]:
    """`SKU=QTY`; a SKU may hold an `=` itself, so the last one counts."""
    sku, sign, quantity = text.rpartition("=")
    if not sign or not sku or not _NUMBER(quantity):
        raise CommandError(f"say how many of which SKU as SKU=QTY, like TEA-EARL-GREY=2, not {text!r}", USAGE)
    return sku, int(quantity)


def maybe_wanted(text: str) -> tuple[str, int]:
    """`SKU` or `SKU=QTY`; 0 where no quantity is said."""
    sku, _, quantity = text.rpartition("=")
    return (sku, int(quantity)) if sku and _NUMBER(quantity) else (text, 0)


def part(text: str) -> tuple[int, int]:
    """`LINE` or `LINE=QTY`; 0 for all that is open on the line."""
    line, _, quantity = text.partition("=")
    if not _LINE(line) or (quantity and not _NUMBER(quantity)):
        raise CommandError(f"say how many of which line as LINE=QTY, like 1=2, or LINE for all of it, not {text!r}", USAGE)
    return int(line), int(quantity or 0)


def visible(text: str) -> str:
    """Text on one line, with what a terminal would obey or leave out, line breaks and colours among it, written as its code."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
