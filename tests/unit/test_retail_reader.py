"""What the reader of retail order lines does with each kind of dirt."""

import gzip
from pathlib import Path

import pytest

from cli.retail.dirt import Fate, Trait
from cli.retail.reader import COLUMNS, Correction, Reading, SaleLine, UnreadableFileError, read_file, read_text

REAL_FILE = Path(__file__).parents[3] / "shared" / "data" / "online_retail_2011q4.csv.gz"
SAMPLE = Path(__file__).parents[2] / "cli" / "data" / "online_retail_sample.csv"
GOOD = "600001,70001,MUG,2,2021-11-22 08:00:00,1.25,30000,United Kingdom"


def read(*rows: str) -> Reading:
    return read_text("\n".join([",".join(COLUMNS), *rows]))


@pytest.mark.parametrize(
    ("row", "fate"),
    [
        (GOOD, Fate.SALE),
        ("C600001,70001,MUG,-2,2021-11-22 08:00:00,1.25,30000,UK", Fate.CANCELLATION),
        ("C600001,70001,MUG,2,2021-11-22 08:00:00,1.25,30000,UK", Fate.CANCELLATION_POSITIVE),
        ("600001,70001,check,-2,2021-11-22 08:00:00,0.0,,UK", Fate.LOSS),
        ("600001,70001,found,2,2021-11-22 08:00:00,0.0,,UK", Fate.FIND),
        ("600001,70001,MUG,2,2021-11-22 08:00:00,0.0,30000,UK", Fate.SALE),
        *(
            (f"600001,{code},FEE,1,2021-11-22 08:00:00,1.25,30000,UK", Fate.NO_GOODS)
            for code in ("POST", "m", "BANK CHARGES", "gift_0001_10")
        ),
        ("A600001,B,Adjust bad debt,1,2021-11-22 08:00:00,-110,,UK", Fate.BAD_DEBT),
        ("600001,70001,MUG,0,2021-11-22 08:00:00,1.25,30000,UK", Fate.ZERO_QUANTITY),
        ("600001,70001,MUG,2", Fate.FIELDS),
        (GOOD + ",more", Fate.FIELDS),
        ("?,70001,MUG,2,2021-11-22 08:00:00,1.25,30000,UK", Fate.INVOICE),
        ("600001,70 001,MUG,2,2021-11-22 08:00:00,1.25,30000,UK", Fate.SKU),
        ("600001,,MUG,2,2021-11-22 08:00:00,1.25,30000,UK", Fate.SKU),
        (f"600001,{'7' * 65},MUG,2,2021-11-22 08:00:00,1.25,30000,UK", Fate.SKU),
        ("600001,70001,MUG,two,2021-11-22 08:00:00,1.25,30000,UK", Fate.QUANTITY),
        ("600001,70001,MUG,1.5,2021-11-22 08:00:00,1.25,30000,UK", Fate.QUANTITY),
        ("600001,70001,MUG,1000000001,2021-11-22 08:00:00,1.25,30000,UK", Fate.QUANTITY),
        ("600001,70001,MUG,2,yesterday,1.25,30000,UK", Fate.DATE),
        ("600001,70001,MUG,2,2021-11-22 08:00:00,nan,30000,UK", Fate.PRICE),
    ],
)
def test_every_line_has_one_fate_and_spoils_no_other(row: str, fate: Fate) -> None:
    other = "600009,70009,KITE,1,2021-11-22 09:00:00,5,30009,UK"
    reading = read(row, other)
    assert dict(reading.fates) == ({fate: 1} if fate is not Fate.SALE else {}) | {Fate.SALE: 1 + (fate is Fate.SALE)}
    assert reading.sales[-1].invoice == "600009"


@pytest.mark.parametrize(
    ("rows", "trait"),
    [
        ([GOOD.replace("30000", "")], Trait.NO_CUSTOMER),
        ([GOOD.replace("30000", "30000.0")], Trait.CUSTOMER_DECIMAL),
        ([GOOD, GOOD], Trait.EXACT_DUPLICATE),
        ([GOOD.replace("1.25", "0.0")], Trait.FREE),
        ([GOOD.replace("70001", "70001a")], Trait.LOWER_CASE),
        ([GOOD.replace("70001", " 70001")], Trait.PADDED),
        ([GOOD, GOOD.replace("MUG,2", "MUG,3")], Trait.SKU_TWICE),
        ([GOOD, GOOD.replace("08:00", "08:01").replace("70001", "70002")], Trait.SPREAD),
        ([f"600001,{sku},MUG,2,2021-11-22 08:00:00,1,30000,UK" for sku in range(70_000, 71_001)], Trait.LONG),
        (["", GOOD], Trait.EMPTY),
    ],
)
def test_a_trait_is_counted_once(rows: list[str], trait: Trait) -> None:
    assert read(*rows).traits[trait] == 1


def test_exact_duplicates_stay_lines_and_skus_stay_as_they_are() -> None:
    (sale,) = read(GOOD.replace("70001", "70001a"), GOOD, GOOD).sales
    assert sale.lines == (SaleLine("70001a", 2), SaleLine("70001", 2), SaleLine("70001", 2))


def test_a_customer_is_the_same_however_the_number_is_written() -> None:
    assert {sale.customer for sale in read(GOOD, GOOD.replace("600001", "600002").replace("30000", "30000.0")).sales} == {"30000"}


def test_corrections_keep_their_sign() -> None:
    lost = "600001,70001,check,-5,2021-11-22 08:00:00,0.0,,UK"
    found = "600002,70002,found,7,2021-11-22 08:01:00,0.0,,UK"
    assert [(entry.sku, entry.change) for entry in read(lost, found).corrections] == [("70001", -5), ("70002", 7)]
    assert isinstance(read(lost).corrections[0], Correction)


def test_the_first_unreadable_lines_are_shown_with_their_number() -> None:
    reading = read(GOOD, *["600001,70001"] * 7)
    assert len(reading.examples) == 5
    assert reading.examples[0].startswith("line 3: unreadable: number of fields: 600001,70001")


@pytest.mark.parametrize("date", ["2021-11-22 08:00:00", "2021-11-22 08:00", "2021-11-22T08:00:00", "11/22/2021 8:00", "22/11/2021 08:00"])
def test_dates_of_every_public_copy_are_read(date: str) -> None:
    assert read(GOOD.replace("2021-11-22 08:00:00", date)).sales[0].time.isoformat() == "2021-11-22T08:00:00"


def test_one_form_of_date_is_taken_for_the_whole_file() -> None:
    """3/11 alone could be March; the 22 of its neighbour says that it is not."""
    reading = read(*(GOOD.replace("2021-11-22", date).replace("08:00:00", "08:00") for date in ("03/11/2021", "22/11/2021")))
    assert [sale.time.month for sale in reading.sales] == [11]
    assert reading.notes == ["dates read as DD/MM/YYYY hh:mm"]


def test_the_names_and_separator_of_online_retail_ii_are_read() -> None:
    header = "Invoice;StockCode;Description;Quantity;InvoiceDate;Price;Customer ID;Country"
    assert read_text(header + "\n" + GOOD.replace(",", ";")).fates[Fate.SALE] == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"PK\x03\x04....", "Excel"),
        (b"\x1f\x8b\x08broken", "damaged gzip"),
        (b"a,b,c\n1,2,3\n", "header names no InvoiceNo, StockCode"),
        (b"", "header names no"),
        (
            (",".join(COLUMNS) + "\n" + GOOD.replace("2021-11-22 08:00:00", "yesterday")).encode(),
            "no date can be read: the first is 'yesterday'",
        ),
    ],
)
def test_a_file_that_is_none_of_order_lines_says_so(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(UnreadableFileError, match=message):
        read_file(path)


def test_gzip_and_other_encodings_are_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(("\n".join([",".join(COLUMNS), GOOD.replace("MUG", "£ MUG")])).encode("cp1252")))
    reading = read_file(path)
    assert reading.fates[Fate.SALE] == 1
    assert "Windows-1252" in reading.notes[0]


def test_the_sample_holds_every_kind_of_line_but_the_longest() -> None:
    reading = read_file(SAMPLE)
    assert {fate for fate in Fate if not reading.fates[fate]} == set()
    assert {trait for trait in Trait if not reading.traits[trait]} == {Trait.LONG, Trait.PADDED, Trait.SPREAD}


@pytest.mark.skipif(not REAL_FILE.exists(), reason=f"the real file is not there: {REAL_FILE}")
def test_the_real_file_is_read_to_its_last_line() -> None:
    reading = read_file(REAL_FILE)
    assert reading.lines == 110_236
    assert reading.fates[Fate.LOSS] == 167
    assert not reading.examples
    assert (reading.traits[Trait.EXACT_DUPLICATE], reading.traits[Trait.NO_CUSTOMER], reading.traits[Trait.FREE]) == (1_647, 26_977, 320)
