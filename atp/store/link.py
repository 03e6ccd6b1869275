"""A link that stays: runs scripts on one connection, reconnects by itself, and says whether the store can be reached."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import hiredis

from atp.errors import AtpError, CallTimeoutError, StoreRefusedError, StoreUnavailableError
from atp.seldom import Seldom
from atp.store.connection import REFUSED_IN_SCRIPT, Connection, Word, is_refusal
from atp.store.observed import StoreObserved
from atp.store.scripts import Script
from atp.store.settings import StoreSettings

_log = logging.getLogger(__name__)
_RETRY_S = (0.05, 0.1, 0.2, 0.5, 1.0)
_NOT_RUN_RETRY_S = 0.05
_RUN_ASKED_S = 0.5  # at most this often
#: By the error with which a server refuses every write before it begins, what has to happen.
_NO_WRITES = {
    "OOM": "it has more memory",
    "MISCONF": "it can write to its disk again",
    "NOREPLICAS": "it has its replica again, or processes are led to the primary that took its place (docs/operations.md)",
}


class ScriptError(Exception):
    """A script failed: a bug of ours, or a server that cannot run it."""


class Link:
    """EVALSHA with every script loaded at connect; a script the server refused to run is sent again until the deadline."""

    def __init__(self, settings: StoreSettings, scripts: Mapping[str, Script], clock: Callable[[], int] | None) -> None:
        self._settings = settings
        self._address = settings.address()
        self._scripts = scripts
        self._clock = clock
        self._connection: Connection | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._run_asked_at = 0.0
        self._seldom = Seldom()
        self.observed = StoreObserved(list(scripts))

    @property
    def where(self) -> str:
        """The server, and the database if it is not the first, as may be shown."""
        return f"{self._address}/{self._address.database}" if self._address.database else str(self._address)

    @property
    def in_flight(self) -> int:
        """Calls that wait for their reply."""
        return self._connection.in_flight if self._connection else 0

    @property
    def connected(self) -> bool:
        return self._connection is not None and self._connection.alive

    @property
    def run(self) -> str:
        """The run of the server that the link leads to; empty while there is none."""
        return self._connection.run.decode() if self._connection and self._connection.alive else ""

    async def current_run(self) -> str:
        """The run, asked for again at most every RUN_ASKED_S. Raises StoreUnavailableError while the store is away."""
        await self.learn_run()
        if not self.connected:
            raise StoreUnavailableError(f"the store at {self._address} is away")
        return self.run

    async def learn_run(self) -> bool:
        """Asks a living connection for its run again; true if it is another: a history may change without a connection breaking."""
        connection = self._connection
        now = asyncio.get_running_loop().time()
        if connection is None or not connection.alive or now - self._run_asked_at < _RUN_ASKED_S:
            return False
        self._run_asked_at = now
        known = connection.run
        await connection.learn_run()
        return connection.run != known

    async def start(self) -> None:
        """Connects once, then keeps connected. Raises StoreUnavailableError if the first try fails; it goes on trying all the same."""
        try:
            await self._connect()
        finally:
            self._keeper = asyncio.create_task(self._keep(), name="store link")

    async def close(self) -> None:
        if self._keeper:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._connection:
            self._connection.close()
            self._connection = None

    async def _connect(self) -> None:
        connection = await self._open()
        try:
            for script in self._scripts.values():
                await connection.command("SCRIPT", "LOAD", script.text)
        except (StoreUnavailableError, CallTimeoutError) as error:
            connection.close()
            self.tell_refusal(error)
            raise StoreUnavailableError(f"the store at {self._address} is not ready: {error}") from error
        self._connection = connection
        self.observed.connects += 1

    async def _open(self) -> Connection:
        try:
            return await Connection.open(self._settings)
        except StoreRefusedError as error:
            self.tell_refusal(error)
            raise

    def tell_refusal(self, error: Exception) -> None:
        """Warns of what the store does not let us do, which no waiting mends; the same at most once a minute."""
        if isinstance(error, StoreRefusedError) and self._seldom.may_say(str(error)):
            who = self._address.username or "the default user"
            _log.warning(
                "the store refuses %s: %s. Correct the login or the certificates in the configuration, or the user's rights in the "
                "store (docs/security.md); it is tried again all the time",
                who,
                error,
            )

    async def _keep(self) -> None:
        tries = 0
        while True:
            if self._connection is None:
                try:
                    await self._connect()
                except StoreUnavailableError:
                    await asyncio.sleep(_RETRY_S[min(tries, len(_RETRY_S) - 1)])
                    tries += 1
                    continue
            tries = 0
            assert self._connection is not None
            await asyncio.shield(self._connection.lost)
            self._connection = None

    async def run_script(self, script: Script, key: str, arguments: tuple[Word, ...], timeout_s: float) -> Any:
        """The script's reply. Raises StoreUnavailableError, StoreBusyError, CallTimeoutError, and ScriptError for a bug."""
        try:
            return await self._run_script(script, key, arguments, timeout_s)
        except AtpError as error:
            self.observed.failures[type(error).__name__] += 1
            self.tell_refusal(error)
            raise

    async def _run_script(self, script: Script, key: str, arguments: tuple[Word, ...], timeout_s: float) -> Any:
        deadline = 0.0
        while True:
            connection = self._connection
            if connection is None or not connection.alive:
                raise StoreUnavailableError(f"the store at {self._address} is away")
            clock = b"" if self._clock is None else str(self._clock())
            sent = time.monotonic()
            reply = await connection.call((b"EVALSHA", script.sha, b"1", key, connection.run, clock, *arguments), timeout_s)
            if not isinstance(reply, hiredis.ReplyError):
                self.observed.replied(script.name, time.monotonic() - sent)
                return reply
            # From here on the script has not run, so sending it again is safe.
            now = asyncio.get_running_loop().time()
            deadline = deadline or now + timeout_s
            await self._heal(str(reply), connection, script)
            if now >= deadline:
                raise StoreUnavailableError(f"the store at {self._address} cannot run scripts now: {reply}")

    async def _heal(self, error: str, connection: Connection, script: Script) -> None:
        """Mends what kept a script from running, so that it can be sent again; raises if that is not in our hands."""
        kind = error.split(" ", 1)[0]
        if kind == "NOSCRIPT":
            await connection.command("SCRIPT", "LOAD", script.text)
        elif kind in {"LOADING", "BUSY", "MASTERDOWN"}:
            await asyncio.sleep(_NOT_RUN_RETRY_S)
        elif kind == "READONLY":
            connection.close()
            await asyncio.sleep(_NOT_RUN_RETRY_S)
        elif kind in _NO_WRITES:
            raise StoreUnavailableError(f"the store at {self._address} refuses writes until {_NO_WRITES[kind]} ({error})")
        elif is_refusal(error):
            # Within a script it is refused half-way: what was written up to there stays.
            raise StoreRefusedError(
                f"{script.name} at the store at {self._address}: {error}", outcome_unknown=bool(REFUSED_IN_SCRIPT.search(error))
            )
        else:
            raise ScriptError(f"{script.name}: {error}")
