"""One table of every error a caller may see: its status, the name its metadata goes by, when to retry, and what to do next."""

from collections.abc import Sequence
from typing import ClassVar, Final, NamedTuple

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2 as code
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status as RpcStatus

from atp.errors import CallTimeoutError, IntakeUnavailableError, InvalidRequestError, RefusedError, StoreBusyError, StoreUnavailableError
from atp.model.status import Status
from service import bounds

DOMAIN: Final = "inventory.availability.v1"
_REASON: Final = "ERROR_REASON_"


class CallerError(Exception):
    """What is wrong with a call before its handler sees it; `args` are the names concerned."""

    reason: ClassVar[str]


class MalformedError(CallerError):
    """The body is not the message that the method takes; `args[0]` is the message's name."""

    reason = "MALFORMED"


class UnauthenticatedError(CallerError):
    """Nobody knows who calls; `args[0]` is the word of PROBLEMS. `client` is the name in a certificate that no client is listed for."""

    reason = "UNAUTHENTICATED"

    def __init__(self, problem: str, client: str = "") -> None:
        super().__init__(problem)
        self.advice = f"{PROBLEMS[problem]} The name is {client}." if client else PROBLEMS[problem]
        self.client = client
        self.metadata = {"client": client} if client else {}


class ScopeMissingError(CallerError):
    """The caller's identity lacks the scope `args[0]`."""

    reason = "SCOPE_MISSING"


class PoolForbiddenError(CallerError):
    """The caller's identity is for other pools than `args[0]`."""

    reason = "POOL_FORBIDDEN"


class SourceForbiddenError(CallerError):
    """The caller does not speak for the source `args[0]`."""

    reason = "SOURCE_FORBIDDEN"


class ErrorRow(NamedTuple):
    """How one reason is told. `about` is the metadata key of the names concerned; `retry_ms` 0 means that a retry alone cannot help."""

    code: int  # of google.rpc.Code
    about: str
    advice: str
    retry_ms: int = 0


#: By the reason's name without the enum's prefix, in the order of the enum.
ERRORS: Final[dict[str, ErrorRow]] = {
    "MALFORMED": ErrorRow(
        code.INVALID_ARGUMENT, "message", "The body is not this message: generate the client's stubs from the contract again."
    ),
    "INVALID_REQUEST": ErrorRow(code.INVALID_ARGUMENT, "", "Change these fields; the request can never succeed as it is."),
    "SCOPE_MISSING": ErrorRow(code.PERMISSION_DENIED, "scope", "Have the scope granted to this client."),
    "UNKNOWN_POOL": ErrorRow(code.NOT_FOUND, "pool", "Correct the name, or have the pool provisioned."),
    "POOL_NOT_OPEN": ErrorRow(code.UNAVAILABLE, "pool", "The ledger is being made whole after a restart: send the same call again.", 1_000),
    "UNKNOWN_RESERVATION": ErrorRow(code.NOT_FOUND, "reservation_id", "It was never made, or ended more than 24 hours ago: reserve first."),
    "KEY_REUSED": ErrorRow(code.ALREADY_EXISTS, "differs", "The key was used for another request: take a new key for a new request."),
    "RESERVATION_ID_STALE": ErrorRow(
        code.FAILED_PRECONDITION, "reservation_id", "Its time is over 24 hours old or 5 minutes ahead: make a new id if still wanted."
    ),
    "LEDGER_BACKLOG": ErrorRow(
        code.RESOURCE_EXHAUSTED, "pool", "No new holds until the ledger is passed on: send the same call again later.", 1_000
    ),
    "OPERATIONS_FULL": ErrorRow(code.FAILED_PRECONDITION, "reservation_id", "Confirm it, or release it as a whole and reserve anew."),
    "UNKNOWN_CHANNEL": ErrorRow(code.NOT_FOUND, "channel", "Correct the name, or have the channel provisioned."),
    "UNKNOWN_NODE": ErrorRow(code.NOT_FOUND, "nodes", "Correct the names, or have the nodes provisioned."),
    "NODE_NOT_IN_CHANNEL": ErrorRow(code.INVALID_ARGUMENT, "nodes", "Leave out the nodes that the channel does not sell from."),
    "TOO_MANY_ROWS": ErrorRow(code.INVALID_ARGUMENT, "channel", "SKUs times nodes are too many: name fewer nodes, or split the request."),
    "UNKNOWN_SKU": ErrorRow(code.NOT_FOUND, "skus", "Correct the SKUs or leave them out, or have the item feed register them."),
    "UNKNOWN_LINE": ErrorRow(code.NOT_FOUND, "lines", "Take the line numbers from the reservation."),
    "ORDER_FULL": ErrorRow(
        code.FAILED_PRECONDITION, "order_reference", "It has 100 reservations: wait for old ones to go, or take another reference."
    ),
    "SHIPMENT_SPANS_NODES": ErrorRow(
        code.FAILED_PRECONDITION, "nodes", "Send one Fulfil per node, with its own shipment id and that node's lines."
    ),
    "STORE_BUSY": ErrorRow(
        code.RESOURCE_EXHAUSTED, "", "Too many calls are under way: send the same call again after a growing pause.", 100
    ),
    "STORE_UNAVAILABLE": ErrorRow(code.UNAVAILABLE, "", "The store cannot be reached: send the same call with the same key again.", 1_000),
    "CALL_TIMEOUT": ErrorRow(code.DEADLINE_EXCEEDED, "", "There was no answer in time: send the same call with the same key again."),
    "INTERNAL": ErrorRow(code.INTERNAL, "correlation", "This is a fault of the service: report it with this correlation id."),
    "UNAUTHENTICATED": ErrorRow(code.UNAUTHENTICATED, "problem", "Show who calls, with a good token or certificate; the message says how."),
    "POOL_FORBIDDEN": ErrorRow(code.PERMISSION_DENIED, "pool", "Correct the pool, or have this client allowed to use it."),
    "INTAKE_UNAVAILABLE": ErrorRow(
        code.UNAVAILABLE, "", "The stream of events cannot be reached: send the same call again. Everything else goes on.", 1_000
    ),
    "SOURCE_FORBIDDEN": ErrorRow(code.PERMISSION_DENIED, "source", "Correct the source, or have this client allowed to speak for it."),
}

#: What can be wrong with how a caller shows who it is, and what to do about each.
PROBLEMS: Final[dict[str, str]] = {
    "missing": "Send a token in the metadata `authorization`: the word Bearer, a space, the token.",
    "malformed": f"Send one JWT of at most {bounds.TOKEN_CHARS_MAX} characters in `authorization`: Bearer, a space, the token unchanged.",
    "unknown_key": "The service does not know its key (`kid`): get a new token; if that does not help, have the service's keys renewed.",
    "wrong_algorithm": "Have the issuer sign with the algorithm that belongs to its kind of key: RS256 or PS256, ES256, ES384, EdDSA.",
    "bad_signature": "The issuer's key did not sign this: get a token from the issuer that the service trusts, and send it unchanged.",
    "bad_claims": "Have the issuer put in `exp`, `sub` (1 to 64 printable characters without spaces), `scope` as words, "
    "`pools` and `sources` as lists.",
    "wrong_issuer": "Get a token from the issuer that the service trusts: this one names another (`iss`).",
    "wrong_audience": "Get a token for this service: this one is for another (`aud`).",
    "expired": "Its time is over: get a new one.",
    "not_yet_valid": "Its time has not begun (`nbf`): wait, or set the clocks of issuer and service right.",
    "unknown_client": "The certificate is good, but no client is listed under its name: have it listed.",
}


def subject(status: Status, request: Message) -> list[str]:
    """What a refusal without names is about: the field of the request that the table's metadata key names."""
    return [str(getattr(request, ERRORS[status].about, ""))] if status in ERRORS else []


def rpc_status(error: Exception, *, writes: bool, correlation: str) -> RpcStatus:
    """The status that tells of an error; `writes` says whether the call could have changed something. Anything unforeseen is INTERNAL."""
    names: Sequence[str] = ()
    advice = ""  # other than the table's
    metadata: dict[str, str] = {}
    match error:
        case RefusedError() if error.status in ERRORS:
            reason, names = str(error.status), error.detail
        case InvalidRequestError():
            reason, names = "INVALID_REQUEST", [f"{field} {description}" for field, description in error.violations]
            metadata["count"] = str(len(names))
        case UnauthenticatedError():
            reason, names, advice = error.reason, error.args, error.advice
            metadata |= error.metadata
        case CallerError():
            reason, names = error.reason, error.args
        case StoreBusyError():
            reason = "STORE_BUSY"
        case StoreUnavailableError() | IntakeUnavailableError():
            reason = "STORE_UNAVAILABLE" if isinstance(error, StoreUnavailableError) else "INTAKE_UNAVAILABLE"
            metadata["outcome_unknown"] = _boolean(writes and error.outcome_unknown)
        case CallTimeoutError():
            reason, metadata["outcome_unknown"] = "CALL_TIMEOUT", _boolean(writes)
        case _:
            reason, names, metadata["outcome_unknown"] = "INTERNAL", [correlation], _boolean(writes)
    row = ERRORS[reason]
    details = [_error_info(reason, row.about, names, metadata)]
    if isinstance(error, InvalidRequestError):
        details.append(_bad_request(error))
    if row.retry_ms:
        details.append(RetryInfo(retry_delay=Duration(seconds=row.retry_ms // 1000, nanos=row.retry_ms % 1000 * 1_000_000)))
    return RpcStatus(code=row.code, message=_sentence(reason, names, advice or row.advice), details=map(_packed, details))


def reason_of(status: RpcStatus) -> str:
    """The reason that a status tells, by its name in ERRORS."""
    info = ErrorInfo()
    status.details[0].Unpack(info)
    return str(info.reason).removeprefix(_REASON)


def _error_info(reason: str, about: str, names: Sequence[str], metadata: dict[str, str]) -> Message:
    if about:
        metadata[about] = " ".join(names[: bounds.NAMES_MAX])
        if len(names) > bounds.NAMES_MAX:
            metadata["count"] = str(len(names))
    info: Message = ErrorInfo(reason=f"{_REASON}{reason}", domain=DOMAIN, metadata=metadata)
    return info


def _bad_request(error: InvalidRequestError) -> Message:
    told = error.violations[: bounds.VIOLATIONS_MAX]
    bad: Message = BadRequest(field_violations=[BadRequest.FieldViolation(field=v.field, description=v.description) for v in told])
    return bad


def _packed(detail: Message) -> Any:
    packed = Any()
    packed.Pack(detail)
    return packed


def _sentence(reason: str, names: Sequence[str], advice: str) -> str:
    listed = ", ".join(names[: bounds.MESSAGE_NAMES_MAX])
    more = f", and {len(names) - bounds.MESSAGE_NAMES_MAX} more" if len(names) > bounds.MESSAGE_NAMES_MAX else ""
    return f"{reason} ({listed}{more}). {advice}" if listed else f"{reason}. {advice}"


def _boolean(value: bool) -> str:
    return "true" if value else "false"
