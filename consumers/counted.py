"""What a source has counted at one node, as lines of a file or of a subject: all of it checked before any of it is sent."""

import itertools
from bisect import bisect_right
from collections.abc import Callable, Iterator
from datetime import datetime
from hashlib import blake2b
from typing import BinaryIO, Final, NamedTuple

import msgspec
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy

from atp import events, limits
from atp.canonical import ContentError
from atp.errors import AtpError
from atp.intake import in_parts
from atp.requests import ID_RULE, is_id
from consumers.feeds.adapter import malformed, parsed
from consumers.feeds.csv_files import cells, header, raw_lines
from consumers.pull import fetch, passing_consumer

MISTAKES_TOLD_MAX: Final = 20
_FETCH_MESSAGES: Final = 100
_FETCH_S: Final = 5.0
_DIGEST_BYTES: Final = 12


class CountedLine(events.LevelLine, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A line of an event that says no more than it must: a count has very many."""

    sku: str
    on_hand: events.Change


_COLUMNS: Final = frozenset(CountedLine.__struct_fields__) - {"alias"}
_REQUIRED: Final = ("sku", "on_hand")

_encode = msgspec.json.Encoder().encode
_decode_line = msgspec.json.Decoder(CountedLine).decode
_decode_part: Callable[[bytes], list[events.LevelLine]] = msgspec.json.Decoder(list[CountedLine]).decode  # type: ignore[assignment]  # more exact


class BadLinesError(AtpError):
    """Lines that cannot be read: nothing of them is sent, since what they name would be missing."""

    def __init__(self, told: list[str], count: int) -> None:
        more = [f"and {count - len(told)} more"] if count > len(told) else []
        super().__init__("\n  ".join(["nothing was sent. Correct the lines, and give the command again:", *told, *more]))


class SubjectError(AtpError):
    """A subject that cannot be read to its end."""


class Counted(NamedTuple):
    """What was counted, cut into parts as events hold them; the digest is of what they say."""

    parts: list[bytes]  # JSON
    skus: list[str]  # the first of each part
    lines: int
    digest: str

    def part(self, index: int) -> list[events.LevelLine]:
        return _decode_part(self.parts[index])


class Spooled(NamedTuple):
    """What was read from a subject: the lines at which its messages begin, their places in the stream, and when the last one came."""

    firsts: list[int]
    sequences: list[int]
    last: datetime

    def place(self, number: int) -> str:
        at = bisect_right(self.firsts, number) - 1
        return f"message {self.sequences[at]}, line {number - self.firsts[at] + 1}"


def line_of_file(number: int) -> str:
    return f"line {number}"


class _Mistakes:
    def __init__(self, place: Callable[[int], str]) -> None:
        self.place = place
        self.told: list[str] = []
        self.count = 0

    def add(self, number: int, what: str) -> None:
        self.count += 1
        if len(self.told) < MISTAKES_TOLD_MAX:
            self.told.append(f"{self.place(number)}: {what}")


def read(file: BinaryIO, place: Callable[[int], str] = line_of_file) -> Counted:
    """Lines of JSON, or of CSV below a header. `place` says where a line stands, for people. Raises BadLinesError."""
    mistakes = _Mistakes(place)
    digest = blake2b(digest_size=_DIGEST_BYTES)
    parts, skus, count = [], [], 0
    for lines in in_parts(_lines(file, mistakes)):
        if not mistakes.count:
            parts.append(_encode(lines))
            digest.update(parts[-1])
            skus.append(lines[0].sku)
            count += len(lines)
    if mistakes.count:
        raise BadLinesError(mistakes.told, mistakes.count)
    if not parts:
        raise BadLinesError(["it has no lines: as a full snapshot that would make everything 0"], 1)
    if len(parts) > limits.SNAPSHOT_PARTS_MAX:
        raise BadLinesError([f"it has more than {limits.SNAPSHOT_PARTS_MAX * limits.EVENT_LINES_MAX} lines"], 1)
    return Counted(parts, skus, count, digest.hexdigest())


def _lines(file: BinaryIO, mistakes: _Mistakes) -> Iterator[CountedLine]:
    """The good lines."""
    seen: dict[str, int] = {}
    lines = ((number, raw) for number, raw in raw_lines(file) if raw and not raw.isspace())
    if (first := next(lines, None)) is None:
        return
    try:
        read_one, rest = _reader(first, lines)
    except ContentError as error:
        mistakes.add(first[0], error.detail)
        return
    for number, raw in rest:
        try:
            line = read_one(raw)
            _check(line)
            if seen.setdefault(line.sku, number) != number:
                raise malformed(f"SKU {line.sku} stands in {mistakes.place(seen[line.sku])} already")
        except ContentError as error:
            mistakes.add(number, error.detail)
        else:
            yield line


def _check(line: CountedLine) -> None:
    if line.alias:
        raise malformed("alias: a count names its items by sku")
    if not is_id(line.sku):
        raise malformed(f"sku {ID_RULE}")


Numbered = tuple[int, bytes]


def _reader(first: Numbered, rest: Iterator[Numbered]) -> tuple[Callable[[bytes], CountedLine], Iterator[Numbered]]:
    """How lines are read, as the first one shows, and which ones. Raises ContentError."""
    if first[1].lstrip().startswith(b"{"):
        return _read_json, itertools.chain([first], rest)
    return _Table(*header(first[1], _COLUMNS, _REQUIRED)).read, rest


def _read_json(raw: bytes) -> CountedLine:
    if len(raw) > limits.FEED_LINE_BYTES_MAX:
        raise malformed(f"it has more than {limits.FEED_LINE_BYTES_MAX} bytes")
    return parsed(_decode_line, raw)


class _Table(NamedTuple):
    """The columns of a CSV file."""

    columns: list[str]
    delimiter: str

    def read(self, raw: bytes) -> CountedLine:
        values = cells(raw, self.delimiter)
        if len(values) != len(self.columns):
            raise malformed(f"it has {len(values)} values, the header names {len(self.columns)} columns")
        told = {column: value for column, value in zip(self.columns, values, strict=True) if value}
        try:
            return msgspec.convert(told, CountedLine, strict=False)
        except msgspec.ValidationError as error:
            raise malformed(str(error)) from error


async def spool(js: JetStreamContext, subject: str, file: BinaryIO) -> Spooled:
    """Copies all that a subject holds now into a file. Raises NotFoundError for one that no stream has, and SubjectError."""
    stream = await js.find_stream_name_by_subject(subject)
    config = ConsumerConfig(deliver_policy=DeliverPolicy.ALL, filter_subject=subject)
    firsts: list[int] = []
    sequences: list[int] = []
    lines = 1
    last: datetime | None = None
    async with passing_consumer(js, stream, config) as subscription:
        total = (await subscription.consumer_info()).num_pending or 0
        while len(firsts) < total and (messages := await fetch(subscription, min(total - len(firsts), _FETCH_MESSAGES), _FETCH_S)):
            for message in messages:
                firsts.append(lines)
                sequences.append(message.metadata.sequence.stream)
                data = message.data.rstrip(b"\n") + b"\n"
                lines += data.count(b"\n")
                file.write(data)
                last = message.metadata.timestamp
    if len(firsts) < total:
        raise SubjectError(f"of {total} messages on {subject} only {len(firsts)} came: give the command again")
    if last is None:
        raise SubjectError(f"stream {stream} has no message on {subject}")
    return Spooled(firsts, sequences, last)
