"""What the sources of a pool promise, and what was heard of each at each node, as the store has it."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from atp.model.heard import Heard
from atp.model.verbs import NodeConfig, SourceConfig
from atp.store import Store

SourceAtNode = tuple[str, str]  # source, node; no node: what is said of none

_FED: Final = "fed"
_CFG: Final = "cfg"
_decode_heard = msgspec.msgpack.Decoder(Heard).decode


class KnownFeeds(NamedTuple):
    """One pool's, at one revision."""

    sources: dict[str, SourceConfig]
    nodes: dict[str, NodeConfig]
    heard: dict[SourceAtNode, Heard]
    shut: set[str]  # nodes that are blocked or closed

    def expected(self) -> set[SourceAtNode]:
        """Whose word counts where. Nothing is promised from a node that is shut, so nobody need be heard of it."""
        open_nodes = [node for node in self.nodes.values() if node.id not in self.shut]
        return {(source, node.id) for node in open_nodes for source in authorities(node).values() if source in self.sources}

    def last_ms(self, source: str, node: str) -> int:
        """When it was last heard of, 0 for never: a source as a whole by anything it said, a node by a heartbeat for the whole too."""
        if not node:
            return max((heard.last_ms for (other, _), heard in self.heard.items() if other == source), default=0)
        here, whole = self.heard.get((source, node)), self.heard.get((source, ""))
        return max(here.last_ms if here else 0, whole.whole_beat_ms if whole else 0)

    def silent_s(self, source: str, node: str, now_s: float) -> float:
        """For how long nothing was heard of it."""
        return max(0.0, now_s - self.last_ms(source, node) / 1000)


def authorities(node: NodeConfig) -> dict[str, str]:
    """The source that rules each figure of a node, by the figure's name for people; empty: none yet."""
    return {
        "on hand": node.authority,
        "damaged": node.damaged_authority or node.authority,
        "quality hold": node.quality_hold_authority or node.authority,
    }


async def read_feeds(store: Store, pool: str) -> KnownFeeds:
    """Raises the errors of a store that is away. A pool that the store does not have knows nothing."""
    _, keys = await store.read_keys(pool, [_CFG, _FED])
    return known_feeds(keys.get(_CFG, {}), keys.get(_FED, {}))


def known_feeds(cfg: Mapping[bytes, bytes], fed: Mapping[bytes, bytes]) -> KnownFeeds:
    """From the two keys as they are stored."""
    found = KnownFeeds({}, {}, {}, set())
    for field, value in cfg.items():
        kind, _, name = field.decode().partition(":")
        if kind == "source":
            registers_items, *others = msgspec.msgpack.decode(value)
            registers_locations, *words = others or [0]
            found.sources[name] = SourceConfig(name, bool(registers_items), bool(registers_locations), *words)
        elif kind == "node":
            found.nodes[name] = NodeConfig(name, *msgspec.msgpack.decode(value))
        elif kind == "shut":
            found.shut.update(msgspec.msgpack.decode(value))
    for field, value in fed.items():
        source, _, node = field.decode().partition(" ")
        found.heard[source, node] = _decode_heard(value)
    return found
