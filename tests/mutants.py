"""Sabotaged scripts, each without one of the checks that DESIGN §4 rests on: `make mutants` shows that the tests catch every one."""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from hypothesis import Phase, settings
from rich.console import Console
from rich.progress import track
from rich.table import Table

from atp.store import scripts
from cli.embedded import StoreServer
from tests.lua.scenario import play
from tests.lua.scenarios import ALL
from tests.stateful.test_machine import run_machine

_EXAMPLES = 40


class Mutant(NamedTuple):
    """One sabotage: in `file` below atp/lua, `original` (which stands there once) becomes `sabotage`."""

    rule: str
    what: str
    file: str
    original: str
    sabotage: str


MUTANTS = [
    Mutant("1", "reserve without a stock check", "reserve.lua", "math.min(left, math.max(0, row.before - safety))", "left"),
    Mutant("1", "reserve sells the safety stock", "reserve.lua", "row.before - safety", "row.before"),
    Mutant("1", "a blocked item is sold", "include/promise.lua", "if item[5] == BLOCKED then", "if false then"),
    Mutant("1", "a node that is shut is sold from", "reserve.lua", "cells[i + 1] and not shut[node] then", "cells[i + 1] then"),
    Mutant("1", "a late confirm takes from a node that is shut", "confirm.lua", "shut[move[3]] and 0 or ", ""),
    Mutant("1", "a late confirm takes stock that is not there", "confirm.lua", "if move[4] > free then", "if false then"),
    Mutant("1", "nobody is told when reality shrinks", "include/rows.lua", "if after < 0 and after < before then", "if false then"),
    Mutant("2", "expiry forgets the counter", "include/writable.lua", "lower_open(r, line, row, units)", ""),
    Mutant(
        "2",
        "a release gives back twice",
        "release.lua",
        "lower_open(r, line, row, units, RELEASED)",
        "lower_open(r, line, row, units * 2, RELEASED)",
    ),
    Mutant("3", "some lines will do", "reserve.lua", "(not partial or #moves == 0)", "#moves == 0"),
    Mutant("4", "no fingerprint check", "reserve.lua", "if #differs > 0 then", "if false then"),
    Mutant("4", "an operation runs twice under one key", "include/reservation.lua", "if not kept then", "if true then"),
    Mutant("4", "an id past the retention is taken", "reserve.lua", "id_time ~= 0 and", "false and"),
    Mutant("4", "a repair is made twice", "repair.lua", "if known then", "if false then"),
    Mutant("2", "a repair overwrites what has moved", "repair.lua", "if is ~= line[EXPECTED] then", "if false then"),
    Mutant("5", "nothing is reaped before a write", "include/writable.lua", "if due[1] then", "if false then"),
    Mutant("5", "a hold lives a millisecond longer", "include/writable.lua", "'-inf', now, 'LIMIT'", "'-inf', now - 1, 'LIMIT'"),
    Mutant(
        "6",
        "a known event is applied again",
        "include/window.lua",
        "fingerprint == deltas[i + 1] and 'known' or",
        "fingerprint == deltas[i + 1] and 'new' or",
    ),
    Mutant("6", "of many in one call the first is applied again and again", "include/each.lua", "apply(ARGV[i])", "apply(ARGV[3])"),
    Mutant("6", "below the window, a guess", "include/window.lua", "and 'below' or 'new'", "and 'new' or 'new'"),
    Mutant("6", "a snapshot forgets later deltas", "include/snapshot.lua", "if deltas[i] > sequence then", "if false then"),
    Mutant(
        "6",
        "an item's latest word is the one that came last",
        "include/statement.lua",
        "place > kept_sequence and 'new' or 'superseded'",
        "'new'",
    ),
    Mutant("6", "a name that an item has no more still leads to it", "register.lua", "write('HDEL', 'ali:' .. alias, sku)", ""),
    Mutant("6", "a location's state has no place of its own", "setlocationstate.lua", "location[4], location[5])", "0, 0)"),
    Mutant("7", "who registers items is not asked", "include/statement.lua", "if says[right] ~= 1 then", "if false then"),
    Mutant("7", "a location that is told loses its authority", "locate.lua", "at[3], at[4], at[5]", "'', '', ''"),
    Mutant("6", "a state has no place of its own", "setitemstates.lua", "item[6] or 0, item[7] or 0", "0, 0"),
    Mutant(
        "6",
        "a snapshot sets what it does not name",
        "include/event.lua",
        "changes and { changes(line) }, line[5]",
        "changes and { changes(line) }, ALL_FIGURES",
    ),
    Mutant("6", "a source's ids are not kept", "include/event.lua", "kept = kept or has_ids_only", "kept = kept or false"),
    Mutant(
        "6", "a full snapshot is whole with its first part", "count.lua", "(parts_key and 1 or 0) == parts", "(parts_key and 1 or 0) >= 1"
    ),
    Mutant(
        "6", "what a full snapshot left out is not known to be 0", "include/event.lua", "empty_window(last_full(from))", "empty_window(0)"
    ),
    Mutant("6", "a net snapshot is taken as gross", "include/snapshot.lua", "from.is_net and", "false and"),
    Mutant("6", "a time is no place", "include/event.lua", "says[3] == 'time' and moment or sequence", "sequence"),
    Mutant("7", "anyone may speak for a node", "include/event.lua", "(authority == source and FIGURE_BITS[i] or 0)", "FIGURE_BITS[i]"),
    Mutant("7", "an order's shipment is forgotten before it is booked", "fulfil.lua", "if not booked and", "if false and"),
    Mutant("7", "a shipment settles twice", "ship.lua", "if known[3] then", "if false then"),
    Mutant("7", "a shipment may be older than its order", "fulfil.lua", "math.max(shipped_ms, created)", "shipped_ms"),
    Mutant("7", "a snapshot may be of tomorrow", "count.lua", "as_of = math.min(as_of, now)", "as_of = as_of"),
    Mutant("7", "a snapshot books without bound", "count.lua", "if bookings > limits.BOOKINGS_MAX or room < 0 then", "if room < 0 then"),
    Mutant("7", "a snapshot books more than an entry holds", "count.lua", "or room < 0 then", "or false then"),
    Mutant(
        "1",
        "what an order gives up stays picked",
        "include/reservation.lua",
        "math.min(picks, to and line[QUANTITY] - line[RELEASED] or line[SHIPPED])",
        "picks",
    ),
    Mutant("1", "more is picked than is open", "pick.lua", "open_units(line) - picked_units(line)", "left"),
    Mutant(
        "1", "a read leaves a due hold out, and what was picked for it in", "include/due.lua", "math.max(0, (line[6] or 0) - line[5])", "0"
    ),
    Mutant("2", "less than nothing is in transit", "transfer.lua", "math.max(0, u[LEFT] - u[CAME])", "(u[LEFT] - u[CAME])"),
    Mutant("4", "an order is told to be short twice", "adjust.lua", "fingerprint, lines, is_short)", "fingerprint, lines)"),
    Mutant("8", "a count hides that an order is short", "adjust.lua", "elseif new == 0 and not is_short then", "elseif new == 0 then"),
    Mutant("4", "a cancellation is obeyed twice", "cancel.lua", "if seen then", "if false then"),
    Mutant(
        "6",
        "a pick that came late is nobody's",
        "pick.lua",
        "from.is_issuer and m.verdict ~= 'known'",
        "from.is_issuer and m.verdict == 'new'",
    ),
    Mutant("6", "a transfer that came late never left", "transfer.lua", "if m.verdict ~= 'known' then", "if m.verdict == 'new' then"),
    Mutant("7", "a pick does not book what was shipped before", "pick.lua", "if at == node and is_meant(id) then", "if false then"),
    Mutant("7", "a pick books the shipment of another order", "pick.lua", "if at == node and is_meant(id) then", "if at == node then"),
    Mutant("7", "what is shipped was never picked", "include/reservation.lua", "return fallen", "return 0"),
    Mutant(
        "7", "a shipment that was told of is told of again", "ship.lua", "local before = known[4] or known[5]", "local before = known[4]"
    ),
    Mutant(
        "7",
        "an order's held units leave before its confirmed ones",
        "include/claims.lua",
        "return a.state == 'CONFIRMED'",
        "return a.state == 'HELD'",
    ),
    Mutant("7", "a late pick marks what is open", "pick.lua", "math.max(0, line[SHIPPED] - (line[PICKS] or 0))", "0"),
    Mutant("7", "a late pick books what was shipped since", "pick.lua", "absorbed - math.max(0, awaited - unbooked)", "absorbed"),
    Mutant("7", "what has left for one stays picked for another", "include/claims.lua", "other.id ~= r.id and is_open(other)", "false"),
    Mutant("7", "a late pick books the latest shipment", "pick.lua", "return a[2] < b[2]", "return a[2] > b[2]"),
    Mutant("1", "what was put back stays picked", "pick.lua", "shift(row, sku, node, ROW_PICKED, -units)", ""),
    Mutant("1", "what an order let go of was never picked", "pick.lua", "math.max(0, l[2][LOOSE] or 0)", "0"),
    Mutant("6", "what was put back before its pick is promised", "pick.lua", "await_pick(sku, row, awaited + left)", ""),
    Mutant("6", "what is put back too late stays picked", "pick.lua", "is_reversal and from.is_issuer --", "false --"),
    Mutant("8", "what found no allocation goes unsaid", "ship.lua", "if unmatched > 0 then", "if false then"),
    Mutant(
        "9",
        "a row changes without its ledger image",
        "include/rows.lua",
        "write('HSET', 'stk:' .. sku,",
        "call('HSET', PREFIX .. 'stk:' .. sku,",
    ),
    Mutant("9", "an event's entry is as large as it may", "adjust.lua", "if entry_room(from, met, event_id) < 0 then", "if false then"),
    Mutant("9", "extend leaves no entry", "extend.lua", "append('extend', id, context)", ""),
    Mutant("9", "a pool that is not open is written", "include/writable.lua", "elseif head[4] ~= ARGV[1] then", "elseif false then"),
    Mutant("9", "two open a pool at once", "open.lua", "if epoch ~= expected_epoch then", "if false then"),
    Mutant(
        "9",
        "a reserve in spite of a full backlog",
        "reserve.lua",
        "elseif revision - tonumber(head[5]) >= limits.LEDGER_BACKLOG_MAX then",
        "elseif false then",
    ),
    Mutant("10", "what is being applied is discarded", "unpark.lua", "discards and is_known(sku, is_alias)", "false"),
    Mutant("9", "time goes backwards", "include/pool.lua", "now = math.max(now, tonumber(head[3]) or 0)", ""),
]


@contextmanager
def sabotaged(mutant: Mutant | None) -> Iterator[None]:
    """The scripts with one sabotage, while the block runs."""
    real = scripts._SOURCE
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "lua"
        shutil.copytree(str(real), copy)
        if mutant:
            path = copy / mutant.file
            path.write_text(path.read_text().replace(mutant.original, mutant.sabotage))
        scripts._SOURCE = copy
        try:
            yield
        finally:
            scripts._SOURCE = real


def caught_by(url: str, mutant: Mutant | None) -> str:
    """The test that fails on a mutant: a table's title, or the machine; empty if none does."""
    with sabotaged(mutant):
        for title, (steps, bounds) in ALL.items():
            try:
                asyncio.run(play(url, steps, bounds))
            except Exception:
                return f"table: {title}"
        try:
            run_machine(url, _EXAMPLES)
        except Exception:
            return "the machine"
    return ""


def main() -> int:
    console = Console()
    # To know that a mutant is caught, its failing example need not be made small.
    settings.register_profile("mutants", phases=[Phase.generate], database=None, print_blob=False)
    settings.load_profile("mutants")
    table = Table("rule", "sabotage", "caught by", title="Mutants")
    survivors = 0
    with tempfile.TemporaryDirectory() as folder, StoreServer(Path(folder), fsync="no", options={"appendonly": "no"}) as server:
        if failed := caught_by(server.url, None):
            console.print(f"[red]the scripts as they are fail:[/] {failed}")
            return 1
        for mutant in track(MUTANTS, description="Mutants", console=console):
            found = caught_by(server.url, mutant)
            survivors += not found
            table.add_row(mutant.rule, mutant.what, found or "[red]nothing[/]")
    console.print(table)
    console.print(f"{len(MUTANTS) - survivors} of {len(MUTANTS)} caught; the scripts as they are pass")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
