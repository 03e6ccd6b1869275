"""A small HTTP server for messages of other systems: h11 knows the protocol, and connections, heads, bodies and time have their bounds."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final, NamedTuple

import h11

from atp import limits

_READ_BYTES: Final = 64 * 1024
_LINGER_S: Final = 1.0


class Request(NamedTuple):
    """A request that came whole; `path` is without its query, header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    peer: str


class Response(NamedTuple):
    """A few words in plain text; an answer that the caller should try again after `retry_s`, if that is not 0."""

    status: HTTPStatus
    text: str
    retry_s: int = 0


Handler = Callable[[Request], Awaitable[Response]]


class _RefusedError(Exception):
    """A request that is not read to its end: it is answered, and the connection closed."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.response = Response(status, text)


@contextlib.asynccontextmanager
async def serving(host: str, port: int, handler: Handler) -> AsyncIterator[str]:
    """Serves while the block runs, at the address it is given; at its end requests that came whole are answered. Raises OSError."""
    connections: set[_Connection] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(connections) >= limits.WEBHOOK_CONNECTIONS_MAX:
            writer.transport.abort()  # unread: who has no connection comes again
            return
        connection = _Connection(reader, writer, handler)
        connections.add(connection)
        try:
            await connection.serve()
        finally:
            connections.discard(connection)
            writer.close()

    server = await asyncio.start_server(connected, host, port)
    try:
        yield f"{host}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await asyncio.gather(*(connection.end() for connection in connections))


class _Connection:
    """One connection: a request, its answer, the next request."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler) -> None:
        self._reader = reader
        self._writer = writer
        self._handler = handler
        self._http = h11.Connection(h11.SERVER, limits.WEBHOOK_HEAD_BYTES_MAX)
        self._task = asyncio.current_task()
        self._answering = False
        self._ending = False

    async def serve(self) -> None:
        """Until either side wants no more."""
        with contextlib.suppress(ConnectionError):  # it went away
            try:
                while request := await self._request():
                    self._answering = True
                    await self._answer(await self._handler(request))
                    self._answering = False
                    if self._ending or {self._http.our_state, self._http.their_state} != {h11.DONE}:
                        return
                    self._http.start_next_cycle()
            except _RefusedError as refused:
                if self._http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                    await self._answer(refused.response)
                    await self._linger()

    async def end(self) -> None:
        """Returns once the request in hand is answered."""
        self._ending = True
        if self._task is not None:
            if not self._answering:
                self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _request(self) -> Request | None:
        """The next one; none if none comes."""
        try:
            async with asyncio.timeout(limits.WEBHOOK_REQUEST_S_MAX):
                head = await self._event()
                if not isinstance(head, h11.Request):
                    return None
                headers = _headers(head)
                body = await self._body(headers)
        except TimeoutError:
            if self._http.their_state is h11.IDLE and not self._http.trailing_data[0]:
                return None
            raise _RefusedError(HTTPStatus.REQUEST_TIMEOUT, "the request did not come whole in time") from None
        except h11.RemoteProtocolError as error:
            raise _RefusedError(HTTPStatus(error.error_status_hint), str(error)) from error
        host, *_ = self._writer.get_extra_info("peername") or ("?",)
        return Request(head.method.decode("ascii"), head.target.decode("latin-1").partition("?")[0], headers, body, str(host))

    async def _body(self, headers: Mapping[str, str]) -> bytes:
        said = headers.get("content-length", "")
        body = bytearray()
        while True:
            if max(len(body), int(said) if said.isdecimal() else 0) > limits.FEED_BODY_BYTES_MAX:
                what = f"a body has at most {limits.FEED_BODY_BYTES_MAX} bytes: send it in parts"
                raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, what)
            event = await self._event()
            if not isinstance(event, h11.Data):
                return bytes(body)
            body += event.data

    async def _event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                self._writer.write(self._http.send(h11.InformationalResponse(status_code=HTTPStatus.CONTINUE, headers=[])) or b"")
            self._http.receive_data(await self._reader.read(_READ_BYTES))
        return event

    async def _answer(self, response: Response) -> None:
        body = f"{response.text}\n".encode()
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
        headers += [("Retry-After", str(response.retry_s))] if response.retry_s else []
        headers += [("Connection", "close")] if self._ending else []
        for part in (h11.Response(status_code=response.status, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self._writer.write(self._http.send(part) or b"")
        try:
            async with asyncio.timeout(limits.WEBHOOK_REQUEST_S_MAX):
                await self._writer.drain()
        except TimeoutError:  # who does not read its answers has no connection to keep
            self._writer.transport.abort()
            raise ConnectionAbortedError from None

    async def _linger(self) -> None:
        """Lets the caller read the answer: a connection that is closed on unread bytes takes it away again."""
        self._writer.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while await self._reader.read(_READ_BYTES):
                    pass


def _headers(head: h11.Request) -> dict[str, str]:
    """By name in lower case; one that stands twice has both values."""
    found: dict[str, str] = {}
    for name, value in head.headers:
        key, text = name.decode("ascii").lower(), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found
