"""One name for one thing: scripts, Python and the contract agree; tables, comments and docs are complete."""

import re
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.rpc import code_pb2

from atp.model.status import OUTCOMES, State, Status
from atp.store import scripts
from inventory.availability.v1.error_reason_pb2 import ErrorReason
from inventory.availability.v1.reservation_pb2 import Outcome, Reservation
from service.errors import ERRORS
from service.methods import methods

ROOT = Path(__file__).resolve().parents[2]
PROTO = ROOT / "proto/inventory/availability/v1"
#: Answers that no caller over gRPC ever gets: the store layer acts on them, or feeds do.
NOT_OVER_GRPC = {
    Status.REAP_MORE,
    Status.SKU_KNOWN,
    Status.UNKNOWN_SOURCE,
    Status.UNKNOWN_ORDER,
    Status.NOT_AUTHORITY,
    Status.DUPLICATE,
    Status.SEQUENCE_MISSING,
    Status.SEQUENCE_CONFLICT,
    Status.SHIPMENT_CONFLICT,
    Status.SEQUENCE_BELOW_WINDOW,
    Status.QUANTITY_OUT_OF_RANGE,
    Status.WAITING_FULL,
    Status.FIGURE_MOVED,
}
VERBS = {"reserve": "Reserve", "confirm": "Confirm", "release": "Release", "extend": "Extend", "fulfil": "Fulfil"}
READS = {"availability": "BatchGetAvailability", "explain": "ExplainAvailability"}


def values(enum, prefix: str) -> list[str]:
    return [name.removeprefix(prefix) for name in enum.keys()[1:]]


def returned(script: str) -> list[str]:
    """The answers that a script's header lists."""
    header = (ROOT / f"atp/lua/{script}.lua").read_text().partition("]]")[0]
    listed = re.sub(r"\(.*?\)", "", header.partition("Returns")[2].partition("Invariant")[0], flags=re.DOTALL)
    return [name for name in re.findall(r"\b[A-Z][A-Z_]+\b", listed) if name in Status.__members__]


def documented(rpc: str) -> set[str]:
    """The outcomes and reasons that the comment of a method lists."""
    text = "\n".join(path.read_text() for path in PROTO.glob("*_service.proto"))
    comment = re.search(rf"((?:  //.*\n)+)  rpc {rpc}\(", text)
    assert comment
    return set(re.findall(r"\b[A-Z]{2,}(?:_[A-Z]+)*\b", comment[1]))


def test_outcomes_are_the_same_in_the_same_order() -> None:
    assert values(Outcome, "OUTCOME_") == [status for status in Status if status in OUTCOMES]


def test_states_are_the_same_in_the_same_order() -> None:
    assert values(Reservation.State, "STATE_") == list(State)


def test_every_reason_has_its_row_in_the_order_of_the_enum() -> None:
    assert values(ErrorReason, "ERROR_REASON_") == list(ERRORS)


def test_every_status_is_an_outcome_a_reason_or_never_sent() -> None:
    assert [status for status in Status if status not in OUTCOMES | NOT_OVER_GRPC] == [
        name for name in ERRORS if name in Status.__members__
    ]


@pytest.mark.parametrize(("script", "rpc"), (VERBS | READS).items())
def test_a_method_documents_what_its_script_returns(script: str, rpc: str) -> None:
    assert script in scripts.names()
    names = [name for name in returned(script) if name not in NOT_OVER_GRPC]
    assert len(names) > 2
    said_once_for_all = {"OK", "POOL_NOT_OPEN"} if script in READS else {"POOL_NOT_OPEN"}
    assert set(names) - documented(rpc) <= said_once_for_all


@pytest.mark.parametrize("script", VERBS)
def test_a_script_lists_its_answers_in_order_of_precedence(script: str) -> None:
    names = [name for name in returned(script) if name in OUTCOMES]
    assert names == [status for status in Status if status in names]


def test_the_table_has_every_method_of_the_contract() -> None:
    rpcs = {rpc for path in PROTO.glob("*_service.proto") for rpc in re.findall(r"  rpc (\w+)\(", path.read_text())}
    assert {name.rpartition("/")[2] for name in methods(None, None)} == rpcs


def test_every_reason_has_a_worked_example_and_names_its_status() -> None:
    comments = dict(
        reversed(found) for found in re.findall(r"((?:  //.*\n)+)  ERROR_REASON_(\w+) = [1-9]", (PROTO / "error_reason.proto").read_text())
    )
    assert set(comments) == set(ERRORS)
    for reason, row in ERRORS.items():
        comment = comments[reason]
        assert comment.startswith(f"  // {code_pb2.Code.Name(row.code)}"), reason
        assert "  // Example: " in comment, reason
        example = re.search(rf'"reason": "ERROR_REASON_{reason}"(?:, "metadata": \{{ "(\w+)")?', comment)
        assert example, reason
        assert not row.about or example[1] == row.about, reason
        assert ("RetryInfo" in comment) == bool(row.retry_ms), reason


def test_the_docs_list_every_error_as_the_table_has_it() -> None:
    docs = (ROOT / "docs/errors.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (.*?) \| (.*?) \|$", docs, re.MULTILINE)
    told = [
        (
            reason,
            code_pb2.Code.Name(row.code),
            f"`{row.about}`" if row.about else "",
            f"{row.retry_ms / 1000:g} s" if row.retry_ms else "",
            row.advice,
        )
        for reason, row in ERRORS.items()
    ]
    assert rows == told


def test_the_baseline_is_an_image_of_the_contract_and_can_be_compared() -> None:
    image = FileDescriptorSet.FromString((ROOT / "proto/baseline.binpb").read_bytes())
    assert {file.name for file in image.file} >= {f"inventory/availability/v1/{path.name}" for path in PROTO.glob("*.proto")}
