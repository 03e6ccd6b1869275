"""One pipelined connection to a Redis server, straight on hiredis: many calls in flight, replies matched by their order.

Each call fails or succeeds by itself. A call whose reply was lost is never sent again; one that the server refused to run (NOSCRIPT,
LOADING, READONLY) is, by the layer above. The connection knows which run of which server it leads to.
"""

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, cast

import hiredis

from atp import limits, tls
from atp.errors import CallTimeoutError, StoreBusyError, StoreRefusedError, StoreUnavailableError
from atp.store.address import Address
from atp.store.settings import StoreSettings

Word = bytes | str | int
_TICK_S = 0.02  # how late a deadline may be noticed
_CONNECT_TIMEOUT_S = 5.0
#: How a server says that a login or a right is wrong; inside a script it says it in words, and the script has run up to there.
_REFUSALS: Final = frozenset({"WRONGPASS", "NOAUTH", "NOPERM"})
REFUSED_IN_SCRIPT: Final = re.compile("ACL failure in script|The user executing the script can't")  # newer servers, and Redis 7.0


def is_refusal(error: str) -> bool:
    """Whether an error reply says that the user lacks a right, or is not who it says."""
    return error.split(" ", 1)[0] in _REFUSALS or REFUSED_IN_SCRIPT.search(error) is not None


class _Call:
    __slots__ = ("deadline", "future")

    def __init__(self, future: "asyncio.Future[Any]", deadline: float) -> None:
        self.future = future
        self.deadline = deadline


class Connection(asyncio.Protocol):
    """Replies are as hiredis reads them: bytes, int, None, lists of them, and hiredis.ReplyError as a value."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._calls: deque[_Call] = deque()
        self._out: list[bytes] = []
        self._ticking = False
        self._transport: asyncio.Transport | None = None
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self.run = b""

    @classmethod
    async def open(cls, settings: StoreSettings) -> "Connection":
        """Connects, authenticates and learns the server's run. Raises StoreUnavailableError."""
        loop = asyncio.get_running_loop()
        connection: Connection | None = None
        address = settings.address()
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                if address.path:
                    _, connection = await loop.create_unix_connection(cls, address.path)
                else:
                    _, connection = await loop.create_connection(cls, address.host, address.port, ssl=settings.context())
                await connection._greet(address)
        except (OSError, TimeoutError, StoreUnavailableError, CallTimeoutError) as error:
            hung_up = connection is not None and not connection.alive
            if connection is not None:
                connection.close()
            if address.tls and hung_up:  # a server does not always say why: that it hangs up may overtake its words
                why = f"it hung up at the TLS handshake, as without a certificate that it believes ({error})"
                raise StoreRefusedError(f"no login at the store at {address}: {why}") from error
            if isinstance(error, StoreRefusedError) or (address.tls and tls.is_refusal(error)):
                raise StoreRefusedError(f"no login at the store at {address}: {error}") from error
            raise StoreUnavailableError(f"cannot connect to the store at {address}: {error}") from error
        return connection

    async def _greet(self, address: Address) -> None:
        if address.username or address.password:  # without a password too: else we would be the default user, unnoticed
            await self.command("AUTH", *([address.username] if address.username else []), address.password)
        if address.database:
            await self.command("SELECT", address.database)
        await self.learn_run()

    async def learn_run(self) -> None:
        """Asks which run of the server this is."""
        server = await self.command("INFO", "server")
        replication = await self.command("INFO", "replication")
        # A server process and the history it writes: a promoted replica keeps its process but not its history.
        ids = (re.search(rb"run_id:(\w+)", server), re.search(rb"master_replid:(\w+)", replication))
        self.run = b"-".join(found[1][:12] for found in ids if found)

    async def command(self, *words: Word) -> Any:
        """One call outside the hot path. Raises StoreUnavailableError for an error reply."""
        reply = await self.call(words, _CONNECT_TIMEOUT_S)
        if isinstance(reply, hiredis.ReplyError):
            refused = words[0] == "AUTH" or is_refusal(str(reply))
            raise (StoreRefusedError if refused else StoreUnavailableError)(f"{words[0]!s}: {reply}")
        return reply

    def call(self, words: Sequence[Word], timeout_s: float) -> "asyncio.Future[Any]":
        """Sends one command. Raises StoreUnavailableError, StoreBusyError, and CallTimeoutError for no time, at once.

        While calls are in flight it waits for the next reply and goes with all that came meanwhile: the server works on one script at a
        time anyway, and a system call per command would cost more than the command.
        """
        if self._transport is None:
            raise StoreUnavailableError("the connection to the store is lost")
        if timeout_s <= 0:
            raise CallTimeoutError("the deadline had passed before the call was sent; nothing was done")
        if len(self._calls) >= limits.CALLS_IN_FLIGHT_MAX:
            raise StoreBusyError(f"{limits.CALLS_IN_FLIGHT_MAX} calls to the store are in flight")
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self._calls:
            self._loop.call_soon(self._flush)
        self._calls.append(_Call(future, self._loop.time() + timeout_s))
        self._out.append(hiredis.pack_command(tuple(words)))  # type: ignore[arg-type]  # its stub knows tuples of one word only
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(_TICK_S, self._tick)
        return future

    @property
    def alive(self) -> bool:
        return self._transport is not None

    @property
    def in_flight(self) -> int:
        """Calls that wait for their reply, those among them that have passed their deadline too."""
        return len(self._calls)

    def close(self) -> None:
        """Closes at once; calls in flight fail."""
        if self._transport is not None:
            self._transport.abort()

    def _flush(self) -> None:
        if self._transport is not None:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def _tick(self) -> None:
        """Fails calls past their deadline; their place in the queue stays, so that later replies find theirs."""
        now = self._loop.time()
        for call in self._calls:
            if call.deadline <= now and not call.future.done():
                call.future.set_exception(CallTimeoutError("the store did not answer before the deadline"))
        self._ticking = bool(self._calls)
        if self._ticking:
            self._loop.call_later(_TICK_S, self._tick)

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods, not by its class

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        calls = self._calls
        while (reply := self._reader.gets()) is not False:
            future = calls.popleft().future
            if not future.done():
                future.set_result(reply)
        if self._out:
            self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        # A server that does not like our certificate says so only here: the handshake is over for us by then.
        kind, why = (StoreRefusedError, f": {exc}") if tls.is_refusal(exc) else (StoreUnavailableError, "")
        for call in self._calls:
            if not call.future.done():
                call.future.set_exception(kind(f"the connection was lost before the reply{why}", outcome_unknown=True))
        self._calls.clear()
        with contextlib.suppress(asyncio.InvalidStateError):
            self.lost.set_result(None)
