"""Every kind of line that a file of order lines can hold, and what the reader does with it."""

from enum import Enum

from atp import limits


class Fate(Enum):
    """What became of a line: each line of the file has exactly one, so the counts add up to the lines read."""

    SALE = ("sale", "kept: a line of its invoice's basket")
    CANCELLATION = ("cancelled (C…)", "kept: undoes the newest earlier sale of that customer and SKU")
    CANCELLATION_POSITIVE = ("cancelled (C…), quantity above zero", "skipped: neither a sale nor a cancellation")
    LOSS = ("negative quantity without C", "kept: a stock correction, sent as an adjustment")
    FIND = ("invoice without a customer and all for nothing", "kept: a stock correction upwards (found, put aside)")
    NO_GOODS = ("code that is no goods (POST, M, …)", "skipped: postage, fees, discounts and vouchers are not stock")
    BAD_DEBT = ("bad debt (A…)", "skipped: money only")
    ZERO_QUANTITY = ("quantity zero", "skipped: nothing was asked for")
    FIELDS = ("unreadable: number of fields", "skipped")
    INVOICE = ("unreadable: invoice number", "skipped")
    SKU = ("unreadable: SKU", "skipped: empty, over 64 characters or with a space inside")
    QUANTITY = ("unreadable: quantity", "skipped: not a whole number within ±1,000,000,000")
    DATE = ("unreadable: date", "skipped")
    PRICE = ("unreadable: price", "skipped: not a number")

    def __init__(self, title: str, decision: str) -> None:
        self.title = title
        self.decision = decision


UNREADABLE = frozenset({Fate.FIELDS, Fate.INVOICE, Fate.SKU, Fate.QUANTITY, Fate.DATE, Fate.PRICE})


class Trait(Enum):
    """What else was met; one line or invoice can have several, and none decides its fate alone."""

    NO_CUSTOMER = ("lines without a customer", "kept: a sale needs no name; a cancellation without one matches nothing")
    CUSTOMER_DECIMAL = ("customers written 17850.0", "read as 17850")
    EXACT_DUPLICATE = ("exact duplicate rows", "kept: a till scans one article twice, and dropping one would hide demand")
    FREE = ("prices of zero", "kept: free goods leave the shelf like any others")
    LOWER_CASE = ("SKUs with lower-case letters", "kept as they are: 85123a and 85123A are two SKUs")
    PADDED = ("fields with spaces around them", "spaces cut off")
    SKU_TWICE = ("invoices that name a SKU twice", "kept: the engine adds up first")
    LONG = (f"invoices with more than {limits.RESERVATION_LINES_MAX:,} lines", "split into several reservations of one order")
    SPREAD = ("invoices written over more than one minute", "one basket, at its first line's time")
    EMPTY = ("empty rows", "ignored")

    def __init__(self, title: str, decision: str) -> None:
        self.title = title
        self.decision = decision


#: Codes that stand for money or services, compared in upper case (`m` is Manual too); and how gift vouchers begin.
NO_GOODS = frozenset(
    {"POST", "DOT", "M", "D", "S", "B", "C2", "C3", "CRUK", "AMAZONFEE", "BANK CHARGES", "ADJUST", "ADJUST2", "TEST001", "TEST002", "GIFT"}
)
NO_GOODS_PREFIX = "GIFT_"


def is_no_goods(code: str) -> bool:
    upper = code.upper()
    return upper in NO_GOODS or upper.startswith(NO_GOODS_PREFIX)
