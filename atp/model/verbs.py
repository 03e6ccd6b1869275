"""What each verb is asked and what it answers: the structs that the model, the store and the Lua scripts share.

They travel to the scripts as MessagePack arrays, so the order of the fields is the contract. Times are milliseconds since the Unix
epoch, quantities are whole base units. Field checks (bounds, forms) happen in `atp.requests` before one of these is built.
"""

from typing import Final

import msgspec

#: Actors that are the engine itself: no caller goes by these names.
ENGINE_ACTORS: Final = frozenset({"engine", "provision", "sweeper"})


class Context(msgspec.Struct, array_like=True, frozen=True):
    """Who asks, for the ledger: `actor` is the client's identity, `correlation` its opaque id of the conversation (may be empty)."""

    actor: str = ""
    correlation: str = ""


class Want(msgspec.Struct, array_like=True, frozen=True):
    """`quantity` units of one SKU; a SKU stands once in a request, named twice it is added up first."""

    sku: str
    quantity: int


class Part(msgspec.Struct, array_like=True, frozen=True):
    """`quantity` units of reservation line `number`; 0 means all that is open on that line."""

    number: int
    quantity: int


#: The parts of a Reserve whose fingerprints are kept, in order: a reused key is answered with the names of those that differ.
RESERVE_FINGERPRINT = ("channel", "order_reference", "ttl_ms", "partial", "nodes", "lines")


class Reserve(msgspec.Struct, array_like=True, frozen=True):
    context: Context
    reservation_id: str
    id_time_ms: int  # the time inside a caller's UUIDv7, 0 if the id is another or the service made it
    channel: str
    order_reference: str  # empty: none
    ttl_ms: int
    partial: bool
    nodes: list[str]  # in order of preference; empty: the channel's own
    lines: list[Want]
    fingerprint: list[int]  # one number per name in RESERVE_FINGERPRINT


class Confirm(msgspec.Struct, array_like=True, frozen=True):
    context: Context
    reservation_id: str
    key: str
    fingerprint: int
    reacquire: bool  # take the stock again if the hold has expired


class Release(msgspec.Struct, array_like=True, frozen=True):
    context: Context
    reservation_id: str
    key: str
    fingerprint: int
    lines: list[Part]  # empty: all that is open


class Extend(msgspec.Struct, array_like=True, frozen=True):
    context: Context
    reservation_id: str
    key: str
    fingerprint: int
    ttl_ms: int  # from script time; never shortens


class Fulfil(msgspec.Struct, array_like=True, frozen=True):
    context: Context
    reservation_id: str
    shipment_id: str
    shipped_ms: int  # 0: script time
    lines: list[Part]  # empty: all that is open


class Expire(msgspec.Struct, array_like=True, frozen=True):
    context: Context


class ItemLine(msgspec.Struct, array_like=True, frozen=True):
    sku: str
    safety_stock: int


class Register(msgspec.Struct, array_like=True, frozen=True):
    context: Context
    event_id: str
    source: str
    sequence: int
    fingerprint: int
    lines: list[ItemLine]


class Figures(msgspec.Struct, array_like=True, frozen=True):
    """Physical figures of one SKU, or signed changes to them."""

    sku: str
    on_hand: int
    damaged: int
    quality_hold: int


class Adjust(msgspec.Struct, array_like=True, frozen=True):
    """A receipt, an adjustment or a return: signed changes to physical figures at one node."""

    context: Context
    event_id: str
    kind: str  # the verb written to the ledger: receipt, adjustment or return
    source: str
    node: str
    sequence: int
    fingerprint: int
    lines: list[Figures]


class Count(msgspec.Struct, array_like=True, frozen=True):
    """A snapshot: what the node's authority says is there, for the SKUs it names; others stay as they are."""

    context: Context
    event_id: str
    source: str
    node: str
    sequence: int
    fingerprint: int
    as_of_ms: int
    lines: list[Figures]


class Ship(msgspec.Struct, array_like=True, frozen=True):
    """A shipment the node's authority reports; `reservation_id` may be empty."""

    context: Context
    event_id: str
    source: str
    node: str
    sequence: int
    fingerprint: int
    shipment_id: str
    reservation_id: str
    lines: list[Want]


class Park(msgspec.Struct, array_like=True, frozen=True):
    """Keeps an event until its SKU is registered. `key` is `<source>/<event id>/<sku>`, `original` the event as it came."""

    context: Context
    sku: str
    key: str
    original: str


class Unpark(msgspec.Struct, array_like=True, frozen=True):
    context: Context
    sku: str
    key: str


class NodeConfig(msgspec.Struct, array_like=True, frozen=True):
    id: str
    kind: str
    time_zone: str
    authority: str  # the source whose physical figures count


class ChannelConfig(msgspec.Struct, array_like=True, frozen=True):
    id: str
    nodes: list[str]  # where it sells from, in order of preference


class SourceConfig(msgspec.Struct, array_like=True, frozen=True):
    id: str
    registers_items: bool


class Provision(msgspec.Struct, array_like=True, frozen=True):
    context: Context
    nodes: list[NodeConfig]
    channels: list[ChannelConfig]
    sources: list[SourceConfig]


class Move(msgspec.Struct, array_like=True, frozen=True):
    """Units of one line that a verb moved."""

    number: int
    sku: str
    node: str
    quantity: int


class Shortfall(msgspec.Struct, array_like=True, frozen=True):
    """A line that could not be had in full, and what could."""

    sku: str
    requested: int
    available: int


class Result(msgspec.Struct, array_like=True, frozen=True):
    """What a writing verb answers. `status` names the answer; `detail` the offending names, if it is a refusal.

    `revision` and `time_ms` are those of the ledger entry that made the change (of the first one, if `replayed`), or where the pool
    stood when a refusal was decided.
    """

    status: str
    detail: list[str] = []
    revision: int = 0
    time_ms: int = 0
    replayed: bool = False
    state: str = ""
    expire_ms: int = 0
    moves: list[Move] = []
    short: list[Shortfall] = []
    waiting: list[str] = []  # SKUs of a Register for which events wait
