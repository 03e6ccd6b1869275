"""An exception as it is published: what a person must see, with a sentence for each reason that a merchandiser can read."""

from datetime import datetime
from hashlib import blake2b
from typing import Literal

import msgspec

from atp.model.status import ExceptionReason
from atp.words import counted

State = Literal["open", "resolved"]
#: How a person ended an exception; empty: it is open, or it ended by itself.
Resolution = Literal["", "retried", "discarded"]


class OrderAtRisk(msgspec.Struct, frozen=True):
    """A reservation that holds units of an overcommitted SKU at the node; `quantity` are its units not yet shipped."""

    reservation_id: str
    order_reference: str
    state: str
    quantity: int


class PublishedException(msgspec.Struct, frozen=True, kw_only=True):
    """One message on `exc.<pool>.<digest of the id>`. The same `id` later is the same exception; its last message says how it stands."""

    id: str
    pool: str
    reason: str
    state: State
    sentence: str
    time: datetime
    sku: str = ""
    node: str = ""
    source: str = ""
    cause: str = ""  # what a person looks up: reservation, shipment or event
    correlation: str = ""  # the conversation that it belongs to, as its event or its call named it
    quantity: int = 0  # units concerned: deficit, excess
    orders_at_risk: list[OrderAtRisk] = []  # newest first
    more_at_risk: bool = False  # there may be others than those listed
    original: str = ""  # the message that could not be applied, whole or its beginning
    original_encoding: Literal["text", "base64"] = "text"
    original_bytes: int = 0  # its full size
    subject: str = ""  # what the message came on
    revision: int = 0  # of the ledger entry that raised or resolved it; 0 for a verdict on a message
    resolution: Resolution = ""
    resolution_reason: str = ""  # why, in the words of whoever ended it
    actor: str = ""  # who ended it


def digest(exception_id: str) -> str:
    """The id as one token of a subject: ids may hold dots and spaces, tokens may not."""
    return blake2b(exception_id.encode(), digest_size=16).hexdigest()


def ended(found: PublishedException, resolution: Resolution, actor: str, why: str, now: datetime) -> PublishedException:
    """The exception as a person has ended it; all else that is known of it stays."""
    text = f"{_ENDED[resolution]} by {actor}{f': {why}' if why else ''}"
    return msgspec.structs.replace(
        found,
        state="resolved",
        sentence=text if text.endswith((".", "!", "?")) else f"{text}.",
        time=now,
        resolution=resolution,
        resolution_reason=why,
        actor=actor,
    )


_ENDED: dict[str, str] = {"retried": "Sent again", "discarded": "Discarded"}

_OPEN: dict[str, str] = {
    ExceptionReason.OVERCOMMITTED: "{sku} at {node} is short by {units}: more is promised than is there. Nothing more is "
    "promised from there until stock arrives or orders are moved or released.",
    ExceptionReason.SHIPMENT_WITHOUT_ALLOCATION: "Shipment {cause} left {node} with {units} that no reservation held "
    "(first SKU {sku}). The stock was lowered all the same.",
    ExceptionReason.SHIPMENT_UNCONFIRMED: "Shipment {cause} left {node} for a reservation that was held but never confirmed "
    "(first SKU {sku}). The stock was lowered and the hold is used up.",
    ExceptionReason.SHIPMENT_DIFFERS: "Shipment {cause} from {node}: the order's account and the node's report differ by "
    "{units} (first SKU {sku}). The node's figures count.",
    ExceptionReason.PICK_SHORT: "{node} lacks {units} that had to be picked for {cause} (first SKU {sku}). The "
    "stock was lowered; the order has to be moved, shortened or cancelled.",
    ExceptionReason.PICK_WITHOUT_ALLOCATION: "For {cause} {node} has picked {units} that no reservation held there (first "
    "SKU {sku}). The stock was lowered all the same.",
    ExceptionReason.REVERSAL_WITHOUT_PICK: "For {cause} {units} were put back at {node}, and no reservation is known that they were picked "
    "for (first SKU {sku}). The stock was raised all the same. If they were picked for another order, take them off again and have them "
    "reported as put back for that one.",
    ExceptionReason.REVERSAL_BELOW_WINDOW: "For {cause} {units} were put back at {node}, which was told so late that its place among the "
    "later events is no longer kept (first SKU {sku}). They are picked no longer; on hand has them once {node} sends a snapshot.",
    ExceptionReason.TRANSFER_DIFFERS: "Of transfer {cause} {node} has received {units} more than are known to have left (first SKU "
    "{sku}). What came counts.",
    ExceptionReason.UNKNOWN_UNIT: "Event {cause} of {source} was not applied: {detail} is no pack that the item is registered with. "
    "Register it, then have the event tried again.",
    ExceptionReason.AMBIGUOUS_ALIAS: "Event {cause} of {source} was not applied: {detail} is the name of more than one item. Correct the "
    "items, then have the event tried again.",
    ExceptionReason.UNKNOWN_ORDER: "Event {cause} of {source} was not applied: no reservation of order {detail} is known in pool {pool}.",
    ExceptionReason.SEQUENCE_MISSING: "Event {cause} was not applied: it has no sequence, and {source} is provisioned as a source that "
    "counts its events. Send it with one, or provision the source with the order it has.",
    ExceptionReason.UNKNOWN_SKU: "Event {cause} names {sku}, and no registered item is called that. It waits and is applied by itself "
    "once one is.",
    ExceptionReason.UNKNOWN_POOL: "A message for pool {pool} was not applied: there is no such pool.",
    ExceptionReason.UNKNOWN_SOURCE: "Event {cause} was not applied: source {source} is not provisioned in pool {pool}.",
    ExceptionReason.UNKNOWN_NODE: "Event {cause} of {source} was not applied: node {node} is not provisioned in pool {pool}.",
    ExceptionReason.NOT_AUTHORITY: "Event {cause} was not applied: {source} is not the system whose word counts for {detail}.",
    ExceptionReason.SEQUENCE_CONFLICT: "Event {cause} of {source} was not applied: its sequence came before with other content "
    "({detail}). Correct it at the source and send it under a new sequence.",
    ExceptionReason.SHIPMENT_CONFLICT: "Event {cause} of {source} was not applied: its shipment is known already with another {detail}.",
    ExceptionReason.SEQUENCE_BELOW_WINDOW: "Event {cause} of {source} was not applied: it came so late that its place among the later "
    "ones is no longer kept ({detail}). A snapshot of {node} settles the matter.",
    ExceptionReason.QUANTITY_OUT_OF_RANGE: "Event {cause} of {source} was not applied: it would take a figure at {node} beyond what can "
    "be counted ({detail}).",
    ExceptionReason.WAITING_FULL: "Event {cause} of {source} was not applied: too many events wait already for {sku} to be registered.",
    ExceptionReason.MALFORMED: "A message {origin} cannot be read: {detail}",
    ExceptionReason.TOO_LARGE: "A message {origin} was not applied: {detail}",
    ExceptionReason.WRONG_SUBJECT: "A message {origin} was sent to the wrong place: {detail}",
    ExceptionReason.INTERNAL: "A message {origin} was not applied because of a fault in the engine: {detail}",
    ExceptionReason.SPLIT_HISTORY: "Pool {pool} cannot go on until a person decides: {detail}.",
    ExceptionReason.RULE_BROKEN: "The ledger of pool {pool} breaks a rule that must never bend: {detail}.",
    ExceptionReason.DRIFT: "What {source} says of the stock at {node} is not what is sold from: {detail}. Have the goods counted and the "
    "one that is wrong corrected; `atp drift` shows each item.",
}

_RESOLVED: dict[str, str] = {
    ExceptionReason.OVERCOMMITTED: "{sku} at {node} covers all that is promised from there again.",
    ExceptionReason.TRANSFER_DIFFERS: "Transfer {cause} to {node} is even again.",
    ExceptionReason.UNKNOWN_SKU: "Event {cause}, which waited for {sku}, has had its turn.",
    ExceptionReason.SPLIT_HISTORY: "Pool {pool} goes on: the store and JetStream agree again.",
    ExceptionReason.RULE_BROKEN: "The ledger of pool {pool} keeps {cause} again.",
    ExceptionReason.DRIFT: "What {source} says of the stock at {node} is what is sold from again, within the tolerance.",
}


def sentence(
    reason: str,
    state: str = "open",
    *,
    pool: str = "",
    sku: str = "",
    node: str = "",
    source: str = "",
    cause: str = "",
    quantity: int = 0,
    detail: str = "",
) -> str:
    """What the exception means, in words; every reason has its own."""
    template = _OPEN[reason] if state == "open" else _RESOLVED.get(reason, "Resolved: {cause}")
    if reason == ExceptionReason.UNKNOWN_SKU:
        cause = cause.removesuffix(f"/{sku}")  # which tells the waits of one event apart
    origin = f"from {source}" if source else f"for pool {pool}" if pool else "to the engine"
    units = counted(quantity, "unit")
    return template.format(pool=pool, sku=sku, node=node, source=source, cause=cause, units=units, detail=detail, origin=origin)
