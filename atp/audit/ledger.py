"""Follows the ledger entry by entry and checks rules 1, 2, 5 and 9 at every revision, on what the entry touched."""

import heapq
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from atp.audit import beginning, contents, records
from atp.audit.beginning import Start
from atp.audit.findings import Findings, VerifyReport
from atp.audit.records import Hold, RowName, Touched, Transit
from atp.ledger import Entry, decode_entry
from atp.model.status import OPEN_STATES, ExceptionReason, State
from atp.model.stock import TERMS, StockRow
from atp.replay import Key, Replay, ReplayError

AUDITED_RULES = (1, 2, 5, 9)  # of DESIGN §4
#: Verbs that commit stock: only they may make commitments rise, and never beyond what is available to promise.
ADMITTING_VERBS = frozenset({"reserve", "confirm"})
#: A repair may make them rise too: it promises nothing, it says what is promised. Whether it is right rule 2 tells.
_CORRECTING_VERBS = frozenset({"repair"})
#: Verbs that may be recorded while a hold is due: its own expiry, and the opening of a pool, which decides nothing.
VERBS_BESIDE_DUE_HOLDS = frozenset({"expire", "open"})
_COUNTED = TERMS[3:]  # each the sum of records
_DUE_SLACK = 1_000  # so that a small heap is not made again all the time


def _raised(entry: Entry, before: StockRow, row: StockRow) -> int:
    """By how much an entry raises what is committed of the units on hand, as far as it must have been free before."""
    if entry.verb in _CORRECTING_VERBS:
        return 0
    if entry.verb == "pick_reversed":  # what was picked for an order is on hand again, and committed to it as it was
        return row.reserved + row.allocated - before.reserved - before.allocated
    return row.committed() - before.committed()


class Miscount(NamedTuple):
    """A counter of a row that is not the sum of its records: what it is, and what they add up to."""

    sku: str
    node: str
    term: str
    counted: int
    total: int


class _Before(msgspec.Struct):
    """What an entry found: to be compared with what it left."""

    rows: dict[RowName, StockRow]
    holds: dict[str, Hold | None]
    unbooked: dict[RowName, int]
    transfers: dict[str, Transit]


class Audit:
    """Feed it every entry, from revision 1 or from where it `begins`; compare the store's keys with it on the way.

    After a broken ledger it looks no further.
    Without `comparing` it keeps rows and open records alone, so its memory does not grow with the ledger: entries are judged the same.
    """

    def __init__(self, *, comparing: bool = True) -> None:
        self.replay = Replay()
        self.begun = 0  # the revision up to which entries were taken for true: 0 without a checkpoint
        self.broken = False
        self.findings = Findings()
        #: Rows whose counters are not the sum of their records now, and what is wrong. Entries that put them right take them out.
        self.unbalanced: dict[RowName, str] = {}
        #: Rules that an entry has broken in a way that no later entry puts right.
        self.lasting: set[int] = set()
        self._comparing = comparing
        self._sums: dict[RowName, dict[str, int]] = {}
        self._overcommitted: set[str] = set()  # ids of open exceptions
        self._due: list[tuple[int, str]] = []  # a heap of (expiry, reservation), also of holds that have ended since
        self._found_at = 0  # while it begins: the revision of the row that is looked at

    @property
    def revision(self) -> int:
        return self.replay.revision

    def miscounted(self) -> Iterator[Miscount]:
        """What is wrong now with the rows that are not balanced, at this revision."""
        for name in sorted(self.unbalanced):
            row, sums = records.row(self.replay, name), self._sums.get(name, {})
            for term in _COUNTED:
                if getattr(row, term) != sums.get(term, 0):
                    yield Miscount(*name, term, getattr(row, term), sums.get(term, 0))

    def report(self) -> VerifyReport:
        return msgspec.structs.replace(self.findings.report(), begun=self.begun)

    def begin(self, start: Start) -> Iterator[None]:
        """Begins behind a checkpoint: what stands there must add up; how it came about is not asked. Gives way again and again."""
        yield from start.prune()
        self.replay = start.replay
        self.begun = self.replay.revision
        for names in beginning.names(self.replay):
            holds = {name: records.hold(self.replay, name) for name in names.reservations}
            self._add_up(self._look(Replay(), names), holds, names)
            for reservation_id, found in holds.items():
                self._check_reservation(reservation_id, found)
            if not self._comparing:
                records.forget(self.replay, beginning.NO_ENTRY, holds)
            yield
        for rows in beginning.rows(self.replay):
            self._begin_rows(rows)
            yield
        self._begin_rows({name for name in self._sums if name[1].encode() not in self.replay.keys.get(f"stk:{name[0]}", {})})

    def _begin_rows(self, rows: set[RowName]) -> None:
        for name in rows:
            row = records.row(self.replay, name)
            self._found_at = row.revision
            if row.uncommitted() < 0:  # whether that was told is in the entries before
                self._overcommitted.add(f"over:{name[1]}:{name[0]}")
            self._check_row(beginning.NO_ENTRY, name, None)
        self._found_at = 0

    def violation(self, rule: int, where: str, sentence: str) -> None:
        """Adds what was found, here or by a caller."""
        self.findings.violation(rule, where, sentence, self._found_at or self.revision)
        self.lasting.add(rule)

    def count(self, what: str, number: int = 1) -> None:
        self.findings.checked[what] += number

    def follow(self, data: bytes) -> None:
        """Takes the next entry as it stands in the ledger."""
        if self.broken:
            return
        try:
            entry = decode_entry(data)
            self._check(entry)
        except (ReplayError, msgspec.DecodeError, LookupError, ValueError) as error:
            self.broken = True
            self.violation(9, "ledger", f"after revision {self.revision} it cannot be followed: {error}")

    def compare(self, name: str, stored: Key, now_ms: int) -> None:
        """Compares a key with what the ledger makes at this revision; an empty one is not in the store. `now_ms` by the clock of today."""
        made = contents.head(self.replay) if name == "pool" else self.replay.keys.get(name, {})
        if name == "pool":
            stored = {field: stored.get(field, b"") for field in made}
        self.count("keys compared")
        self.count("fields compared", len(stored))
        is_past = self.replay.expiries.passed(name, now_ms + contents.CLOCKS_APART_MS)
        if stored == made or (not stored and is_past) or (not made and name in self.replay.dropped):
            return  # a store that was made again keeps records past their retention for an hour
        self._violate(9, name, contents.difference(name, stored, made))

    # --- one entry ------------------------------------------------------------------------------------------------
    def _check(self, entry: Entry) -> None:
        self._check_head(entry)
        self._check_due(entry)
        names = records.touched(entry)
        before = self._look(self.replay, names)
        self.replay.apply(entry)
        self.count("ledger entries")
        if entry.verb in ADMITTING_VERBS:
            self.count("admissions")
        holds = {name: records.hold(self.replay, name) for name in names.reservations}
        self._note_exceptions(entry)
        counted = self._add_up(before, holds, names)
        for reservation_id, found in holds.items():
            self._check_reservation(reservation_id, found)
        for name in names.rows | counted:
            self._check_row(entry, name, before.rows.get(name))
        self._check_facts(entry, before)
        if entry.verb == "expire":
            self._check_expiry(entry, before.holds.get(entry.cause), holds.get(entry.cause))
        self._forget_ended_holds()
        if not self._comparing:
            records.forget(self.replay, entry, holds)

    @staticmethod
    def _look(replay: Replay, names: Touched) -> _Before:
        return _Before(
            {name: records.row(replay, name) for name in names.rows},
            {name: records.hold(replay, name) for name in names.reservations},
            {name: records.unbooked(replay, name) for name in names.unbooked},
            {name: records.transit(replay, name) for name in names.transfers},
        )

    def _violate(self, rule: int, where: str, sentence: str) -> None:
        self.violation(rule, where, f"revision {self.revision}: {sentence}")

    def _check_head(self, entry: Entry) -> None:
        """Rule 9: epochs and times never fall. That revisions are dense is seen by the replay."""
        where = f"ledger {entry.revision}"
        if entry.time_ms < self.replay.time_ms:
            self.violation(9, where, f"its time {entry.time_ms} is before {self.replay.time_ms}, that of the entry before it")
        if entry.epoch != self.replay.epoch + (entry.verb == "open"):
            self.violation(9, where, f"verb {entry.verb} in epoch {entry.epoch} follows epoch {self.replay.epoch}")

    def _check_due(self, entry: Entry) -> None:
        """Rule 5: nothing is decided while a hold is due."""
        if entry.verb in VERBS_BESIDE_DUE_HOLDS:
            return
        while self._due and self._due[0][0] <= entry.time_ms:
            expire_ms, name = heapq.heappop(self._due)
            found = records.hold(self.replay, name)
            if found and found.state == State.HELD and found.expire_ms == expire_ms:
                late = f"{entry.verb} of {entry.cause} was decided at {entry.time_ms}, but this hold was due at {expire_ms} and still held"
                self.violation(5, f"rsv:{name}", f"revision {entry.revision}: {late}")

    def _forget_ended_holds(self) -> None:
        """Holds that end before they are due would stay in the heap until then."""
        held = self.replay.keys.get("exp", {})
        if len(self._due) > 2 * len(held) + _DUE_SLACK:
            self._due = [(int(expire_ms), name.decode()) for name, expire_ms in held.items()]
            heapq.heapify(self._due)

    def _note_exceptions(self, entry: Entry) -> None:
        for raised in entry.exceptions:
            if raised.reason != ExceptionReason.OVERCOMMITTED:
                continue
            if raised.state == "open":
                self._overcommitted.add(raised.id)
                deficit = -records.row(self.replay, (raised.sku, raised.node)).uncommitted()
                if raised.quantity != deficit:
                    self._violate(1, raised.id, f"the exception tells of {raised.quantity} units, short are {deficit}")
            else:
                self._overcommitted.discard(raised.id)

    # --- rule 2 ---------------------------------------------------------------------------------------------------
    def _add_up(self, before: _Before, after: dict[str, Hold | None], names: Touched) -> set[RowName]:
        """Moves the sums by what records gained and lost; returns the rows concerned."""
        changed: set[RowName] = set()
        for sign, holds in ((-1, before.holds), (1, after)):
            for found in holds.values():
                term = {State.HELD: "reserved", State.CONFIRMED: "allocated"}.get(State(found.state)) if found else None
                if found is None or term is None:
                    continue
                for counted, of in ((term, found.units), ("picked", found.picked)):
                    for name, units in of.items():
                        self._add(name, counted, sign * units)
                        changed.add(name)
        for name in names.unbooked:
            self._add(name, "shipped_unbooked", records.unbooked(self.replay, name) - before.unbooked[name])
            changed.add(name)
        return changed | self._add_transfers(before)

    def _add_transfers(self, before: _Before) -> set[RowName]:
        """The same for what is in transit."""
        changed: set[RowName] = set()
        for transfer_id, was in before.transfers.items():
            found = records.transit(self.replay, transfer_id)
            for sentence in found.unsound:
                self._violate(2, f"trf:{transfer_id}", sentence)
            for sign, transit in ((-1, was), (1, found)):
                for name, units in transit.units.items():
                    self._add(name, "in_transit", sign * units)
                    changed.add(name)
        return changed

    def _add(self, name: RowName, term: str, units: int) -> None:
        sums = self._sums.setdefault(name, dict.fromkeys(_COUNTED, 0))
        sums[term] += units
        if not any(sums.values()):
            del self._sums[name]

    def _check_reservation(self, name: str, found: Hold | None) -> None:
        """The record is sound, and the indexes know it as what it is."""
        self.count("reservations after a change")
        state, member = found.state if found else "", name.encode()
        for sentence in found.unsound if found else []:
            self._violate(2, f"rsv:{name}", sentence)
        due = self.replay.keys.get("exp", {}).get(member)
        if due != (str(found.expire_ms).encode() if found and state == State.HELD else None):
            self._violate(5, f"exp {name}", f"the index of expiries has {_text(due)}, the reservation is {state or 'gone'}")
        opened = self.replay.keys.get("opn", {}).get(member)
        if opened != (str(found.created_ms).encode() if found and state in OPEN_STATES else None):
            self._violate(2, f"opn {name}", f"the index of open reservations has {_text(opened)}, the reservation is {state or 'gone'}")
        if found and state == State.HELD:
            heapq.heappush(self._due, (found.expire_ms, name))

    def _check_row(self, entry: Entry, name: RowName, before: StockRow | None) -> None:
        where, row = _where(name), records.row(self.replay, name)
        self.count("rows after a change")
        sums = self._sums.get(name) or dict.fromkeys(_COUNTED, 0)
        off = [
            f"{term} is {getattr(row, term)}, what is open adds up to {sums[term]}" for term in _COUNTED if getattr(row, term) != sums[term]
        ]
        self.unbalanced.pop(name, None)
        if off:
            self.unbalanced[name] = f"{where}: revision {self.revision}: {'; '.join(off)}"
            self.findings.violation(2, where, f"revision {self.revision}: {'; '.join(off)}", self._found_at or self.revision)
        self._check_promise(entry, name, before or row, row)

    # --- rule 1 ---------------------------------------------------------------------------------------------------
    def _check_promise(self, entry: Entry, name: RowName, before: StockRow, row: StockRow) -> None:
        """No oversell: what is committed anew was there to be promised; a row short of its commitments has an open exception."""
        where = _where(name)
        more = _raised(entry, before, row)
        if more > 0 and entry.verb not in ADMITTING_VERBS:
            self._violate(1, where, f"{entry.verb} of {entry.cause} raised the commitments by {more}, which it must not")
        elif more > 0 and more > (could := records.promised(self.replay, name, before)):
            self._violate(1, where, f"{entry.verb} of {entry.cause} took {more} units, {more - could} more than could be promised")
        exception = f"over:{name[1]}:{name[0]}"
        is_short, is_open = row.uncommitted() < 0, exception in self._overcommitted
        if is_short and not is_open:
            self._violate(1, where, f"{-row.uncommitted()} units short, and no exception {exception} is open")
        elif is_open and not is_short:
            self._violate(1, where, f"no longer short, but the exception {exception} is still open")

    # --- facts, expiry --------------------------------------------------------------------------------------------
    def _check_facts(self, entry: Entry, before: _Before) -> None:
        """What the entry says it moved is what its images moved; and every row it wrote bears its revision."""
        moved: dict[tuple[RowName, str], int] = {}
        for fact in entry.facts:
            moved[(fact.sku, fact.node), fact.term] = moved.get(((fact.sku, fact.node), fact.term), 0) + fact.delta
        for name, was in before.rows.items():
            row = records.row(self.replay, name)
            if row.revision != entry.revision:
                self._violate(2, _where(name), f"the row was written, and says it was at revision {row.revision}")
            for term in TERMS:
                change, told = getattr(row, term) - getattr(was, term), moved.pop((name, term), 0)
                if change != told:
                    self._violate(2, _where(name), f"{term} changed by {change}, the facts of the entry say {told}")
        for (name, term), delta in moved.items():
            if delta:
                self._violate(2, _where(name), f"the facts say {term} changed by {delta}, but the row was not written")

    def _check_expiry(self, entry: Entry, before: Hold | None, after: Hold | None) -> None:
        """Rule 5: a hold expires when it is due, not before, and gives back exactly what was open."""
        self.count("expiries")
        where = f"rsv:{entry.cause}"
        if before is None or after is None or before.state != State.HELD or after.state != State.EXPIRED:
            self._violate(5, where, f"it expired, but went from {before and before.state} to {after and after.state}")
            return
        if before.expire_ms > entry.time_ms:
            self._violate(5, where, f"it expired at {entry.time_ms}, before its time {before.expire_ms}")
        given_back = {(fact.sku, fact.node): -fact.delta for fact in entry.facts if fact.term == "reserved"}
        if given_back != {name: units for name, units in before.units.items() if units}:
            self._violate(5, where, f"its expiry gave back {sum(given_back.values())} units, open were {sum(before.units.values())}")


def _where(name: RowName) -> str:
    return f"stk:{name[0]} {name[1]}"


def _text(value: bytes | None) -> str:
    return "nothing" if value is None else value.decode()
