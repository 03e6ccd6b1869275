"""Plants a violation in a pool on a real store, in its scripts or in its ledger, and says what the auditor found."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
import redis

from atp.audit import Audit, VerifyReport
from atp.ledger import Entry, decode_entry
from atp.model.stock import StockRow
from atp.store import scripts
from cli.embedded import StoreServer
from tests.pair import Pair
from tests.selling import Selling

Plant = Callable[[Selling, redis.Redis], Awaitable[None]]
REAP = "local due = call('ZRANGEBYSCORE', PREFIX .. 'exp', '-inf', now, 'LIMIT', 0, limits.REAP_ROWS_MAX + 1)"


async def audit(pool: Selling | Pair, entries: list[bytes] | None = None) -> VerifyReport:
    """Follows the whole ledger, or `entries` in its place, then compares every key. An audit that keeps less finds the same."""
    found, lean = Audit(), Audit(comparing=False)
    for data in entries if entries is not None else [r.entry for r in await pool.store.ledger_after(pool.pool, 0, 10_000)]:
        found.follow(data)
        lean.follow(data)
    assert lean.report() == found.report()
    assert_lean(lean)
    names = {name for name in await pool.store.scan_keys(pool.pool) if name != "ledger"} | found.replay.keys.keys()
    revision, stored = await pool.store.read_keys(pool.pool, sorted(names))
    if not found.broken and revision == found.revision:
        for name in names:
            found.compare(name, stored.get(name, {}), pool.now_ms)
    return found.report()


def assert_lean(audit: Audit) -> None:
    """It keeps rows and what is open or in transit, and of that no more than the rules ask for."""
    keys = audit.replay.keys
    assert {name.partition(":")[0] for name in keys} <= {"cfg", "stk", "unb", "trf", "rsv", "exp", "opn"}
    opened = {member.decode() for member in keys.get("opn", {})}
    assert {name.partition(":")[2] for name in keys if name.startswith("rsv:")} <= opened or not audit.report().ok
    assert audit.replay.dropped == set()


def planted(server: StoreServer, plant: Plant, *, trade: bool = True) -> list[str]:
    """The violations of a pool, after a day's work, in which something was planted."""

    async def run() -> list[str]:
        async with Selling(server.url) as pool:
            if trade:
                await pool.trade()
            with redis.Redis.from_url(server.url, protocol=2) as direct:
                await plant(pool, direct)
            return (await audit(pool)).violations

    return asyncio.run(run())


def altered(server: StoreServer, change: Callable[[Entry], Entry], verb: str, number: int = 0) -> list[str]:
    """The violations of a ledger in which one entry of a verb was changed after the fact."""

    async def run() -> list[str]:
        async with Selling(server.url) as pool:
            await pool.trade()
            entries = await pool.entries()
            at = [i for i, data in enumerate(entries) if decode_entry(data).verb == verb][number]
            entries[at] = msgspec.msgpack.encode(change(decode_entry(entries[at])))
            return (await audit(pool, entries)).violations

    return asyncio.run(run())


def change_row(pool: Selling, direct: redis.Redis, node: str, **terms: int) -> None:
    """Moves terms of SKU A at a node behind the scripts' back."""
    value = direct.hget(pool.key("stk:A"), node)
    assert isinstance(value, bytes)
    row = msgspec.msgpack.decode(value, type=StockRow)
    for term, delta in terms.items():
        setattr(row, term, getattr(row, term) + delta)
    direct.hset(pool.key("stk:A"), node, msgspec.msgpack.encode(row))


def sabotaged(monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    """Scripts of stores made from now on have `new` where the sources have `old`."""
    expand = scripts.expand
    seen = []

    def changed(text: str, values: Any) -> str:
        full = expand(text, values)
        part = expand(old, values)
        seen.append(part in full)
        return full.replace(part, new)

    monkeypatch.setattr(scripts, "expand", changed)
    scripts.load()
    assert any(seen), "the sources no longer have that line"
