"""Drift: where a source that is not the authority says other figures than the store has, by how much, and what that is worth."""

import heapq
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from atp import limits
from atp.events import Money
from atp.model.stock import Comparison, StockRow
from atp.model.verbs import FIGURE_BITS, NodeConfig

NodeSource = tuple[str, str]

_DIGITS: Final = 2
#: Currencies by the digits behind their point, if these are not two (ISO 4217).
_OTHER_DIGITS: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}


class _Details(msgspec.Struct):
    """Of what an item is registered with: what a unit costs."""

    cost: Money | None = None


class _Window(msgspec.Struct, array_like=True):
    """Of a window: which figures its source speaks of, and when it last changed one of the row."""

    fold_sequence: int = 0
    as_of_ms: int = 0
    snaps: list[int] = []
    deltas: list[int] = []
    changed_ms: int = 0


_decode_details = msgspec.json.Decoder(_Details).decode
_decode_window = msgspec.msgpack.Decoder(_Window).decode
_SNAP: Final = 3  # a snapshot: sequence, fingerprint, mask
_DELTA: Final = 5  # a delta: sequence, fingerprint, three changes


def in_own_units(amount: int, currency: str) -> float:
    """An amount in minor units (cents) as one in the currency's own (euros)."""
    digits = next((digits for digits, currencies in _OTHER_DIGITS.items() if currency in currencies.split()), _DIGITS)
    return float(amount / 10**digits)


class Tolerance(msgspec.Struct, frozen=True):
    """Differences that nobody need look at: up to so many units, and up to so much value in minor units; none: no bound of that kind.

    A difference is beyond if it passes a bound that there is. Where nobody told the cost, units alone count.
    """

    units: int | None = None
    value: int | None = None

    def allows(self, units: int, value: int | None) -> bool:
        if self.value is None or value is None:
            return abs(units) <= (self.units or 0)
        return abs(value) <= self.value and (self.units is None or abs(units) <= self.units)


class Difference(msgspec.Struct, frozen=True):
    """One SKU at one node: what a source says minus what the store has, of the figures it speaks of and is not the authority of.

    `units` is the figure that differs most, and `value` those units × cost, in minor units of its currency; none if nobody told the cost.
    """

    sku: str
    node: str
    source: str
    on_hand: int
    damaged: int
    quality_hold: int
    units: int
    value: int | None
    currency: str
    as_of_ms: int  # the time the source speaks of; 0: it never said
    changed_ms: int  # when an event last changed a figure of the row; 0: not known
    may_be_timing: bool  # the row has changed since the time the source speaks of
    beyond: bool  # the tolerance, and not excused by timing

    @property
    def weight(self) -> tuple[bool, bool, float, int]:
        """By which the worst is found: what counts first, then by value, then by units."""
        worth = in_own_units(abs(self.value), self.currency) if self.value is not None else 0.0
        return self.beyond, self.value is not None, worth, abs(self.units)


class Worth(msgspec.Struct):
    """In minor units of one currency; `net` is what the source has more."""

    net: int = 0
    gross: int = 0


class Sums(msgspec.Struct):
    """What is known of one source at one node. Units and value are those of SKUs beyond the tolerance."""

    compared: int = 0  # SKUs that both know
    beyond: int = 0
    timing: int = 0  # that would be beyond, but may be explained by timing
    net_units: int = 0
    units: int = 0  # without their sign
    worth: dict[str, Worth] = {}  # by currency
    without_cost: int = 0  # of those beyond
    oldest_as_of_ms: int = 0
    worst: Difference | None = None  # of those beyond

    def compare(self, as_of_ms: int) -> None:
        self.compared += 1
        if as_of_ms:
            self.oldest_as_of_ms = min(as_of_ms, self.oldest_as_of_ms or as_of_ms)

    def add(self, found: Difference, tolerance: Tolerance) -> None:
        if not found.beyond:
            self.timing += found.may_be_timing and not tolerance.allows(found.units, found.value)
            return
        self.beyond += 1
        self.worst = max(self.worst or found, found, key=lambda one: one.weight)
        self.net_units += found.units
        self.units += abs(found.units)
        if found.value is None:
            self.without_cost += 1
            return
        worth = self.worth.setdefault(found.currency, Worth())
        worth.net += found.value
        worth.gross += abs(found.value)


class Said(NamedTuple):
    """What a source says of a row, and what the store has; `figures` is the mask of those that can be compared."""

    sku: str
    node: str
    source: str
    figures: int
    row: StockRow
    said: Comparison

    @property
    def by_figure(self) -> dict[str, int]:
        """The source's figures minus the store's; 0 where they cannot be compared."""
        return {name: getattr(self.said, name) - getattr(self.row, name) if self.figures & bit else 0 for name, bit in FIGURE_BITS.items()}


def comparable(node: NodeConfig, source: str) -> int:
    """The mask of figures that another source is the authority of: what nobody rules cannot differ from anything."""
    authorities = {
        "on_hand": node.authority,
        "damaged": node.damaged_authority or node.authority,
        "quality_hold": node.quality_hold_authority or node.authority,
    }
    return sum(bit for name, bit in FIGURE_BITS.items() if authorities[name] not in {"", source})


def judged(at: Said, windows: Mapping[bytes, bytes], details: bytes | None, tolerance: Tolerance, now_ms: int) -> Difference | None:
    """The difference, if there is one in a figure that the source speaks of; `windows` are the SKU's as stored, `details` its item's."""
    own = windows.get(f"{at.node} {at.source}".encode())
    at = at._replace(figures=at.figures & (_spoken_of(_decode_window(own)) if own else 0))
    figures = at.by_figure
    units = max(figures.values(), key=abs)
    if not units:
        return None
    prefix = f"{at.node} ".encode()
    changed_ms = max((_decode_window(value).changed_ms for name, value in windows.items() if name.startswith(prefix)), default=0)
    cost = _cost(details)
    value = units * cost.amount if cost else None
    timing = now_ms - limits.DRIFT_EXCUSED_MS_MAX <= at.said.as_of_ms < changed_ms
    return Difference(
        at.sku,
        at.node,
        at.source,
        **figures,
        units=units,
        value=value,
        currency=cost.currency if cost else "",
        as_of_ms=at.said.as_of_ms,
        changed_ms=changed_ms,
        may_be_timing=timing,
        beyond=not timing and not tolerance.allows(units, value),
    )


def _spoken_of(window: _Window) -> int:
    """The figures that a source has counted, or that its latest changes changed."""
    mask = 0
    for at in range(2, len(window.snaps), _SNAP):
        mask |= window.snaps[at]
    for at in range(0, len(window.deltas), _DELTA):
        for bit, change in zip(FIGURE_BITS.values(), window.deltas[at + 2 : at + _DELTA], strict=True):
            mask |= bit if change else 0
    return mask


def _cost(details: bytes | None) -> Money | None:
    try:
        return _decode_details(details).cost if details else None
    except msgspec.DecodeError:
        return None


class Drifts:
    """What was found in a pool: sums by node and source, and the worst differences."""

    def __init__(self, tolerance: Tolerance) -> None:
        self.tolerance = tolerance
        self.sums: dict[NodeSource, Sums] = {}
        self._worst: list[tuple[tuple[bool, bool, float, int], str, Difference]] = []  # a heap, the least of them first

    def compare(self, at: Said) -> None:
        self.sums.setdefault((at.node, at.source), Sums()).compare(at.said.as_of_ms)

    def add(self, found: Difference) -> None:
        self.sums[found.node, found.source].add(found, self.tolerance)
        one = (found.weight, f"{found.sku} {found.node} {found.source}", found)
        if len(self._worst) < limits.DRIFT_WORST_KEPT:
            heapq.heappush(self._worst, one)
        elif one[:2] > self._worst[0][:2]:
            heapq.heapreplace(self._worst, one)

    @property
    def worst(self) -> list[Difference]:
        """The worst first."""
        return [found for _, _, found in sorted(self._worst, key=lambda one: one[:2], reverse=True)]
