"""The methods table over grpc.aio: raw bytes in, raw bytes out, errors as a status with details."""

import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final, Never, TypeAlias

import grpc
from google.protobuf.message import DecodeError, Message

from atp import limits
from service.call import Call, Identity, new_correlation
from service.errors import MalformedError, ScopeMissingError, rpc_status
from service.methods import Kind, Method

CORRELATION_KEY: Final = "x-correlation-id"
DETAILS_KEY: Final = "grpc-status-details-bin"
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_CALL_TIMEOUT_S: Final = limits.CALL_TIMEOUT_MS_DEFAULT / 1000
_log = logging.getLogger(__name__)

ServicerContext: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
Metadata: TypeAlias = "Iterable[tuple[str, str | bytes]] | None"
RpcHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"


class MethodsHandler(grpc.GenericRpcHandler):
    """Serves every method of the table to anyone, as one identity: there is no authentication yet."""

    def __init__(self, methods: Mapping[str, Method], identity: Identity) -> None:
        self._methods = methods
        self._identity = identity

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> RpcHandler:
        method = self._methods.get(handler_call_details.method)
        return UnaryHandler(method, self._identity, handler_call_details.invocation_metadata) if method else None


class UnaryHandler(grpc.RpcMethodHandler):
    """Answers one call. One per call, since the metadata that comes with the details costs as much again to ask for later."""

    request_streaming = response_streaming = False
    request_deserializer = response_serializer = None

    __slots__ = ("_identity", "_metadata", "_method")

    def __init__(self, method: Method, identity: Identity, metadata: Metadata) -> None:
        self._method = method
        self._identity = identity
        self._metadata = metadata

    async def unary_unary(self, body: bytes, context: ServicerContext) -> bytes:  # type: ignore[override]  # typed for the other server
        method, identity = self._method, self._identity
        remaining_s: float | None = context.time_remaining()
        deadline = time.monotonic() + (_CALL_TIMEOUT_S if remaining_s is None else remaining_s)
        call = Call(deadline, identity, _correlation(self._metadata), context.peer)
        try:
            if method.scope not in identity.scopes:
                raise ScopeMissingError(method.scope)
            reply = await method.handler(_decoded(method, body), call)
            return reply if isinstance(reply, bytes) else reply.SerializeToString()
        except Exception as error:
            await _fail(context, method, call, error)


def _decoded(method: Method, body: bytes) -> Message:
    try:
        return method.request.FromString(body)
    except DecodeError:
        raise MalformedError(method.request.DESCRIPTOR.full_name) from None


def _correlation(metadata: Metadata) -> str:
    """The caller's own id of the conversation, if it is one: printable ASCII without spaces. Else a new one."""
    for key, value in metadata or ():
        if key == CORRELATION_KEY and isinstance(value, str):
            if 0 < len(value) <= limits.ID_CHARS_MAX and value.isascii() and value.isprintable() and " " not in value:
                return value
            break
    return new_correlation()


async def _fail(context: ServicerContext, method: Method, call: Call, error: Exception) -> Never:
    status = rpc_status(error, writes=method.kind is Kind.WRITE, correlation=call.correlation)
    code = _CODES[status.code]
    if code is grpc.StatusCode.INTERNAL:
        _log.error(
            "%s failed; correlation %s, client %s at %s", method.name, call.correlation, call.identity.client, call.peer, exc_info=error
        )
    await context.abort(code, status.message, ((DETAILS_KEY, status.SerializeToString()),))
