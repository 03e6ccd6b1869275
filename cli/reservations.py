"""The verbs of a reservation for people: reserve, confirm, release, extend, fulfil, and show what is held."""

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cli import addresses, exit_codes, words
from cli.addresses import AddressOption
from cli.exit_codes import CommandError
from cli.options import DEFAULT_CHANNEL, DEFAULT_POOL, ChannelOption, JsonOption, KeyOption, NodesOption, PoolOption

if TYPE_CHECKING:
    from cli.client import Client
    from inventory.availability.v1.reservation_pb2 import Part, Reservation

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The reservation.")]
LinesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[LINE[=QTY]]…", help="Lines, and how many of each. Without any: all that is open.")
]
TtlOption = Annotated[str, typer.Option("--ttl", metavar="TIME", help="How long to hold: 90s, 15m, 2h, 1d; 1s to 31d.")]


def register(app: typer.Typer) -> None:
    for command in (reserve, confirm, release, extend, fulfil, show):
        app.command()(command)


def reserve(
    lines: Annotated[list[str], typer.Argument(metavar="SKU=QTY…", help="What to hold. A SKU named twice is added up.")],
    *,
    channel: ChannelOption = DEFAULT_CHANNEL,
    node: NodesOption = None,
    ttl: TtlOption = "15m",
    order: Annotated[str, typer.Option("--order", help="Your order or basket, to find its reservations by.", show_default=False)] = "",
    reservation_id: Annotated[
        str,
        typer.Option("--id", help="Your id: the same call again is then harmless. Without it the service makes one.", show_default=False),
    ] = "",
    partial: Annotated[bool, typer.Option("--partial", help="Hold what there is, if not all of it.")] = False,
    pool: PoolOption = DEFAULT_POOL,
    address: AddressOption = None,
    json: JsonOption = False,
) -> None:
    """Holds stock: all lines or none, until it is confirmed, released or expires. Exit 1 if it is not there."""
    from cli.answers import show_change
    from cli.client import TIMEOUT_S, connect, pb, rpc

    request = rpc.ReserveRequest(
        pool=pool,
        reservation_id=reservation_id,
        channel=channel,
        order_reference=order,
        ttl_ms=words.duration_ms(ttl),
        partial=partial,
        nodes=node or [],
        lines=[pb.Want(sku=sku, quantity=quantity) for sku, quantity in map(words.wanted, lines)],
    )
    with connect(addresses.address(address)) as service:
        answer = service.reservations.Reserve(request, timeout=TIMEOUT_S)
    show_change(answer, "held in part" if answer.shortfalls else "held", json=json)


def confirm(
    reservation_id: IdArgument,
    *,
    reacquire: Annotated[bool, typer.Option("--reacquire", help="If the hold has expired, take its units again.")] = False,
    key: KeyOption = "",
    pool: PoolOption = DEFAULT_POOL,
    address: AddressOption = None,
    json: JsonOption = False,
) -> None:
    """Commits a hold to its order: it no longer expires."""
    from cli.answers import show_change
    from cli.client import TIMEOUT_S, connect, rpc

    request = rpc.ConfirmRequest(pool=pool, reservation_id=reservation_id, operation_key=key, reacquire=reacquire)
    with connect(addresses.address(address)) as service:
        answer = service.reservations.Confirm(request, timeout=TIMEOUT_S)
    show_change(answer, "confirmed", json=json)


def release(
    reservation_id: IdArgument,
    lines: LinesArgument = None,
    *,
    key: KeyOption = "",
    pool: PoolOption = DEFAULT_POOL,
    address: AddressOption = None,
    json: JsonOption = False,
) -> None:
    """Gives back what is open of a reservation, or some lines of it."""
    from cli.answers import show_change
    from cli.client import TIMEOUT_S, connect, rpc

    request = rpc.ReleaseRequest(pool=pool, reservation_id=reservation_id, operation_key=key, lines=_parts(lines))
    with connect(addresses.address(address)) as service:
        answer = service.reservations.Release(request, timeout=TIMEOUT_S)
    show_change(answer, "released", json=json)


def extend(
    reservation_id: IdArgument,
    *,
    ttl: TtlOption = "15m",
    key: KeyOption = "",
    pool: PoolOption = DEFAULT_POOL,
    address: AddressOption = None,
    json: JsonOption = False,
) -> None:
    """Holds longer, counted from now; an expiry that is further away stays."""
    from cli.answers import show_change
    from cli.client import TIMEOUT_S, connect, rpc

    request = rpc.ExtendRequest(pool=pool, reservation_id=reservation_id, operation_key=key, ttl_ms=words.duration_ms(ttl))
    with connect(addresses.address(address)) as service:
        answer = service.reservations.Extend(request, timeout=TIMEOUT_S)
    show_change(answer, "held longer", json=json)


def fulfil(
    reservation_id: IdArgument,
    lines: LinesArgument = None,
    *,
    shipment: Annotated[str, typer.Option("--shipment", help="The shipment's id, as the node will report it: it counts once.")],
    shipped: Annotated[dt.datetime | None, typer.Option("--at", help="When it left, UTC; without it: now.", show_default=False)] = None,
    pool: PoolOption = DEFAULT_POOL,
    address: AddressOption = None,
    json: JsonOption = False,
) -> None:
    """Records that confirmed units were shipped, all that is open or some lines.

    One shipment leaves from one node; its id counts once, here and in the node's own report.
    """
    from cli.answers import show_change
    from cli.client import TIMEOUT_S, connect, rpc

    request = rpc.FulfilRequest(pool=pool, reservation_id=reservation_id, shipment_id=shipment, lines=_parts(lines))
    if shipped is not None:
        request.ship_time.FromDatetime(shipped)
    with connect(addresses.address(address)) as service:
        answer = service.reservations.Fulfil(request, timeout=TIMEOUT_S)
    show_change(answer, f"shipped with {shipment}", json=json)


def show(
    reservation_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="The reservation.", show_default=False)] = None,
    *,
    order: Annotated[str, typer.Option("--order", help="All reservations of this order instead.", show_default=False)] = "",
    pool: PoolOption = DEFAULT_POOL,
    address: AddressOption = None,
    json: JsonOption = False,
) -> None:
    """Shows a reservation with its lines, or all of an order. Exit 1 if there is none."""
    from cli.answers import show_reservation
    from cli.client import TIMEOUT_S, as_json, connect, rpc

    if (reservation_id is None) == (not order):
        raise CommandError("say which reservation, or --order and which order", exit_codes.USAGE)
    with connect(addresses.address(address)) as service:
        if reservation_id is not None:
            one = rpc.GetReservationRequest(pool=pool, reservation_id=reservation_id)
            found = [service.reservations.GetReservation(one, timeout=TIMEOUT_S).reservation]
        else:
            found = list(_of_order(service, pool, order))
    if json:
        typer.echo(as_json(found[0] if reservation_id is not None else rpc.ListReservationsResponse(reservations=found)))
    else:
        for reservation in found:
            show_reservation(reservation)
    if not found:
        raise CommandError(f"order {order} has no reservations in pool {pool}, or they ended more than 24 hours ago", exit_codes.REFUSED)


def _of_order(service: "Client", pool: str, order: str) -> Iterator["Reservation"]:
    """All pages."""
    from cli.client import TIMEOUT_S, rpc

    request = rpc.ListReservationsRequest(pool=pool, order_reference=order)
    while True:
        page = service.reservations.ListReservations(request, timeout=TIMEOUT_S)
        yield from page.reservations
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def _parts(lines: Sequence[str] | None) -> "list[Part]":
    from cli.client import pb

    return [pb.Part(number=number, quantity=quantity) for number, quantity in map(words.part, lines or [])]
