"""`atp drift`: where other sources' figures differ from the stock, in units and in value; `atp drift fix` puts figures right."""

import asyncio
import contextlib
import csv
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from atp.words import counted
from cli import exit_codes, output
from cli.exceptions import ActorOption
from cli.exit_codes import CommandError
from cli.options import DEFAULT_POOL, JsonOption, KeyOption, NatsUrlOption, PoolOption, StoreUrlOption

if TYPE_CHECKING:
    from atp.audit import VerifyReport
    from atp.drift import Difference, Drifts, Sums, Tolerance
    from atp.store import StoreSettings

COMPARING: Final = "comparing SKUs"
_COLUMNS: Final = ("node", "source", "compared#", "differ#", "timing?#", "units ±#", "units#", "value ±#", "value#", "oldest as of")
_WORST: Final = ("sku", "node", "source", "on hand#", "damaged#", "quality hold#", "value#", "as of", "")
_CSV: Final = (
    "sku",
    "node",
    "source",
    "on_hand",
    "damaged",
    "quality_hold",
    "units",
    "value_minor",
    "currency",
    "as_of_ms",
    "changed_ms",
    "may_be_timing",
    "beyond",
)

Write = Callable[["Difference"], None]

drift = typer.Typer(help="Where other sources' figures differ from the stock, and putting figures right.", invoke_without_command=True)


def register(app: typer.Typer) -> None:
    app.add_typer(drift, name="drift")


@drift.callback()
def compare(
    context: typer.Context,
    *,
    pool: PoolOption = DEFAULT_POOL,
    node: Annotated[str, typer.Option("--node", help="Only this node.", show_default=False)] = "",
    source: Annotated[str, typer.Option("--source", help="Only this source.", show_default=False)] = "",
    units: Annotated[
        int | None, typer.Option("--units", min=0, help="Up to so many units are within tolerance; by default as configured.")
    ] = None,
    value: Annotated[
        int | None, typer.Option("--value", min=0, help="Up to so much value is, in minor units of the item's currency.")
    ] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", dir_okay=False, help="Write every difference to this file.")] = None,
    ledger: Annotated[
        bool, typer.Option("--ledger", help="Audit counts and store against the ledger too, behind the latest checkpoint.")
    ] = False,
    store_url: StoreUrlOption = None,
    nats_url: NatsUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compares what sources say that are not the authority (an ERP's books) with the stock (a WMS's counts), per SKU, node and source.

    A difference is what the source says minus what the store has; `value` is the figure that differs most × the item's cost. One is marked
    as perhaps timing if the row has changed since the time the source speaks of. Exit 1 if anything is beyond the tolerance.
    """
    if context.invoked_subcommand is not None:
        return
    from atp.drift import Tolerance
    from cli import config
    from cli.verify import verify_pool

    found = config.load(store_url=store_url, nats_url=nats_url)
    where, set_up = config.store_of(found, pool), config.drift(found).tolerance
    tolerance = set_up if units is None and value is None else Tolerance(units, value)
    began, report = time.monotonic(), None
    with output.progress_bar(hidden=as_json) as progress, _csv_lines(csv_file) as write:
        looked = asyncio.run(_compare(where, pool, tolerance, (node, source), write, progress))
        if ledger:
            report = asyncio.run(verify_pool(where, config.nats(found), pool, progress, "latest"))
    if as_json:
        output.print_json(_as_plain(looked, report))
    else:
        show(looked, pool, time.monotonic() - began)
        _show_audit(report)
    sound = (report is None or report.ok) and not any(sums.beyond for sums in looked.sums.values())
    raise typer.Exit(exit_codes.OK if sound else exit_codes.REFUSED)


@drift.command()
def fix(
    *,
    why: Annotated[str, typer.Option("--reason", help="Why, in your words: the ledger keeps it.", show_default=False)],
    sku: Annotated[str, typer.Option("--sku", help="The item whose figures are put right.", show_default=False)] = "",
    node: Annotated[str, typer.Option("--node", help="Where it lies.", show_default=False)] = "",
    to: Annotated[str, typer.Option("--to", metavar="SOURCE", help="To what this source says.", show_default=False)] = "",
    on_hand: Annotated[
        int | None, typer.Option("--set-on-hand", metavar="N", help="Units on hand, as counted.", show_default=False)
    ] = None,
    counts: Annotated[
        bool, typer.Option("--counts", help="Put right every counter that is not the sum of its records, as the ledger has them.")
    ] = False,
    actor: ActorOption = "",
    key: KeyOption = "",
    pool: PoolOption = DEFAULT_POOL,
    store_url: StoreUrlOption = None,
    nats_url: NatsUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Puts figures right by a compensating ledger entry that says who and why: of one item at one node, or all counters that are wrong.

    Figures that move meanwhile are left alone: exit 1, look again. The next snapshot of the authority rules again.
    """
    from cli import drift_fixing

    if counts == bool(sku or node) or (not counts and (not sku or not node or bool(to) == (on_hand is not None))):
        raise CommandError("say --sku and --node with either --to or --set-on-hand, or --counts alone", exit_codes.USAGE)
    chosen = drift_fixing.Chosen(pool, sku, node, to, on_hand)
    drift_fixing.fix(chosen, actor, why, key, (store_url, nats_url), as_json=as_json)


async def _compare(
    where: "StoreSettings", pool: str, tolerance: "Tolerance", only: tuple[str, str], write: Write, progress: output.Report
) -> "Drifts":
    from atp.drift import Drifts
    from cli import history
    from consumers.drift_reader import DriftReader

    found = Drifts(tolerance)
    async with history.connected(where) as store:
        if not (await store.pool_info(pool)).epoch:
            raise CommandError(
                f"the store has no pool {pool}: correct the name, or have it provisioned (atp provision FILE)", exit_codes.REFUSED
            )
        node, source = only
        reader = DriftReader(store, pool, found, node=node, source=source)
        async for page in reader.pages():
            for one in page:
                write(one)
            progress(COMPARING, reader.skus, 0)
    return found


@contextlib.contextmanager
def _csv_lines(path: Path | None) -> Iterator[Write]:
    """Writes each difference as it is found: the file may be larger than the memory."""
    if path is None:
        yield lambda _: None
        return
    try:
        file = path.open("w", newline="", encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}", exit_codes.USAGE) from error
    with file:
        lines = csv.writer(file)
        lines.writerow(_CSV)
        yield lambda one: lines.writerow(_csv_cells(one))


def _csv_cells(one: "Difference") -> list[object]:
    said = [one.sku, one.node, one.source, one.on_hand, one.damaged, one.quality_hold, one.units]
    worth = ["" if one.value is None else one.value, one.currency, one.as_of_ms or "", one.changed_ms or ""]
    return [*said, *worth, "yes" if one.may_be_timing else "no", "yes" if one.beyond else "no"]


def _as_plain(found: "Drifts", report: "VerifyReport | None") -> dict[str, Any]:
    import msgspec

    sums = [{"node": node, "source": source, **msgspec.to_builtins(one)} for (node, source), one in sorted(found.sums.items())]
    return {"tolerance": found.tolerance, "sums": sums, "worst": found.worst, "ledger": report}


def show(found: "Drifts", pool: str, took_s: float) -> None:
    out = output.console()
    if not found.sums:
        out.print(f"In pool {pool} no source speaks of figures that another rules: there is nothing to compare.")
        return
    rows = [_cells(node, source, sums) for (node, source), sums in sorted(found.sums.items())]
    out.print(output.table(*output.filled(_COLUMNS, rows), title=f"Pool {pool}: what the source says minus what the store has"))
    if found.worst:
        worst = output.filled(_WORST, [_worst_cells(one) for one in found.worst])
        out.print(output.table(*worst, title="The largest differences"))
    beyond, timing, without_cost = (sum(getattr(one, name) for one in found.sums.values()) for name in ("beyond", "timing", "without_cost"))
    if without_cost:
        said = counted(without_cost, "difference")
        out.print(f"Not in the value: {said} of items whose cost nobody told (item_registered does).", style="dim")
    if beyond:
        out.print(
            f"Beyond the tolerance: {beyond:,}. Why: atp explain, atp trace; then a count, or atp drift fix. That took {took_s:.1f} s.",
            style="red",
        )
    else:
        out.print(f"Nothing differs beyond the tolerance, but for {timing:,} that may be timing. That took {took_s:.1f} s.", style="green")


def _cells(node: str, source: str, sums: "Sums") -> list[object]:
    from atp.drift import in_own_units

    worth = [(currency, in_own_units(one.net, currency), in_own_units(one.gross, currency)) for currency, one in sorted(sums.worth.items())]
    return [
        node,
        source,
        sums.compared,
        sums.beyond,
        sums.timing,
        f"{sums.net_units:+,}",
        sums.units,
        "; ".join(f"{net:+,.2f} {currency}" for currency, net, _ in worth) or output.NOTHING,
        "; ".join(f"{gross:,.2f} {currency}" for currency, _, gross in worth) or output.NOTHING,
        output.at(sums.oldest_as_of_ms) if sums.oldest_as_of_ms else output.NOTHING,
    ]


def _worst_cells(one: "Difference") -> list[object]:
    from atp.drift import in_own_units

    figures = [f"{figure:+,}" if figure else "" for figure in (one.on_hand, one.damaged, one.quality_hold)]
    value = "no cost" if one.value is None else f"{in_own_units(one.value, one.currency):+,.2f} {one.currency}"
    told = "may be timing" if one.may_be_timing else "" if one.beyond else "within tolerance"
    return [one.sku, one.node, one.source, *figures, value, output.at(one.as_of_ms) if one.as_of_ms else output.NOTHING, told]


def _show_audit(report: "VerifyReport | None") -> None:
    if report is None:
        return
    out = output.console()
    for violation in report.violations:
        out.print(violation, style="red")
    if report.ok:
        out.print("Counts are sums, and the store is what the ledger makes of it.", style="green")
