"""The largest ledger entries that events can make, with the longest names there are: none is larger than atp/limits.py counts."""

import asyncio

import pytest

from atp import limits, requests
from atp.model.arrival import entry_room, name_bytes
from atp.model.verbs import (
    Adjust,
    ChannelConfig,
    Context,
    Count,
    Figures,
    ItemLine,
    NodeConfig,
    Provision,
    Register,
    SourceConfig,
)
from cli.embedded import StoreServer
from tests.pair import CONTEXT, Pair

LETTER = "𝒜"  # four bytes
LINES = 8
SHIPMENTS = 5
SKUS = [LETTER * (limits.ID_CHARS_MAX - 1) + str(number) for number in range(LINES)]
EVENT = LETTER * limits.ID_CHARS_MAX
NODE, SOURCE = "N" * limits.NAME_CHARS_MAX, "S" * limits.NAME_CHARS_MAX
CONVERSATION = Context("A" * limits.NAME_CHARS_MAX, LETTER * limits.ID_CHARS_MAX)
LAST_SEQUENCE, LAST_FINGERPRINT = 2**53 - 2, 2**32 - 1
MUCH = limits.QUANTITY_MAX


async def pool_with_full_windows(url: str, damaged_authority: str) -> Pair:
    """Every window is full, every figure needs its last byte, everything on hand is sold; some of it has left and is not booked."""
    pair = Pair(url)
    await pair.start()
    nodes = [NodeConfig(NODE, "store", "UTC", SOURCE, damaged_authority)]
    await pair.do(Provision(CONTEXT, nodes, [ChannelConfig("far", [NODE])], [SourceConfig(SOURCE, False)]))
    await pair.do(Register(CONTEXT, "e", "erp", 1, 1, [ItemLine(sku, 0) for sku in SKUS]))
    first = LAST_SEQUENCE - limits.WINDOW_DELTAS_MAX
    await pair.do(Count(CONTEXT, "e", SOURCE, NODE, first, LAST_FINGERPRINT, 0, [Figures(sku, MUCH, 0, 0) for sku in SKUS]))
    sold = requests.reserve(
        CONTEXT,
        reservation_id="R",
        own_id=False,
        channel="far",
        order_reference="",
        ttl_ms=limits.HOLD_TTL_MS_MAX,
        partial=False,
        nodes=[],
        lines=[(sku, MUCH) for sku in SKUS],
    )
    assert (await pair.do(sold)).status == "OK"
    await pair.do(requests.confirm(CONTEXT, reservation_id="R", key="K", reacquire=False))
    for number in range(SHIPMENTS):
        shipment = EVENT[1:] + str(number)
        lines = [(line, MUCH // SHIPMENTS // 2) for line in range(1, LINES + 1)]
        await pair.do(requests.fulfil(CONTEXT, reservation_id="R", shipment_id=shipment, shipped_ms=0, lines=lines))
    for number in range(1, limits.WINDOW_DELTAS_MAX):
        change = MUCH if number % 2 else -MUCH
        figures = [Figures(sku, change, change, change) for sku in SKUS]
        await pair.do(Adjust(CONTEXT, "e", "adjustment", SOURCE, NODE, first + number, LAST_FINGERPRINT, figures))
    return pair


async def entry_of(pair: Pair, event: Adjust | Count) -> int:
    """Bytes of the entry that an event makes."""
    assert (await pair.do(event)).status == "OK"
    return len((await pair.store.ledger_after(pair.pool, pair.model.revision - 1, 1))[0].entry)


@pytest.mark.parametrize("damaged_authority", ["", "wms"], ids=["the source speaks of all figures", "of some, the others are compared"])
def test_no_event_makes_a_larger_entry_than_is_counted(valkey: StoreServer, damaged_authority: str) -> None:
    async def run() -> None:
        pair = await pool_with_full_windows(valkey.url, damaged_authority)
        try:
            figures = [Figures(sku, -2 * MUCH, MUCH, MUCH) for sku in SKUS]
            adjust = Adjust(CONVERSATION, EVENT, "adjustment", SOURCE, NODE, LAST_SEQUENCE, LAST_FINGERPRINT, figures)
            counted = limits.LEDGER_ENTRY_BYTES_MAX - entry_room(pair.model, adjust, EVENT)
            assert 0.8 * counted < await entry_of(pair, adjust) <= counted
            assert len(pair.model.entries[-1].exceptions) == LINES

            levels = [Figures(sku, -2 * MUCH, MUCH - 1, 1) for sku in SKUS]
            count = Count(CONVERSATION, EVENT, SOURCE, NODE, LAST_SEQUENCE + 1, LAST_FINGERPRINT, pair.now_ms, levels, part=1, parts=2)
            counted = limits.LEDGER_ENTRY_BYTES_MAX - entry_room(pair.model, count, EVENT)
            booked = LINES * SHIPMENTS * (2 * name_bytes(SKUS[0], NODE) + 3 * name_bytes(EVENT) + limits.BOOKING_BYTES)
            assert 0.5 * (counted + booked) < await entry_of(pair, count) <= counted + booked
            assert not any(pair.model.unbooked.values())
        finally:
            await pair.close()

    asyncio.run(run())
