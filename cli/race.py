"""`atp race`: many clients want the last units of one SKU, and no more get one than there are."""

import secrets
from typing import Annotated

import typer

from atp.words import counted
from cli.addresses import AddressOption
from cli.options import JsonOption, NatsUrlOption, StoreUrlOption


def register(app: typer.Typer) -> None:
    app.command()(race)


def race(
    *,
    clients: Annotated[int, typer.Option(min=1, max=1_000, help="How many clients want one unit each, all at once.")] = 200,
    units: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many units there are.")] = 50,
    address: AddressOption = None,
    store_url: StoreUrlOption = None,
    nats_url: NatsUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lets many clients reserve the last units of one SKU over gRPC at the same moment: as many win as there are units.

    Works on what `atp up` runs, in a pool of its own; if nothing runs, on servers that it starts and stops itself. Exit 1 if it comes
    out otherwise.
    """
    import asyncio

    import uvloop
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from cli import exit_codes, output
    from cli.retail import contest
    from cli.retail.engine import engine, provision_pool, readable_errors

    out = output.console()
    pool = f"race-{secrets.token_hex(4)}"
    with (
        readable_errors(),
        engine(address, store_url, nats_url) as where,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(provision_pool(where, pool, (contest.NODE,), contest.CHANNEL))
        with Live(console=Console(quiet=as_json or not out.is_terminal), refresh_per_second=20) as live:

            def show(lanes: list[str]) -> None:
                live.update(Text(f"{contest.LEGEND}\n{''.join(lanes)}"))

            outcome = runner.run(contest.race(where, pool, clients=clients, units=units, show=show))
    if as_json:
        output.print_json(outcome)
    else:
        out.print(
            f"{counted(outcome.clients, 'client')}, {counted(outcome.units, 'unit')}: {outcome.won:,} won, {outcome.refused:,} refused, "
            f"{outcome.failed:,} without an answer; {counted(outcome.left, 'unit')} left. "
            f"{outcome.took_s:.2f} s, p99 {outcome.latency.p99_ms:.0f} ms."
        )
        verdict = "Exactly as many won as there were units." if outcome.ok else "That is wrong: the verdict fails."
        out.print(verdict, style="green" if outcome.ok else "bold red")
    raise typer.Exit(exit_codes.OK if outcome.ok else exit_codes.REFUSED)
