"""The pure model and the real scripts side by side: every request goes to both, every answer and the whole pool are compared."""

import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from atp.model.pool import ModelLimits, Pool
from atp.model.verbs import Adjust, ChannelConfig, Context, Expire, NodeConfig, Provision, Result, Ship, SourceConfig
from atp.store import Store
from atp.store.store import Write

CONTEXT = Context("tester", "corr-1")
NODES = [
    NodeConfig("N1", "distribution_centre", "Europe/London", "wms"),
    NodeConfig("N2", "store", "Europe/Paris", "wms", damaged_authority="lab"),
    NodeConfig("N3", "3pl", "Europe/Berlin", ""),
    NodeConfig("N4", "distribution_centre", "Europe/Madrid", "wcs"),
]
CHANNELS = [ChannelConfig("web", ["N1", "N2"]), ChannelConfig("shop", ["N2"]), ChannelConfig("depot", ["N4"])]
SOURCES = [
    SourceConfig("wms", False),
    SourceConfig("erp", True, True),
    SourceConfig("lab", True, True, order="time"),
    SourceConfig("pos", True, True, order="id", snapshots="net"),
    SourceConfig("wcs", False, on_hand_falls="pick"),
]
WORLD = Provision(CONTEXT, NODES, CHANNELS, SOURCES)

_decode = msgspec.msgpack.decode
_names = itertools.count()
#: Fields that hold text; all others of their key are MessagePack.
_TEXT = {
    "rsv": {"state", "exp", "ord"},
    "shp": {"node", "rsv", "at", "open", "ord"},
    "trf": {"to", "from"},
    "evt": {"fp"},
    "syn": {"full"},
    "itm": {"details"},
}
_ALL_TEXT = {"wait", "wtg", "prt", "rep"}


def _decoded(key: str, content: Mapping[bytes, bytes]) -> dict[str, Any]:
    kind = key.split(":", 1)[0]
    if kind == "pool":
        return {name: content[name.encode()].decode() for name in ("rev", "epoch", "time")}
    if kind in {"exp", "opn", "ord", "ali"}:
        return {name.decode(): int(number) for name, number in content.items()}
    text = _TEXT.get(kind, set())
    return {
        field.decode(): value.decode() if kind in _ALL_TEXT or field.decode() in text else _decode(value)
        for field, value in content.items()
    }


async def stored_layout(store: Store, pool: str) -> dict[str, dict[str, Any]]:
    """All keys of a pool but its ledger, as docs/verbs.md lays them out, values decoded."""
    names = [name for name in await store.scan_keys(pool) if name != "ledger"]
    layout: dict[str, dict[str, Any]] = {}
    for at in range(0, len(names), 500):
        _, contents = await store.read_keys(pool, names[at : at + 500])
        layout |= {key: _decoded(key, content) for key, content in contents.items()}
    return layout


class Pair:
    """One pool in both worlds, under one clock."""

    def __init__(self, url: str, bounds: Mapping[str, int] | None = None) -> None:
        """`bounds` lowers bounds of atp/limits.py in both."""
        self.now_ms = int(time.time() * 1000)
        self.store = Store(url, clock=lambda: self.now_ms, bounds=bounds)
        self.model = Pool(
            ModelLimits(**{name: bounds[name.upper()] for name in ModelLimits.__struct_fields__ if bounds and name.upper() in bounds})
        )
        self.pool = f"pair-{next(_names)}"
        self.run = ""

    async def start(self) -> None:
        await self.store.start()
        await self.open()
        await self.do(WORLD)

    async def close(self) -> None:
        await self.store.close()

    async def open(self, epoch: int | None = None) -> Result:
        """Opens, or opens again, for the server's run, as one who saw the pool at `epoch` (as it is, if not given)."""
        self.run = self.run or "the server's"
        expected, published = self.model.epoch if epoch is None else epoch, self.model.published
        stored = await self.store.open(self.pool, expected, published)
        assert stored == self.model.open(self.run, expected, published, self.now_ms)
        return stored

    async def published(self) -> None:
        """JetStream has the whole ledger."""
        await self.store.published(self.pool, self.model.revision)
        self.model.published = self.model.revision

    async def do(self, request: Write) -> Result:
        """Runs a request in both; their answers must be the same."""
        stored = await self.store.write(self.pool, request)
        modelled = self.model.apply(request, self.now_ms, self.run)
        while modelled.status == "REAP_MORE":
            modelled = self.model.apply(request, self.now_ms, self.run)
        assert stored == modelled, f"{request}\n stored   {stored}\n modelled {modelled}"
        return stored

    async def do_all(self, some: Sequence[Adjust | Ship]) -> None:
        """Runs several of one verb in one call of the store, and one by one in the model."""
        await self.do(Expire(CONTEXT))  # as often as it takes: then nothing is due that would refuse them all
        stored = await self.store.write_all(self.pool, some)
        modelled = [self.model.apply(request, self.now_ms, self.run) for request in some]
        assert stored == modelled, f"{some}\n stored   {stored}\n modelled {modelled}"

    async def do_with_lost_reply(self, request: Write) -> Result:
        """The first answer gets lost on its way; the caller asks again."""
        await self.store.write(self.pool, request)
        while self.model.apply(request, self.now_ms, self.run).status == "REAP_MORE":
            pass
        return await self.do(request)

    async def compare(self) -> None:
        """The whole pool is the same in both."""
        stored, modelled = await stored_layout(self.store, self.pool), self.model.layout()
        for key in sorted(stored.keys() | modelled.keys()):
            assert stored.get(key) == modelled.get(key), f"{key}\n stored   {stored.get(key)}\n modelled {modelled.get(key)}"
