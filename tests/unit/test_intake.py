"""How an event is packed for the stream: where it goes, and when two are one."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from atp import canonical, events, limits
from atp.canonical import ContentError
from atp.intake import Packed, pack
from atp.model.status import ExceptionReason


def receipt(**changed: Any) -> events.Event:
    lines = [events.QuantityLine(sku="A", quantity=changed.pop("quantity", 1))]
    envelope = {"specversion": "1.0", "id": "e1", "source": "wms", "time": datetime(2026, 1, 2, tzinfo=UTC), **changed}
    return events.Receipt(**envelope, data=events.ReceiptData(node="N1", sequence=1, lines=lines))


def packed(**changed: Any) -> Packed:
    return pack("main", receipt(**changed))


def test_an_event_goes_on_its_subject_as_it_will_be_read() -> None:
    found = packed(correlation="c")
    assert found.subject == "inv.main.wms.receipt"
    assert canonical.decode(found.subject, found.data).event == receipt(correlation="c")


def test_the_same_event_in_another_conversation_is_the_same_message() -> None:
    assert packed(correlation="one").message_id == packed(correlation="another").message_id == packed().message_id


@pytest.mark.parametrize("changed", [{"id": "e2"}, {"source": "erp"}, {"quantity": 2}, {"time": datetime(2026, 1, 3, tzinfo=UTC)}])
def test_an_event_that_says_something_else_is_another_message(changed: dict[str, Any]) -> None:
    assert packed(**changed).message_id != packed().message_id


def test_the_same_event_in_another_pool_is_another_message() -> None:
    assert pack("other", receipt()).message_id != packed().message_id


def test_an_event_too_large_to_be_taken_is_refused_by_name() -> None:
    names = [f"{number}{'x' * 60}" for number in range(limits.ITEM_NAMES_MAX)]
    lines = [events.ItemLine(sku=f"S{number}", aliases=names) for number in range(limits.ITEM_LINES_MAX)]
    envelope = {name: getattr(receipt(), name) for name in ("specversion", "id", "source", "time")}
    large = events.ItemRegistered(**envelope, data=events.ItemsData(sequence=1, lines=lines))
    with pytest.raises(ContentError, match=f"an event has at most {limits.EVENT_BYTES_MAX}") as raised:
        pack("main", large)
    assert raised.value.reason == ExceptionReason.TOO_LARGE
    assert msgspec.json.decode(canonical.encode(large))["data"]["lines"]  # it could be sent, but for its size
