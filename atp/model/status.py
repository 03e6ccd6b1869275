"""Every answer a verb can give, by name, and who must act on it. The names are the same in Lua, Python and proto."""

from enum import StrEnum


class State(StrEnum):
    """The life cycle of a reservation."""

    HELD = "HELD"
    CONFIRMED = "CONFIRMED"
    FULFILLED = "FULFILLED"
    RELEASED = "RELEASED"
    EXPIRED = "EXPIRED"


OPEN_STATES = frozenset({State.HELD, State.CONFIRMED})


class Status(StrEnum):
    """What a verb answers, in order of evaluation: the first that applies is the answer."""

    # the pool
    UNKNOWN_POOL = "UNKNOWN_POOL"
    POOL_NOT_OPEN = "POOL_NOT_OPEN"
    REAP_MORE = "REAP_MORE"  # inside only: the store layer repeats the call
    # the key
    UNKNOWN_RESERVATION = "UNKNOWN_RESERVATION"
    KEY_REUSED = "KEY_REUSED"
    RESERVATION_ID_STALE = "RESERVATION_ID_STALE"
    LEDGER_BACKLOG = "LEDGER_BACKLOG"
    OPERATIONS_FULL = "OPERATIONS_FULL"
    # names
    UNKNOWN_SOURCE = "UNKNOWN_SOURCE"
    UNKNOWN_CHANNEL = "UNKNOWN_CHANNEL"
    UNKNOWN_NODE = "UNKNOWN_NODE"
    NODE_NOT_IN_CHANNEL = "NODE_NOT_IN_CHANNEL"
    NOT_AUTHORITY = "NOT_AUTHORITY"
    TOO_MANY_ROWS = "TOO_MANY_ROWS"
    UNKNOWN_SKU = "UNKNOWN_SKU"
    UNKNOWN_LINE = "UNKNOWN_LINE"
    ORDER_FULL = "ORDER_FULL"
    SHIPMENT_SPANS_NODES = "SHIPMENT_SPANS_NODES"
    SKU_KNOWN = "SKU_KNOWN"  # inside only: an event need not wait, its SKU has been registered meanwhile
    # the state of the reservation
    HELD = "HELD"
    CONFIRMED = "CONFIRMED"
    FULFILLED = "FULFILLED"
    RELEASED = "RELEASED"
    EXPIRED = "EXPIRED"
    # quantities
    EXCEEDS_HELD = "EXCEEDS_HELD"
    INSUFFICIENT_STOCK = "INSUFFICIENT_STOCK"
    # feeds
    DUPLICATE = "DUPLICATE"
    SEQUENCE_MISSING = "SEQUENCE_MISSING"
    SEQUENCE_CONFLICT = "SEQUENCE_CONFLICT"
    SHIPMENT_CONFLICT = "SHIPMENT_CONFLICT"
    SEQUENCE_BELOW_WINDOW = "SEQUENCE_BELOW_WINDOW"
    UNKNOWN_ORDER = "UNKNOWN_ORDER"
    QUANTITY_OUT_OF_RANGE = "QUANTITY_OUT_OF_RANGE"
    WAITING_FULL = "WAITING_FULL"
    # repairs
    FIGURE_MOVED = "FIGURE_MOVED"
    OK = "OK"


#: Answers of the business: the call was right and this is what became of it.
OUTCOMES = frozenset(
    {
        Status.OK,
        Status.HELD,
        Status.CONFIRMED,
        Status.FULFILLED,
        Status.RELEASED,
        Status.EXPIRED,
        Status.EXCEEDS_HELD,
        Status.INSUFFICIENT_STOCK,
    }
)


class ExceptionReason(StrEnum):
    """Why a person must look: raised inside a script and written to the ledger, or published by a consumer for bad content."""

    OVERCOMMITTED = "OVERCOMMITTED"
    SHIPMENT_WITHOUT_ALLOCATION = "SHIPMENT_WITHOUT_ALLOCATION"
    SHIPMENT_UNCONFIRMED = "SHIPMENT_UNCONFIRMED"
    SHIPMENT_DIFFERS = "SHIPMENT_DIFFERS"
    PICK_SHORT = "PICK_SHORT"
    PICK_WITHOUT_ALLOCATION = "PICK_WITHOUT_ALLOCATION"
    TRANSFER_DIFFERS = "TRANSFER_DIFFERS"
    UNKNOWN_SKU = "UNKNOWN_SKU"
    UNKNOWN_UNIT = "UNKNOWN_UNIT"
    AMBIGUOUS_ALIAS = "AMBIGUOUS_ALIAS"
    UNKNOWN_POOL = "UNKNOWN_POOL"
    UNKNOWN_SOURCE = "UNKNOWN_SOURCE"
    UNKNOWN_NODE = "UNKNOWN_NODE"
    UNKNOWN_ORDER = "UNKNOWN_ORDER"
    NOT_AUTHORITY = "NOT_AUTHORITY"
    SEQUENCE_MISSING = "SEQUENCE_MISSING"
    SEQUENCE_CONFLICT = "SEQUENCE_CONFLICT"
    SHIPMENT_CONFLICT = "SHIPMENT_CONFLICT"
    SEQUENCE_BELOW_WINDOW = "SEQUENCE_BELOW_WINDOW"
    QUANTITY_OUT_OF_RANGE = "QUANTITY_OUT_OF_RANGE"
    WAITING_FULL = "WAITING_FULL"
    MALFORMED = "MALFORMED"
    TOO_LARGE = "TOO_LARGE"
    WRONG_SUBJECT = "WRONG_SUBJECT"
    SPLIT_HISTORY = "SPLIT_HISTORY"
    RULE_BROKEN = "RULE_BROKEN"
    DRIFT = "DRIFT"
    INTERNAL = "INTERNAL"
