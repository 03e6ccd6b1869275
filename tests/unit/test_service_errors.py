"""How errors of the domain become statuses."""

import pytest
from google.rpc import code_pb2
from google.rpc.error_details_pb2 import ErrorInfo

from atp.errors import AtpError, CallTimeoutError, RefusedError, StoreUnavailableError
from atp.model.status import Status
from inventory.availability.v1.reservation_service_pb2 import ReserveRequest
from service.errors import ERRORS, rpc_status, subject


def info(error: Exception, *, writes: bool = True) -> ErrorInfo:
    found = ErrorInfo()
    assert rpc_status(error, writes=writes, correlation="c1").details[0].Unpack(found)
    return found


@pytest.mark.parametrize("status", [status for status in Status if status not in ERRORS])
def test_an_answer_that_no_caller_should_get_is_a_fault_of_ours(status: Status) -> None:
    told = rpc_status(RefusedError(status, ["inside"]), writes=True, correlation="c1")
    assert told.code == code_pb2.INTERNAL
    assert "inside" not in str(told)


def test_an_error_that_nobody_foresaw_is_a_fault_of_ours() -> None:
    assert info(AtpError("new")).reason == info(ValueError("odd")).reason == "ERROR_REASON_INTERNAL"


@pytest.mark.parametrize(
    ("error", "of_a_write", "of_a_read"),
    [
        (StoreUnavailableError("away"), "false", "false"),
        (StoreUnavailableError("lost", outcome_unknown=True), "true", "false"),
        (CallTimeoutError("late"), "true", "false"),
        (ValueError("odd"), "true", "false"),
    ],
)
def test_only_a_write_that_was_under_way_leaves_anything_in_doubt(error: Exception, of_a_write: str, of_a_read: str) -> None:
    assert info(error).metadata["outcome_unknown"] == of_a_write
    assert info(error, writes=False).metadata["outcome_unknown"] == of_a_read


def test_a_refusal_without_names_is_about_what_the_request_named() -> None:
    request = ReserveRequest(pool="de", reservation_id="r1", order_reference="o1", channel="web")
    assert [
        subject(status, request) for status in (Status.POOL_NOT_OPEN, Status.RESERVATION_ID_STALE, Status.ORDER_FULL, Status.TOO_MANY_ROWS)
    ] == [
        ["de"],
        ["r1"],
        ["o1"],
        ["web"],
    ]


def test_the_sentence_names_a_few_and_says_what_to_do() -> None:
    told = rpc_status(RefusedError(Status.UNKNOWN_SKU, list("ABCDE")), writes=True, correlation="")
    assert told.message == "UNKNOWN_SKU (A, B, C, and 2 more). Correct the SKUs or leave them out, or have the item feed register them."
