"""How an event is packed for the stream: where it goes, and that it fits."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from atp import canonical, events, limits
from atp.canonical import ContentError
from atp.intake import pack
from atp.model.status import ExceptionReason

ENVELOPE: dict[str, Any] = {"specversion": "1.0", "id": "e1", "source": "wms", "time": datetime(2026, 1, 2, tzinfo=UTC), "correlation": "c"}


def test_an_event_goes_on_its_subject_as_it_will_be_read() -> None:
    lines = [events.QuantityLine(sku="A", quantity=1)]
    receipt = events.Receipt(**ENVELOPE, data=events.ReceiptData(node="N1", sequence=1, lines=lines))
    found = pack("main", receipt)
    assert found.subject == "inv.main.wms.receipt"
    assert canonical.decode(found.subject, found.data).event == receipt


def test_an_event_too_large_to_be_taken_is_refused_by_name() -> None:
    names = [f"{number}{'x' * 60}" for number in range(limits.ITEM_NAMES_MAX)]
    lines = [events.ItemLine(sku=f"S{number}", aliases=names) for number in range(limits.ITEM_LINES_MAX)]
    large = events.ItemRegistered(**ENVELOPE, data=events.ItemsData(sequence=1, lines=lines))
    with pytest.raises(ContentError, match=f"an event has at most {limits.EVENT_BYTES_MAX}") as raised:
        pack("main", large)
    assert raised.value.reason == ExceptionReason.TOO_LARGE
    assert msgspec.json.decode(canonical.encode(large))["data"]["lines"]  # it could be sent, but for its size
