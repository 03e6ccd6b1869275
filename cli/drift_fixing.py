"""The work behind `atp drift fix`: what is to be put right, and the one ledger entry, or few, that do it."""

import asyncio
import uuid
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
from nats.js import JetStreamContext

from atp import limits, requests
from atp.audit import Audit
from atp.drift import Drifts, Tolerance
from atp.errors import RefusedError
from atp.model.status import Status
from atp.model.stock import Comparison, StockRow
from atp.model.verbs import FIGURE_BITS, Context, RepairLine, Result
from atp.store import Store
from cli import config, exit_codes, history, output
from cli.exceptions_ending import person
from cli.exit_codes import CommandError
from consumers.audit_start import start_with
from consumers.drift_reader import DriftReader

_decode_row = msgspec.msgpack.Decoder(StockRow).decode
_decode_comparison = msgspec.msgpack.Decoder(Comparison).decode


class Chosen(NamedTuple):
    """An item at a node, to be what a source says or to have so many units on hand; no item: all counters."""

    pool: str
    sku: str
    node: str
    to: str
    on_hand: int | None


def fix(chosen: Chosen, actor: str, why: str, key: str, urls: tuple[str | None, str | None], *, as_json: bool) -> None:
    context = Context(person(actor))
    repair_id = key or f"repair-{uuid.uuid4()}"
    store_url, nats_url = urls
    found = config.load(store_url=store_url, nats_url=nats_url)

    async def run() -> list[RepairLine]:
        async with history.connected(config.store_of(found, chosen.pool)) as store:
            if chosen.sku:
                lines = await _of_item(store, chosen)
            else:
                async with history.jetstream(config.nats(found)) as js:
                    lines = await _of_counters(js, store, chosen.pool)
            for number, part in enumerate(_parts(lines)):
                repair = requests.repair(context, repair_id=f"{repair_id}.{number}" if number else repair_id, reason=why, lines=part)
                _check(await store.write(chosen.pool, repair))
            return lines

    lines = asyncio.run(run())
    if as_json:
        output.print_json({"repair_id": repair_id, "lines": lines})
        return
    out = output.console()
    for line in lines:
        out.print(f"{line.sku} at {line.node}: {line.term.replace('_', ' ')} {line.expected:,} → {line.wanted:,}")
    out.print(
        f"Put right by {context.actor} as {repair_id}: atp ledger shows it." if lines else "There is nothing to put right.", style="green"
    )


def _parts(lines: list[RepairLine]) -> Iterator[list[RepairLine]]:
    for at in range(0, len(lines), limits.REPAIR_LINES_MAX):
        yield lines[at : at + limits.REPAIR_LINES_MAX]


def _check(result: Result) -> None:
    """Raises what became of a repair, if it was not made: once under its id is enough."""
    if result.status == Status.FIGURE_MOVED:
        raise CommandError(f"left alone, it has moved meanwhile: {', '.join(result.detail)}. Look again, then repeat", exit_codes.REFUSED)
    if result.status not in {Status.OK, Status.DUPLICATE}:
        raise RefusedError(Status(result.status), result.detail)


async def _of_item(store: Store, chosen: Chosen) -> list[RepairLine]:
    pool, sku, node, to, on_hand = chosen
    _, keys = await store.read_keys(pool, [f"stk:{sku}", f"cmp:{sku}"])
    if on_hand is not None:
        row = keys.get(f"stk:{sku}", {}).get(node.encode())
        is_now = (_decode_row(row) if row else StockRow()).on_hand
        return [RepairLine(sku, node, "on_hand", is_now, on_hand)] if is_now != on_hand else []
    reader = DriftReader(store, pool, Drifts(Tolerance()), node=node, source=to)
    found = await reader.of_sku(sku)
    if not reader.found.sums:
        raise CommandError(f"{to} says nothing of {sku} at {node} that another rules", exit_codes.REFUSED)
    said = _decode_comparison(keys[f"cmp:{sku}"][f"{node} {to}".encode()])
    differs = [(term, getattr(said, term), getattr(one, term)) for one in found for term in FIGURE_BITS if getattr(one, term)]
    return [RepairLine(sku, node, term, wanted - more, wanted) for term, wanted, more in differs]


async def _of_counters(js: JetStreamContext, store: Store, pool: str) -> list[RepairLine]:
    """Counters that are not the sums of their records where the store's ledger ends, audited from the latest checkpoint."""
    with history.known_pool(pool):
        manifest = await history.checkpoint(js, pool, history.LATEST)
    audit = Audit(comparing=False)
    if manifest:
        for _ in audit.begin(await start_with(js, manifest, _never, comparing=False)):
            pass
    upto = (await store.pool_info(pool)).revision
    async for entries in history.History(js, pool, store).between(audit.revision, upto):
        for data in entries:
            audit.follow(data)
    if audit.broken or audit.revision != upto:
        raise CommandError("the ledger cannot be followed to where the store is: atp verify says why", exit_codes.REFUSED)
    return [RepairLine(*one) for one in audit.miscounted()]


async def _never() -> None:
    """Gives way to nobody: nothing else runs."""
