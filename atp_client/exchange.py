"""One call as steps, for plain code and asyncio alike: what to send, how long to pause, when to give up."""

import itertools
import random
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

import grpc
from google.protobuf.message import Message

from atp_client import errors

TIMEOUT_S_DEFAULT: Final = 2.0
PAUSE_S_FIRST: Final = 0.05  # before the second try; doubled with each, and each a random part shorter
PAUSE_S_MAX: Final = 1.0

#: The field that makes a call the same when it is sent again, by method; empty where what is sent has ids of its own. The others change
#: nothing.
KEYS: Final[Mapping[str, str]] = {
    "Reserve": "reservation_id",
    "Confirm": "operation_key",
    "Release": "operation_key",
    "Extend": "operation_key",
    "Fulfil": "shipment_id",
    "Adjust": "",
}


class Send(NamedTuple):
    """A request to send once, within so many seconds; what comes back is the answer, or the error that was raised."""

    method: str
    request: Message
    timeout_s: float
    metadata: tuple[tuple[str, str], ...]


class Pause(NamedTuple):
    """Seconds to wait."""

    s: float


AnswerT = TypeVar("AnswerT")
#: Steps to be taken in turn, each with what came of the step before; at the end there is an answer, or an AtpError.
Steps: TypeAlias = Generator[Send | Pause, Any, AnswerT]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls: what all calls of a client have in common."""

    pool: str
    channel: str
    timeout_s: float
    retry: bool
    token: Callable[[], str] | None

    def call(self, method: str, request: Message, correlation: str, deadline: float | None = None) -> Steps[Any]:
        """Sends a request until it is answered, refused or too late; answers with the message. Raises AtpError."""
        deadline = time.monotonic() + self.timeout_s if deadline is None else deadline
        same_call = _same_call(method, request)
        unknown = False
        for number in itertools.count():
            reply = yield Send(method, request, deadline - time.monotonic(), self._metadata(correlation))
            if not isinstance(reply, grpc.RpcError):
                return reply
            failure = errors.read(reply, same_call)
            pause_s = _pause_s(number, failure.retry_after_s)
            too_late = time.monotonic() + pause_s >= deadline
            if too_late or not self.retry or not errors.may_be_sent_again(failure):
                raise errors.to_raise(failure, earlier_unknown=unknown) from reply
            unknown = unknown or failure.outcome_unknown
            yield Pause(pause_s)
        raise AssertionError("unreachable: the last try returns or raises")

    def _metadata(self, correlation: str) -> tuple[tuple[str, str], ...]:
        metadata = (("x-correlation-id", correlation),) if correlation else ()
        if self.token is None:
            return metadata
        return (*metadata, ("authorization", f"Bearer {self.token().strip()}"))  # a file's ends in a line break, which gRPC refuses


def _same_call(method: str, request: Message) -> dict[str, str] | None:
    """What makes the call the same when it is sent again, beside what it says; none for one that changes nothing."""
    if method not in KEYS:
        return None
    key = KEYS[method]
    return {key: getattr(request, key)} if key else {}


def _pause_s(tries: int, retry_after_s: float | None) -> float:
    """Never sooner than the service asked for, and never in step with other clients."""
    return (retry_after_s or 0.0) + min(PAUSE_S_FIRST * 2**tries, PAUSE_S_MAX) * random.uniform(0.5, 1.0)
