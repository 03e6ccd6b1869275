"""Register and set item states, and the events that wait for their item: what sources say of items, of which the latest word counts."""

from collections.abc import Iterable, Iterator

import msgspec

from atp.limits import LEDGER_ITEM_BYTES, LEDGER_NAME_BYTES
from atp.model.arrival import verdict_refusals
from atp.model.change import Change
from atp.model.place import keep_seen
from atp.model.state import PoolState
from atp.model.statement import Stated, judge, source_refusals
from atp.model.status import ExceptionReason, Status
from atp.model.stock import ItemNames, ItemRecord
from atp.model.verbs import ItemLine, ItemState, Park, Register, Result, SetItemStates, Unpark
from atp.model.window import Verdict

Statement = Register | SetItemStates


def register(state: PoolState, event: Register, now_ms: int) -> Result:
    waiting = [name for name in _all_names(event.lines) if name in state.waiting]
    refusal = next(_statement_refusals(state, event, now_ms), None)
    if refusal is not None:
        # A consumer that failed between the registration and the retries asks again, and must learn what waits.
        return msgspec.structs.replace(refusal, waiting=waiting) if refusal.status == Status.DUPLICATE else refusal
    done = Result(status=Status.OK)
    for lines in _entries(state, [line for line in event.lines if _stated(state, event, line).verdict is Verdict.NEW]):
        change = Change(state, "item_registered", event.event_id, now_ms)
        for line in lines:
            _write_item(change, event, line)
        done = change.commit()
    keep_seen(state, event)
    return msgspec.structs.replace(done, waiting=waiting)


def _all_names(lines: Iterable[ItemLine]) -> list[str]:
    """SKUs and aliases, each once, in order of first mention."""
    return list(dict.fromkeys(name for line in lines for name in (line.sku, *line.aliases)))


def _entries(state: PoolState, lines: list[ItemLine]) -> Iterator[list[ItemLine]]:
    """The lines of each ledger entry: as many as surely fit, one at least."""
    some: list[ItemLine] = []
    size = 0
    for line in lines:
        more = _entry_bytes(state, line)
        if some and size + more > state.limits.ledger_entry_bytes_max:
            yield some
            some, size = [], 0
        some.append(line)
        size += more
    yield some


def _entry_bytes(state: PoolState, line: ItemLine) -> int:
    """The most that registering an item can write to the ledger: the item, and each name that it gains, keeps or loses."""
    sku = len(line.sku.encode())
    names = {*line.aliases, *state.names.get(line.sku, ItemNames()).aliases}
    each = (LEDGER_NAME_BYTES + sku + 2 * len(name.encode()) for name in names)
    return LEDGER_ITEM_BYTES + 3 * sku + len(line.details.encode()) + sum(each)


def _write_item(change: Change, event: Register, line: ItemLine) -> None:
    state = change.state
    state.items[line.sku] = msgspec.structs.replace(
        state.items.get(line.sku) or ItemRecord(),
        safety_stock=line.safety_stock,
        sequence=_stated(state, event, line).sequence,
        fingerprint=event.fingerprint,
        revision=change.revision,
    )
    state.names[line.sku] = ItemNames(line.details, line.aliases)


def set_item_states(state: PoolState, event: SetItemStates, now_ms: int) -> Result:
    refusal = next(_statement_refusals(state, event, now_ms), None)
    if refusal is not None:
        return refusal
    change = Change(state, "item_state_changed", event.event_id, now_ms)
    for line in event.lines:
        if _stated(state, event, line).verdict is Verdict.NEW:
            state.items[line.sku] = msgspec.structs.replace(
                state.items[line.sku],
                revision=change.revision,
                state=line.state,
                state_sequence=_stated(state, event, line).sequence,
                state_fingerprint=event.fingerprint,
            )
    keep_seen(state, event)
    return change.commit()


def _statement_refusals(state: PoolState, event: Statement, now_ms: int) -> Iterator[Result]:
    yield from source_refusals(state, event, "registers_items", now_ms)
    if isinstance(event, SetItemStates) and (unknown := [line.sku for line in event.lines if line.sku not in state.items]):
        yield state.answer(Status.UNKNOWN_SKU, now_ms, unknown)
    verdicts = {line.sku: _stated(state, event, line).verdict for line in event.lines}
    yield from verdict_refusals(state, verdicts, now_ms)
    if Verdict.NEW not in verdicts.values():
        yield state.answer(Status.DUPLICATE, now_ms)


def _stated(state: PoolState, event: Statement, line: ItemLine | ItemState) -> Stated:
    """An item is its last registration, its state the last that was told of it."""
    item = state.items.get(line.sku) or ItemRecord()
    if isinstance(event, Register):
        return judge(state, event, item.sequence, item.fingerprint)
    return judge(state, event, item.state_sequence, item.state_fingerprint)


def park(state: PoolState, request: Park, now_ms: int) -> Result:
    refusal = next(_park_refusals(state, request, now_ms), None)
    if refusal is not None:
        return refusal
    change = Change(state, "park", request.key, now_ms)
    state.waiting.setdefault(request.sku, {})[request.key] = request.original
    change.report(ExceptionReason.UNKNOWN_SKU, f"wait:{request.key}", request.sku, "", 0)
    return change.commit()


def _park_refusals(state: PoolState, request: Park, now_ms: int) -> Iterator[Result]:
    waiting, source = state.waiting.get(request.sku, {}), request.key.partition("/")[0]
    if source not in state.sources:
        yield state.answer(Status.UNKNOWN_SOURCE, now_ms, [source])
    if _is_known(state, request):
        yield state.answer(Status.SKU_KNOWN, now_ms)
    if request.key in waiting:
        yield state.answer(Status.DUPLICATE, now_ms)
    if len(waiting) >= state.limits.waiting_per_sku_max:
        yield state.answer(Status.WAITING_FULL, now_ms)
    if state.waiting_bytes() + len(request.original.encode()) > state.limits.waiting_bytes_max:
        yield state.answer(Status.WAITING_FULL, now_ms)


def _is_known(state: PoolState, request: Park | Unpark) -> bool:
    """Whether an item has that name now: a SKU is no alias, nor the other way round."""
    if request.is_alias:
        return any(request.sku in names.aliases for names in state.names.values())
    return request.sku in state.items


def unpark(state: PoolState, request: Unpark, now_ms: int) -> Result:
    waiting = state.waiting.get(request.sku, {})
    if request.key not in waiting:
        return state.answer(Status.DUPLICATE, now_ms)
    if request.discards and _is_known(state, request):
        return state.answer(Status.SKU_KNOWN, now_ms)
    change = Change(state, "unpark", request.key, now_ms)
    del waiting[request.key]
    if not waiting:
        del state.waiting[request.sku]
    change.report(ExceptionReason.UNKNOWN_SKU, f"wait:{request.key}", request.sku, "", 0, resolved=True)
    return change.commit()
