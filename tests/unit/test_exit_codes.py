"""Which error ends `atp` with which exit code: expected ones have a line and a code, bugs keep their traceback."""

import grpc
import nats.errors
import pytest

from atp import errors
from atp.model.status import Status
from cli import exit_codes
from cli.embedded import PortTakenError
from cli.exit_codes import REFUSED, UNREACHABLE, USAGE, CommandError
from service.listen import ListenError
from service.settings import SettingsError


def grpc_error(code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details="why")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CommandError("as it says", REFUSED), REFUSED),
        (errors.InvalidRequestError([errors.Violation("lines", "must not be empty")]), USAGE),
        (errors.RefusedError(Status.UNKNOWN_POOL, ["main"]), REFUSED),
        (errors.StoreUnavailableError("gone"), UNREACHABLE),
        (errors.StoreBusyError("busy"), UNREACHABLE),
        (errors.CallTimeoutError("late"), UNREACHABLE),
        (PortTakenError("taken"), UNREACHABLE),
        (ListenError("not ours"), USAGE),
        (SettingsError("no key"), USAGE),
        (grpc_error(grpc.StatusCode.INVALID_ARGUMENT), USAGE),
        (grpc_error(grpc.StatusCode.NOT_FOUND), REFUSED),
        (grpc_error(grpc.StatusCode.UNAVAILABLE), UNREACHABLE),
        (nats.errors.NoServersError(), UNREACHABLE),
        (ConnectionRefusedError("no"), UNREACHABLE),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_an_expected_error_has_a_code_and_a_message(error: Exception, code: int) -> None:
    found = exit_codes.from_error(error)
    assert found is not None
    assert found.exit_code == code
    assert str(found)


@pytest.mark.parametrize("bug", [KeyError("x"), ValueError("y"), grpc_error(grpc.StatusCode.INTERNAL)], ids=repr)
def test_a_bug_is_not_dressed_up(bug: Exception) -> None:
    assert exit_codes.from_error(bug) is None
