"""Pick: units taken from their place for a reservation or an order, before they are shipped, or put back there."""

from collections.abc import Iterator

from atp.model.arrival import apply, entry_room, falls_at_pick, is_issuer, meet, name_refusals, range_refusals, verdict_refusals
from atp.model.change import Change
from atp.model.place import keep_seen
from atp.model.settling import claims, lines_at
from atp.model.shipment import ShipmentRecord, Unbooked
from atp.model.state import PoolState
from atp.model.status import ExceptionReason, Status
from atp.model.verbs import Pick, Result, Want
from atp.model.window import Verdict


def pick(state: PoolState, event: Pick, now_ms: int) -> Result:
    refusal = next(_refusals(state, event, now_ms), None)
    if refusal is not None:
        return refusal
    change = Change(state, event.kind, _cause(event), now_ms)
    if not falls_at_pick(state, event.source):
        keep_seen(state, event)
        return change.commit()  # the order's story alone
    verdicts = {sku: met.verdict for sku, met in meet(state, event).items()}
    apply(change, event)
    if is_issuer(state, event):
        _match(change, event, verdicts)
        if late := {want.sku: want.quantity for want in event.lines if verdicts[want.sku] is Verdict.BELOW}:
            exception_id = f"late:{event.source}/{event.event_id}"
            change.report(ExceptionReason.REVERSAL_BELOW_WINDOW, exception_id, next(iter(late)), event.node, sum(late.values()))
    return change.commit()


def _refusals(state: PoolState, event: Pick, now_ms: int) -> Iterator[Result]:
    yield from name_refusals(state, event, now_ms)
    if falls_at_pick(state, event.source):
        verdicts = {sku: met.verdict for sku, met in meet(state, event).items()}
        if event.kind == "pick_reversed" and is_issuer(state, event):  # its units are picked no longer, wherever it stood
            verdicts = {sku: verdict for sku, verdict in verdicts.items() if verdict is not Verdict.BELOW}
        yield from verdict_refusals(state, verdicts, now_ms)
        if entry_room(state, event, _cause(event)) < 0:
            yield state.answer(Status.TOO_MANY_ROWS, now_ms)
        yield from range_refusals(state, event, now_ms)


def _cause(event: Pick) -> str:
    return event.reservation_id or event.order_reference or event.event_id


def _match(change: Change, event: Pick, verdicts: dict[str, Verdict]) -> None:
    """Finds for each unit what it was picked for. A line that a later snapshot contains is matched as well: its units were moved, too."""
    room = change.state.limits.settled_lines_max
    without: dict[str, int] = {}
    for want in event.lines:
        if verdicts[want.sku] is not Verdict.KNOWN:
            matching = _Matching(change, event, want, room)
            if event.kind == "pick":
                matching.absorb()
                matching.mark()
                matching.lay_aside()
            else:
                matching.put_back(is_new=verdicts[want.sku] is Verdict.NEW)
            room = matching.room
            # What a later snapshot contains and matches nothing was put back, or is nobody's: only what changed the stock is told.
            if matching.left and verdicts[want.sku] is Verdict.NEW:
                without[want.sku] = matching.left
    if without:
        reason = ExceptionReason.PICK_WITHOUT_ALLOCATION if event.kind == "pick" else ExceptionReason.REVERSAL_WITHOUT_PICK
        change.report(reason, f"pick:{event.source}/{event.event_id}", next(iter(without)), event.node, sum(without.values()))


class _Matching:
    """The units of one SKU of a pick or its reversal: `left` are not matched yet, and `room` for so many more records to be written."""

    def __init__(self, change: Change, event: Pick, want: Want, room: int) -> None:
        self.left = want.quantity
        self.room = room
        self._change = change
        self._event = event
        self._place = want.sku, event.node
        named = change.state.reservations.get(event.reservation_id)
        self._order = named.order_reference if named else "" if event.reservation_id else event.order_reference
        found = claims(change.state, event.reservation_id, self._order)
        self._lines = [(record, record.lines[number]) for _, record, number in lines_at(found, *self._place)]
        self._shipments = _unbooked_of(change.state, {key for key, _ in found}, self._order, self._place)

    def absorb(self) -> None:
        """First what was shipped, or put back, before its pick was heard of.

        Of that some stands in shipped unbooked, some was booked by a snapshot, which contains the pick. As much as can be is taken as that:
        nothing is promised too early.
        """
        entries = self._change.state.unbooked.get(self._place, {})
        unbooked = sum(entries[shipment_id].quantity for shipment_id in self._shipments)
        to_book = -max(0, sum(line.awaited for _, line in self._lines) - unbooked)
        for _, line in self._lines:
            units = self._taken(line.awaited)
            back = min(units, max(0, -line.loose))
            line.loose += back
            line.picks += units - back
            to_book += units
        for shipment_id in self._shipments:
            if to_book > 0 and self.room:
                to_book -= _book(self._change, *self._place, shipment_id, to_book)
                self.room -= 1
        self.left += max(0, to_book)  # for which there was no room

    def mark(self) -> None:
        """Then what is open."""
        for record, line in self._lines:
            units = self._taken(line.open - line.picked) if record.is_open else 0
            if units:
                line.picks += units
                self._change.row(*self._place).picked += units

    def lay_aside(self) -> None:
        """What is left lies loose, and is known once it is put back."""
        if self.left and self._lines and self.room:
            self._lines[0][1].loose += self.left
            self.room -= 1

    def put_back(self, *, is_new: bool) -> None:
        """First what lies loose, which nothing stands for; then what is picked and open; then what has left: another pick of it is awaited.

        What is left was put back before its pick was heard of. What is awaited, and counted on hand, stands in shipped unbooked.
        """
        for _, line in self._lines:
            line.loose -= self._taken(max(0, line.loose))
        for record, line in reversed(self._lines):
            units = self._taken(line.picked) if record.is_open else 0
            if units:
                line.picks -= units
                self._change.row(*self._place).picked -= units
        awaited = 0
        for _, line in reversed(self._lines):
            units = self._taken(line.picks)
            line.picks -= units
            awaited += units
        if self._lines:
            if self.left and self.room:
                self._lines[0][1].loose -= self.left
                self.room -= 1
            elif self.left:
                is_new = True  # it is not known what they are: nothing is promised too early
            awaited += self.left if is_new else 0
            self.left = 0
        self._await_pick(awaited)

    def _await_pick(self, units: int) -> None:
        """They stand there as a shipment does whose pick was not heard of."""
        if units:
            state, shipment_id = self._change.state, f"{self._event.kind} {self._change.revision}"
            record = ShipmentRecord(self._event.node, self._event.reservation_id, self._change.now_ms, order_reference=self._order)
            state.shipments[shipment_id] = record
            self._change.row(*self._place).shipped_unbooked += units
            state.unbooked.setdefault(self._place, {})[shipment_id] = Unbooked(units, self._change.now_ms)

    def _taken(self, most: int) -> int:
        units = min(self.left, most) if self.room else 0
        self.left -= units
        self.room -= bool(units)
        return units


def _unbooked_of(state: PoolState, ids: set[str], order: str, place: tuple[str, str]) -> list[str]:
    """Shipments that told of units before they were picked: of these reservations, or of several of this order.

    The oldest first: those that stay are booked by no snapshot that does not contain all of them.
    """
    entries = state.unbooked.get(place, {})

    def is_meant(shipment_id: str) -> bool:
        shipment = state.shipments[shipment_id]
        return shipment.reservation_id in ids or (not shipment.reservation_id and bool(order) and shipment.order_reference == order)

    return sorted(filter(is_meant, entries), key=lambda shipment_id: (entries[shipment_id].shipped_ms, shipment_id))


def _book(change: Change, sku: str, node: str, shipment_id: str, most: int) -> int:
    """Takes up to so many of its units out of shipped unbooked; returns how many."""
    entries = change.state.unbooked[sku, node]
    entry = entries.pop(shipment_id)
    units = min(most, entry.quantity)
    change.row(sku, node).shipped_unbooked -= units
    if units < entry.quantity:
        entries[shipment_id] = Unbooked(entry.quantity - units, entry.shipped_ms)
    return units
