"""The Lua scripts as they are sent to a server: includes expanded, bounds put in, named by their SHA-1."""

import re
from collections.abc import Mapping
from hashlib import sha1
from importlib.resources import files
from typing import NamedTuple

from atp import limits

_INCLUDE = re.compile(r"^ *--@include (.+)$", re.MULTILINE)
_LIMIT = re.compile(r"\blimits\.([A-Z_]+)\b")
_SOURCE = files("atp") / "lua"


class Script(NamedTuple):
    """One script, ready for SCRIPT LOAD and EVALSHA."""

    name: str
    text: str
    sha: bytes


def names() -> list[str]:
    """All scripts, by file name without its ending."""
    return sorted(entry.name.removesuffix(".lua") for entry in _SOURCE.iterdir() if entry.name.endswith(".lua"))


def bounds() -> dict[str, int]:
    """The bounds that scripts may name, from atp/limits.py."""
    return {name: value for name, value in vars(limits).items() if name.isupper() and isinstance(value, int)}


def expand(text: str, values: Mapping[str, int]) -> str:
    """Puts includes and bounds into a script. Raises KeyError for a bound that atp/limits.py does not have."""

    def include(match: re.Match[str]) -> str:
        included = "\n".join((_SOURCE / "include" / f"{name}.lua").read_text() for name in match[1].split())
        return _INCLUDE.sub(include, included)

    # `limits.NAME` in a comment is prose about the mechanism, not a bound.
    return _LIMIT.sub(lambda match: match[0] if match[1] == "NAME" else str(values[match[1]]), _INCLUDE.sub(include, text))


def load(overrides: Mapping[str, int] | None = None) -> dict[str, Script]:
    """Every script by name; `overrides` lets tests lower bounds."""
    values = bounds() | dict(overrides or {})
    scripts = {}
    for name in names():
        text = expand((_SOURCE / f"{name}.lua").read_text(), values)
        scripts[name] = Script(name, text, sha1(text.encode(), usedforsecurity=False).hexdigest().encode())
    return scripts
