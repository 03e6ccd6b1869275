"""CSV files of systems that work in batches: a header that names columns, then a line for each line of an event.

A column is called what its field is called in docs/events.md: `type`, `id`, `time`, `correlation`, the fields of `data` (`node`, `as_of`,
`sequence`, `scope`, `document`, `reason` …), and those of a line (`sku` or `alias`, `unit`, `quantity`, `on_hand` …). What is empty is
not said. Columns are parted by commas, semicolons or tabs, the text is UTF-8, a value never spans lines. Locations are those of the
system: `nodes` says which node each is. Times without an offset are in the zone of the feed. The form is this engine's own, so there is
nothing to cite but *Common Format and MIME Type for CSV Files*, https://www.rfc-editor.org/rfc/rfc4180.

**Deltas.** Lines that follow each other with one `type` and `id` are one event, of at most 200 lines. **Snapshots.** All lines of one `id`
and `node` are one snapshot, however many they are and wherever they stand. A full one comes as parts, whose number must be known before the
first: the file is read twice, and never held as a whole. A count needs no `time` beside its `as_of`.

**A bad line** becomes a mistake that names it, and all others go on, with two exceptions. A delta with a bad line is refused, since half of
it would meet its other half as a conflict; and a full snapshot with a bad line is refused whole, since what it does not name would be
counted as 0. A line that does not even say where it belongs may be part of any full snapshot of its file, so all of those are refused. Send
the refused lines alone, or a corrected snapshot under a new sequence or `as_of`.
"""

import codecs
import csv
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, BinaryIO, Final, NamedTuple, get_type_hints

import msgspec
from msgspec import inspect

from atp import events, limits
from atp.canonical import ContentError
from atp.events import Event
from atp.model.verbs import FIGURE_BITS
from atp.requests import is_id
from consumers.feeds.adapter import Adapter, Document, FeedSettings, Message, Mistake, each, first_mistakes, malformed, said, short

_DELIMITERS: Final = ",;\t"
_ENVELOPE: Final = ("type", "id", "time", "correlation")
_PLACES: Final = frozenset({"node", "to_node", "from_node"})
_SNAPSHOT, _FULL = "snapshot", "full"
_LINES_NAMED_MAX: Final = 5

Convert = Callable[[FeedSettings, str, str], Any]
#: What a line is a line of: type, id and, of a snapshot, the place.
Key = tuple[str, ...]
Told = Document[Message] | Mistake


# --- what a column may say ----------------------------------------------------------------------------------------
def _text(_settings: FeedSettings, _column: str, value: str) -> str:
    return value


def _number(_settings: FeedSettings, column: str, value: str) -> int:
    digits = value.removeprefix("-").removeprefix("+")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 16):
        raise malformed(f"{column}: {said(value)} is not a whole number")
    return int(value)


def _moment(settings: FeedSettings, column: str, value: str) -> datetime:
    try:
        return settings.moment(datetime.fromisoformat(value))
    except ValueError:
        raise malformed(f"{column}: {said(value)} is not a time such as 2026-01-02T22:00:00Z") from None


def _place(settings: FeedSettings, _column: str, value: str) -> str:
    return settings.node(value)


def _converter(column: str, kind: inspect.Type) -> Convert:
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    if column in _PLACES:
        return _place
    if any(isinstance(one, inspect.IntType) for one in kinds):
        return _number
    return _moment if any(isinstance(one, inspect.DateTimeType) for one in kinds) else _text


class _Kind(NamedTuple):
    """A type of event with the columns that it has."""

    data: dict[str, Convert]
    required: tuple[str, ...]
    line: dict[str, Convert]
    struct: type[events.Line]


def _fields(struct: type) -> dict[str, inspect.Type]:
    return {field.encode_name: inspect.type_info(field.type) for field in msgspec.structs.fields(struct)}


def _kinds() -> Iterator[tuple[str, _Kind]]:
    """The types whose lines name an item each."""
    for name, event in events.TYPES.items():
        struct = get_type_hints(event)["data"]
        data = _fields(struct)
        match data.pop("lines", None):
            case inspect.ListType(item_type=inspect.StructType(cls=line)) if issubclass(line, events.Line):
                columns = {column: _converter(column, kind) for column, kind in data.items() if column not in {"part", "parts"}}
                required = tuple(one.encode_name for one in msgspec.structs.fields(struct) if one.required and one.encode_name in columns)
                yield name, _Kind(columns, required, {column: _converter(column, kind) for column, kind in _fields(line).items()}, line)


KINDS: Final = dict(_kinds())
COLUMNS: Final = frozenset({*_ENVELOPE, *(column for kind in KINDS.values() for column in (*kind.data, *kind.line))})


# --- lines --------------------------------------------------------------------------------------------------------
class _Row:
    """A line of the file: what it says, and what is wrong with it."""

    __slots__ = ("data", "envelope", "error", "line", "number", "original", "place", "told")

    def __init__(self, number: int, original: bytes) -> None:
        self.number = number
        self.original = original
        self.told: Mapping[str, str] = {}  # by column
        self.place = ""  # the node, or the location if it is none
        self.envelope: dict[str, Any] = {}
        self.data: dict[str, Any] = {}
        self.line: dict[str, Any] = {}
        self.error = ""

    @property
    def type(self) -> str:
        return self.told.get("type", "")

    @property
    def key(self) -> Key:
        """What it is a line of; empty if it does not say."""
        key = (self.type, self.told.get("id", ""), *([self.place] if self.type == _SNAPSHOT else []))
        return key if self.type in KINDS and all(key) else ()

    @property
    def is_of_concern(self) -> bool:
        return bool(self.data.get("node", "any"))

    def mistake(self) -> Mistake:
        return Mistake(f"line {self.number}", self.original, malformed(f"line {self.number}: {self.error}"))


def raw_lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Every line with its number; of one that is too long no more than shows it."""
    file.seek(0)
    number = 0
    while raw := file.readline(limits.FEED_LINE_BYTES_MAX + 1):
        number += 1
        rest = raw
        while len(rest) >= limits.FEED_LINE_BYTES_MAX and not rest.endswith(b"\n"):
            rest = file.readline(limits.FEED_LINE_BYTES_MAX)
        yield number, raw.rstrip(b"\r\n")


def cells(raw: bytes, delimiter: str) -> list[str]:
    """The values of a line. Raises ContentError."""
    if len(raw) > limits.FEED_LINE_BYTES_MAX:
        raise malformed(f"it has more than {limits.FEED_LINE_BYTES_MAX} bytes")
    try:
        text = raw.decode()
        plain = text and '"' not in text and "\r" not in text
        found = text.split(delimiter) if plain else next(csv.reader([text], delimiter=delimiter, strict=True))
    except UnicodeDecodeError as error:
        raise malformed(f"it is not UTF-8 text ({error.reason} at byte {error.start})") from error
    except csv.Error as error:
        raise malformed(f"it is not CSV: {error}") from error
    return [value.strip() for value in found]


def header(raw: bytes, known: Collection[str], required: Iterable[str]) -> tuple[list[str], str]:
    """The columns that the first line of a file names, and what parts them. Raises ContentError."""
    raw = raw.removeprefix(codecs.BOM_UTF8)
    delimiter = max(_DELIMITERS, key=lambda one: raw.count(one.encode()))
    columns = cells(raw, delimiter)
    if unknown := [column for column in columns if column not in known]:
        raise malformed(f"the header names columns that are not known: {said(unknown)}; there are {', '.join(sorted(known))}")
    if twice := [column for column in columns if columns.count(column) > 1]:
        raise malformed(f"the header names {twice[0]} twice")
    if missing := [column for column in required if column not in columns]:
        raise malformed(f"the header lacks the column {missing[0]}")
    return columns, delimiter


class _Table(NamedTuple):
    """A file whose header could be read."""

    file: BinaryIO
    settings: FeedSettings
    columns: list[str]
    delimiter: str

    def rows(self) -> Iterator[_Row]:
        """Every line below the header that is not empty, but for those about places of no concern."""
        for number, raw in raw_lines(self.file):
            if number > 1 and raw.strip():
                row = _Row(number, raw)
                try:
                    self._read(row)
                except ContentError as error:
                    row.error = error.detail.removesuffix(".")
                if row.is_of_concern:
                    yield row

    def _read(self, row: _Row) -> None:
        values = cells(row.original, self.delimiter)
        if len(values) != len(self.columns):
            raise malformed(f"it has {len(values)} values, the header names {len(self.columns)} columns")
        row.told = {column: value for column, value in zip(self.columns, values, strict=True) if value}
        location = row.told.get("node", "")
        row.place = self.settings.nodes.get(location, location and f"?{location}")
        kind = KINDS.get(row.type)
        if kind is None:
            raise malformed(f"type: {said(row.type)} is none of {', '.join(KINDS)}")
        for column, value in row.told.items():
            if column in kind.data:
                row.data[column] = kind.data[column](self.settings, column, value)
            elif column in kind.line:
                row.line[column] = kind.line[column](self.settings, column, value)
            elif column == "time":
                row.envelope[column] = _moment(self.settings, column, value)
            elif column in _ENVELOPE:
                row.envelope[column] = value
            else:
                raise malformed(f"{column}: {said(value)} means nothing in an event of type {row.type}")
        _check(row, kind)


def _check(row: _Row, kind: _Kind) -> None:
    """What can be said of a line alone, so that it does not cost its neighbours."""
    if "as_of" in row.data:
        row.envelope.setdefault("time", row.data["as_of"])
    for column in ("id", "time", *kind.required):
        if column not in row.envelope and column not in row.data:
            raise malformed(f"{column} is empty")
    try:
        line: events.Line = msgspec.convert(row.line, kind.struct)
    except msgspec.ValidationError as error:
        raise malformed(str(error)) from error
    if bool(line.sku) == bool(line.alias) or not is_id(line.sku or line.alias):
        raise malformed("sku or alias names the item, one of them, in at most 64 printable characters without spaces")
    if row.type == _SNAPSHOT and row.data.get("scope") != _FULL and not row.line.keys() & FIGURE_BITS.keys():
        raise malformed("it names no figure")


# --- snapshots ----------------------------------------------------------------------------------------------------
class _Snapshot:
    """One snapshot, as its lines come."""

    def __init__(self) -> None:
        self.is_full = False
        self.part = 0  # taken last
        self._first: _Row | None = None  # of its good lines
        self._lines = 0
        self._bad = 0
        self.named: list[_Row] = []  # the first bad lines
        self._coming: dict[str, _Row] = {}

    def add(self, row: _Row) -> None:
        """Takes the line, or says in it what is wrong."""
        self.is_full |= row.told.get("scope") == _FULL
        name = row.line.get("sku") or row.line.get("alias", "")
        if not row.error and self._first and (row.data, row.envelope) != (self._first.data, self._first.envelope):
            row.error = f"it says other of its snapshot than line {self._first.number}"
        if not row.error and name in self._coming:
            row.error = f"{name} stands in line {self._coming[name].number} already"
        if row.error:
            self._bad += 1
            self.named += [row] if self._bad <= _LINES_NAMED_MAX else []
        else:
            self._first = self._first or row
            self._lines += 1
            self._coming[name] = row

    @property
    def has_lines(self) -> bool:
        return bool(self._coming)

    @property
    def is_part_whole(self) -> bool:
        return len(self._coming) == limits.EVENT_LINES_MAX

    @property
    def parts(self) -> int:
        """How many there are with all the lines that it has."""
        return -(-self._lines // limits.EVENT_LINES_MAX)

    def take(self) -> list[_Row]:
        """The lines of the part that has come."""
        taken, self._coming = list(self._coming.values()), {}
        self.part += 1
        return taken

    def refusal(self, unplaced: list[_Row]) -> str:
        """Why it cannot be taken as a full one; empty if it can."""
        if self.parts > limits.SNAPSHOT_PARTS_MAX:
            return f"it has more than {limits.SNAPSHOT_PARTS_MAX * limits.EVENT_LINES_MAX} lines"
        more = self._bad - len(self.named)
        return "; ".join(f"line {row.number}: {row.error}" for row in self.named + unplaced) + (f"; and {more} more" if more else "")


class _Snapshots:
    """Those of a file."""

    def __init__(self) -> None:
        self.known: dict[Key, _Snapshot] = {}
        self.unplaced: list[_Row] = []  # the first bad lines that may be of any

    def of(self, row: _Row) -> _Snapshot | None:
        """The snapshot that a line is of; none if it is of none, or if that cannot be said."""
        if row.type != _SNAPSHOT or not row.key:
            if not row.key and len(self.unplaced) < _LINES_NAMED_MAX:
                self.unplaced.append(row)
            return None
        if row.key not in self.known and len(self.known) == limits.FEED_FILE_SNAPSHOTS_MAX:
            row.error = f"a file has at most {limits.FEED_FILE_SNAPSHOTS_MAX} snapshots"
            return None
        return self.known.setdefault(row.key, _Snapshot())


def _survey(table: _Table) -> _Snapshots:
    """What snapshots the file has, and how many parts: a full one's first part must name their number."""
    found = _Snapshots()
    for row in table.rows():
        if snapshot := found.of(row):
            snapshot.add(row)
            if snapshot.is_part_whole:
                snapshot.take()
    return found


# --- deltas -------------------------------------------------------------------------------------------------------
class _Delta:
    """Lines that follow each other and are of one event."""

    def __init__(self) -> None:
        self._rows: list[_Row] = []
        self._count = 0
        self._doubt = 0  # a line since the last one that does not say what it is of
        self._mistakes: list[str] = []

    def add(self, row: _Row) -> Iterator[Told]:
        """What was whole before this line."""
        if row.type == _SNAPSHOT or not row.key:
            self._doubt = row.number
            yield row.mistake()
            return
        if not self._rows or row.key != self._rows[0].key:
            yield from self.end()
        elif self._doubt:
            self._mistakes.append(f"line {self._doubt}, in its midst, says nothing of what it is")
        elif not row.error and not self._rows[0].error and (row.data, row.envelope) != (self._rows[0].data, self._rows[0].envelope):
            row.error = f"it says other of its event than line {self._rows[0].number}"
        self._doubt = 0
        self._count += 1
        if self._count <= limits.EVENT_LINES_MAX:
            self._rows.append(row)
            self._mistakes += [f"line {row.number}: {row.error}"] if row.error else []

    def end(self) -> Iterator[Told]:
        rows, count, mistakes = self._rows, self._count, self._mistakes
        self._rows, self._count, self._mistakes, self._doubt = [], 0, [], 0
        if count > limits.EVENT_LINES_MAX:
            mistakes = [
                f"line {rows[0].number} and those after it are {count} lines of one event, which has {limits.EVENT_LINES_MAX} at most"
            ]
        if mistakes:
            more = len(mistakes) - _LINES_NAMED_MAX
            detail = "; ".join(mistakes[:_LINES_NAMED_MAX]) + (f"; and {more} more" if more > 0 else "")
            yield Mistake(f"line {rows[0].number}", _original(rows), malformed(detail))
        elif rows:
            yield _document(rows, rows[0].envelope["id"], {})


# --- the file -----------------------------------------------------------------------------------------------------
def _original(rows: list[_Row]) -> bytes:
    return b"\n".join(row.original for row in rows)


def _document(rows: list[_Row], event_id: str, others: Mapping[str, int]) -> Document[Message]:
    first = rows[0]
    event = {"specversion": "1.0", **first.envelope, "id": event_id, "data": {**first.data, **others, "lines": [row.line for row in rows]}}
    return Document(f"line {first.number}", event, _original(rows))


def _part(snapshot: _Snapshot, parts: int) -> Document[Message]:
    """`parts`: of a full one, else 0."""
    rows = snapshot.take()
    name = short(f"{rows[0].envelope['id']}-{rows[0].data['node']}")
    event_id = name if snapshot.part == 1 else f"{name}.{snapshot.part}"
    return _document(rows, event_id, {"part": snapshot.part, "parts": parts} if parts else {})


def _read(table: _Table, surveyed: _Snapshots, refused: Container[Key]) -> Iterator[Told]:
    delta = _Delta()
    snapshots = _Snapshots()
    for row in table.rows():
        if row.key in refused:
            continue
        snapshot = snapshots.of(row)
        if snapshot is None:
            yield from delta.add(row)
            continue
        snapshot.add(row)
        if row.error:
            yield row.mistake()
        elif snapshot.is_part_whole:
            yield _part(snapshot, surveyed.known[row.key].parts if snapshot.is_full else 0)
    yield from delta.end()
    for key, snapshot in snapshots.known.items():
        if snapshot.has_lines:
            yield _part(snapshot, surveyed.known[key].parts if snapshot.is_full else 0)


def _header(file: BinaryIO, settings: FeedSettings) -> _Table:
    return _Table(file, settings, *header(next(raw_lines(file), (1, b""))[1], COLUMNS, ("type", "id")))


def _told(file: BinaryIO, settings: FeedSettings) -> Iterator[Event | Mistake]:
    try:
        table = _header(file, settings)
    except ContentError as error:
        yield Mistake("line 1", next(raw_lines(file), (1, b""))[1], error)
        return
    # Only full snapshots make it necessary to know the whole file first.
    surveyed = _survey(table) if "scope" in table.columns else _Snapshots()
    refused = set()
    for key, snapshot in surveyed.known.items():
        if snapshot.is_full and (why := snapshot.refusal(surveyed.unplaced)):
            refused.add(key)
            detail = f"the full snapshot {key[1]} at {key[2]} is refused: {why}"
            yield Mistake(f"snapshot {key[1]} at {key[2]}", _original(snapshot.named + surveyed.unplaced), malformed(detail))
    for one in _read(table, surveyed, refused):
        if isinstance(one, Mistake):
            yield one
        else:
            yield from each([one], lambda event: [{**event, "source": settings.source}])


def read(file: BinaryIO, settings: FeedSettings) -> Iterator[Event | Mistake]:
    yield from first_mistakes(_told(file, settings))


ADAPTER: Final = Adapter("csv", read)
