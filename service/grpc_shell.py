"""The methods table over grpc.aio: raw bytes in, raw bytes out, errors as a status with details."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias, cast

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc.status_pb2 import Status

from atp import limits
from atp.errors import CallTimeoutError
from atp.observed import Tracer, busy_with
from atp.requests import is_name
from service import bounds
from service.auth import Authenticate
from service.call import UNKNOWN, Call, new_correlation
from service.errors import MalformedError, PoolForbiddenError, ScopeMissingError, reason_of, rpc_status
from service.methods import Kind, Method
from service.metrics import CANCELLED, CallCounts, ServiceMetrics

CORRELATION_KEY: Final = "x-correlation-id"
TRACE_KEY: Final = "traceparent"
DETAILS_KEY: Final = "grpc-status-details-bin"
CERTIFICATE_KEY: Final = "x509_pem_cert"  # of the connection's properties
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_OUR_TROUBLE: Final = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
_CALL_TIMEOUT_S: Final = limits.CALL_TIMEOUT_MS_DEFAULT / 1000
_log = logging.getLogger(__name__)

ServicerContext: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
Metadata: TypeAlias = "Iterable[tuple[str, str | bytes]] | None"
RpcHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"


class MethodsHandler(grpc.GenericRpcHandler):
    """Serves every method of the table to whoever may call it."""

    def __init__(self, methods: Mapping[str, Method], authenticate: Authenticate, metrics: ServiceMetrics, tracer: Tracer | None) -> None:
        self._served = {name: _Served(method, authenticate, metrics.calls[name], tracer) for name, method in methods.items()}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> RpcHandler:
        served = self._served.get(handler_call_details.method)
        if served is None:
            return None
        kind = StreamHandler if served.method.streams else UnaryHandler
        return kind(served, handler_call_details.invocation_metadata)


class _Served(NamedTuple):
    """What is the same for every call of a method."""

    method: Method
    authenticate: Authenticate
    counts: CallCounts
    tracer: Tracer | None


class UnaryHandler(grpc.RpcMethodHandler):
    """Answers one call. One per call, since the metadata that comes with the details costs as much again to ask for later."""

    request_streaming = response_streaming = False
    request_deserializer = response_serializer = None

    __slots__ = ("_metadata", "_served")

    def __init__(self, served: _Served, metadata: Metadata) -> None:
        self._served = served
        self._metadata = metadata

    async def unary_unary(self, body: bytes, context: ServicerContext) -> bytes:  # type: ignore[override]  # typed for the other server
        return await self._answer(body, None, context)

    async def _answer(self, body: bytes, bodies: AsyncIterator[bytes] | None, context: ServicerContext) -> bytes:
        """A caller that streams sends `bodies`, of which the first is asked for once it is known who it is."""
        method, authenticate, counts, tracer = self._served
        began = time.monotonic()
        remaining_s: float | None = context.time_remaining()
        if remaining_s is None:
            remaining_s = _CALL_TIMEOUT_S if bodies is None else bounds.STREAM_TIMEOUT_S
        deadline = began + remaining_s
        call = Call(counts.method, deadline, UNKNOWN, _correlation(self._metadata), context.peer)
        busy_with.set(call)
        span = tracer.begin(method.name, _text(self._metadata, TRACE_KEY)) if tracer else None
        answer, status, outcome = b"", None, CANCELLED
        counts.in_flight += 1
        try:
            call.identity = identity = authenticate(self._metadata, partial(_certificate, context))
            if method.scope not in identity.scopes:
                raise ScopeMissingError(method.scope)
            call.request = request = _decoded(method, body if bodies is None else await _first(bodies, call))
            if identity.pools is not None and call.pool not in identity.pools:
                raise PoolForbiddenError(call.pool if is_name(call.pool) else "")
            reply = await method.handler(request if bodies is None else _decoded_all(method, request, bodies), call)
            answer = reply if isinstance(reply, bytes) else reply.SerializeToString()
            outcome = counts.answered(reply, call.pool)
        except Exception as error:
            status = rpc_status(error, writes=method.kind is not Kind.READ, correlation=call.correlation)
            outcome = reason_of(status)
            counts.failed(error, call.pool)
            _tell_failure(outcome, status, error)
        finally:
            seconds = time.monotonic() - began
            counts.ended(outcome, seconds)
            if span is not None:
                span.end(outcome, call.log_fields())
            if _log.isEnabledFor(logging.DEBUG):
                _log.debug("%s: %s in %.1f ms", call.method, outcome, seconds * 1000, extra={"outcome": outcome, "seconds": seconds})
        correlation = (CORRELATION_KEY, call.correlation)
        if status is not None:
            await context.abort(_CODES[status.code], status.message, (correlation, (DETAILS_KEY, status.SerializeToString())))
        context.set_trailing_metadata((correlation,))
        return answer


class StreamHandler(UnaryHandler):
    """Answers a call whose caller sends many messages."""

    request_streaming = True

    __slots__ = ()

    async def stream_unary(self, bodies: AsyncIterable[bytes], context: ServicerContext) -> bytes:  # type: ignore[override]  # as above
        async with contextlib.aclosing(cast(AsyncGenerator[bytes, None], aiter(bodies))) as came:  # what is not read complains at its end
            return await self._answer(b"", came, context)


def _certificate(context: ServicerContext) -> bytes | None:
    """The certificate that the caller showed and gRPC verified, as PEM."""
    return next(iter(context.auth_context().get(CERTIFICATE_KEY, ())), None)


def _decoded(method: Method, body: bytes) -> Message:
    try:
        return method.request.FromString(body)
    except DecodeError:
        raise MalformedError(method.request.DESCRIPTOR.full_name) from None


async def _first(bodies: AsyncIterator[bytes], call: Call) -> bytes:
    """The first message of a caller that streams; one that sends none has sent an empty one."""
    try:
        async with asyncio.timeout(call.timeout_s):
            return await anext(bodies, b"")
    except TimeoutError:
        raise CallTimeoutError("no message came") from None


async def _decoded_all(method: Method, first: Message, bodies: AsyncIterator[bytes]) -> AsyncIterator[Message]:
    yield first
    async for body in bodies:  # from behind the first
        yield _decoded(method, body)


def _correlation(metadata: Metadata) -> str:
    """The caller's own id of the conversation, if it is one: printable ASCII without spaces. Else a new one."""
    value = _text(metadata, CORRELATION_KEY)
    if 0 < len(value) <= limits.ID_CHARS_MAX and value.isascii() and value.isprintable() and " " not in value:
        return value
    return new_correlation()


def _text(metadata: Metadata, wanted: str) -> str:
    """The first text of that name; empty if there is none."""
    for key, value in metadata or ():
        if key == wanted:
            return value if isinstance(value, str) else ""
    return ""


def _tell_failure(reason: str, status: Status, error: Exception) -> None:
    """A line for what whoever runs the service should know of: what is wrong with the service, not with the call."""
    code = _CODES[status.code]
    if code is grpc.StatusCode.INTERNAL:
        _log.error("a call failed: %s", status.message, exc_info=error, extra={"outcome": reason})
    elif code in _OUR_TROUBLE:
        _log.warning("a call failed: %s (%s)", status.message, error, extra={"outcome": reason})
