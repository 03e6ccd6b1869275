"""Reserve, confirm, release, extend and expire: the verbs that a caller's reservation lives by.

Each verb has a generator of the answers that stop it, in their order of precedence: the first one is the answer, the later ones may
rely on the earlier ones having passed.
"""

from collections.abc import Iterator

from atp.limits import LEDGER_ROW_BYTES
from atp.model.change import Change
from atp.model.reservation import LineRecord, OperationRecord, ReservationRecord, Units, flat, pairs
from atp.model.state import PoolState
from atp.model.status import State, Status
from atp.model.verbs import RESERVE_FINGERPRINT, Confirm, Extend, Release, Reserve, Result, Shortfall

Operation = Confirm | Release | Extend

#: What differs when a key is used again for the same verb.
_OPERATION_FIELD = {"confirm": "reacquire", "release": "lines", "extend": "ttl_ms"}


def reap(state: PoolState, now_ms: int) -> bool:
    """Expires due holds, by expiry and id, one entry each; False if a hold had to wait because the bound on rows was reached."""
    held = sorted((record.expire_ms, key) for key, record in state.reservations.items() if record.state is State.HELD)
    rows = 0
    for expire_ms, key in held:
        if expire_ms > now_ms:
            break
        record = state.reservations[key]
        given_back = record.open_units()
        if rows and rows + len(given_back) > state.limits.reap_rows_max:
            return False
        rows += len(given_back)
        change = Change(state, "expire", key, now_ms)
        for number, units in given_back:
            change.lower_open(record, number, units)
        record.end(State.EXPIRED, now_ms)
        change.commit()
    return True


def reserve(state: PoolState, request: Reserve, now_ms: int) -> Result:
    known = state.reservations.get(request.reservation_id)
    if known is not None:
        return _created_before(state, known, request, now_ms)
    refusal = next(_reserve_refusals(state, request, now_ms), None)
    if refusal is not None:
        return refusal
    lines, short = _allot(state, request)
    if short and not (request.partial and lines):
        return Result(status=Status.INSUFFICIENT_STOCK, revision=state.revision, time_ms=now_ms, short=short)
    if entry_bytes(lines) > state.limits.ledger_entry_bytes_max:
        return state.answer(Status.TOO_MANY_ROWS, now_ms)
    change = Change(state, "reserve", request.reservation_id, now_ms)
    expire_ms = now_ms + request.ttl_ms
    record = ReservationRecord(
        state=State.HELD,
        expire_ms=expire_ms,
        channel=request.channel,
        created_ms=now_ms,
        first_expire_ms=expire_ms,
        created_revision=change.revision,
        fingerprint=list(request.fingerprint),
        order_reference=request.order_reference,
        lines=dict(enumerate(lines, start=1)),
        short=short,
    )
    state.reservations[request.reservation_id] = record
    for number, units in record.open_units():
        change.claim_units(record, number, units)
    change.commit()
    return _as_created(record, replayed=False)


def _as_created(record: ReservationRecord, *, replayed: bool) -> Result:
    return Result(
        status=Status.OK,
        revision=record.created_revision,
        time_ms=record.created_ms,
        replayed=replayed,
        state=State.HELD,
        expire_ms=record.first_expire_ms,
        moves=record.moves((number, line.quantity) for number, line in sorted(record.lines.items())),
        short=record.short,
    )


def _created_before(state: PoolState, record: ReservationRecord, request: Reserve, now_ms: int) -> Result:
    parts = zip(RESERVE_FINGERPRINT, record.fingerprint, request.fingerprint, strict=True)
    differ = [name for name, before, now in parts if before != now]
    return state.answer(Status.KEY_REUSED, now_ms, differ) if differ else _as_created(record, replayed=True)


def _reserve_refusals(state: PoolState, request: Reserve, now_ms: int) -> Iterator[Result]:
    bounds = state.limits
    if request.id_time_ms and not -bounds.retention_ms <= request.id_time_ms - now_ms <= bounds.id_ahead_ms_max:
        yield state.answer(Status.RESERVATION_ID_STALE, now_ms)
    if state.revision - state.published >= bounds.ledger_backlog_max:
        yield state.answer(Status.LEDGER_BACKLOG, now_ms)
    yield from _node_refusals(state, request, now_ms)
    if len(request.lines) * len(_nodes(state, request)) > bounds.script_rows_max:
        yield state.answer(Status.TOO_MANY_ROWS, now_ms)
    if unknown := [want.sku for want in request.lines if want.sku not in state.items]:
        yield state.answer(Status.UNKNOWN_SKU, now_ms, unknown)
    if request.order_reference:
        siblings = sum(record.order_reference == request.order_reference for record in state.reservations.values())
        if siblings >= bounds.order_reservations_max:
            yield state.answer(Status.ORDER_FULL, now_ms)


def _node_refusals(state: PoolState, request: Reserve, now_ms: int) -> Iterator[Result]:
    if request.channel not in state.channels:
        yield state.answer(Status.UNKNOWN_CHANNEL, now_ms, [request.channel])
    foreign = [node for node in request.nodes if node not in state.channels[request.channel]]
    if unknown := [node for node in foreign if node not in state.nodes]:
        yield state.answer(Status.UNKNOWN_NODE, now_ms, unknown)
    if foreign:
        yield state.answer(Status.NODE_NOT_IN_CHANNEL, now_ms, foreign)


def _nodes(state: PoolState, request: Reserve) -> list[str]:
    return request.nodes or state.channels[request.channel]


def entry_bytes(lines: list[LineRecord]) -> int:
    """The most that holding these lines can write to the ledger: each names SKU and node in a fact, an image of the row and a line."""
    return sum(3 * len((line.sku + line.node).encode()) + LEDGER_ROW_BYTES for line in lines)


def _allot(state: PoolState, request: Reserve) -> tuple[list[LineRecord], list[Shortfall]]:
    """The lines to hold, each wanted SKU from the nodes in order, and what comes short."""
    lines: list[LineRecord] = []
    short: list[Shortfall] = []
    for want in request.lines:
        missing = want.quantity
        for node in _nodes(state, request):
            taken = min(missing, state.promised(want.sku, node))
            if taken:
                lines.append(LineRecord(want.sku, node, taken))
                missing -= taken
        if missing:
            short.append(Shortfall(want.sku, want.quantity, want.quantity - missing))
    return lines, short


def confirm(state: PoolState, request: Confirm, now_ms: int) -> Result:
    answer = next(_confirm_answers(state, request, now_ms), None)
    if answer is not None:
        return answer
    record = state.reservations[request.reservation_id]
    change = Change(state, "confirm", request.reservation_id, now_ms)
    moved = record.open_units()
    if record.state is State.HELD:
        for number, units in moved:
            change.claim_units(record, number, -units)
    record.state = State.CONFIRMED
    record.expire_ms = 0
    record.ended_ms = 0
    for number, units in moved:
        change.claim_units(record, number, units)
    return _keep(change, record, request, moved)


def _confirm_answers(state: PoolState, request: Confirm, now_ms: int) -> Iterator[Result]:
    yield from _known_operation(state, request, "confirm", now_ms)
    record = state.reservations[request.reservation_id]
    if record.state is State.EXPIRED and request.reacquire:
        if short := _reacquire_short(state, record):
            yield Result(status=Status.INSUFFICIENT_STOCK, revision=state.revision, time_ms=now_ms, short=short)
    elif record.state is not State.HELD:
        yield state.answer(Status(record.state), now_ms)


def _reacquire_short(state: PoolState, record: ReservationRecord) -> list[Shortfall]:
    """Lines whose open units are not there any more. Lines of one row share what it has, in order."""
    taken: dict[tuple[str, str], int] = {}
    short: list[Shortfall] = []
    for number, units in record.open_units():
        line = record.lines[number]
        row = line.sku, line.node
        left = state.promised(*row) - taken.get(row, 0)
        if units > left:
            short.append(Shortfall(line.sku, units, left))
        else:
            taken[row] = taken.get(row, 0) + units
    return short


def release(state: PoolState, request: Release, now_ms: int) -> Result:
    answer = next(_release_answers(state, request, now_ms), None)
    if answer is not None:
        return answer
    record = state.reservations[request.reservation_id]
    change = Change(state, "release", request.reservation_id, now_ms)
    moved = record.asked_units(request.lines)
    for number, units in moved:
        change.lower_open(record, number, units)
        record.lines[number].released += units
    record.end_if_empty(now_ms)
    return _keep(change, record, request, moved)


def _release_answers(state: PoolState, request: Release, now_ms: int) -> Iterator[Result]:
    yield from _known_operation(state, request, "release", now_ms)
    record = state.reservations[request.reservation_id]
    if request.lines and len(record.operations) >= state.limits.operations_for_any:
        yield state.answer(Status.OPERATIONS_FULL, now_ms)
    if unknown := record.unknown_lines(request.lines):
        yield state.answer(Status.UNKNOWN_LINE, now_ms, unknown)
    if not record.is_open:
        yield state.answer(Status(record.state), now_ms)
    if exceeding := record.exceeding_lines(request.lines):
        yield state.answer(Status.EXCEEDS_HELD, now_ms, exceeding)


def extend(state: PoolState, request: Extend, now_ms: int) -> Result:
    answer = next(_extend_answers(state, request, now_ms), None)
    if answer is not None:
        return answer
    record = state.reservations[request.reservation_id]
    change = Change(state, "extend", request.reservation_id, now_ms)
    record.expire_ms = max(record.expire_ms, now_ms + request.ttl_ms)
    return _keep(change, record, request, [])


def _extend_answers(state: PoolState, request: Extend, now_ms: int) -> Iterator[Result]:
    yield from _known_operation(state, request, "extend", now_ms)
    record = state.reservations[request.reservation_id]
    if len(record.operations) >= state.limits.operations_for_any:
        yield state.answer(Status.OPERATIONS_FULL, now_ms)
    if record.state is not State.HELD:
        yield state.answer(Status(record.state), now_ms)


def _known_operation(state: PoolState, request: Operation, verb: str, now_ms: int) -> Iterator[Result]:
    """Rule 4: the answer if there is no such reservation, or if the key has been used on it."""
    record = state.reservations.get(request.reservation_id)
    if record is None:
        yield state.answer(Status.UNKNOWN_RESERVATION, now_ms, [request.reservation_id])
        return
    first = record.operations.get(request.key)
    if first is None:
        return
    if first.verb != verb:
        yield state.answer(Status.KEY_REUSED, now_ms, ["verb"])
    if first.fingerprint != request.fingerprint:
        yield state.answer(Status.KEY_REUSED, now_ms, [_OPERATION_FIELD[verb]])
    yield Result(
        status=Status.OK,
        revision=first.revision,
        time_ms=first.time_ms,
        replayed=True,
        state=first.state,
        expire_ms=first.expire_ms,
        moves=record.moves(pairs(first.moved)),
    )


def _keep(change: Change, record: ReservationRecord, request: Operation, moved: Units) -> Result:
    """Commits, and keeps the result under the operation's key."""
    result = change.commit_for(record, moved)
    record.operations[request.key] = OperationRecord(
        change.verb, request.fingerprint, result.revision, result.time_ms, result.state, result.expire_ms, flat(moved)
    )
    return result
