"""Reads the TOML file that describes a pool: its nodes, channels and sources. Lists every mistake, not only the first."""

import tomllib
import zoneinfo
from collections.abc import Iterable, Mapping
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
    check = Checker()
    for key in content.keys() - _KEYS.keys():
        check.add(key, f"is not known; the file has {', '.join(_KEYS)}")
    pool = _table(check, "pool", "pool", content.get("pool", {}))
    nodes, channels, sources = (_tables(check, key, content.get(key, [])) for key in ("nodes", "channels", "sources"))
    check.done()  # from here on every field is there and of its type
    check.name("pool.id", pool["id"])
    for key, tables in (("nodes", nodes), ("channels", channels), ("sources", sources)):
        _check_ids(check, key, tables)
    _check_nodes(check, nodes, {source["id"] for source in sources})
    _check_sources(check, sources)
    _check_channels(check, channels, {node["id"] for node in nodes})
    check.done()
    return PoolFile(
        pool["id"],
        [NodeConfig(**node) for node in nodes],
        [ChannelConfig(**channel) for channel in channels],
        [SourceConfig(**source) for source in sources],
    )


def _tables(check: Checker, key: str, value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not value:
        check.add(key, f"must be one or more tables, each under [[{key}]]")
        return []
    return [_table(check, key, f"{key}[{index}]", table) for index, table in enumerate(value)]


def _table(check: Checker, kind: str, field: str, table: object) -> dict[str, Any]:
    """The table if it has the keys wanted, no unknown ones, and each is of its type."""
    if not isinstance(table, dict):
        check.add(field, "must be a table")
        return {}
    optional = _OPTIONAL.get(kind, {})
    types = _KEYS[kind] | optional
    for key in table.keys() - types.keys():
        check.add(f"{field}.{key}", f"is not known; there are {', '.join(types)}")
    for key, wanted in types.items():
        value = table.get(key)
        texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
        if key not in table and key in optional:
            continue
        if type(value) is not wanted or (wanted is list and not texts):  # `true` is an int, and no whole number
            check.add(f"{field}.{key}", f"must be {_TYPES[wanted]}" if key in table else "is missing")
    return table


def _check_ids(check: Checker, key: str, tables: Iterable[Mapping[str, Any]]) -> None:
    seen: set[str] = set()
    for index, table in enumerate(tables):
        check.name(f"{key}[{index}].id", table["id"])
        if table["id"] in seen:
            check.add(f"{key}[{index}].id", f"{table['id']} stands twice")
        seen.add(table["id"])


def _check_nodes(check: Checker, nodes: Iterable[Mapping[str, Any]], sources: set[str]) -> None:
    for index, node in enumerate(nodes):
        check.name(f"nodes[{index}].kind", node["kind"])
        if not _is_time_zone(node["time_zone"]):
            check.add(f"nodes[{index}].time_zone", f"{node['time_zone']!r} is not a time zone such as Europe/London")
        for key in ("authority", "damaged_authority", "quality_hold_authority"):
            if key in node and node[key] not in sources:
                check.add(f"nodes[{index}].{key}", f"{node[key]!r} is not a source of this file")


def _check_sources(check: Checker, sources: Iterable[Mapping[str, Any]]) -> None:
    for index, source in enumerate(sources):
        for key, words in _WORDS.items():
            if key in source and source[key] not in words:
                check.add(f"sources[{index}].{key}", f"{source[key]!r} is none of {', '.join(words)}")
        if not 0 <= source.get("rhythm_s", 0) <= limits.RHYTHM_S_MAX:
            check.add(f"sources[{index}].rhythm_s", f"must be 0 to {limits.RHYTHM_S_MAX} seconds, 0 if it promises nothing")


def _check_channels(check: Checker, channels: Iterable[Mapping[str, Any]], nodes: set[str]) -> None:
    for index, channel in enumerate(channels):
        named: list[str] = channel["nodes"]
        if not named:
            check.add(f"channels[{index}].nodes", "must name at least one node")
        if len(set(named)) < len(named):
            check.add(f"channels[{index}].nodes", "must not name a node twice")
        for node in named:
            if node not in nodes:
                check.add(f"channels[{index}].nodes", f"{node!r} is not a node of this file")


def _is_time_zone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
