"""From ledger entries to published exceptions: what the entries of a batch raised and resolved, with the orders at risk."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from nats.js import JetStreamContext

from atp import ledger, limits
from atp.exceptions import OrderAtRisk, PublishedException, digest, ended, sentence
from atp.ledger import Entry, RaisedException
from atp.model.status import OPEN_STATES, ExceptionReason
from atp.model.views import Reservation
from atp.store import Store
from consumers import exceptions
from consumers.connection import together

ORDERS_LISTED_MAX: Final = 100
RESERVATIONS_READ_MAX: Final = 10_000  # newest open reservations looked through for orders at risk

Row = tuple[str, str]  # SKU, node


class OrdersAtRisk:
    """The newest open reservations of some rows; `complete` says that all open reservations have been looked through."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._found: dict[Row, dict[str, OrderAtRisk]] = {row: {} for row in rows}
        self.complete = False

    def note(self, reservation: Reservation) -> None:
        if reservation.state not in OPEN_STATES:
            return
        units: dict[Row, int] = {}
        for line in reservation.lines:
            if line.open and (row := (line.sku, line.node)) in self._found:
                units[row] = units.get(row, 0) + line.open
        for row, quantity in units.items():
            order = OrderAtRisk(reservation.reservation_id, reservation.order_reference, reservation.state, quantity)
            self._found[row].setdefault(reservation.reservation_id, order)

    @property
    def enough(self) -> bool:
        return all(len(orders) > ORDERS_LISTED_MAX for orders in self._found.values())

    def of(self, row: Row) -> tuple[list[OrderAtRisk], bool]:
        """The orders of a row, newest first, and whether there may be more."""
        orders = list(self._found.get(row, {}).values())
        return orders[:ORDERS_LISTED_MAX], len(orders) > ORDERS_LISTED_MAX or not self.complete


async def find_orders_at_risk(store: Store, pool: str, rows: Iterable[Row]) -> OrdersAtRisk:
    """Pages through the open reservations, newest first: in small reads, since each blocks the pool while it runs."""
    found = OrdersAtRisk(rows)
    offset = 0
    while offset < RESERVATIONS_READ_MAX and not found.enough:
        page = await store.open_reservations(pool, offset, limits.PAGE_SIZE_MAX)
        for reservation in page:
            found.note(reservation)
        if len(page) < limits.PAGE_SIZE_MAX:
            found.complete = True
            break
        offset += len(page)
    return found


async def publish_raised(js: JetStreamContext, store: Store, pool: str, entries: Sequence[bytes]) -> None:
    """Publishes how each exception that these entries raised or resolved stands after them; returns once JetStream has all.

    Safe to repeat: an exception of the same revision is the same message.
    """
    last: dict[str, tuple[Entry, RaisedException]] = {}
    for data in entries:
        entry = ledger.decode_entry(data)
        for raised in entry.exceptions:
            last[raised.id] = (entry, raised)
    if not last:
        return
    short = {
        (raised.sku, raised.node)
        for _, raised in last.values()
        if raised.reason == ExceptionReason.OVERCOMMITTED and raised.state == "open"
    }
    orders = await find_orders_at_risk(store, pool, short) if short else OrdersAtRisk(())
    await together(
        exceptions.publish(js, describe(pool, entry, raised, orders), f"{pool}.{entry.revision}.{digest(raised.id)}")
        for entry, raised in last.values()
    )


def describe(pool: str, entry: Entry, raised: RaisedException, orders: OrdersAtRisk) -> PublishedException:
    """One exception of the ledger as it is published."""
    is_short = raised.reason == ExceptionReason.OVERCOMMITTED and raised.state == "open"
    at_risk, more = orders.of((raised.sku, raised.node)) if is_short else ([], False)
    original = _parked_original(entry, raised)
    source = raised.cause.partition("/")[0] if raised.reason == ExceptionReason.UNKNOWN_SKU else ""
    told = PublishedException(
        id=raised.id,
        pool=pool,
        reason=raised.reason,
        state="open" if raised.state == "open" else "resolved",
        sentence=sentence(
            raised.reason, raised.state, pool=pool, sku=raised.sku, node=raised.node, cause=raised.cause, quantity=raised.quantity
        ),
        time=datetime.fromtimestamp(entry.time_ms / 1000, UTC),
        sku=raised.sku,
        node=raised.node,
        source=source,
        cause=raised.cause,
        correlation=entry.correlation,
        quantity=raised.quantity,
        orders_at_risk=at_risk,
        more_at_risk=more,
        original=original,
        original_bytes=len(original.encode()),
        revision=entry.revision,
    )
    # An event that has had its turn leaves its waiting room in the name of its source.
    return ended(told, "discarded", entry.actor, "", told.time) if entry.verb == "unpark" and entry.actor != source else told


def _parked_original(entry: Entry, raised: RaisedException) -> str:
    """The event that waits for its SKU, from the after-image that parked it."""
    if raised.reason != ExceptionReason.UNKNOWN_SKU or raised.state != "open":
        return ""
    for image in entry.images:
        command, key, *words = map(ledger.image_value, image)
        if command == b"HSET" and key == f"wait:{raised.sku}".encode():
            return words[1].decode()
    return ""
