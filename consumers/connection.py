"""The way to the servers: a NATS connection that never gives up, which errors mean "away", and how to wait until they pass."""

import asyncio
import contextlib
import logging
import re
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import nats.errors
import nats.js.errors
from nats.aio import client as nats_client
from nats.aio.subscription import Subscription
from nats.protocol.parser import ERR_RE, PERMISSIONS_ERR

from atp import tls
from atp.errors import AtpError, CallTimeoutError, StoreBusyError, StoreUnavailableError
from atp.seldom import Seldom

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
CLOSE_S: Final = 2
_PAUSES_S: Final = (0.05, 0.1, 0.2, 0.5, 1.0)
_SAY_AGAIN_S: Final = 60.0
#: How a server says that we are not let in, or not let do something.
_REFUSAL: Final = re.compile("authorization|authentication|permissions violation|maximum .*connections", re.IGNORECASE)
_CREDENTIALS: Final = re.compile(r"BEGIN NATS USER JWT-+\n\S+\n.*BEGIN USER NKEY SEED-+\n\S+\n", re.DOTALL)


@dataclass(frozen=True, slots=True)
class NatsSettings:
    """How NATS is reached, and as whom: by a credentials file, or by user and password, which win over what the URL says of it.

    `url` names one server or several, separated by commas. `tls://…` or a file for TLS says that nothing may be sent without TLS. The
    server's certificate is checked against `ca_file`, or against the system's authorities; `certificate_file` and `key_file` (PEM) tell
    the server who we are.
    """

    url: str
    credentials_file: Path | None = None
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    @property
    def servers(self) -> list[str]:
        return [server.strip() for server in self.url.split(",")]

    @property
    def wants_tls(self) -> bool:
        return any(server.startswith("tls://") for server in self.servers) or bool(self.ca_file or self.certificate_file)

    def context(self) -> ssl.SSLContext:
        """TLS for one connection. Raises OSError for files that are no good."""
        return tls.client_context(self.ca_file, self.certificate_file, self.key_file)


#: Takes a message as it comes: subject, reply, data and headers.
Taker = Callable[[bytes, bytes, bytes, bytes], None]


class NatsRefusedError(AtpError):
    """NATS is there, but does not let us in, or is not the server that it should be. Waiting does not mend it."""


class TlsRefusedError(nats.errors.Error):
    """The server does not always say why: it hangs up, and that may overtake its words."""

    def __str__(self) -> str:
        return "the server hung up at the TLS handshake, as it does without a certificate of ours that it believes"


class Client(nats_client.Client):
    """nats-py, but: it insists on TLS where TLS is wanted, says what the server refuses, and outlives it.

    And a subject that is no UTF-8 does not make it deaf: the server takes such a one, and nats-py stops reading at it.
    """

    def __init__(self, where: NatsSettings, name: str) -> None:
        super().__init__()
        self._where = where
        self._name = name
        self._seldom = Seldom()
        self._takers: dict[int, Taker] = {}

    async def open(self, **options: Any) -> None:
        """Connects with our settings. The name makes the inbox, so that a user can be kept to the replies to its own requests."""
        await self.connect(
            self._where.servers,
            name=self._name,
            inbox_prefix=f"_INBOX.{self._name.replace(' ', '.')}",
            user=self._where.username or None,
            password=self._where.password,  # an empty one too: without it nats-py would leave out the name, and be whoever has none
            user_credentials=self._where.credentials_file,
            connect_timeout=CONNECT_TIMEOUT_S,
            error_cb=self._note_error,
            **options,
        )

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """Asked for at every connection: renewed files are taken without a restart."""
        return self._where.context()

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """Comes before anything is sent: nats-py itself would go on in plain text, and read a broken credentials file for ever."""
        if initial_connection:
            if self._where.wants_tls and not info.get("tls_required"):
                if not info.get("tls_available"):
                    raise nats.errors.SecureConnWantedError
                info["tls_required"] = True  # the server leaves it to us
            if self._where.credentials_file:
                check_credentials(self._where.credentials_file)
        await super()._process_info(info, initial_connection)

    async def _process_connect_init(self) -> None:
        """A stream whose TLS has failed never says that it is closed, and nats-py would wait for that for ever: it gets a new one.

        Nor does nats-py mind a server that hangs up instead of answering.
        """
        try:
            await super()._process_connect_init()
            if not self.is_connected:
                raise nats.errors.UnexpectedEOF
        except Exception as error:
            for task in (self._reading_task, self._ping_interval_task, self._flusher_task):
                if task is not None:
                    task.cancel()
            if self._transport is not None:
                self._transport.close()
                self._transport = None
            if self._server_info.get("tls_required") and isinstance(error, ConnectionError | nats.errors.UnexpectedEOF):
                raise TlsRefusedError from error
            raise

    async def subscribe_raw(self, subject: str, taker: Taker) -> Subscription:
        """Has what comes on a subject taken at once, as it comes: no queue, no task and no object of nats-py's for each."""
        subscription = await self.subscribe(subject)
        self._takers[subscription._id] = taker  # nobody has been told of the subject yet
        return subscription

    async def drain_raw(self, subscription: Subscription) -> None:
        """Takes what is on its way, and no more."""
        try:
            await subscription.drain()
        finally:
            self._takers.pop(subscription._id, None)

    async def publish_empty(self, subjects: Sequence[str]) -> None:
        """Publishes an empty message on each subject, as acks are, in one write. Raises as `publish` does."""
        *others, last = subjects
        if others:
            await self._send_command("".join([f"PUB {subject} 0\r\n\r\n" for subject in others]).encode())
        await self.publish(last)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        if taker := self._takers.get(sid):
            taker(subject, reply, data, headers)
        else:
            await super()._process_msg(sid, subject.decode("utf-8", "replace").encode(), reply, data, headers)

    async def _process_err(self, err_msg: str) -> None:
        """nats-py closes for good at most errors; a login that is refused today, since it was changed or has expired, may be good again."""
        said = ERR_RE.match(self._ps.buf)  # its own words: nats-py has put them in small letters
        error = nats.errors.Error(f"nats: {said[1].decode().strip(chr(39)) if said else err_msg}")
        await self._note_error(error)
        if PERMISSIONS_ERR not in err_msg:
            await self._process_op_err(error)

    async def _note_error(self, error: Exception) -> None:
        text = str(error) or type(error).__name__
        if not is_refusal(error) or (self.is_connecting and not self.options["allow_reconnect"]):  # then the connecting raises it
            log.debug("NATS: %s", text)
        elif self._seldom.may_say(text):
            who = self._where.credentials_file or self._where.username or "no user"
            advice = "Correct the login in the configuration, or the rights in NATS (docs/security.md)"
            log.warning("NATS refuses %s (%s): %s. %s", self._name, who, text, advice)


def check_credentials(path: Path) -> None:
    """Raises InvalidUserCredentialsError, or OSError, for a file that is no credentials file."""
    if not _CREDENTIALS.search(path.read_text()):
        raise nats.errors.InvalidUserCredentialsError


def is_refusal(error: Exception) -> bool:
    """Whether an error says that we are not let in, or not let do something, rather than that nobody is there."""
    if isinstance(error, TlsRefusedError | nats.errors.SecureConnWantedError | nats.errors.InvalidUserCredentialsError):
        return True
    if isinstance(error, nats.errors.Error):
        return bool(_REFUSAL.search(str(error)))
    return tls.is_refusal(error)


async def connect(where: NatsSettings | str, name: str) -> Client:
    """A connection for work that waits: it goes on trying for ever, now and after every loss and refusal."""
    client = Client(_settings(where), name)

    async def note_disconnected() -> None:
        if not client.is_closed:
            log.warning("NATS is away; reconnecting")

    await client.open(
        max_reconnect_attempts=-1,
        reconnect_time_wait=RECONNECT_PAUSE_S,
        disconnected_cb=note_disconnected,
        reconnected_cb=_note_reconnected,
    )
    return client


async def connect_once(where: NatsSettings | str, name: str) -> Client:
    """A connection for a command: raises OSError or a nats error at once if no server is there, NatsRefusedError if it lets us not in."""
    client = Client(_settings(where), name)
    try:
        await client.open(allow_reconnect=False)
    except (OSError, nats.errors.Error) as error:
        await client.close()  # nats-py leaves the socket open
        if is_refusal(error):
            raise NatsRefusedError(f"NATS refuses the login: {error}") from error
        raise
    return client


async def close(connection: nats_client.Client) -> None:
    """Sends the last acks, if the server is there, and closes; nats-py raises where it cannot send what it still holds."""
    with contextlib.suppress(*AWAY):
        await connection.flush(timeout=CLOSE_S)
    with contextlib.suppress(*AWAY):
        await connection.close()


def _settings(where: NatsSettings | str) -> NatsSettings:
    return where if isinstance(where, NatsSettings) else NatsSettings(where)


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
        pause_s = _PAUSES_S[min(self._tries, len(_PAUSES_S) - 1)]
        self._tries += 1
        await pause(stop, pause_s)

    @property
    def lasts(self) -> bool:
        """Whether something waits, or has waited and not gone on yet."""
        return self._tries > 0

    def over(self) -> None:
        if self._tries:
            log.info("%s goes on", self._who)
        self._tries = 0
