"""Reads what a pool's sources say beside the store's own figures, page by page, and finds where they differ."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from atp import limits
from atp.drift import Difference, Drifts, Said, comparable, judged
from atp.model.stock import Comparison, StockRow
from atp.model.verbs import NodeConfig
from atp.replay import Key
from atp.store import Store
from consumers.known_feeds import read_feeds

_PAGE_SKUS: Final = 250  # two keys of each are read at once
_READ_KEYS_MAX: Final = 500
_READ_FIELDS: Final = 2_000  # at which one read ends

_decode_row = msgspec.msgpack.Decoder(StockRow).decode
_decode_comparison = msgspec.msgpack.Decoder(Comparison).decode


class DriftReader:
    """One pass over a pool; `node` and `source` narrow it, `rest_s` is between pages, for others to have their turn."""

    def __init__(self, store: Store, pool: str, found: Drifts, *, node: str = "", source: str = "", rest_s: float = 0.0) -> None:
        self._store = store
        self._pool = pool
        self._node = node
        self._source = source
        self._rest_s = rest_s
        self._nodes: dict[str, NodeConfig] = {}
        self._told: set[int] = set()  # a scan may name a SKU twice: what has been found once is not counted again
        self.found = found
        self.skus = 0  # looked at

    async def pages(self) -> AsyncIterator[list[Difference]]:
        """Every difference, within tolerance or not. Raises the errors of a store that is away."""
        prefix = f"{{{self._pool}}}:cmp:"
        self._nodes = (await read_feeds(self._store, self._pool)).nodes
        left: list[str] = []
        async for keys in self._store.bulk.scan(f"{prefix}*"):
            left += [key.removeprefix(prefix) for key in keys]
            while len(left) >= _PAGE_SKUS:
                page, left = left[:_PAGE_SKUS], left[_PAGE_SKUS:]
                yield await self._compare(list(dict.fromkeys(page)))
                await asyncio.sleep(self._rest_s)
        yield await self._compare(list(dict.fromkeys(left)))

    async def of_sku(self, sku: str) -> list[Difference]:
        """Those of one SKU."""
        self._nodes = (await read_feeds(self._store, self._pool)).nodes
        return await self._compare([sku])

    async def _compare(self, skus: list[str]) -> list[Difference]:
        differing: dict[str, list[Said]] = {}
        keys = await self._read(skus, "stk", "cmp")
        for sku in skus:
            for at in self._said(sku, keys.get(f"stk:{sku}", {}), keys.get(f"cmp:{sku}", {})):
                self.found.compare(at)
                if any(at.by_figure.values()):
                    differing.setdefault(sku, []).append(at)
        self.skus += len(skus)
        # Who speaks of what, when the row last changed, what it is worth: only of what differs.
        keys = await self._read(list(differing), "win", "itm")
        now_ms, found = int(time.time() * 1000), []
        for sku in (sku for sku in differing if self._is_new(sku)):
            windows, details = keys[f"win:{sku}"], keys[f"itm:{sku}"].get(b"details")
            for at in differing[sku]:
                if one := judged(at, windows, details, self.found.tolerance, now_ms):
                    self.found.add(one)
                    found.append(one)
        return found

    def _is_new(self, sku: str) -> bool:
        """Whether it was not found before: a scan may name a SKU twice."""
        number = hash(sku)
        if number in self._told:
            return False
        if len(self._told) < limits.DRIFT_TOLD_KEPT:
            self._told.add(number)
        return True

    def _said(self, sku: str, rows: Key, compared: Key) -> list[Said]:
        """What can be compared: other sources' figures at nodes whose figures somebody rules."""
        found = []
        for field, value in compared.items():
            node, _, source = field.decode().partition(" ")
            if self._node not in {"", node} or self._source not in {"", source} or node not in self._nodes:
                continue
            if figures := comparable(self._nodes[node], source):
                row = rows.get(node.encode())
                found.append(Said(sku, node, source, figures, _decode_row(row) if row else StockRow(), _decode_comparison(value)))
        return found

    async def _read(self, skus: list[str], *kinds: str) -> dict[str, Key]:
        """Two keys of each SKU, both at one revision; in reads that do not block the pool."""
        names = [f"{kind}:{sku}" for sku in skus for kind in kinds]
        keys: dict[str, Key] = {}
        while names:
            part = await self._store.bulk.read(self._pool, names[:_READ_KEYS_MAX], _READ_FIELDS)
            whole = len(part.flat) // 2 * 2
            if not whole:  # the first alone is large
                part, whole = await self._store.bulk.read(self._pool, names[:2]), 2
            keys |= {name: part.key(name) for name in names[:whole]}
            names = names[whole:]
        return keys


assert 2 * _PAGE_SKUS <= _READ_KEYS_MAX
assert _READ_FIELDS <= limits.SCRIPT_ROWS_MAX
