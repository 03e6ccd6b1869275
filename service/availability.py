"""AvailabilityService: what can be promised, and why."""

from collections.abc import Iterator

from atp import limits
from atp.errors import RefusedError
from atp.ledger import Entry
from atp.model.status import Status
from atp.model.stock import ACTIVE, TERMS, ItemRecord, StockRow, available_to_promise
from atp.model.views import Explanation, TermChanges
from atp.requests import Checker
from atp.store import Stores
from inventory.availability.v1 import availability_service_pb2 as pb
from service import availability_answer, bounds
from service.call import Call
from service.values import ITEM_STATE, NODE_STATE, timestamp


class AvailabilityHandlers:
    """Handlers of the service's methods, each over the store that has the pool."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    async def batch_get(self, request: pb.BatchGetAvailabilityRequest, call: Call) -> bytes:
        nodes, wants = list(request.nodes), request.lines
        wanted = _checked_wants(request, nodes)
        store = self._stores.of(request.pool)
        read = await store.availability(request.pool, request.channel, nodes, list(wanted), timeout_s=call.timeout_s)
        if len(read.nodes) * len(wants) > bounds.AVAILABILITY_ROWS_MAX:
            raise RefusedError(Status.TOO_MANY_ROWS, [request.channel])
        found = {line.sku: line for line in read.lines}  # of a SKU that stands twice, one
        return availability_answer.encode(((found[want.sku], wanted[want.sku]) for want in wants), read.time_ms)

    async def explain(self, request: pb.ExplainAvailabilityRequest, call: Call) -> pb.ExplainAvailabilityResponse:
        check = Checker()
        check.name("pool", request.pool)
        check.id("sku", request.sku)
        check.name("node", request.node)
        check.done()
        store = self._stores.of(request.pool)
        found = await store.explain(request.pool, request.sku, request.node, timeout_s=call.timeout_s)
        row = found.row
        changes = await store.term_changes(request.pool, request.sku, request.node, row.revision, timeout_s=call.timeout_s)
        item_entry = await store.ledger_entry(request.pool, found.item.revision)
        return pb.ExplainAvailabilityResponse(
            terms=[*_terms(found, changes), _safety_stock(found.item, item_entry)],
            available=available_to_promise(row, found.item, shut=found.node_state != ACTIVE),
            due=found.due,
            row_revision=row.revision,
            entry=_entry(found.entry) if found.entry else None,
            revision=found.revision,
            read_time=timestamp(found.time_ms),
            searched_revision=changes.searched_revision if row.revision else 0,
            item_state=ITEM_STATE[found.item.state],
            node_state=NODE_STATE[found.node_state],
        )


def _terms(found: Explanation, changes: TermChanges) -> Iterator[pb.Term]:
    """All terms of the row. What one contributes is what a row that had nothing else would have uncommitted."""
    for name in TERMS:
        units, change = getattr(found.row, name), changes.terms.get(name)
        yield pb.Term(
            name=name,
            contribution=StockRow(**{name: units}).uncommitted(),
            units=units,
            source=found.authorities.get(name, ""),
            changed=_changed(change.entry, change.delta) if change else None,
        )


def _safety_stock(item: ItemRecord, entry: Entry | None) -> pb.Term:
    units = item.kept_back
    return pb.Term(name="safety_stock", contribution=-units, units=units, changed=_changed(entry, 0) if entry else None)


def _changed(entry: Entry, delta: int) -> pb.TermChange:
    return pb.TermChange(
        revision=entry.revision,
        verb=entry.verb,
        cause=entry.cause,
        actor=entry.actor,
        correlation=entry.correlation,
        time=timestamp(entry.time_ms),
        delta=delta,
    )


def _checked_wants(request: pb.BatchGetAvailabilityRequest, nodes: list[str]) -> dict[str, int]:
    """Units wanted of each SKU, in order of first mention. A SKU of impossible form is let through: the store does not know it either."""
    wants = request.lines
    check = Checker()
    check.name("pool", request.pool)
    check.name("channel", request.channel)
    check.count("lines", len(wants), 1, limits.AVAILABILITY_SKUS_MAX)
    check.count("nodes", len(nodes), 0, limits.SCRIPT_ROWS_MAX)
    for index, node in enumerate(nodes[: limits.SCRIPT_ROWS_MAX]):
        check.name(f"nodes[{index}]", node)
    if len(set(nodes)) < len(nodes):
        check.add("nodes", "must not name a node twice")
    if len(nodes) * len(wants) > bounds.AVAILABILITY_ROWS_MAX:
        check.add("lines", f"lines × nodes must be at most {bounds.AVAILABILITY_ROWS_MAX}, is {len(nodes) * len(wants)}")
    wanted: dict[str, int] = {}
    for index, want in enumerate(wants):
        sku, quantity = want.sku, want.quantity
        if not 0 <= quantity <= limits.QUANTITY_MAX:
            check.between(f"lines[{index}].quantity", quantity, 0, limits.QUANTITY_MAX)
        wanted[sku] = wanted.get(sku, 0) + (quantity or 1)
    check.done()
    return wanted


def _entry(entry: Entry) -> pb.LedgerEntry:
    return pb.LedgerEntry(
        revision=entry.revision,
        verb=entry.verb,
        cause=entry.cause,
        actor=entry.actor,
        correlation=entry.correlation,
        time=timestamp(entry.time_ms),
        facts=[pb.Fact(sku=fact.sku, node=fact.node, term=fact.term, delta=fact.delta) for fact in entry.facts],
    )
