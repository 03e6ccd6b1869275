"""What the service answers, as values that do not change. A refusal of the business is an answer too: `match` tells them apart.

What was done is true and a refusal is false, so an `if` is never wrong by accident. Times are the store's, in UTC. `message` is the
contract's own message, for a field that is not told here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, NamedTuple, TypeAlias

from atp_client.errors import Violation
from inventory.availability.v1 import availability_service_pb2 as availability
from inventory.availability.v1 import reservation_pb2 as types
from inventory.availability.v1 import reservation_service_pb2 as reservations

VerbMessage: TypeAlias = (
    reservations.ReserveResponse
    | reservations.ConfirmResponse
    | reservations.ReleaseResponse
    | reservations.ExtendResponse
    | reservations.FulfilResponse
)


class State(StrEnum):
    """Where a reservation is in its life."""

    HELD = "HELD"
    CONFIRMED = "CONFIRMED"
    FULFILLED = "FULFILLED"
    RELEASED = "RELEASED"
    EXPIRED = "EXPIRED"
    UNKNOWN = "UNKNOWN"  # one that this version of the client does not know


class ItemState(StrEnum):
    """What the item feed says of an item: nothing of a blocked one can be promised, of a discontinued one all that is left."""

    ACTIVE = "ACTIVE"
    BLOCKED = "BLOCKED"
    DISCONTINUED = "DISCONTINUED"
    UNKNOWN = "UNKNOWN"  # not told, or one that this version of the client does not know


class NodeState(StrEnum):
    """What the feeds say of a node: nothing can be promised from one that is not active."""

    ACTIVE = "ACTIVE"
    BLOCKED = "BLOCKED"
    CLOSED = "CLOSED"
    UNKNOWN = "UNKNOWN"  # not told, or one that this version of the client does not know


class Move(NamedTuple):
    """Units of one line of a reservation that were held, committed, given back or shipped."""

    number: int
    sku: str
    node: str
    quantity: int


class Shortfall(NamedTuple):
    """A SKU that could not be had in full, and what could be had of it."""

    sku: str
    requested: int
    available: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    reservation_id: str
    revision: int
    time: datetime
    message: VerbMessage = field(repr=False, compare=False)


# --- done -------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class _Done(_Answer):
    """`replayed`: this is the answer of an earlier call with the same key, and the reservation may have moved on since."""

    state: State
    replayed: bool

    def __bool__(self) -> Literal[True]:
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Held(_Done):
    """The units are yours until `expire_time`. `shortfalls` has what came short, if less than all was asked for by `partial`."""

    expire_time: datetime
    moves: tuple[Move, ...]
    shortfalls: tuple[Shortfall, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed(_Done):
    """The units are committed to the order and no longer expire."""

    moves: tuple[Move, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Released(_Done):
    """Units were given back; `state` says whether more is open."""

    moves: tuple[Move, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extended(_Done):
    """The hold ends at `expire_time`."""

    expire_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped(_Done):
    """Units have left; `state` is FULFILLED once nothing is open any more."""

    moves: tuple[Move, ...]


# --- refused ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(_Answer):
    """The answer is no, and nothing was changed; `outcome` is the contract's name of why."""

    outcome: str

    def __bool__(self) -> Literal[False]:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class InsufficientStock(Refused):
    """Not all of it can be promised: what is short, and what could be had."""

    shortfalls: tuple[Shortfall, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongState(Refused):
    """The reservation is in a state that does not allow it."""

    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class ExceedsHeld(Refused):
    """More was named than is open on these lines."""

    lines: tuple[int, ...]


# --- taken in -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The event is in the stream, and will be applied. One that was sent again is found to be known then."""

    stream_sequence: int

    def __bool__(self) -> Literal[True]:
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedEvent:
    """The event can never be taken as it is: `reason` is the contract's name of why, `violations` are its fields that are wrong."""

    reason: str
    violations: tuple[Violation, ...]

    def __bool__(self) -> Literal[False]:
        return False


# --- read -------------------------------------------------------------------------------------------------------------
class ReservationLine(NamedTuple):
    """A SKU at a node; `open` is what is still held, or confirmed and not shipped."""

    number: int
    sku: str
    node: str
    quantity: int
    released: int
    shipped: int
    open: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """A reservation as it stands. `expire_time` is none once it is confirmed."""

    reservation_id: str
    state: State
    channel: str
    order_reference: str
    create_time: datetime
    expire_time: datetime | None
    create_revision: int
    lines: tuple[ReservationLine, ...]
    shortfalls: tuple[Shortfall, ...]
    message: types.Reservation = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AvailabilityLine:
    """What can be promised of one SKU: in all, and at each node in the channel's order. Of a SKU that is not `known`, nothing.

    Nothing can be promised from the nodes in `shut`, whatever lies there.
    """

    sku: str
    known: bool
    state: ItemState
    available: int
    fulfillable: bool
    nodes: Mapping[str, int]
    shut: frozenset[str]
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """A reading, not a promise: a line for each that was asked for, in the same order."""

    lines: tuple[AvailabilityLine, ...]
    read_time: datetime
    message: availability.BatchGetAvailabilityResponse = field(repr=False, compare=False)


class Fact(NamedTuple):
    """One term of one row that a change moved."""

    sku: str
    node: str
    term: str
    delta: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """The record of one change."""

    revision: int
    verb: str
    cause: str
    actor: str
    correlation: str
    time: datetime
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TermChange:
    """The change that moved one term last, and by how many units."""

    revision: int
    verb: str
    cause: str
    actor: str
    correlation: str
    time: datetime
    delta: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a figure is what it is: what each term adds, by name, and the change that touched it last, if the store still has it.

    `changes` has the last change of each term that was moved since `searched_revision`, and `sources` whose word counts for a term at
    the node; a term that the engine counts itself is not among them.
    While the item is blocked or the node is not active nothing can be promised, whatever the terms add up to.
    """

    terms: Mapping[str, int]
    changes: Mapping[str, TermChange]
    sources: Mapping[str, str]
    available: int
    item_state: ItemState
    node_state: NodeState
    due: int
    row_revision: int
    searched_revision: int
    entry: LedgerEntry | None
    revision: int
    read_time: datetime
    message: availability.ExplainAvailabilityResponse = field(repr=False, compare=False)
