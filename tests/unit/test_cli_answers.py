"""What people are shown of items and nodes that are not simply sold."""

import pytest

from cli.answers import show_availability, show_explanation
from inventory.availability.v1 import availability_service_pb2 as pb

BLOCKED = pb.AvailabilityLine(
    sku="MUG",
    status=pb.SKU_STATUS_KNOWN,
    state=pb.ITEM_STATE_BLOCKED,
    nodes=[pb.NodeAvailability(node="DC1", available=0), pb.NodeAvailability(node="STORE1", available=0, shut=True)],
)


def test_a_line_says_that_its_item_is_blocked_and_which_node_is_shut(capsys: pytest.CaptureFixture[str]) -> None:
    show_availability(pb.BatchGetAvailabilityResponse(lines=[BLOCKED]), [0], "main", json=False)
    shown = capsys.readouterr().out
    assert "0 can be promised: 0 at DC1, 0 at STORE1 (shut)" in shown
    assert "MUG is blocked: nothing of it is promised." in shown


def test_a_table_says_it_beside_the_sku_and_in_the_nodes_column(capsys: pytest.CaptureFixture[str]) -> None:
    active = pb.AvailabilityLine(sku="TEA", status=pb.SKU_STATUS_KNOWN, state=pb.ITEM_STATE_ACTIVE, available=3)
    show_availability(pb.BatchGetAvailabilityResponse(lines=[BLOCKED, active]), [0, 0], "main", json=False)
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "MUG (blocked) 0 0 shut" in rows
    assert "TEA 3" in rows


def test_an_explanation_says_why_nothing_is_promised(capsys: pytest.CaptureFixture[str]) -> None:
    answer = pb.ExplainAvailabilityResponse(item_state=pb.ITEM_STATE_DISCONTINUED, node_state=pb.NODE_STATE_CLOSED)
    show_explanation(answer, "MUG", "DC1")
    shown = capsys.readouterr().out
    assert "MUG is discontinued: what is left of it is sold, the safety stock too." in shown
    assert "DC1 is closed: nothing is promised from it." in shown
    show_explanation(pb.ExplainAvailabilityResponse(item_state=pb.ITEM_STATE_ACTIVE, node_state=pb.NODE_STATE_ACTIVE), "MUG", "DC1")
    assert " is " not in capsys.readouterr().out
