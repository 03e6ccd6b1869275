"""The way to the servers: a NATS connection that never gives up, which errors mean "away", and how to wait until they pass."""

import asyncio
import logging
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import nats
import nats.errors
import nats.js.errors
from nats.aio import client as nats_client

from atp.errors import CallTimeoutError, StoreBusyError, StoreUnavailableError

log = logging.getLogger(__name__)

T = TypeVar("T")

#: A server is away, busy or not provisioned yet. None of these is a verdict on content: the work waits and is tried again.
AWAY: Final = (
    StoreUnavailableError,
    StoreBusyError,
    CallTimeoutError,
    nats.errors.TimeoutError,
    nats.errors.NoRespondersError,
    nats.errors.StaleConnectionError,
    nats.errors.OutboundBufferLimitError,
    nats.errors.ConnectionClosedError,
    nats.errors.ConnectionDrainingError,
    nats.errors.ConnectionReconnectingError,
    nats.errors.NoServersError,
    nats.js.errors.APIError,
    nats.js.errors.NoStreamResponseError,
    OSError,
    TimeoutError,
)

CONNECT_TIMEOUT_S: Final = 2
RECONNECT_PAUSE_S: Final = 1
_PAUSES_S: Final = (0.05, 0.1, 0.2, 0.5, 1.0)
_SAY_AGAIN_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class NatsSettings:
    """How a NATS server is reached, and as whom: by a credentials file, or by user and password. `tls://…` as URL for TLS.

    The server's certificate is checked against `ca_file`, or against the system's authorities; `certificate_file` and `key_file` (PEM)
    tell the server who we are.
    """

    url: str
    credentials_file: Path | None = None
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None


class Client(nats_client.Client):
    """A client that a subject which is no UTF-8 does not make deaf: the server takes such a one, and nats-py stops reading at it."""

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        readable = subject.decode("utf-8", "replace").encode()
        await super()._process_msg(sid, readable, reply, data, headers)


async def connect(where: NatsSettings | str, name: str) -> Client:
    """A connection for work that waits: it goes on trying for ever, now and after every loss."""
    client = Client()

    async def note_disconnected() -> None:
        if not client.is_closed:
            log.warning("NATS is away; reconnecting")

    await client.connect(
        _url(where),
        name=name,
        max_reconnect_attempts=-1,
        reconnect_time_wait=RECONNECT_PAUSE_S,
        connect_timeout=CONNECT_TIMEOUT_S,
        error_cb=_note_error,
        disconnected_cb=note_disconnected,
        reconnected_cb=_note_reconnected,
    )
    return client


async def connect_once(where: NatsSettings | str, name: str) -> nats_client.Client:
    """A connection for a command: raises OSError or a nats error at once if the server is not there."""
    return await nats.connect(_url(where), name=name, allow_reconnect=False, connect_timeout=CONNECT_TIMEOUT_S, error_cb=_note_error)


def _url(where: NatsSettings | str) -> str:
    return where.url if isinstance(where, NatsSettings) else where


async def _note_error(error: Exception) -> None:
    log.debug("NATS: %s", str(error) or type(error).__name__)


async def _note_reconnected() -> None:
    log.info("NATS is back")


async def together(work: Iterable[Awaitable[T]]) -> list[T]:
    """The results of all, run at once. All have ended when it returns, or raises the first error: none is left running alone."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Sleeps, but not past a stop."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


class Outage:
    """Paces the tries of one worker while a server is away, and says so once when it begins and once when it is over."""

    def __init__(self, who: str) -> None:
        self._who = who
        self._tries = 0
        self._said_at = 0.0

    async def wait(self, error: Exception, stop: asyncio.Event) -> None:
        """A pause before the next try, longer with each, ended early by a stop."""
        now = asyncio.get_running_loop().time()
        if self._tries == 0 or now - self._said_at > _SAY_AGAIN_S:
            log.warning("%s waits: %s", self._who, str(error) or type(error).__name__)
            self._said_at = now
        await pause(stop, _PAUSES_S[min(self._tries, len(_PAUSES_S) - 1)])
        self._tries += 1

    def over(self) -> None:
        if self._tries:
            log.info("%s goes on", self._who)
        self._tries = 0
