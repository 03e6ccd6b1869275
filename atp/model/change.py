"""One ledger entry in the making: rows are written through it, so that facts, revisions and exceptions follow by themselves."""

import copy
from typing import Literal

from atp.ledger import Fact, RaisedException
from atp.model.reservation import ReservationRecord, Units
from atp.model.state import ModelEntry, PoolState
from atp.model.status import ExceptionReason, State, Status
from atp.model.stock import TERMS, StockRow
from atp.model.verbs import Result


class Change:
    """Nothing may be refused once a change has begun; `commit` ends it."""

    def __init__(self, state: PoolState, verb: str, cause: str, now_ms: int) -> None:
        self.state = state
        self.verb = verb
        self.cause = cause
        self.now_ms = now_ms
        self.revision = state.revision + 1
        self._before: dict[tuple[str, str], StockRow] = {}
        self._exceptions: list[RaisedException] = []

    def row(self, sku: str, node: str) -> StockRow:
        """A row to write: it takes the revision of this entry, and is made if it does not exist."""
        row = self.state.rows.setdefault((sku, node), StockRow())
        self._before.setdefault((sku, node), copy.copy(row))
        row.revision = self.revision
        return row

    def lower_open(self, record: ReservationRecord, number: int, units: int, to: Literal["released", "shipped", "expired"]) -> int:
        """Open units of a line fall: the one way in which they do. Returns how many fewer are picked.

        No more stays picked than is open: what an order gives back lies beside its shelf, and is on hand again once it is put back.
        """
        self.claim_units(record, number, -units)
        line = record.lines[number]
        before, picks = line.picked, line.picks
        if to == "expired":  # the units stay open for whoever takes them again
            line.picks = min(picks, line.shipped)
        else:
            setattr(line, to, getattr(line, to) + units)
            line.picks = min(picks, line.quantity - line.released)
        line.loose += picks - line.picks
        if before > line.picked:
            self.row(line.sku, line.node).picked -= before - line.picked
        return before - line.picked

    def claim_units(self, record: ReservationRecord, number: int, units: int) -> None:
        """Adds to the counter in which a line's open units stand: reserved while HELD, allocated while CONFIRMED."""
        line = record.lines[number]
        row = self.row(line.sku, line.node)
        if record.state is State.HELD:
            row.reserved += units
        else:
            row.allocated += units

    def report(
        self, reason: ExceptionReason, exception_id: str, sku: str, node: str, quantity: int, *, resolved: bool = False, cause: str = ""
    ) -> None:
        """Raises an exception, or resolves the one of that id. `quantity`: units concerned; `cause`, if it is not the entry's."""
        state = "resolved" if resolved else "open"
        self._exceptions.append(RaisedException(exception_id, reason, state, sku, node, cause or self.cause, quantity))

    def commit(self) -> Result:
        """Writes the entry and answers OK with its revision and time."""
        facts = [
            Fact(sku, node, 0, term, delta)
            for (sku, node), before in self._before.items()
            for term in TERMS
            if (delta := getattr(self.state.rows[sku, node], term) - getattr(before, term))
        ]
        for (sku, node), before in self._before.items():
            self._watch(sku, node, before.uncommitted(), self.state.rows[sku, node].uncommitted())
        self.state.entries.append(ModelEntry(self.verb, self.cause, self.revision, self.now_ms, self._exceptions, facts))
        self.state.revision = self.revision
        self.state.time_ms = self.now_ms
        return Result(status=Status.OK, revision=self.revision, time_ms=self.now_ms)

    def commit_for(self, record: ReservationRecord, moved: Units) -> Result:
        """`commit` for a verb on a reservation: the answer says what was moved, and state and expiry after it."""
        done = self.commit()
        return Result(
            status=Status.OK,
            revision=done.revision,
            time_ms=done.time_ms,
            state=record.state,
            expire_ms=record.expire_ms,
            moves=record.moves(moved),
        )

    def _watch(self, sku: str, node: str, before: int, after: int) -> None:
        """Rule 1, when reality shrinks: commitments beyond the stock of a row are an exception until it has recovered."""
        if after < 0 and after < before:
            self.report(ExceptionReason.OVERCOMMITTED, f"over:{node}:{sku}", sku, node, -after)
        elif before < 0 <= after:
            self.report(ExceptionReason.OVERCOMMITTED, f"over:{node}:{sku}", sku, node, 0, resolved=True)
