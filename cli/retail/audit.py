"""An auditor: from nothing but what the clients were answered and what the feeds were sent, it says what must be in stock.

It keeps its own accounts and never asks the store. Every promise enters with the time of its answer, every supply with the time it
was sent, everything that may give units back with the earliest time it can have done so: if at any moment more was promised than
had been sent by then, units were sold that were not there, even if later supply covers them.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from atp.words import counted
from cli.retail.plan import Disposition

Row = tuple[str, str]  # SKU, node


@dataclass(frozen=True, slots=True)
class HeldLine:
    """A line of a reservation as the service answered it."""

    number: int
    sku: str
    node: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Span:
    """A figure that the auditor knows: exactly, or within bounds if a call's outcome is unknown."""

    low: int
    high: int

    def __contains__(self, figure: object) -> bool:
        return isinstance(figure, int) and self.low <= figure <= self.high

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low} to {self.high}"


@dataclass(frozen=True, slots=True)
class Stock:
    """The figures of one row as the store must have them."""

    on_hand: int
    damaged: int
    quality_hold: int
    reserved: Span
    allocated: Span

    @property
    def uncommitted(self) -> Span:
        sellable = self.on_hand - self.damaged - self.quality_hold
        return Span(sellable - self.reserved.high - self.allocated.high, sellable - self.reserved.low - self.allocated.low)


@dataclass(slots=True)
class _Book:
    """One row's account; `moves` are (time, units): above zero what can be promised grew, below zero it was promised."""

    on_hand: int = 0
    damaged: int = 0
    quality_hold: int = 0
    moves: list[tuple[float, int]] = field(default_factory=list)
    unsure: int = 0  # units that reserves of unknown outcome may hold


@dataclass(slots=True)
class _Account:
    """One reservation; `open` units per line number. `unsure` are lines of which a confirm or release may have been applied."""

    lines: dict[int, HeldLine]
    open: dict[int, int]
    confirmed: bool = False
    unsure: set[int] = field(default_factory=set)


class Auditor:
    """Times are seconds of one clock of the client's."""

    def __init__(self, safety_stock: dict[str, int] | None = None) -> None:
        self._safety = safety_stock or {}
        self._books: dict[Row, _Book] = defaultdict(_Book)
        self._accounts: dict[str, _Account] = {}

    # --- what the feeds were sent -----------------------------------------------------------------------------
    def received(self, sent_s: float, node: str, lines: Iterable[tuple[str, int]]) -> None:
        for sku, units in lines:
            book = self._books[sku, node]
            book.on_hand += units
            book.moves.append((sent_s, units))

    def corrected(self, sent_s: float, node: str, sku: str, change: int) -> None:
        """A loss takes units that may have been promised before: it lowers what is there, and excuses nothing that was promised."""
        book = self._books[sku, node]
        book.on_hand += change
        if change > 0:
            book.moves.append((sent_s, change))

    def returned(self, sent_s: float, node: str, lines: Iterable[tuple[str, int]], disposition: Disposition) -> None:
        for sku, units in lines:
            book = self._books[sku, node]
            book.on_hand += units
            if disposition == "sellable":
                book.moves.append((sent_s, units))
            elif disposition == "damaged":
                book.damaged += units
            else:
                book.quality_hold += units

    def shipped(self, reservation_id: str, numbers: Iterable[int]) -> list[tuple[str, int]]:
        """All open units of these lines left their node; they stay promised. Returns them by SKU."""
        account = self._accounts[reservation_id]
        units: dict[str, int] = defaultdict(int)
        for number in numbers:
            line = account.lines[number]
            units[line.sku] += account.open[number]
            self._books[line.sku, line.node].on_hand -= account.open[number]
            account.open[number] = 0
        return [(sku, count) for sku, count in units.items() if count]

    # --- what the clients were answered -----------------------------------------------------------------------
    def held(self, answered_s: float, reservation_id: str, lines: Iterable[HeldLine]) -> None:
        account = _Account({line.number: line for line in lines}, {})
        account.open = {number: line.quantity for number, line in account.lines.items()}
        self._accounts[reservation_id] = account
        for line in account.lines.values():
            self._books[line.sku, line.node].moves.append((answered_s, -line.quantity))

    def confirmed(self, reservation_id: str) -> None:
        self._accounts[reservation_id].confirmed = True

    def released(self, asked_s: float, reservation_id: str, units: dict[int, int] | None = None) -> None:
        """`units` by line number, or all that is open. It may have been given back as soon as it was asked for."""
        account = self._accounts[reservation_id]
        for number, count in (dict(account.open) if units is None else units).items():
            account.open[number] -= count
            line = account.lines[number]
            self._books[line.sku, line.node].moves.append((asked_s, count))

    def expired(self, earliest_s: float, reservation_id: str) -> None:
        """`earliest_s`: when the hold was asked for, and its time to live."""
        self.released(earliest_s, reservation_id)

    # --- what nobody was answered -----------------------------------------------------------------------------
    def unknown_hold(self, nodes: Iterable[str], lines: Iterable[tuple[str, int]]) -> None:
        """A reserve whose answer never came: any of its units may be held at any of its nodes."""
        wanted = list(lines)
        for node in nodes:
            for sku, units in wanted:
                self._books[sku, node].unsure += units

    def unknown_change(self, asked_s: float, reservation_id: str) -> None:
        """A confirm, release or expiry without an answer: what was open may be reserved, allocated or free again."""
        account = self._accounts[reservation_id]
        account.unsure = set(account.open)
        for number, units in account.open.items():
            line = account.lines[number]
            self._books[line.sku, line.node].moves.append((asked_s, units))

    # --- the verdict ------------------------------------------------------------------------------------------
    def open_lines(self, reservation_id: str) -> dict[int, tuple[HeldLine, int]]:
        """Lines with units that are neither shipped nor given back, and how many."""
        account = self._accounts[reservation_id]
        return {number: (line, account.open[number]) for number, line in account.lines.items() if account.open[number]}

    def oversold(self) -> list[str]:
        """Every row of which more was promised at some moment than could be, in words: the worst moment of each."""
        found = []
        for (sku, node), book in sorted(self._books.items()):
            free = 0
            worst = 0
            safety = self._safety.get(sku, 0)
            for _, units in sorted(book.moves, key=lambda move: (move[0], -move[1])):
                free += units
                if units < 0:  # only a promise can oversell; safety stock may be missing for any other reason
                    worst = min(worst, free - safety)
            if worst < 0:
                found.append(f"{sku} at {node}: {counted(-worst, 'unit')} promised that were not there")
        return found

    def stock(self) -> dict[Row, Stock]:
        """What the store must show for every row that anything happened to."""
        sums: dict[Row, list[int]] = {row: [0, 0, 0, 0] for row in self._books}  # reserved low, high, allocated low, high
        for account in self._accounts.values():
            for number, units in account.open.items():
                figures = sums[account.lines[number].sku, account.lines[number].node]
                sure = number not in account.unsure
                figures[0] += units if sure and not account.confirmed else 0
                figures[1] += units if not sure or not account.confirmed else 0
                figures[2] += units if sure and account.confirmed else 0
                figures[3] += units if not sure or account.confirmed else 0
        return {
            row: Stock(
                book.on_hand,
                book.damaged,
                book.quality_hold,
                Span(sums[row][0], sums[row][1] + book.unsure),
                Span(sums[row][2], sums[row][3]),
            )
            for row, book in self._books.items()
        }

    def overcommitted(self) -> dict[Row, int]:
        """Rows where reality shrank below what had been promised, and by how much: for a person to see, no fault of the engine's."""
        return {row: -stock.uncommitted.high for row, stock in self.stock().items() if stock.uncommitted.high < 0}
