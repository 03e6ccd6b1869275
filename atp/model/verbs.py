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


#: What a source can say of the order of its events: DESIGN rule 6, docs/feeds.md.
ORDERS: Final = ("sequence", "time", "id")
#: When a source's on hand falls, and whether its snapshots have taken off what it has reserved itself: DESIGN rule 7.
ON_HAND_FALLS: Final = ("issue", "pick")
SNAPSHOTS: Final = ("gross", "net")
#: The physical figures of a row, each with an authority of its own, by the bit that names them in a mask.
FIGURE_BITS: Final = {"on_hand": 1, "damaged": 2, "quality_hold": 4}
ALL_FIGURES: Final = 7
ITEM_STATES: Final = ("active", "blocked", "discontinued")
LOCATION_STATES: Final = ("active", "blocked", "closed")


class ItemLine(msgspec.Struct, array_like=True, frozen=True):
    """The whole item. `details` is JSON of what is kept for others (`events.ItemLine`), empty for nothing; `aliases` are other names."""

    sku: str
    safety_stock: int
    details: str = ""
    aliases: list[str] = []


class Register(msgspec.Struct, array_like=True, frozen=True):
    """Items make themselves known, or are stated anew. (`moment`: see Adjust.)"""

    context: Context
    event_id: str
    source: str
    sequence: int
    fingerprint: int
    lines: list[ItemLine]
    moment: int = 0


class ItemState(msgspec.Struct, array_like=True, frozen=True):
    """`state` is an index into ITEM_STATES: nothing of a blocked item is promised; a discontinued one sells what is left."""

    sku: str
    state: int


class SetItemStates(msgspec.Struct, array_like=True, frozen=True):
    context: Context
    event_id: str
    source: str
    sequence: int
    fingerprint: int
    lines: list[ItemState]
    moment: int = 0


class Locate(msgspec.Struct, array_like=True, frozen=True):
    """A location makes itself known, or is stated anew: a node without an authority until it is provisioned."""

    context: Context
    event_id: str
    source: str
    node: str
    sequence: int
    fingerprint: int
    kind: str
    time_zone: str
    moment: int = 0


class SetLocationState(msgspec.Struct, array_like=True, frozen=True):
    """`state` is an index into LOCATION_STATES: nothing is promised from a node that is not active."""

    context: Context
    event_id: str
    source: str
    node: str
    sequence: int
    fingerprint: int
    state: int
    moment: int = 0


class Figures(msgspec.Struct, array_like=True, frozen=True):
    """Physical figures of one SKU, or signed changes to them.

    In a Count, `named` is the mask of the figures it states, and `own_reserved` what a source whose snapshots are net has set aside.
    """

    sku: str
    on_hand: int
    damaged: int
    quality_hold: int
    named: int = ALL_FIGURES
    own_reserved: int = 0


class Adjust(msgspec.Struct, array_like=True, frozen=True):
    """Signed changes to physical figures at one node: a receipt, an adjustment, a return, a sale …

    `sequence` is the source's own number, 0 if it has none; `moment` its place by time, for a source whose order is that. `about` names
    the order or reservation that a `pick_short` is short of.
    """

    context: Context
    event_id: str
    kind: str  # the verb written to the ledger: receipt, adjustment, return, sale, …
    source: str
    node: str
    sequence: int
    fingerprint: int
    lines: list[Figures]
    moment: int = 0
    about: str = ""


class Count(msgspec.Struct, array_like=True, frozen=True):
    """A snapshot: what a source says is there, for the SKUs and figures it names; others stay as they are.

    Of a full one, part `part` of `parts`: once all have come, what none of them named is 0 (Complete).
    """

    context: Context
    event_id: str
    source: str
    node: str
    sequence: int
    fingerprint: int
    as_of_ms: int
    lines: list[Figures]
    moment: int = 0
    kind: str = "snapshot"  # the verb written to the ledger: snapshot or cycle_count
    part: int = 0  # 0: not part of a full one
    parts: int = 0


class Complete(msgspec.Struct, array_like=True, frozen=True):
    """All parts of a full snapshot have come and what they did not name has been counted as 0: what is older is superseded from now on.

    `done` once that was looked through again, for what came in between: then its parts need to be known no longer.
    """

    context: Context
    source: str
    node: str
    sequence: int
    done: bool = True


class Ship(msgspec.Struct, array_like=True, frozen=True):
    """Units that left a node, as a source reports it. At most one of `reservation_id` and `order_reference` is given."""

    context: Context
    event_id: str
    source: str
    node: str
    sequence: int
    fingerprint: int
    shipment_id: str
    reservation_id: str
    lines: list[Want]
    moment: int = 0
    order_reference: str = ""
    kind: str = "shipment"  # the verb written to the ledger: shipment or sale


class Pick(msgspec.Struct, array_like=True, frozen=True):
    """Units taken from their place for a reservation or an order, or put back there: on hand moves where it is counted at pick."""

    context: Context
    event_id: str
    source: str
    node: str
    sequence: int
    fingerprint: int
    reservation_id: str
    order_reference: str
    lines: list[Want]
    moment: int = 0
    kind: str = "pick"  # the verb written to the ledger: pick or pick_reversed


class Transfer(msgspec.Struct, array_like=True, frozen=True):
    """One end of a transfer between nodes: `kind` is transfer_out or transfer_in, `other_node` the other end."""

    context: Context
    event_id: str
    kind: str
    source: str
    node: str
    sequence: int
    fingerprint: int
    transfer_id: str
    other_node: str
    lines: list[Want]
    moment: int = 0


class Cancel(msgspec.Struct, array_like=True, frozen=True):
    """An order was cancelled: its open reservations are released, or of each SKU named so many units, the newest first."""

    context: Context
    event_id: str
    source: str
    sequence: int
    fingerprint: int
    order_reference: str
    lines: list[Want]  # empty: all


class Note(msgspec.Struct, array_like=True, frozen=True):
    """Something that moves no stock and yet belongs to the story of `about`, an order or a reservation: a package."""

    context: Context
    event_id: str
    kind: str
    source: str
    node: str
    fingerprint: int
    about: str


class Park(msgspec.Struct, array_like=True, frozen=True):
    """Keeps an event until its SKU is registered. `key` is `<source>/<event id>/<sku>`, `original` the event as it came.

    With `is_alias` the name is another one of an item, and the event waits until an item has it.
    """

    context: Context
    sku: str
    key: str
    original: str
    is_alias: bool = False


class Unpark(msgspec.Struct, array_like=True, frozen=True):
    """Lets go of a parked event. It has had its turn, or with `discards` it is not to have one: too late once an item has its name."""

    context: Context
    sku: str
    key: str
    discards: bool = False
    is_alias: bool = False  # which kind of name it waits for, if it is discarded


class RepairLine(msgspec.Struct, array_like=True, frozen=True):
    """One term of a row (`atp.model.stock.TERMS`): what it is taken to be, and what it is to be."""

    sku: str
    node: str
    term: str
    expected: int
    wanted: int


class Repair(msgspec.Struct, array_like=True, frozen=True):
    """Figures that a person puts right, and why. All lines or none; of each row's term one line at most."""

    context: Context
    repair_id: str
    reason: str
    fingerprint: int
    lines: list[RepairLine]


class NodeConfig(msgspec.Struct, array_like=True, frozen=True):
    id: str
    kind: str
    time_zone: str
    authority: str  # the source whose physical figures count; empty: none yet
    damaged_authority: str = ""  # empty: the same
    quality_hold_authority: str = ""  # empty: the same


class ChannelConfig(msgspec.Struct, array_like=True, frozen=True):
    id: str
    nodes: list[str]  # where it sells from, in order of preference


class SourceConfig(msgspec.Struct, array_like=True, frozen=True):
    id: str
    registers_items: bool
    registers_locations: bool = False
    order: str = "sequence"  # one of ORDERS
    on_hand_falls: str = "issue"  # one of ON_HAND_FALLS
    snapshots: str = "gross"  # one of SNAPSHOTS
    rhythm_s: int = 0  # how long it is silent at most; 0: it promises nothing


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
    waiting: list[str] = []  # SKUs and aliases of a Register for which events wait
    complete: bool = False  # with this part of a full snapshot all have come, and it has not been completed yet
