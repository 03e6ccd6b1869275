"""Shopify's webhook `inventory_levels/update`: what one location can sell of one item, as a snapshot of one line.

After *Webhooks* and *InventoryLevel*, https://shopify.dev/docs/api/webhooks and https://shopify.dev/docs/api/admin-rest/latest/resources/inventorylevel;
the signature after *Deliver webhooks through HTTPS*, https://shopify.dev/docs/apps/build/webhooks/subscribe/https.

Nodes are keyed by `location_id`; an item is known by the alias `shopify:<inventory_item_id>`. Shopify delivers late, twice and out of
order, and a webhook says what was true when it was built: so each is a snapshot whose place is `updated_at`, and the source is provisioned
with the order `time`. `updated_at` counts whole seconds, and a busy item has several levels in one: of the levels of a second the lowest
stands, in whatever order they come, until one of a later second comes. While things are sold that is the last one; where units came back
within that second it is too low, never too high. The event's `time` tells them apart, by a thousandth of that second for each unit: two
that differ beyond 0 or 999 units are a SEQUENCE_CONFLICT.

`X-Shopify-Triggered-At` would be finer, but no header is signed (the signature is of the body alone: *Verify webhook deliveries*,
https://shopify.dev/docs/apps/build/webhooks/verify-deliveries): whoever repeats a message could have given it another place.

`available` is net: Shopify has already taken off what it has committed to orders of its own. So the source is provisioned with snapshots
`net`. How many units those are the webhook does not say (`own_reserved` stays 0), so what the engine holds for the same orders is taken
off a second time until they ship: it promises less, never more.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import BinaryIO, Final

import msgspec

from atp.events import Event
from consumers.feeds.adapter import Adapter, FeedSettings, Message, Mistake, each_json, message, parsed, short

SIGNATURE_HEADER: Final = "x-shopify-hmac-sha256"
_TOLD_APART: Final = 1_000  # levels of one second: as many as it has milliseconds


class Level(msgspec.Struct, frozen=True):
    inventory_item_id: int
    location_id: int
    available: int | None  # none: the item is not tracked there
    updated_at: datetime


_decode = msgspec.json.Decoder(Level).decode


def read(file: BinaryIO, settings: FeedSettings) -> Iterator[Event | Mistake]:
    def one(data: bytes) -> Iterator[Message]:
        level = parsed(_decode, data)
        node = settings.node(str(level.location_id))
        if node and level.available is not None:
            yield _snapshot(level, level.available, node, settings)

    return each_json(file, lambda data: [data], one)


def _snapshot(level: Level, available: int, node: str, settings: FeedSettings) -> Message:
    as_of = settings.moment(level.updated_at)
    said = f"{level.inventory_item_id}-{level.location_id}-{as_of:%Y%m%dT%H%M%S%z}-{available}"
    line = {"alias": f"shopify:{level.inventory_item_id}", "on_hand": available}
    lowest_last = _TOLD_APART - 1 - min(max(available, 0), _TOLD_APART - 1)
    made = as_of.replace(microsecond=lowest_last * 1_000)
    return message(settings, "snapshot", short(said), made, {"node": node, "as_of": as_of, "lines": [line]})


def signed(headers: Mapping[str, str], body: bytes, secret: str) -> bool:
    """Whether the header is the base64 HMAC-SHA256 of the body under the app's client secret."""
    wanted = base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest())
    return bool(secret) and hmac.compare_digest(headers.get(SIGNATURE_HEADER, "").encode(errors="replace"), wanted)


ADAPTER: Final = Adapter("shopify", read, signed, order="time", snapshots="net")
