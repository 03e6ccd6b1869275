"""`atp exceptions`: what a person must see, and why."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from cli import exit_codes, output
from cli.exit_codes import CommandError
from cli.options import DEFAULT_POOL, JsonOption, NatsUrlOption, PoolOption

if TYPE_CHECKING:
    from atp.exceptions import PublishedException

LISTED_DEFAULT: Final = 50

exceptions = typer.Typer(
    help="Shows what a person must see: bad messages, stock short of its orders, shipments nobody ordered.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    app.add_typer(exceptions, name="exceptions")


@exceptions.command("list")
def list_them(
    *,
    state: Annotated[Literal["open", "resolved", "all"], typer.Option("--state", help="Which of them.")] = "open",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000, help="How many at most, the newest first.")] = LISTED_DEFAULT,
    pool: PoolOption = DEFAULT_POOL,
    nats_url: NatsUrlOption = None,
    json: JsonOption = False,
) -> None:
    """Lists exceptions, newest first."""
    from cli import config, history
    from consumers.exceptions import list_exceptions

    async def read() -> "list[PublishedException]":
        async with history.jetstream(nats) as js:
            with history.known_pool(pool):
                return await list_exceptions(js, pool=pool, state=None if state == "all" else state, limit=limit)

    nats = config.nats(config.load(nats_url=nats_url))
    found = asyncio.run(read())
    if json:
        output.print_json(found)
        return
    out = output.console()
    rows = [(output.at(int(item.time.timestamp() * 1000)), item.state, item.id, item.sentence) for item in found]
    out.print(output.table(["since", "", "id", "what"], rows) if rows else f"No exceptions in pool {pool}.")
    if rows:
        out.print("More on one: atp exceptions show ID", style="dim")


@exceptions.command("show")
def show_one(
    exception_id: Annotated[str, typer.Argument(metavar="ID", help="The exception, as the list names it.")],
    *,
    pool: PoolOption = DEFAULT_POOL,
    nats_url: NatsUrlOption = None,
    json: JsonOption = False,
) -> None:
    """Shows one exception whole: why, what it is about, the orders at risk, and the message as it came. Exit 1 if there is none."""
    from cli import config, history
    from consumers.exceptions import show

    async def read() -> "PublishedException | None":
        async with history.jetstream(nats) as js:
            return await show(js, pool, exception_id)

    nats = config.nats(config.load(nats_url=nats_url))
    found = asyncio.run(read())
    if found is None:
        raise CommandError(
            f"pool {pool} has no exception {exception_id}: atp exceptions list --state all shows which there are", exit_codes.REFUSED
        )
    if json:
        output.print_json(found)
    else:
        _show(found)


def _show(found: "PublishedException") -> None:
    out = output.console()
    out.print(f"{found.reason} {found.id}: {found.state} since {output.at(int(found.time.timestamp() * 1000))}", style="bold")
    out.print(found.sentence)
    about = {
        "SKU": found.sku,
        "node": found.node,
        "source": found.source,
        "cause": found.cause,
        "units": found.quantity or "",
        "revision": found.revision or "",
    }
    out.print(output.table(["", ""], [(name, value) for name, value in about.items() if value]))
    if found.orders_at_risk:
        rows = [(order.order_reference, order.reservation_id, order.state, order.quantity) for order in found.orders_at_risk]
        out.print(output.table(["order", "reservation", "", "units#"], rows, title="Orders at risk, newest first"))
        if found.more_at_risk:
            out.print("There may be more.")
    if found.original:
        shown = "" if found.original_encoding == "text" else ", as base64"
        out.print(f"The message as it came ({found.original_bytes:,} bytes{shown}):", style="dim")
        out.print(found.original)
