"""What is wrong with a call or with the service: one exception for each way in which a caller goes on. Read from gRPC here alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, cast

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

DETAILS_KEY: Final = "grpc-status-details-bin"
_PREFIX: Final = "ERROR_REASON_"


class Violation(NamedTuple):
    """A field of a request, and the rule that it breaks."""

    field: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What was told of a call that failed. `same_call` is the argument that makes the call the same when it is sent again."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: tuple[Violation, ...] = ()
    retry_after_s: float | None = None
    outcome_unknown: bool = False
    same_call: Mapping[str, str] = field(default_factory=dict)


class AtpError(Exception):
    """A call failed, and changed nothing unless `outcome_unknown`.

    `reason` is a name of the contract's ErrorReason without its prefix (docs/errors.md); empty if the service did not answer, and then
    only `code` and `message` are told, by gRPC. `metadata` names the things concerned. `retry_after_s` is how long the service asked
    to wait. `same_call` is what to pass to make the same call once more: `reserve(lines, **error.same_call)`; empty for reads, and for
    events, which have ids of their own.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.code = failure.code
        self.message = failure.message
        self.reason = failure.reason
        self.metadata = failure.metadata
        self.retry_after_s = failure.retry_after_s
        self.outcome_unknown = failure.outcome_unknown
        self.same_call = failure.same_call

    @property
    def advice(self) -> str:
        """What to do about an unknown outcome; empty if it is known. What else to do, the message of the service says."""
        if not self.outcome_unknown:
            return ""
        arguments = "".join(f", with {name}={value!r}" for name, value in self.same_call.items())
        return f"It may have been done or not: send the same call again{arguments}."

    def __str__(self) -> str:
        said = self.message if self.reason else f"{self.code.name}: {self.message}"
        return f"{said.rstrip('.')}. {self.advice}".rstrip()


class InvalidRequestError(AtpError):
    """The request can never succeed as it is: `violations` names each field and its rule, unless `metadata` names what is wrong."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.violations = failure.violations


class NotFoundError(AtpError):
    """A pool, channel, node, SKU, reservation or line is not known: `reason` says which kind, `metadata` its names."""


class KeyReusedError(AtpError):
    """The id or key was used for another request: `metadata["differs"]` says in what it differs."""


class PreconditionError(AtpError):
    """What there is does not allow it: a stale id, a full order, a shipment of several nodes."""


class DeniedError(AtpError):
    """The caller's token is missing or not good, or does not allow this call."""


class UnavailableError(AtpError):
    """The service, its store or the way to it is away or busy, and stayed so for as long as the call might take."""


class TimedOutError(AtpError):
    """The call's time was over before an answer came."""


class FaultError(AtpError):
    """The service is at fault, or the client and the service do not speak the same version of the contract."""


_CLASSES: Final[dict[grpc.StatusCode, type[AtpError]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: KeyReusedError,
    grpc.StatusCode.FAILED_PRECONDITION: PreconditionError,
    grpc.StatusCode.UNAUTHENTICATED: DeniedError,
    grpc.StatusCode.PERMISSION_DENIED: DeniedError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: UnavailableError,
    grpc.StatusCode.CANCELLED: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: TimedOutError,
}
#: The request was looked at, and found wanting: whatever an earlier try of the same call may have done, it has not been done.
_DECIDED: Final = (InvalidRequestError, NotFoundError, KeyReusedError, PreconditionError)
#: Without details a call may have got there or not; these come from the way there and back. With details, metadata says it.
_LOST: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
    }
)
_SOON_OVER: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})


def read(error: grpc.RpcError, same_call: Mapping[str, str] | None) -> Failure:
    """What a stub raised, in full; `same_call` is none for a call that changes nothing."""
    call = cast(grpc.aio.AioRpcError, error)  # or grpc's other kind, which tells the same
    code, details = call.code(), call.details() or ""
    told = _told([value for key, value in call.trailing_metadata() or () if key == DETAILS_KEY and isinstance(value, bytes)])
    if told is None:
        unknown = same_call is not None and code in _LOST
        return Failure(code=code, message=details, outcome_unknown=unknown, same_call=same_call or {})
    info, bad, retry = told
    return Failure(
        code=code,
        message=details,
        reason=info.reason.removeprefix(_PREFIX),
        metadata=dict(info.metadata),
        violations=tuple(Violation(wrong.field, wrong.description) for wrong in bad.field_violations),
        retry_after_s=retry.retry_delay.ToMilliseconds() / 1000 if retry.HasField("retry_delay") else None,
        outcome_unknown=same_call is not None and info.metadata.get("outcome_unknown") == "true",
        same_call=same_call or {},
    )


def _told(packed: list[bytes]) -> tuple[ErrorInfo, BadRequest, RetryInfo] | None:
    """The details, or none if the service itself did not send any."""
    info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
    try:
        for detail in _details(packed):
            for kind in (info, bad, retry):
                detail.Unpack(kind)
    except DecodeError:
        return None
    return (info, bad, retry) if info.reason else None


def _details(packed: list[bytes]) -> Iterator[Any]:
    for status in packed:
        yield from Status.FromString(status).details


def may_be_sent_again(failure: Failure) -> bool:
    """Whether the same call can have another end, soon. It is always safe: every call carries a key of its own."""
    if not failure.reason:
        return failure.code in _LOST
    return failure.code in _SOON_OVER or failure.retry_after_s is not None or failure.outcome_unknown


def to_raise(failure: Failure, *, earlier_unknown: bool) -> AtpError:
    """The exception of a call's last failure; `earlier_unknown` says whether an earlier try may have been done."""
    kind = _CLASSES.get(failure.code, FaultError)
    unknown = failure.outcome_unknown or (earlier_unknown and not issubclass(kind, _DECIDED))
    return kind(replace(failure, outcome_unknown=unknown))
