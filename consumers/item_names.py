"""Looks up what an event calls by other names: aliases and GTINs of items, and the sizes of packs."""

import msgspec

from atp import canonical
from atp.canonical import NO_ITEMS, ContentError, Feed, Items
from atp.model.status import ExceptionReason
from atp.store import Store


class UnknownItemError(Exception):
    """No item has that name yet: a SKU, or with `is_alias` another name of an item."""

    def __init__(self, name: str, *, is_alias: bool) -> None:
        super().__init__(name)
        self.name = name
        self.is_alias = is_alias


class _Details(msgspec.Struct):
    packs: dict[str, int] = {}


_decode_details = msgspec.json.Decoder(_Details).decode


async def look_up(store: Store, feed: Feed) -> Items:
    """Asks the store for all names that the event needs; most need none.

    Raises UnknownItemError, and ContentError for an alias of several items or a pack that the item does not have.
    """
    aliases, packed = canonical.aliases_of(feed.event), canonical.packed_lines(feed.event)
    if not aliases and not packed:
        return NO_ITEMS
    skus = await _skus(store, feed, aliases)
    items = Items(skus)
    wanted = {(items.sku(line), line.unit) for line in packed}
    return Items(skus, await _packs(store, feed, wanted))


async def _skus(store: Store, feed: Feed, aliases: list[str]) -> dict[str, str]:
    if not aliases:
        return {}
    _, found = await store.read_keys(feed.pool, [f"ali:{alias}" for alias in aliases])
    skus: dict[str, str] = {}
    for alias in aliases:
        claims = sorted(sku.decode() for sku in found.get(f"ali:{alias}", {}))
        if not claims:
            raise UnknownItemError(alias, is_alias=True)
        if len(claims) > 1:
            raise ContentError(ExceptionReason.AMBIGUOUS_ALIAS, f"{alias} ({', '.join(claims[:5])})", feed.event)
        skus[alias] = claims[0]
    return skus


async def _packs(store: Store, feed: Feed, wanted: set[tuple[str, str]]) -> dict[tuple[str, str], int]:
    if not wanted:
        return {}
    skus = sorted({sku for sku, _ in wanted})
    _, found = await store.read_keys(feed.pool, [f"{kind}:{sku}" for kind in ("stk", "itm") for sku in skus])
    packs: dict[tuple[str, str], int] = {}
    for sku, unit in sorted(wanted):
        if f"stk:{sku}" not in found:
            raise UnknownItemError(sku, is_alias=False)
        details = found.get(f"itm:{sku}", {}).get(b"details", b"{}")
        size = _decode_details(details).packs.get(unit)
        if size is None:
            raise ContentError(ExceptionReason.UNKNOWN_UNIT, f"{unit} of {sku}", feed.event)
        packs[sku, unit] = size
    return packs
