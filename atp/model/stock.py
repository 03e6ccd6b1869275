"""ATP arithmetic over one stock row: a SKU at a node."""

import msgspec

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
        return self.on_hand - self.damaged - self.quality_hold - self.committed()

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
    """A registered SKU: the field `@` of {pool}:stk:<sku>; no node can have that name."""

    safety_stock: int = 0
    sequence: int = 0
    fingerprint: int = 0
    revision: int = 0


def available_to_promise(row: StockRow, safety_stock: int) -> int:
    """Units that can be promised now: `sellable − reserved − allocated − shipped_unbooked + picked − safety`, clamped at 0."""
    return max(0, row.uncommitted() - safety_stock)


def without_trailing_zeros(row: StockRow) -> list[int]:
    """A row as it is stored: what few rows have stands at its end, and takes no room in the others."""
    figures = list(msgspec.structs.astuple(row))
    while len(figures) > _ALWAYS_STORED and not figures[-1]:
        figures.pop()
    return figures
