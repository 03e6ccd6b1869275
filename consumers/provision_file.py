"""Reads the TOML file that describes a pool: its nodes, channels and sources. Lists every mistake, not only the first."""

import tomllib
import zoneinfo
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from atp import limits
from atp.model.verbs import ON_HAND_FALLS, ORDERS, SNAPSHOTS, ChannelConfig, NodeConfig, SourceConfig
from atp.requests import Checker

_KEYS: Final[dict[str, dict[str, type]]] = {
    "pool": {"id": str},
    "nodes": {"id": str, "kind": str, "time_zone": str, "authority": str},
    "channels": {"id": str, "nodes": list},
    "sources": {"id": str, "registers_items": bool},
}
_OPTIONAL: Final[dict[str, dict[str, type]]] = {
    "nodes": {"damaged_authority": str, "quality_hold_authority": str},
    "sources": {"registers_locations": bool, "order": str, "on_hand_falls": str, "snapshots": str, "rhythm_s": int},
}
_TYPES: Final[dict[type, str]] = {str: "a text", bool: "true or false", int: "a whole number", list: "a list of texts"}
#: What the words of a source may be. One that is ordered by `id` may well be an authority that sends snapshots: they count in the order
#: in which they come.
_WORDS: Final = {"order": ORDERS, "on_hand_falls": ON_HAND_FALLS, "snapshots": SNAPSHOTS}
_AUTHORITIES: Final = ("authority", "damaged_authority", "quality_hold_authority")


class PoolFile(NamedTuple):
    """What the file says, checked."""

    pool: str
    nodes: list[NodeConfig]
    channels: list[ChannelConfig]
    sources: list[SourceConfig]


def read(path: Path) -> PoolFile:
    """Raises InvalidRequestError with all that is wrong, OSError if the file cannot be read."""
    check = Checker()
    try:
        content = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        check.add(path.name, f"is not TOML: {error}")
        content = {}
    check.done()
    return parse(content)


def parse(content: Mapping[str, Any]) -> PoolFile:
    """The same from a parsed file."""
    return _Reader(content).read()


class _Reader:
    """Goes through the file in its own order, so that a person finds each mistake behind the one before."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = content
        self._check = Checker()
        self._seen: set[tuple[str, str]] = set()

    def read(self) -> PoolFile:
        for key, value in self._content.items():
            if key not in _KEYS:
                self._check.add(key, f"is not known; the file has {', '.join(_KEYS)}")
            elif key == "pool":
                self._table("pool", "pool", value)
            else:
                self._tables(key, value)
        for key in _KEYS.keys() - self._content.keys():
            self._check.add(key, "is missing")
        self._check.done()
        pool, nodes, channels, sources = (self._content[key] for key in _KEYS)
        return PoolFile(
            pool["id"],
            [NodeConfig(**node) for node in nodes],
            [ChannelConfig(**channel) for channel in channels],
            [SourceConfig(**source) for source in sources],
        )

    def _tables(self, key: str, value: object) -> None:
        if not isinstance(value, list) or not value:
            self._check.add(key, f"must be one or more tables, each under [[{key}]]")
            return
        for index, table in enumerate(value):
            self._table(key, f"{key}[{index}]", table)

    def _table(self, kind: str, field: str, table: object) -> None:
        """Has the keys wanted, no unknown ones, and each says what it may."""
        if not isinstance(table, dict):
            self._check.add(field, "must be a table")
            return
        types = _KEYS[kind] | _OPTIONAL.get(kind, {})
        for key, value in table.items():
            if key not in types:
                self._check.add(f"{field}.{key}", f"is not known; there are {', '.join(types)}")
            elif not _is_of(types[key], value):
                self._check.add(f"{field}.{key}", f"must be {_TYPES[types[key]]}")
            else:
                self._value(kind, f"{field}.{key}", key, value)
        for key in _KEYS[kind]:
            if key not in table:
                self._check.add(f"{field}.{key}", "is missing")

    def _value(self, kind: str, field: str, key: str, value: Any) -> None:
        """What a key of the right type says."""
        if key in {"id", "kind"}:
            self._check.name(field, value)
        if key == "id" and (kind, value) in self._seen:
            self._check.add(field, f"{value} stands twice")
        elif key == "id":
            self._seen.add((kind, value))
        elif key == "time_zone" and not _is_time_zone(value):
            self._check.add(field, f"{value!r} is not a time zone such as Europe/London")
        elif key in _AUTHORITIES and value not in self._ids("sources"):
            self._check.add(field, f"{value!r} is not a source of this file")
        elif key in _WORDS and value not in _WORDS[key]:
            self._check.add(field, f"{value!r} is none of {', '.join(_WORDS[key])}")
        elif key == "rhythm_s" and not 0 <= value <= limits.RHYTHM_S_MAX:
            self._check.add(field, f"must be 0 to {limits.RHYTHM_S_MAX} seconds, 0 if it promises nothing")
        elif key == "nodes":
            self._nodes_of_channel(field, value)

    def _nodes_of_channel(self, field: str, named: list[str]) -> None:
        if not named:
            self._check.add(field, "must name at least one node")
        if len(set(named)) < len(named):
            self._check.add(field, "must not name a node twice")
        for node in named:
            if node not in self._ids("nodes"):
                self._check.add(field, f"{node!r} is not a node of this file")

    def _ids(self, kind: str) -> list[object]:
        """Of all tables of a kind, as far as they have one: they may stand behind what names them."""
        tables = self._content.get(kind)
        return [table.get("id") for table in tables if isinstance(table, dict)] if isinstance(tables, list) else []


def _is_of(wanted: type, value: object) -> bool:
    """`true` is an int, and no whole number."""
    return type(value) is wanted and (not isinstance(value, list) or all(isinstance(item, str) for item in value))


def _is_time_zone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
