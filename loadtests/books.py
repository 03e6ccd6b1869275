"""What the engine says of a pool after a run: `atp verify` over all of it, and the units that its ledger moved."""

from collections import Counter
from typing import Final

from atp.ledger import decode_entry
from cli import history
from cli.output import Report
from cli.retail.engine import Engine
from cli.verify import verify_pool
from loadtests.verdict import Books

#: Verb and term whose change in the ledger is what a user calls held, confirmed, …; and its sign.
_MOVES: Final = {
    ("reserve", "reserved"): ("held", 1),
    ("confirm", "allocated"): ("confirmed", 1),
    ("release", "reserved"): ("released", -1),
    ("release", "allocated"): ("released", -1),
    ("fulfil", "allocated"): ("shipped", -1),
    ("expire", "reserved"): ("expired", -1),
}


async def read(engine: Engine, pool: str, progress: Report) -> Books:
    """Raises CommandError if the pool is not there, and errors of servers away."""
    report = await verify_pool(engine.store, engine.nats, pool, progress)
    units = await _moved(engine, pool)
    return Books(
        held=units["held"],
        confirmed=units["confirmed"],
        released=units["released"],
        shipped=units["shipped"],
        expired=units["expired"],
        verified=report.ok,
        violations=report.violations,
        looked_at=f"{report.checked.get('ledger entries', 0):,} ledger entries, {report.checked.get('keys compared', 0):,} keys",
    )


async def _moved(engine: Engine, pool: str) -> Counter[str]:
    units: Counter[str] = Counter()
    async with history.connected(engine.store) as store, history.jetstream(engine.nats) as js:
        upto = (await store.pool_info(pool)).revision
        async for entries in history.History(js, pool, store).between(0, upto):
            for entry in map(decode_entry, entries):
                for fact in entry.facts:
                    if move := _MOVES.get((entry.verb, fact.term)):
                        units[move[0]] += move[1] * fact.delta
    return units
