"""One user's calls: a client of its own without retries, and each call told to locust with what it took."""

import time
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

from atp_client import AtpClient, AtpError, Refused

DEADLINE_S: Final = 5.0

#: Told of each call, with locust's names.
Fire = Callable[..., None]
AnswerT = TypeVar("AnswerT")


class Target(NamedTuple):
    """Where the service is, and how it is spoken to."""

    address: str
    pool: str
    channel: str
    token: str | None = None
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None


class Calls:
    """A client has a connection of its own: a thousand users on one would load one of several services, and queue before it."""

    def __init__(self, target: Target, fire: Fire) -> None:
        """Raises ValueError for a target that cannot be, OSError for a file that cannot be read."""
        self._fire = fire
        # A retry that nobody sees would make the figures better than they are.
        self.client = AtpClient(timeout_s=DEADLINE_S, retry=False, **target._asdict())

    def connect(self, sku: str) -> None:
        """Makes the connection by a call that is not counted; if there is no service, those that are will say so."""
        try:
            self.client.availability([sku])
        except AtpError:
            return

    def make(self, name: str, call: Callable[[], AnswerT], *refusals: str, in_doubt: Callable[[], None] | None = None) -> AnswerT | None:
        """The answer; None if there was none. An error is what has no answer, and a refusal whose outcome is not among those named.

        `in_doubt` is called if nobody can say whether it was done; also if locust ends the user in the middle of the call.
        """
        began = time.perf_counter()
        answer: AnswerT | None = None
        error: str | None = None
        unknown = True
        try:
            answer = call()
            unknown = False
            if isinstance(answer, Refused) and answer.outcome not in refusals:
                error = answer.outcome
        except AtpError as failure:  # counted by its name: the message differs from call to call
            error = failure.reason or failure.code.name
            unknown = failure.outcome_unknown
        finally:
            if unknown and in_doubt:
                in_doubt()
        took_ms = (time.perf_counter() - began) * 1000
        self._fire(request_type="grpc", name=name, response_time=took_ms, response_length=0, exception=error and CallError(error))
        return answer

    def close(self) -> None:
        self.client.close()


class CallError(Exception):
    """What locust counts as one kind of error, by its name."""
