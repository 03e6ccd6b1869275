"""Every call that a client can make: its request from what the caller says, and its answer from what the service says."""

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from atp_client import reading
from atp_client.answers import (
    Accepted,
    Availability,
    Confirmed,
    ExceedsHeld,
    Explanation,
    Extended,
    Held,
    InsufficientStock,
    RefusedEvent,
    Released,
    Reservation,
    Shipped,
    WrongState,
)
from atp_client.exchange import Caller, Steps
from atp_client.ids import uuid7
from inventory.availability.v1 import availability_service_pb2 as availability_pb
from inventory.availability.v1 import inventory_service_pb2 as inventory_pb
from inventory.availability.v1 import reservation_service_pb2 as reservation_pb
from inventory.availability.v1.inventory_event_pb2 import InventoryEvent
from inventory.availability.v1.reservation_pb2 import Part, Want

#: What is wanted: {SKU: quantity}, or pairs of them; to be asked about, a SKU alone will do.
Wants: TypeAlias = Mapping[str, int] | Iterable[tuple[str, int]]
MaybeWants: TypeAlias = Mapping[str, int] | Iterable[tuple[str, int] | str]
#: Lines of a reservation: {number: quantity}, pairs of them, or a number alone for all that is open. None at all: every line.
Parts: TypeAlias = Mapping[int, int] | Iterable[tuple[int, int] | int]


# --- reads ------------------------------------------------------------------------------------------------------------
def availability(caller: Caller, lines: MaybeWants, *, nodes: Sequence[str] = (), correlation: str = "") -> Steps[Availability]:
    """Says what can be promised of each SKU, in all and per node, and whether the quantity wanted can be. Holds nothing."""
    request = availability_pb.BatchGetAvailabilityRequest(pool=caller.pool, channel=caller.channel, nodes=nodes, lines=_wants(lines))
    return reading.availability((yield from caller.call("BatchGetAvailability", request, correlation)))


def explain(caller: Caller, sku: str, node: str, *, correlation: str = "") -> Steps[Explanation]:
    """Explains one figure: every term of it, and the change that touched it last."""
    request = availability_pb.ExplainAvailabilityRequest(pool=caller.pool, sku=sku, node=node)
    return reading.explanation((yield from caller.call("ExplainAvailability", request, correlation)))


def get(caller: Caller, reservation_id: str, *, correlation: str = "") -> Steps[Reservation]:
    """Reads one reservation."""
    request = reservation_pb.GetReservationRequest(pool=caller.pool, reservation_id=reservation_id)
    return reading.reservation((yield from caller.call("GetReservation", request, correlation)).reservation)


def list_of_order(caller: Caller, order_reference: str, *, correlation: str = "") -> Steps[tuple[Reservation, ...]]:
    """Reads all reservations of an order, oldest first; of an order that nothing was reserved for, none."""
    deadline = time.monotonic() + caller.timeout_s
    request = reservation_pb.ListReservationsRequest(pool=caller.pool, order_reference=order_reference)
    found: list[Reservation] = []
    while True:
        page = yield from caller.call("ListReservations", request, correlation, deadline)
        found.extend(map(reading.reservation, page.reservations))
        if not page.next_page_token:
            return tuple(found)
        request.page_token = page.next_page_token


# --- verbs ------------------------------------------------------------------------------------------------------------
def reserve(
    caller: Caller,
    lines: Wants,
    *,
    reservation_id: str = "",
    order_reference: str = "",
    ttl_ms: int = 0,
    partial: bool = False,
    nodes: Sequence[str] = (),
    correlation: str = "",
) -> Steps[Held | InsufficientStock]:
    """Holds stock, all lines or none (or what there is, if `partial`), for `ttl_ms` (0: 15 minutes).

    `reservation_id` is your id of it, and makes the call the same when you send it again; without one the client makes it.
    """
    request = reservation_pb.ReserveRequest(
        pool=caller.pool,
        reservation_id=reservation_id or uuid7(),
        channel=caller.channel,
        order_reference=order_reference,
        ttl_ms=ttl_ms,
        partial=partial,
        nodes=nodes,
        lines=_wants(lines),
    )
    return reading.reserved((yield from caller.call("Reserve", request, correlation)))


def confirm(
    caller: Caller, reservation_id: str, *, reacquire: bool = False, operation_key: str = "", correlation: str = ""
) -> Steps[Confirmed | WrongState | InsufficientStock]:
    """Commits a hold to its order: it no longer expires. With `reacquire`, an expired one is taken again, if it is still there."""
    request = reservation_pb.ConfirmRequest(
        pool=caller.pool, reservation_id=reservation_id, operation_key=operation_key or uuid7(), reacquire=reacquire
    )
    return reading.confirmed((yield from caller.call("Confirm", request, correlation)))


def release(
    caller: Caller, reservation_id: str, lines: Parts = (), *, operation_key: str = "", correlation: str = ""
) -> Steps[Released | WrongState | ExceedsHeld]:
    """Gives back what is open, wholly or by lines, of a hold or of a confirmed reservation."""
    request = reservation_pb.ReleaseRequest(
        pool=caller.pool, reservation_id=reservation_id, operation_key=operation_key or uuid7(), lines=_parts(lines)
    )
    return reading.released((yield from caller.call("Release", request, correlation)))


def extend(
    caller: Caller, reservation_id: str, *, ttl_ms: int = 0, operation_key: str = "", correlation: str = ""
) -> Steps[Extended | WrongState]:
    """Holds for `ttl_ms` from now (0: 15 minutes); an expiry that is further away stays."""
    request = reservation_pb.ExtendRequest(
        pool=caller.pool, reservation_id=reservation_id, operation_key=operation_key or uuid7(), ttl_ms=ttl_ms
    )
    return reading.extended((yield from caller.call("Extend", request, correlation)))


def fulfil(
    caller: Caller, reservation_id: str, lines: Parts = (), *, shipment_id: str, ship_time: datetime | None = None, correlation: str = ""
) -> Steps[Shipped | WrongState | ExceedsHeld]:
    """Records that confirmed units have left their node, wholly or by lines; without `ship_time`, now.

    `shipment_id` is the shipment's id as the node will report it too: it counts once.
    """
    request = reservation_pb.FulfilRequest(
        pool=caller.pool, reservation_id=reservation_id, shipment_id=shipment_id, ship_time=_timestamp(ship_time), lines=_parts(lines)
    )
    return reading.shipped((yield from caller.call("Fulfil", request, correlation)))


def adjust(caller: Caller, events: Iterable[InventoryEvent], *, correlation: str = "") -> Steps[tuple[Accepted | RefusedEvent, ...]]:
    """Tells what happened to stock, items and locations: up to 1,000 events of any kind, and what became of each, in their order.

    Each is taken or refused by itself. An event that is sent again, with the same id and saying the same, counts once.
    """
    request = inventory_pb.AdjustRequest(pool=caller.pool, events=events)
    return reading.adjusted((yield from caller.call("Adjust", request, correlation)))


# --- pieces -----------------------------------------------------------------------------------------------------------
def _wants(lines: MaybeWants) -> list[Want]:
    if isinstance(lines, str):
        raise TypeError(f"lines are {{SKU: quantity}} or a list, not one string: [{lines!r}]")
    pairs = lines.items() if isinstance(lines, Mapping) else lines
    return [Want(sku=pair) if isinstance(pair, str) else Want(sku=pair[0], quantity=pair[1]) for pair in pairs]


def _parts(lines: Parts) -> list[Part]:
    pairs = lines.items() if isinstance(lines, Mapping) else lines
    return [Part(number=pair) if isinstance(pair, int) else Part(number=pair[0], quantity=pair[1]) for pair in pairs]


def _timestamp(time: datetime | None) -> Timestamp | None:
    if time is None:
        return None
    if time.tzinfo is None:
        raise ValueError("a ship_time needs its time zone: datetime.now(UTC)")
    timestamp = Timestamp()
    timestamp.FromDatetime(time)
    return timestamp
