"""Many clients of the gRPC service over a few connections: retries with the same ids only, and a stopwatch on every call."""

import asyncio
import itertools
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVar

import grpc

from atp_client.connection import NO_PROXY
from inventory.availability.v1.availability_service_pb2_grpc import AvailabilityServiceStub
from inventory.availability.v1.reservation_service_pb2_grpc import ReservationServiceStub

if TYPE_CHECKING:  # only the stubs' types know them
    from inventory.availability.v1.availability_service_pb2_grpc import AvailabilityServiceAsyncStub
    from inventory.availability.v1.reservation_service_pb2_grpc import ReservationServiceAsyncStub

CONNECTIONS: Final = 4
CALL_TIMEOUT_S: Final = 20.0
RETRIES_MAX: Final = 8
RETRY_PAUSE_S: Final = 0.1  # doubled with every retry, up to two seconds
RETRY_PAUSE_S_MAX: Final = 2.0
#: Channels to one address share a connection unless each has a pool of its own.
_OPTIONS: Final = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 16 * 1024 * 1024), *NO_PROXY)

_Answer = TypeVar("_Answer")


class UnknownOutcomeError(Exception):
    """No answer came, however often the call was sent: it may have been done or not."""


class CallFailedError(Exception):
    """The service refused the call by status, and has changed nothing; the message says which and why."""


class Client:
    """A context manager; `seconds` are the times of all calls that were answered, by name."""

    def __init__(self, address: str, *, timeout_s: float = CALL_TIMEOUT_S) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._channels: list[grpc.aio.Channel] = []
        self._turn = itertools.count()
        self._reservations: list[ReservationServiceAsyncStub] = []
        self._availability: list[AvailabilityServiceAsyncStub] = []
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.retries: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        self._channels = [grpc.aio.insecure_channel(self._address, options=_OPTIONS) for _ in range(CONNECTIONS)]
        self._reservations = [ReservationServiceStub(channel) for channel in self._channels]
        self._availability = [AvailabilityServiceStub(channel) for channel in self._channels]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await asyncio.gather(*(channel.close() for channel in self._channels))

    @property
    def reservations(self) -> "ReservationServiceAsyncStub":
        """The next connection's stub, each in turn."""
        return self._reservations[next(self._turn) % CONNECTIONS]

    @property
    def availability(self) -> "AvailabilityServiceAsyncStub":
        return self._availability[next(self._turn) % CONNECTIONS]

    async def call(self, name: str, method: Callable[..., Awaitable[_Answer]], request: object) -> _Answer:
        """One call, sent again as it is while the service is UNAVAILABLE. Raises UnknownOutcomeError and CallFailedError."""
        for attempt in itertools.count():
            began = time.perf_counter()
            try:
                answer = await method(request, timeout=self._timeout_s)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNAVAILABLE and attempt < RETRIES_MAX:
                    self.retries[name] += 1
                    await asyncio.sleep(min(RETRY_PAUSE_S * 2**attempt, RETRY_PAUSE_S_MAX))
                    continue
                said = f"{name}: {error.code().name}: {error.details()}"
                if error.code() in _MAYBE_DONE:
                    self.unknown[name] += 1
                    raise UnknownOutcomeError(said) from error
                raise CallFailedError(said) from error
            self.seconds[name].append(time.perf_counter() - began)
            return answer
        raise AssertionError("unreachable: the last attempt returns or raises")


_MAYBE_DONE: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)
