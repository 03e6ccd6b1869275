"""What a command shows: tables for people, JSON for scripts, progress on the side where it harms neither."""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import compress
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from cli.words import visible

_PIPE_COLUMNS: Final = 500
#: What a cell says where there is nothing to say.
NOTHING: Final = "–"

#: Told what is being done, how far it is, and how far it goes.
Report = Callable[[str, int, int], None]


class _Screen(Console):
    """What others wrote, ids and messages of feeds among it, moves no cursor and hides nothing."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str("\n".join(map(visible, text.split("\n"))), **options)


def console() -> Console:
    """Standard output. Words are printed as they are, and a file or a pipe folds no cell of a table."""
    out = _Screen(highlight=False, markup=False, soft_wrap=True)
    if not out.is_terminal:
        out.width = _PIPE_COLUMNS
    return out


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def print_json_line(value: object) -> None:
    """One JSON document on one line, for output that goes on."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> Table:
    """A table; columns whose name ends in `#` are numbers and stand to the right."""
    made = Table(title=title or None, title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False)
    for column in columns:
        is_number = column.endswith("#")
        made.add_column(column.removesuffix("#").strip(), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        made.add_row(*(_cell(value) for value in row))
    return made


def filled(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> tuple[list[str], list[list[object]]]:
    """Without the columns that say nothing in any row: the others have more room."""
    said = [any(str(row[at]) not in {"", NOTHING} for row in rows) for at in range(len(columns))]
    return list(compress(columns, said)), [list(compress(row, said)) for row in rows]


def _cell(value: object) -> str | Text:
    if isinstance(value, Text):
        return value
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def at(time_ms: int) -> str:
    """A time for people, in their own zone."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def age(seconds: float) -> str:
    """How long ago something was, for people."""
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


@contextlib.contextmanager
def progress_bar(*, hidden: bool = False) -> Iterator[Report]:
    """A bar for each thing that is reported, on standard error, gone when all is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    tasks: dict[str, TaskID] = {}
    screen = Console(stderr=True)
    with Progress(*columns, console=screen, transient=True, disable=hidden or not screen.is_terminal) as bars:

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what)
            bars.update(tasks[what], completed=done, total=max(done, total))

        yield report
