"""Reads a file of retail order lines into sales, cancellations and stock corrections, and counts every kind of dirt it meets.

Made for *Online Retail* (Chen, D. (2015), UCI Machine Learning Repository, CC BY 4.0) in any of its public CSV forms.
"""

import csv
import gzip
import io
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path

from atp import limits
from cli.retail.dirt import UNREADABLE, Fate, Trait, is_no_goods

COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
#: Names of the same columns in Online Retail II.
_ALIASES = {"invoice": "InvoiceNo", "price": "UnitPrice", "customer id": "CustomerID"} | {name.lower(): name for name in COLUMNS}
#: Dates as the public copies write them; the first that reads most of the file is taken for all of it, since 3/4 reads both ways.
DATE_FORMATS = (
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y %H:%M",
    "%d-%m-%Y %H:%M",
    "%m/%d/%y %H:%M",
)
EXAMPLES_MAX = 5

_SKU = re.compile(rf"[^\s\x00-\x1f\x7f-\x9f]{{1,{limits.ID_CHARS_MAX}}}").fullmatch
_INVOICE = re.compile(r"[A-Za-z]?\d{1,12}").fullmatch
_WHOLE = re.compile(r"[+-]?\d+(\.0+)?").fullmatch


class UnreadableFileError(Exception):
    """The file as a whole is not one of order lines; the message says what it is, or what is missing."""


@dataclass(frozen=True, slots=True)
class SaleLine:
    sku: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Sale:
    """One invoice: what one customer (empty: nobody named) took at one time."""

    invoice: str
    time: datetime
    customer: str
    lines: tuple[SaleLine, ...]


@dataclass(frozen=True, slots=True)
class Cancellation:
    """A line of a `C…` invoice: `quantity` units, positive here, of an earlier sale that nothing in the file names."""

    file_line: int
    invoice: str
    time: datetime
    customer: str
    sku: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Correction:
    """What a stock count found: `change` units more or less."""

    file_line: int
    time: datetime
    sku: str
    change: int


@dataclass(slots=True)
class Reading:
    """What the file says, and what became of each of its lines."""

    sales: list[Sale] = field(default_factory=list)
    cancellations: list[Cancellation] = field(default_factory=list)
    corrections: list[Correction] = field(default_factory=list)
    fates: Counter[Fate] = field(default_factory=Counter)
    traits: Counter[Trait] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)  # the first few unreadable lines, with their number
    notes: list[str] = field(default_factory=list)  # how the file as a whole was read

    @property
    def lines(self) -> int:
        return sum(self.fates.values())


@dataclass(frozen=True, slots=True)
class _Row:
    """A row whose fields could be read."""

    file_line: int
    invoice: str
    sku: str
    quantity: int
    time: datetime
    price: float
    customer: str


def read_file(path: Path) -> Reading:
    """Reads a CSV file, gzipped or not. Raises UnreadableFileError, or OSError if it cannot be opened."""
    data = path.read_bytes()
    if data.startswith(b"\x1f\x8b"):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError) as error:
            raise UnreadableFileError(f"{path} is a damaged gzip file: {error}") from error
    if data.startswith(b"PK\x03\x04"):
        raise UnreadableFileError(f"{path} is a zip archive or an Excel workbook: unpack it, save the sheet as CSV, and read that")
    notes = []
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        text = data.decode("cp1252", errors="replace")
        notes.append(f"not UTF-8 (byte {error.start}): read as Windows-1252")
    return read_text(text, notes)


def read_text(text: str, notes: list[str] | None = None) -> Reading:
    """Reads CSV text with a header. Raises UnreadableFileError."""
    reading = Reading(notes=notes or [])
    columns, rows = _table(text)
    date_format = _date_format(columns, rows)
    if "/" in date_format or date_format.startswith("%d"):
        reading.notes.append(f"dates read as {_spoken(date_format)}")
    seen: set[tuple[str, ...]] = set()
    readable: list[_Row] = []
    for file_line, raw in rows:
        if not any(raw):
            reading.traits[Trait.EMPTY] += 1
            continue
        reading.traits[Trait.EXACT_DUPLICATE] += tuple(raw) in seen
        seen.add(tuple(raw))
        row = _row(columns, date_format, file_line, raw, reading)
        if isinstance(row, Fate):
            reading.fates[row] += 1
            if row in UNREADABLE and len(reading.examples) < EXAMPLES_MAX:
                reading.examples.append(f"line {file_line}: {row.title}: {','.join(raw)[:100]}")
        else:
            readable.append(row)
    _sort_out(readable, reading)
    return reading


def _table(text: str) -> tuple[list[int], list[tuple[int, list[str]]]]:
    """Where each of COLUMNS stands, how many fields a row has as the last number, and the rows with their line numbers."""
    header, _, _ = text.partition("\n")
    separator = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        names = [_ALIASES.get(name.strip().lower(), name.strip()) for name in next(reader, [])]
        missing = [name for name in COLUMNS if name not in names]
        if missing:
            raise UnreadableFileError(f"the header names no {', '.join(missing)}: expected {','.join(COLUMNS)}")
        rows = [(reader.line_num, raw) for raw in reader]
    except csv.Error as error:
        raise UnreadableFileError(f"not CSV at line {reader.line_num}: {error}") from error
    return [*(names.index(name) for name in COLUMNS), len(names)], rows


def _date_format(columns: list[int], rows: list[tuple[int, list[str]]]) -> str:
    dates = Counter(raw[columns[4]].strip() for _, raw in rows if len(raw) == columns[-1])
    counts = {form: sum(number for date, number in dates.items() if _time(date, form)) for form in DATE_FORMATS}
    best = max(DATE_FORMATS, key=lambda form: counts[form])
    if dates and not counts[best]:
        forms = "; ".join(map(_spoken, DATE_FORMATS))
        raise UnreadableFileError(f"no date can be read: the first is {next(iter(dates))!r}; known forms: {forms}")
    return best


def _spoken(date_format: str) -> str:
    letters = {"%Y": "YYYY", "%y": "YY", "%m": "MM", "%d": "DD", "%H": "hh", "%M": "mm", "%S": "ss"}
    return re.sub("%.", lambda found: letters[found[0]], date_format)


@cache
def _time(text: str, date_format: str) -> datetime | None:
    try:
        return datetime.strptime(text, date_format)  # noqa: DTZ007  the file knows no zone: shop time, used for differences only
    except ValueError:
        return None


def _row(columns: list[int], date_format: str, file_line: int, raw: list[str], reading: Reading) -> _Row | Fate:
    """The row, or the reason why it is none; counts its traits either way."""
    if len(raw) != columns[-1]:
        return Fate.FIELDS
    invoice, sku, _, quantity, date, price, customer, _ = (raw[index].strip() for index in columns[:-1])
    time = _time(date, date_format)
    checks = (
        (Fate.INVOICE, _INVOICE(invoice)),
        (Fate.BAD_DEBT, invoice[:1] not in ("A", "a")),
        (Fate.NO_GOODS, not is_no_goods(sku)),  # before the form of a SKU: BANK CHARGES has a space
        (Fate.SKU, _SKU(sku)),
        (Fate.QUANTITY, _WHOLE(quantity) and abs(int(float(quantity))) <= limits.QUANTITY_MAX),
        (Fate.DATE, time),
        (Fate.PRICE, _number(price) is not None),
    )
    number = customer.removesuffix(".0")
    traits = reading.traits
    traits[Trait.CUSTOMER_DECIMAL] += number != customer
    traits[Trait.NO_CUSTOMER] += not number
    traits[Trait.FREE] += _number(price) == 0
    traits[Trait.LOWER_CASE] += sku != sku.upper() and not is_no_goods(sku)
    traits[Trait.PADDED] += any(raw[index] != raw[index].strip() for index in (columns[0], columns[1], columns[6]))
    wrong = next((fate for fate, good in checks if not good), None)
    if wrong or time is None:
        return wrong or Fate.DATE
    return _Row(file_line, invoice, sku, int(float(quantity)), time, float(price), number)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None  # nan fails the comparison


def _sort_out(rows: list[_Row], reading: Reading) -> None:
    """Gives every readable row its fate, and gathers the rest by invoice, in the order of time."""
    invoices: dict[str, list[_Row]] = {}
    for row in rows:
        fate = _fate(row)
        if fate is Fate.SALE:
            invoices.setdefault(row.invoice, []).append(row)
            continue
        reading.fates[fate] += 1
        if fate is Fate.CANCELLATION:
            reading.cancellations.append(Cancellation(row.file_line, row.invoice, row.time, row.customer, row.sku, -row.quantity))
        elif fate is Fate.LOSS:
            reading.corrections.append(Correction(row.file_line, row.time, row.sku, row.quantity))
    for lines in invoices.values():
        if all(not line.customer and line.price == 0 for line in lines):
            reading.fates[Fate.FIND] += len(lines)
            reading.corrections += [Correction(line.file_line, line.time, line.sku, line.quantity) for line in lines]
        else:
            reading.fates[Fate.SALE] += len(lines)
            reading.sales.append(_sale(lines, reading.traits))
    reading.sales.sort(key=lambda sale: sale.time)
    reading.cancellations.sort(key=lambda cancellation: cancellation.time)
    reading.corrections.sort(key=lambda correction: correction.time)


def _fate(row: _Row) -> Fate:
    if row.quantity == 0:
        return Fate.ZERO_QUANTITY
    if row.invoice[0] in "Cc":
        return Fate.CANCELLATION if row.quantity < 0 else Fate.CANCELLATION_POSITIVE
    return Fate.SALE if row.quantity > 0 else Fate.LOSS


def _sale(lines: list[_Row], traits: Counter[Trait]) -> Sale:
    traits[Trait.SKU_TWICE] += len({line.sku for line in lines}) < len(lines)
    traits[Trait.SPREAD] += len({line.time for line in lines}) > 1
    traits[Trait.LONG] += len(lines) > limits.RESERVATION_LINES_MAX
    first = lines[0]
    customer = next((line.customer for line in lines if line.customer), "")
    return Sale(first.invoice, min(line.time for line in lines), customer, tuple(SaleLine(line.sku, line.quantity) for line in lines))
