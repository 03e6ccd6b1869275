"""`atp exceptions`: what a person must see, and why; and what they do about it."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from atp.words import counted
from cli import exit_codes, output
from cli.exit_codes import CommandError
from cli.options import DEFAULT_POOL, JsonOption, NatsUrlOption, PoolOption, StoreUrlOption

if TYPE_CHECKING:
    from atp.exceptions import PublishedException

LISTED_DEFAULT: Final = 50

IdArgument = Annotated[str, typer.Argument(metavar="[ID]", help="The exception, as the list names it.", show_default=False)]
WhyOption = Annotated[str, typer.Option("--reason", help="Why, in your words: it is kept with the exception.", show_default=False)]
ActorOption = Annotated[str, typer.Option("--actor", help="Who does this. Without it: the user of this machine.", show_default=False)]
WhereOption = Annotated[
    str, typer.Option("--where", metavar="REASON", help="All open ones of a reason, like UNKNOWN_NODE, instead of one.", show_default=False)
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="With --where: do not ask.")]

exceptions = typer.Typer(
    help="What a person must see, and does about it: bad messages, stock short of its orders, shipments nobody ordered.",
    no_args_is_help=True,
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
    rows = [(output.at(_ms(item)), _stands(item), item.id, _told(item)) for item in found]
    out.print(output.table(["since", "", "id", "what"], rows) if rows else f"No exceptions in pool {pool}.")
    if rows:
        out.print("More on one: atp exceptions show ID. Then: atp exceptions retry ID, or discard ID, with --reason", style="dim")


@exceptions.command("show")
def show_one(
    exception_id: Annotated[str, typer.Argument(metavar="ID", help="The exception, as the list names it.")],
    *,
    pool: PoolOption = DEFAULT_POOL,
    nats_url: NatsUrlOption = None,
    json: JsonOption = False,
) -> None:
    """Shows one exception whole: what it is about, who ended it, the orders at risk, the message as it came. Exit 1 if there is none."""
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


@exceptions.command("retry")
def retry_them(
    exception_id: IdArgument = "",
    *,
    why: WhyOption,
    actor: ActorOption = "",
    where: WhereOption = "",
    yes: YesOption = False,
    pool: PoolOption = DEFAULT_POOL,
    nats_url: NatsUrlOption = None,
    json: JsonOption = False,
) -> None:
    """Has the message of an exception tried again, once what it lacked is there. If it fails again, the exception is open anew.

    Exit 1 if one could not be tried again, or failed at once.
    """
    from cli import exceptions_ending

    chosen = exceptions_ending.Chosen(pool, exception_id, where, yes, json)
    exceptions_ending.retry(chosen, actor, why, nats_url)


@exceptions.command("discard")
def discard_them(
    exception_id: IdArgument = "",
    *,
    why: WhyOption,
    actor: ActorOption = "",
    where: WhereOption = "",
    yes: YesOption = False,
    pool: PoolOption = DEFAULT_POOL,
    store_url: StoreUrlOption = None,
    nats_url: NatsUrlOption = None,
    json: JsonOption = False,
) -> None:
    """Ends an exception that has been dealt with, and says why; its message is not applied. One discarded by mistake can be retried.

    Exit 1 if one could not be discarded.
    """
    from cli import exceptions_ending

    chosen = exceptions_ending.Chosen(pool, exception_id, where, yes, json)
    exceptions_ending.discard(chosen, actor, why, nats_url, store_url)


def _ms(found: "PublishedException") -> int:
    return int(found.time.timestamp() * 1000)


def _stands(found: "PublishedException") -> str:
    """Open, resolved by itself, or who ended it how."""
    return f"{found.resolution} by {found.actor}" if found.resolution else found.state


def _told(found: "PublishedException") -> str:
    told = f"{found.reason}: {found.sentence}"
    return f"{told} (correlation {found.correlation})" if found.correlation else told


def _show(found: "PublishedException") -> None:
    out = output.console()
    out.print(f"{found.reason} {found.id}: {_stands(found)} since {output.at(_ms(found))}", style="bold")
    out.print(found.sentence)
    about = {
        "SKU": found.sku,
        "node": found.node,
        "source": found.source,
        "cause": found.cause,
        "correlation": found.correlation,
        "units": found.quantity or "",
        "revision": found.revision or "",
        "ended": found.resolution,
        "by": found.actor,
        "why": found.resolution_reason,
    }
    out.print(output.table(["", ""], [(name, value) for name, value in about.items() if value]))
    if found.orders_at_risk:
        rows = [(order.order_reference, order.reservation_id, order.state, order.quantity) for order in found.orders_at_risk]
        out.print(output.table(["order", "reservation", "", "units#"], rows, title="Orders at risk, newest first"))
        if found.more_at_risk:
            out.print("There may be more.")
    if found.original:
        shown = "" if found.original_encoding == "text" else ", as base64"
        out.print(f"The message as it came ({counted(found.original_bytes, 'byte')}{shown}):", style="dim")
        out.print(found.original)
