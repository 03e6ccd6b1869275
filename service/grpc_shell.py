"""The methods table over grpc.aio: raw bytes in, raw bytes out, errors as a status with details."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Never, TypeAlias

import grpc
from google.protobuf.message import DecodeError

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
RpcHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"


class MethodsHandler(grpc.GenericRpcHandler):
    """Serves every method of the table to anyone, as one identity: there is no authentication yet."""

    def __init__(self, methods: Mapping[str, Method], identity: Identity) -> None:
        self._handlers: dict[str, RpcHandler] = {
            name: grpc.unary_unary_rpc_method_handler(_behaviour(method, identity)) for name, method in methods.items()
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> RpcHandler:
        return self._handlers.get(handler_call_details.method)


def _behaviour(method: Method, identity: Identity) -> Callable[[bytes, ServicerContext], Awaitable[bytes]]:
    """Answers one method. This is the hot path: what is the same for all calls is looked up here, once."""
    decode, handler = method.request.FromString, method.handler
    allowed = method.scope in identity.scopes

    async def answer(body: bytes, context: ServicerContext) -> bytes:
        call = _call(context, identity)
        try:
            if not allowed:
                raise ScopeMissingError(method.scope)
            try:
                request = decode(body)
            except DecodeError:
                raise MalformedError(method.request.DESCRIPTOR.full_name) from None
            reply = await handler(request, call)
            return reply if isinstance(reply, bytes) else reply.SerializeToString()
        except Exception as error:
            await _fail(context, method, call, error)

    return answer


def _call(context: ServicerContext, identity: Identity) -> Call:
    remaining_s: float | None = context.time_remaining()
    deadline = time.monotonic() + (_CALL_TIMEOUT_S if remaining_s is None else remaining_s)
    return Call(deadline, identity, _correlation(context), context.peer())


def _correlation(context: ServicerContext) -> str:
    """The caller's own id of the conversation, if it is one: printable ASCII without spaces. Else a new one."""
    for key, value in context.invocation_metadata() or ():
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
