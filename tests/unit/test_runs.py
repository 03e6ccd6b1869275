"""Which events go to the store in one call: plain ones, deltas with deltas, none past what is not plain."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from atp import limits
from atp.model.verbs import Adjust, Ship
from consumers.message import Message
from consumers.runs import in_runs

ENVELOPE = {"specversion": "1.0", "id": "e", "source": "wms", "time": datetime(2026, 1, 2, tzinfo=UTC)}
COUNT = {"as_of": datetime(2026, 1, 2, tzinfo=UTC), "lines": [{"sku": "A", "on_hand": 1}]}


def message(kind: str, *lines: dict[str, Any], **others: Any) -> Message:
    data = {"node": "N1", "sequence": 1, "lines": lines or [{"sku": "A", "quantity": 1}], **others}
    return Message(kind, f"inv.main.wms.{kind}", msgspec.json.encode({**ENVELOPE, "type": kind, "data": data}), 0.0)


def shape(messages: list[Message]) -> list[tuple[list[int], int | None]]:
    return [([plain.place for plain in run.plain], run.other) for run in in_runs(messages)]


RECEIPT = message("receipt")
SHIPMENT = message("shipment", shipment_id="S1")
CYCLE_COUNT = message("cycle_count", **COUNT)


@pytest.mark.parametrize(
    ("messages", "runs"),
    [
        ([], []),
        ([RECEIPT, SHIPMENT, RECEIPT], [([0, 1, 2], None)]),
        ([RECEIPT, CYCLE_COUNT, SHIPMENT], [([0], 1), ([2], None)]),
        ([CYCLE_COUNT, CYCLE_COUNT], [([], 0), ([], 1)]),
    ],
)
def test_what_is_not_plain_ends_a_run(messages: list[Message], runs: list[tuple[list[int], int | None]]) -> None:
    assert shape(messages) == runs


@pytest.mark.parametrize(
    "odd",
    [
        message("receipt", {"alias": "0001", "quantity": 1}),
        message("receipt", {"sku": "A", "unit": "case", "quantity": 1}),
        message("receipt", {"sku": "A", "quantity": 0}),
        message("receipt")._replace(subject="inv.main.erp.receipt"),
        message("receipt")._replace(data=b"\xff"),
        message("receipt", *({"sku": f"S{number}", "quantity": 1} for number in range(limits.PLAIN_LINES_PER_CALL_MAX + 1))),
    ],
    ids=["an alias", "a pack", "malformed", "on another's subject", "no text", "many lines"],
)
def test_what_wants_more_than_one_look_is_not_plain(odd: Message) -> None:
    assert shape([RECEIPT, odd]) == [([0], 1)]


def test_a_call_has_one_verb_and_no_more_lines_than_others_may_wait_for() -> None:
    wide = message("receipt", *({"sku": f"S{number}", "quantity": 1} for number in range(limits.PLAIN_LINES_PER_CALL_MAX - 1)))
    (run,) = in_runs([wide, SHIPMENT, RECEIPT, RECEIPT, SHIPMENT])
    calls = [(type(call[0].request), [plain.place for plain in call]) for call in run.calls()]
    assert calls == [(Adjust, [0, 2]), (Adjust, [3]), (Ship, [1, 4])]
