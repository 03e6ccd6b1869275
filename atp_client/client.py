"""The two clients. What they do is in the other modules; here calls are sent and waited for, in plain code or on an event loop."""

import asyncio
import functools
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

import grpc

from atp_client import calls, connection
from atp_client.connection import ChannelT, Endpoint, Tls
from atp_client.exchange import TIMEOUT_S_DEFAULT, Caller, Pause, Steps

P = ParamSpec("P")
AnswerT = TypeVar("AnswerT")


class _Client(Generic[ChannelT]):
    """One connection to each address. Make one client per process and pool, and keep it.

    `address` is `host:port`, or several. `timeout_s` is for a whole call with all its tries. `token` goes with every try, so one that
    is made by a function may change. `retry=False` leaves all retries to you.
    """

    def __init__(
        self,
        address: str | Sequence[str],
        *,
        pool: str,
        channel: str = "",
        timeout_s: float = TIMEOUT_S_DEFAULT,
        retry: bool = True,
        token: str | Callable[[], str] | None = None,
        plaintext_token: bool = False,
        ca_file: str | Path | None = None,
        certificate_file: str | Path | None = None,
        key_file: str | Path | None = None,
        server_name: str | None = None,
    ) -> None:
        tls = Tls(ca_file=ca_file, certificate_file=certificate_file, key_file=key_file, server_name=server_name)
        endpoint = connection.endpoint(address, tls, sends_token=token is not None, plaintext_token=plaintext_token)
        says = (lambda: token) if isinstance(token, str) else token
        self._caller = Caller(pool=pool, channel=channel, timeout_s=timeout_s, retry=retry, token=says)
        self._channel = self._open(endpoint)
        self._stubs = connection.stubs(self._channel)

    def _open(self, endpoint: Endpoint) -> ChannelT:
        raise NotImplementedError


# --- plain code -------------------------------------------------------------------------------------------------------
def _verb(steps: Callable[Concatenate[Caller, P], Steps[AnswerT]]) -> "Callable[Concatenate[AtpClient, P], AnswerT]":
    @functools.wraps(steps)
    def verb(self: "AtpClient", *args: P.args, **kwargs: P.kwargs) -> AnswerT:
        return self._take(steps(self._caller, *args, **kwargs))

    return verb


class AtpClient(_Client[grpc.Channel]):
    __doc__ = f"A client for plain code: threads may share it, and it works under gevent.\n\n    {_Client.__doc__}"

    availability = _verb(calls.availability)
    explain = _verb(calls.explain)
    get = _verb(calls.get)
    list = _verb(calls.list_of_order)
    reserve = _verb(calls.reserve)
    confirm = _verb(calls.confirm)
    release = _verb(calls.release)
    extend = _verb(calls.extend)
    fulfil = _verb(calls.fulfil)
    adjust = _verb(calls.adjust)

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _open(self, endpoint: Endpoint) -> grpc.Channel:
        return endpoint.open(grpc.insecure_channel, grpc.secure_channel)

    def _take(self, steps: Steps[AnswerT]) -> AnswerT:
        came: Any = None
        while True:
            try:
                step = steps.send(came)
            except StopIteration as done:
                return done.value
            if isinstance(step, Pause):
                time.sleep(step.s)
                came = None
                continue
            try:
                came = self._stubs[step.method](step.request, timeout=step.timeout_s, metadata=step.metadata)
            except grpc.RpcError as error:
                came = error


# --- asyncio ----------------------------------------------------------------------------------------------------------
def _async_verb(
    steps: Callable[Concatenate[Caller, P], Steps[AnswerT]],
) -> "Callable[Concatenate[AsyncAtpClient, P], Coroutine[Any, Any, AnswerT]]":
    @functools.wraps(steps)
    async def verb(self: "AsyncAtpClient", *args: P.args, **kwargs: P.kwargs) -> AnswerT:
        return await self._take(steps(self._caller, *args, **kwargs))

    return verb


class AsyncAtpClient(_Client[grpc.aio.Channel]):
    __doc__ = f"A client for asyncio: make it inside the running loop, and use it there.\n\n    {_Client.__doc__}"

    availability = _async_verb(calls.availability)
    explain = _async_verb(calls.explain)
    get = _async_verb(calls.get)
    list = _async_verb(calls.list_of_order)
    reserve = _async_verb(calls.reserve)
    confirm = _async_verb(calls.confirm)
    release = _async_verb(calls.release)
    extend = _async_verb(calls.extend)
    fulfil = _async_verb(calls.fulfil)
    adjust = _async_verb(calls.adjust)

    async def close(self) -> None:
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    def _open(self, endpoint: Endpoint) -> grpc.aio.Channel:
        asyncio.get_running_loop()  # gRPC would quietly take another one
        return endpoint.open(grpc.aio.insecure_channel, grpc.aio.secure_channel)

    async def _take(self, steps: Steps[AnswerT]) -> AnswerT:
        came: Any = None
        while True:
            try:
                step = steps.send(came)
            except StopIteration as done:
                return done.value
            if isinstance(step, Pause):
                await asyncio.sleep(step.s)
                came = None
                continue
            try:
                came = await self._stubs[step.method](step.request, timeout=step.timeout_s, metadata=step.metadata)
            except grpc.aio.AioRpcError as error:
                came = error
