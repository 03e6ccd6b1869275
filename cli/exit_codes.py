"""What the exit code of `atp` means, and which error ends with which: the one place that knows."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # commands import what they need when they run
    import grpc

OK: Final = 0
REFUSED: Final = 1  # the answer is no: short of stock, a wrong state, a verdict that failed
USAGE: Final = 2  # the command or the request is wrong; sending it again cannot help
UNREACHABLE: Final = 3  # the service or a server is not there, or did not answer in time

#: By the name of a gRPC status.
_BY_STATUS: Final = {
    "INVALID_ARGUMENT": USAGE,
    "UNIMPLEMENTED": USAGE,
    "UNAVAILABLE": UNREACHABLE,
    "DEADLINE_EXCEEDED": UNREACHABLE,
    "RESOURCE_EXHAUSTED": UNREACHABLE,
    "NOT_FOUND": REFUSED,
    "ALREADY_EXISTS": REFUSED,
    "FAILED_PRECONDITION": REFUSED,
    "PERMISSION_DENIED": REFUSED,
    "UNAUTHENTICATED": REFUSED,
}

EPILOG: Final = "Exit codes: 0 done, 1 the answer is no, 2 wrong usage, 3 the service or a server cannot be reached."


class CommandError(Exception):
    """Ends the command with a message for the person at the terminal and an exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def from_error(error: Exception) -> CommandError | None:
    """The message and exit code of an expected error; none for a bug, which deserves its traceback."""
    if isinstance(error, CommandError):
        return error
    for translate in (_from_domain, _from_grpc, _from_nats):
        if (found := translate(error)) is not None:
            return found
    return None


def _from_domain(error: Exception) -> CommandError | None:
    from atp import errors
    from cli.config import ConfigurationError
    from cli.embedded import ServerError
    from service.listen import ListenError
    from service.settings import SettingsError

    table: dict[type[Exception], int] = {
        errors.InvalidRequestError: USAGE,
        errors.RefusedError: REFUSED,
        errors.StoreUnavailableError: UNREACHABLE,
        errors.StoreBusyError: UNREACHABLE,
        errors.CallTimeoutError: UNREACHABLE,
        ConfigurationError: USAGE,
        ServerError: UNREACHABLE,
        ListenError: USAGE,
        SettingsError: USAGE,
        errors.AtpError: REFUSED,  # the others: what was found is not as it must be
    }
    for kind, code in table.items():
        if isinstance(error, kind):
            return CommandError(str(error), code)
    return None


def _from_grpc(error: Exception) -> CommandError | None:
    import grpc

    if not isinstance(error, grpc.RpcError) or not isinstance(error, grpc.Call | grpc.aio.AioRpcError):
        return None
    code = of_status(error.code())
    return None if code is None else CommandError(f"{error.code().name}: {error.details()}", code)


def of_status(status: "grpc.StatusCode") -> int | None:
    """The exit code of a call that ended so; none if the service is at fault."""
    return _BY_STATUS.get(status.name)


def _from_nats(error: Exception) -> CommandError | None:
    from nats import errors

    expected = (errors.NoServersError, errors.TimeoutError, errors.ConnectionClosedError, ConnectionError)
    if not isinstance(error, expected):
        return None
    return CommandError(f"cannot reach a server: {str(error) or type(error).__name__}", UNREACHABLE)
