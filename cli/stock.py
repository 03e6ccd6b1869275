"""`atp get` and `atp explain`: what can be promised, from where, and why."""

from typing import Annotated

import typer

from cli import addresses, words
from cli.addresses import AddressOption
from cli.options import DEFAULT_CHANNEL, DEFAULT_POOL, ChannelOption, JsonOption, NodesOption, PoolOption


def register(app: typer.Typer) -> None:
    app.command()(get)
    app.command()(explain)


def get(
    skus: Annotated[list[str], typer.Argument(metavar="SKU[=QTY]…", help="SKUs, each with the quantity wanted if that matters.")],
    *,
    channel: ChannelOption = DEFAULT_CHANNEL,
    node: NodesOption = None,
    pool: PoolOption = DEFAULT_POOL,
    address: AddressOption = None,
    json: JsonOption = False,
) -> None:
    """Says how much can be promised, in all and per node. It holds nothing: `atp reserve` does.

    Exit 1 if a quantity wanted cannot be promised, or a SKU is not known.
    """
    from cli.answers import show_availability
    from cli.client import connect

    lines = [words.maybe_wanted(sku) for sku in skus]
    with connect(addresses.address(address), pool, channel) as service:
        answer = service.availability(lines, nodes=node or [])
    show_availability(answer.message, [quantity for _, quantity in lines], pool, json=json)


def explain(
    sku: Annotated[str, typer.Argument(help="The SKU.")],
    *,
    node: Annotated[str, typer.Option("--node", help="The node.")],
    pool: PoolOption = DEFAULT_POOL,
    address: AddressOption = None,
    json: JsonOption = False,
) -> None:
    """Explains one figure: each term that adds to it or takes from it, the source whose word counts, and the event or call behind it."""
    from cli.answers import show_explanation
    from cli.client import as_json, connect

    with connect(addresses.address(address), pool) as service:
        answer = service.explain(sku, node)
    if json:
        typer.echo(as_json(answer.message))
    else:
        show_explanation(answer.message, sku, node)
