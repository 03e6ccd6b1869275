"""`atp sync`: brings what was counted at a node, a file or a subject of a million lines, and waits until the store has all of it."""

import asyncio
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer

from atp.words import counted
from cli import exit_codes, output, words
from cli.exit_codes import CommandError
from cli.options import DEFAULT_POOL, JsonOption, NatsUrlOption, PoolOption, StoreUrlOption

if TYPE_CHECKING:
    from collections.abc import Callable

    from nats.js import JetStreamContext

    from consumers.counted import Counted
    from consumers.sync import Synced, Target

_SUBJECT: Final = "nats:"
_MISSING_SHOWN_MAX: Final = 20


CountedArgument = Annotated[
    str,
    typer.Argument(
        metavar="FILE|nats:SUBJECT",
        help="CSV with a header (sku, on_hand, and if need be unit, damaged, quality_hold, own_reserved), or JSON lines with these "
        "names; or a subject of JetStream that holds such lines, which is read to its end.",
    ),
]
AsOfOption = Annotated[
    datetime | None,
    typer.Option(
        "--as-of",
        parser=words.moment,
        metavar="TIME",
        help="When it was counted, such as 2026-01-03T22:00:00Z; without it, when the file was last written.",
        show_default=False,
    ),
]
SequenceOption = Annotated[
    int,
    typer.Option("--sequence", min=0, max=2**53 - 1, help="Its number among the source's events of the node, if it counts them."),
]


def register(app: typer.Typer) -> None:
    app.command()(sync)


def sync(
    *,
    counted: CountedArgument,
    node: Annotated[str, typer.Option("--node", help="Where it was counted.")],
    source: Annotated[str, typer.Option("--source", help="Whose count it is.")],
    partial: Annotated[
        bool, typer.Option("--partial", help="It speaks of the SKUs it names alone. Without this, what it does not name is 0.")
    ] = False,
    as_of: AsOfOption = None,
    sequence: SequenceOption = 0,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until all of it is in the store.")] = True,
    pool: PoolOption = DEFAULT_POOL,
    store_url: StoreUrlOption = None,
    nats_url: NatsUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Makes the stock of a node what was counted there, and what has happened since.

    Deltas and reservations go on meanwhile. Lines with mistakes are told, and nothing is sent. A run that was cut off goes on where it was
    if the command is given again as it was. Exit 1 if a part became an exception.
    """
    from consumers.sync import Target

    began_s = time.monotonic()

    def target(changed: datetime) -> Target:
        return Target(pool, node, source, as_of or changed, not partial, sequence)

    with output.progress_bar(hidden=as_json) as progress:
        synced = asyncio.run(_sync(counted, pool, target, _Way(wait, began_s, progress, store_url, nats_url)))
    if as_json:
        output.print_json(synced)
    else:
        _show(synced)
    raise typer.Exit(exit_codes.REFUSED if synced.missing else exit_codes.OK)


class _Way(NamedTuple):
    """How it is done."""

    wait: bool
    began_s: float
    progress: output.Report
    store_url: str | None
    nats_url: str | None


async def _sync(counted: str, pool: str, target: "Callable[[datetime], Target]", way: _Way) -> "Synced":
    from atp.errors import IntakeUnavailableError
    from cli import config, history
    from consumers.intake import JetStreamIntake
    from consumers.sync import StalledError, Sync

    found = config.load(store_url=way.store_url, nats_url=way.nats_url)
    async with (
        history.connected(config.store_of(found, pool)) as store,
        history.nats_connection(config.nats(found)) as connection,
    ):
        js = connection.jetstream()
        lines, changed = await _read(counted, js)
        work = Sync(store, js, JetStreamIntake(connection), target(changed), lines, way.progress)
        try:
            with history.known_pool(pool):
                return await work.run(wait=way.wait, began_s=way.began_s)
        except IntakeUnavailableError as error:
            message = f"{error}. The same command again goes on where this one was cut off"
            raise CommandError(message, exit_codes.UNREACHABLE) from error
        except StalledError as error:
            raise CommandError(str(error), exit_codes.UNREACHABLE) from error


async def _read(counted: str, js: "JetStreamContext") -> "tuple[Counted, datetime]":
    """What was counted, and when it was last written. Raises CommandError."""
    from nats.js.errors import NotFoundError

    from consumers.counted import BadLinesError, SubjectError, read, spool

    try:
        if counted.startswith(_SUBJECT):
            with tempfile.TemporaryFile() as file:
                spooled = await spool(js, counted.removeprefix(_SUBJECT), file)
                return read(file, spooled.place), spooled.last
        return await asyncio.to_thread(_read_file, Path(counted))
    except NotFoundError as error:
        raise CommandError(f"{counted}: no stream of JetStream has this subject, correct it", exit_codes.USAGE) from error
    except OSError as error:
        raise CommandError(f"{counted} cannot be read: {error.strerror}", exit_codes.USAGE) from error
    except (BadLinesError, SubjectError) as error:
        raise CommandError(f"{counted}: {error}", exit_codes.USAGE) from error


def _read_file(path: Path) -> "tuple[Counted, datetime]":
    from consumers.counted import read

    with path.open("rb") as file:
        return read(file), datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)


def _show(synced: "Synced") -> None:
    out = output.console()
    place = f"sequence {synced.sequence}" if synced.sequence else "its place is its time"
    out.print(f"{synced.scope.capitalize()} snapshot of {synced.source} at {synced.node}, counted {synced.as_of.isoformat()} ({place}).")
    there = f", {synced.there:,} were there already" if synced.there else ""
    out.print(
        f"{counted(synced.lines, 'line')} in {counted(synced.parts, 'part')}: {synced.sent:,} sent{there}. "
        f"That took {synced.seconds:.1f} s, {synced.lines_a_second:,.0f} lines a second."
    )
    if synced.authority != synced.source:
        out.print(
            f"On hand at {synced.node} is what {synced.authority or 'nobody'} says: this count is kept for comparison.", style="yellow"
        )
    if not synced.waited:
        out.print("The stream has all of it; whether it was applied was not waited for. The same command tells (without --no-wait).")
    elif not synced.missing:
        out.print("The store has all of it.", style="green")
    else:
        out.print(f"Not in the store: {counted(len(synced.missing), 'part')} (atp exceptions list)", style="bold red")
        rows = [(one.part, one.event_id, one.sentence or "No exception is known of it.") for one in synced.missing[:_MISSING_SHOWN_MAX]]
        out.print(output.table(["part#", "event", "why"], rows))
