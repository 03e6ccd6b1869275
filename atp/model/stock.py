"""ATP arithmetic over one stock row: a SKU at a node."""

import msgspec

from atp.model.verbs import ITEM_STATES, LOCATION_STATES

#: The figures of a row, by the names used in facts, Explain and docs: three that are counted, then those that are sums of records.
TERMS = ("on_hand", "damaged", "quality_hold", "reserved", "allocated", "shipped_unbooked", "in_transit", "picked")
_ALWAYS_STORED = 7  # the first figures of a row, and its revision


class StockRow(msgspec.Struct, array_like=True):
    """One SKU at one node, as stored: a MessagePack array in the field <node> of {pool}:stk:<sku>. Units, each within ±FIGURE_MAX."""

    on_hand: int = 0
    damaged: int = 0
    quality_hold: int = 0
    reserved: int = 0
    allocated: int = 0
    shipped_unbooked: int = 0
    revision: int = 0  # of the last change
    in_transit: int = 0  # on their way here: of no account until they have come
    picked: int = 0  # of what is reserved and allocated: no longer on hand

    def uncommitted(self) -> int:
        """Sellable units that nothing has a claim on; negative when reality shrank below the commitments (DESIGN rule 1)."""
        sellable = self.on_hand - self.damaged - self.quality_hold
        return sellable - self.reserved - self.allocated - self.shipped_unbooked + self.picked

    def committed(self) -> int:
        """Units on hand that something has a claim on, or that have left and are still counted there."""
        return self.reserved + self.allocated + self.shipped_unbooked - self.picked


class Comparison(msgspec.Struct, array_like=True):
    """What a source says of figures that it is not the authority of: the field <node> <source> of {pool}:cmp:<sku>."""

    on_hand: int = 0
    damaged: int = 0
    quality_hold: int = 0
    as_of_ms: int = 0  # the latest time that a snapshot kept here speaks of; 0: none came, the figures are sums of changes
    revision: int = 0  # of the last change


class ItemRecord(msgspec.Struct, array_like=True):
    """A registered SKU: the field `@` of {pool}:stk:<sku>; no node can have that name. The state is stored once one was told."""

    safety_stock: int = 0
    sequence: int = 0
    fingerprint: int = 0
    revision: int = 0  # of the last change
    state: int = 0  # an index into ITEM_STATES
    state_sequence: int = 0
    state_fingerprint: int = 0

    @property
    def kept_back(self) -> int:
        """Units that are not promised from any node: of a discontinued item all that is left is sold."""
        return 0 if self.state == DISCONTINUED else self.safety_stock


class LocationRecord(msgspec.Struct, array_like=True):
    """What a feed said of a location: the field loc:<node> of cfg."""

    sequence: int = 0
    fingerprint: int = 0
    state: int = 0  # an index into LOCATION_STATES
    state_sequence: int = 0
    state_fingerprint: int = 0


class ItemNames(msgspec.Struct, frozen=True):
    """What else is kept of an item, if there is anything: the key itm:<sku>, and a claim to each alias."""

    details: str = ""  # JSON
    aliases: list[str] = []


ACTIVE = 0  # of items and locations alike
BLOCKED = ITEM_STATES.index("blocked")
DISCONTINUED = ITEM_STATES.index("discontinued")

assert ITEM_STATES[ACTIVE] == LOCATION_STATES[ACTIVE] == "active"


def available_to_promise(row: StockRow, item: ItemRecord, *, shut: bool = False) -> int:
    """Units that can be promised now: `uncommitted − safety`, clamped at 0; none of a blocked item, and none from a node that is shut."""
    if shut or item.state == BLOCKED:
        return 0
    return max(0, row.uncommitted() - (item.safety_stock if item.state == ACTIVE else item.kept_back))


def without_trailing_zeros(row: StockRow) -> list[int]:
    """A row as it is stored: what few rows have stands at its end, and takes no room in the others."""
    figures = list(msgspec.structs.astuple(row))
    while len(figures) > _ALWAYS_STORED and not figures[-1]:
        figures.pop()
    return figures
