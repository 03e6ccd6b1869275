"""The end of a basket at the till: Loyverse's webhook `receipts.update`.

After the *Loyverse API*, https://developer.loyverse.com/docs (Receipts, Webhooks). It was chosen because the format is public, because one
message holds the whole basket (others name an order and have it fetched), and because sale, refund and cancellation are one shape.

Nodes are keyed by `store_id`. An item is its `sku`; one without is known by the alias `loyverse:<variant_id>`. A receipt has a number and
no sequence: the source is provisioned with the order `id`. A refund puts its units back as sellable, as the till itself does; what is not
is told by an adjustment. A receipt is sent again when it is cancelled: what was sold is then put back, whether the sale came before or not.

Webhooks are signed (base64 HMAC-SHA1 of the body under the app's client secret) if they were made by an app with OAuth; others are refused.
"""

import base64
import hmac
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, BinaryIO, Final, Literal

import msgspec

from atp.events import Event
from consumers.feeds.adapter import Adapter, FeedSettings, Message, Mistake, each_json, malformed, messages, parsed, said, short, units

SIGNATURE_HEADER: Final = "x-loyverse-signature"


class Line(msgspec.Struct, frozen=True):
    quantity: int | float
    sku: str | None = None
    variant_id: str | None = None


class Receipt(msgspec.Struct, frozen=True):
    receipt_number: str
    receipt_type: Literal["SALE", "REFUND"]
    receipt_date: datetime
    store_id: str
    line_items: list[Line]
    cancelled_at: datetime | None = None


class _Webhook(msgspec.Struct, frozen=True):
    receipts: list[msgspec.Raw]


_decode_webhook = msgspec.json.Decoder(_Webhook).decode
_decode = msgspec.json.Decoder(Receipt).decode


def read(file: BinaryIO, settings: FeedSettings) -> Iterator[Event | Mistake]:
    def one(data: bytes) -> Iterator[Message]:
        return _events(parsed(_decode, data), settings)

    return each_json(file, lambda data: [bytes(receipt) for receipt in parsed(_decode_webhook, data).receipts], one)


def _events(receipt: Receipt, settings: FeedSettings) -> Iterator[Message]:
    node = settings.node(receipt.store_id)
    lines = [line for number, item in enumerate(receipt.line_items) if (line := _line(item, f"line_items[{number}]"))]
    if not node or not lines:
        return
    number = short(receipt.receipt_number)
    cancelled = short(f"{number}-cancelled")
    sold, returned = {"node": node, "transaction_id": number}, {"node": node, "disposition": "sellable"}
    if receipt.receipt_type == "SALE":
        yield from messages(settings, "sale", number, receipt.receipt_date, sold, lines)
        if receipt.cancelled_at:
            yield from messages(settings, "sale_return", cancelled, receipt.cancelled_at, returned, lines)
    else:
        yield from messages(settings, "sale_return", number, receipt.receipt_date, returned, lines)
        if receipt.cancelled_at:
            yield from messages(settings, "sale", cancelled, receipt.cancelled_at, {**sold, "transaction_id": cancelled}, lines)


def _line(item: Line, field: str) -> dict[str, Any] | None:
    """None for a line of no units."""
    quantity = units(f"{field}.quantity", item.quantity)
    if quantity == 0:
        return None
    if item.sku:
        return {"sku": item.sku, "quantity": quantity}
    if not item.variant_id:
        raise malformed(f"{field} names no item: sku is {said(item.sku)}, variant_id is {said(item.variant_id)}")
    return {"alias": f"loyverse:{item.variant_id}", "quantity": quantity}


def signed(headers: Mapping[str, str], body: bytes, secret: str) -> bool:
    """Whether the header is the base64 HMAC-SHA1 of the body."""
    wanted = base64.b64encode(hmac.new(secret.encode(), body, "sha1").digest())
    return bool(secret) and hmac.compare_digest(headers.get(SIGNATURE_HEADER, "").encode(errors="replace"), wanted)


ADAPTER: Final = Adapter("pos", read, signed, order="id")
