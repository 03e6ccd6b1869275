"""Looks back through a pool's ledger, in small pages, for the entries that moved each term of one row last."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import msgspec

from atp import ledger, limits
from atp.ledger import Entry
from atp.model.views import TermChange, TermChanges

#: Entries from one revision up to and with another, as far as the store still has them, in order.
Read = Callable[[int, int], Awaitable[list[bytes]]]

_FIRST_PAGE: Final = 32
_encode: Final = msgspec.msgpack.Encoder().encode


class Search:
    """One row's. `revision` is its own: nothing after it has moved the row."""

    def __init__(self, read: Read, sku: str, node: str, revision: int, terms: Iterable[str]) -> None:
        self._read = read
        self._row = (sku, node)
        self._as_stored = _encode(sku) + _encode(node)  # how each fact about the row begins
        self._missing = set(terms)
        self._found: dict[str, TermChange] = {}
        self._page = _FIRST_PAGE
        self._next = revision  # where the next page ends
        self._last = max(1, revision - limits.EXPLAIN_ENTRIES_MAX + 1)

    @property
    def done(self) -> bool:
        return not self._missing or self._next < self._last

    @property
    def result(self) -> TermChanges:
        """What was found up to now."""
        return TermChanges(self._found, self._next + 1)

    async def step(self) -> None:
        """Reads one page more."""
        start = max(self._last, self._next - self._page + 1)
        entries = await self._read(start, self._next)
        for entry in reversed(entries):
            if self._as_stored in entry:
                self._note(ledger.decode_entry(entry))
        if len(entries) < self._next - start + 1:  # those before are trimmed
            self._last = self._next + 1 - len(entries)
        self._next -= len(entries)
        self._resize(sum(map(len, entries)), len(entries))

    def _note(self, entry: Entry) -> None:
        moved: dict[str, int] = {}
        for fact in entry.facts:
            if (fact.sku, fact.node) == self._row:
                moved[fact.term] = moved.get(fact.term, 0) + fact.delta
        for term in moved.keys() & self._missing:
            self._found[term] = TermChange(entry, moved[term])
            self._missing.remove(term)

    def _resize(self, size: int, count: int) -> None:
        """Entries are small as a rule, and half a MiB at most: a page grows slowly and shrinks at once."""
        fitting = limits.EXPLAIN_PAGE_BYTES * count // max(1, size)
        self._page = max(1, min(2 * self._page, fitting, limits.EXPLAIN_PAGE_ENTRIES_MAX))
