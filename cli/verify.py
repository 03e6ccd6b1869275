"""`atp verify`: audits a whole pool against its ledger, from the first entry, while it goes on working."""

import asyncio
import time
from typing import TYPE_CHECKING, Final

import typer

from cli import exit_codes, output
from cli.options import DEFAULT_POOL, JsonOption, NatsUrlOption, OriginOption, PoolOption, StoreUrlOption
from cli.output import Report

if TYPE_CHECKING:
    from atp.audit import VerifyReport
    from atp.store import StoreSettings
    from consumers.connection import NatsSettings

#: What the counts of a report mean, in the order in which they are shown.
CHECKED: Final = {
    "ledger entries": "replayed; revisions dense, times and epochs never falling (rule 9)",
    "entries in both": "the same bytes in JetStream and in the store (rule 9)",
    "admissions": "holds and confirmations, none beyond what could be promised (rule 1)",
    "rows after a change": "each counter the sum of its records, each figure the sum of its events (rule 2)",
    "reservations after a change": "sound, and known to their indexes (rules 2 and 5)",
    "expiries": "when due, not before, and giving back exactly what was open (rule 5)",
    "keys compared": "the store's contents against the ledger's, byte by byte (rule 9)",
    "fields compared": "in those keys",
}


async def verify_pool(
    where: "StoreSettings | str", nats: "NatsSettings | str", pool: str, progress: Report | None = None, origin: str = "start"
) -> "VerifyReport":
    """Checks rules 1, 2, 5 and 9 over a pool that may be live. Raises CommandError if there is no such pool, and errors of servers away.

    From the first entry on, or behind a checkpoint, as `cli.history.checkpoint` takes its name.
    """
    from cli import history
    from cli.verification import Verification

    async with history.connected(where) as store, history.jetstream(nats) as js:
        with history.known_pool(pool):
            manifest = await history.checkpoint(js, pool, origin)
        verification = Verification(store, history.History(js, pool, store), pool, progress or _silent)
        if manifest:
            await verification.begin(js, manifest)
        return await verification.run()


def _silent(_what: str, _done: int, _total: int) -> None:
    """Shows nothing."""


def register(app: typer.Typer) -> None:
    app.command()(verify)


def verify(
    *,
    pool: PoolOption = DEFAULT_POOL,
    origin: OriginOption = "start",
    store_url: StoreUrlOption = None,
    nats_url: NatsUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Checks the rules that never bend over a whole pool: nothing oversold, every count a sum, store and ledger one.

    Follows the whole ledger from its first entry, and compares every key of the store with what the ledger makes of it. The pool may go
    on working meanwhile. Quicker, with --from latest: what stands in a checkpoint must add up, and the ledger behind it is followed.
    Exit 1 with the offending keys if a rule was bent.
    """
    from cli import config

    began = time.monotonic()
    found = config.load(store_url=store_url, nats_url=nats_url)
    with output.progress_bar(hidden=as_json) as progress:
        report = asyncio.run(verify_pool(config.store_of(found, pool), config.nats(found), pool, progress, origin))
    if as_json:
        output.print_json(report)
    else:
        _show(report, pool, time.monotonic() - began)
    raise typer.Exit(exit_codes.OK if report.ok else exit_codes.REFUSED)


def _show(report: "VerifyReport", pool: str, took_s: float) -> None:
    out = output.console()
    rows = [(report.checked.get(name, 0), name, meaning) for name, meaning in CHECKED.items()]
    out.print(output.table(["checked#", "", ""], rows, title=f"Pool {pool}"))
    if report.begun:
        out.print(f"Up to revision {report.begun:,} the pool was taken from a checkpoint; without --from all of its ledger is followed.")
    for violation in report.violations:
        out.print(violation, style="red")
    if report.ok:
        out.print(f"No rule was bent: {took_s:.1f} s.", style="green")
    else:
        out.print(
            "Rules were bent: keep the store and the ledger as they are, and find out how before anything is repaired.", style="bold red"
        )
