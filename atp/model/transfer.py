"""What is known of a transfer between nodes: how much of each SKU left, how much came, and what of it stands in transit."""

import msgspec


class TransferUnits(msgspec.Struct, array_like=True):
    """Units of one SKU, as stored."""

    left: int = 0
    came: int = 0
    in_transit: int = 0  # in the row of the destination


class TransferRecord(msgspec.Struct):
    """A transfer as stored. Where it goes is said by who sends it, and until then by who receives it."""

    to: str = ""
    from_: str = ""
    units: dict[str, TransferUnits] = {}

    @property
    def has_left(self) -> bool:
        """Whether anything is known to have left: where nothing is, only one end tells."""
        return any(units.left for units in self.units.values())

    def excess(self) -> dict[str, int]:
        """Units that came and did not leave, by rising SKU."""
        over = {sku: units.came - units.left for sku, units in sorted(self.units.items()) if units.came > units.left}
        return over if self.has_left else {}
