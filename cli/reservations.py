"""The verbs of a reservation for people: reserve, confirm, release, extend, fulfil, and show what is held."""

import datetime as dt
from collections.abc import Sequence
from typing import Annotated

import typer

from cli import addresses, exit_codes, words
from cli.addresses import AddressOption
from cli.exit_codes import CommandError
from cli.options import DEFAULT_CHANNEL, DEFAULT_POOL, ChannelOption, JsonOption, KeyOption, NodesOption, PoolOption

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
    from cli.client import connect

    ttl_ms = words.duration_ms(ttl)
    wanted = [words.wanted(line) for line in lines]
    with connect(addresses.address(address), pool, channel) as service:
        answer = service.reserve(
            wanted, reservation_id=reservation_id, order_reference=order, ttl_ms=ttl_ms, partial=partial, nodes=node or []
        )
    show_change(answer.message, "held in part" if answer.shortfalls else "held", json=json)


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
    from cli.client import connect

    with connect(addresses.address(address), pool) as service:
        answer = service.confirm(reservation_id, reacquire=reacquire, operation_key=key)
    show_change(answer.message, "confirmed", json=json)


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
    from cli.client import connect

    parts = _parts(lines)
    with connect(addresses.address(address), pool) as service:
        answer = service.release(reservation_id, parts, operation_key=key)
    show_change(answer.message, "released", json=json)


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
    from cli.client import connect

    ttl_ms = words.duration_ms(ttl)
    with connect(addresses.address(address), pool) as service:
        answer = service.extend(reservation_id, ttl_ms=ttl_ms, operation_key=key)
    show_change(answer.message, "held longer", json=json)


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
    from cli.client import connect

    parts = _parts(lines)
    ship_time = None if shipped is None else shipped.replace(tzinfo=dt.UTC)
    with connect(addresses.address(address), pool) as service:
        answer = service.fulfil(reservation_id, parts, shipment_id=shipment, ship_time=ship_time)
    show_change(answer.message, f"shipped with {shipment}", json=json)


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
    from cli.client import as_json, connect
    from inventory.availability.v1.reservation_service_pb2 import ListReservationsResponse

    if (reservation_id is None) == (not order):
        raise CommandError("say which reservation, or --order and which order", exit_codes.USAGE)
    with connect(addresses.address(address), pool) as service:
        answers = service.list(order) if reservation_id is None else (service.get(reservation_id),)
    found = [answer.message for answer in answers]
    if json:
        typer.echo(as_json(ListReservationsResponse(reservations=found) if reservation_id is None else found[0]))
    else:
        for reservation in found:
            show_reservation(reservation)
    if not found:
        raise CommandError(f"order {order} has no reservations in pool {pool}, or they ended more than 24 hours ago", exit_codes.REFUSED)


def _parts(lines: Sequence[str] | None) -> list[tuple[int, int]]:
    return [words.part(line) for line in lines or ()]
