"""`atp simulate`: a season of real order lines through holds, shipments and returns, and the verdict on it."""

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from atp.words import counted
from cli.addresses import AddressOption
from cli.options import JsonOption, NatsUrlOption, StoreUrlOption

if TYPE_CHECKING:
    from cli.retail.plan import Plan
    from cli.retail.reader import Reading

SAMPLE: Final = Path(__file__).parent / "data" / "online_retail_sample.csv"
#: The real file's five weeks of trade take about a minute and a half.
SPEED: Final = 15_000.0
CLIENTS: Final = 64


def register(app: typer.Typer) -> None:
    app.command()(simulate)


def simulate(
    file: Annotated[
        Path,
        typer.Argument(
            exists=True, dir_okay=False, help="Order lines: CSV, gzipped or not. Without it: a small sample.", show_default=False
        ),
    ] = SAMPLE,
    *,
    baskets: Annotated[int | None, typer.Option(min=1, help="Only the first so many invoices.", show_default="all")] = None,
    speed: Annotated[float, typer.Option(min=0, help="How many times as fast as the file's clock; 0 never waits.")] = SPEED,
    clients: Annotated[int, typer.Option(min=1, max=1_000, help="How many clients call at once.")] = CLIENTS,
    seed: Annotated[int, typer.Option(help="The same seed makes the same plan.")] = 1,
    address: AddressOption = None,
    store_url: StoreUrlOption = None,
    nats_url: NatsUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Plays real order lines through the engine, from receipts to returns, and judges the outcome. Exit 1 if the verdict fails.

    Every invoice is a basket that is reserved over gRPC, then shipped, released, cancelled, returned or left to expire. Works on what
    `atp up` runs, in a pool of its own; if nothing runs, on servers that it starts and stops itself.
    """
    import asyncio

    import uvloop

    from cli import exit_codes, output
    from cli.retail import report
    from cli.retail.engine import engine, provision_pool, readable_errors
    from cli.retail.run import simulate as run_plan

    reading, plan = _plan(file, seed, baskets)
    out = output.console()
    if not as_json:
        report.show_reading(out, reading, file.name)
        report.show_plan(out, plan, speed)
    pool = f"sim-{secrets.token_hex(4)}"
    with (
        readable_errors(),
        engine(address, store_url, nats_url) as where,
        output.progress_bar(hidden=as_json) as progress,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(provision_pool(where, pool, plan.nodes, plan.channel))
        result = runner.run(run_plan(plan, where, pool, speed=speed, clients=clients, report=progress))
    if as_json:
        output.print_json({"reading": report.reading_json(reading, file.name), "result": result})
    else:
        report.show_result(out, result)
    raise typer.Exit(exit_codes.OK if result.ok else exit_codes.REFUSED)


def _plan(file: Path, seed: int, baskets: int | None) -> "tuple[Reading, Plan]":
    from cli import exit_codes
    from cli.exit_codes import CommandError
    from cli.retail.reader import UnreadableFileError, read_file
    from cli.retail.scenario import make_plan

    try:
        reading = read_file(file)
    except UnreadableFileError as error:
        raise CommandError(str(error), exit_codes.USAGE) from error
    if not reading.sales:
        raise CommandError(f"{file} has no sale in it: {counted(reading.lines, 'line')} read", exit_codes.USAGE)
    return reading, make_plan(reading, seed=seed, baskets=baskets)
