"""A pool's whole ledger in order, JetStream's and then what only the store has yet; and its keys in reads that do not block it."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from typing import Final, NamedTuple

import nats.errors
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError, ServiceUnavailableError

from atp import limits
from atp.checkpoint import Manifest
from atp.replay import Key
from atp.store import Store, StoreSettings
from atp.store.address import without_password
from cli.exit_codes import REFUSED, UNREACHABLE, USAGE, CommandError
from consumers import checkpoints, ledger_writer, restoring
from consumers.checkpoints import TornCheckpointError
from consumers.connection import AWAY, Client, NatsSettings, connect_once
from consumers.ledger_reader import read_ledger
from consumers.restoring import OtherLedgerError

LATEST: Final = "latest"
START: Final = "start"
CONNECT_TIMEOUT_S: Final = 5.0
PAGE_ENTRIES: Final = 500
READ_KEYS_MAX: Final = 500
READ_FIELDS_MAX: Final = 4_000
_LOST: Final = (
    nats.errors.TimeoutError,
    nats.errors.ConnectionClosedError,
    nats.errors.NoServersError,
    nats.errors.NoRespondersError,
    ServiceUnavailableError,
)


class Chunk(NamedTuple):
    """Keys as the store had them at one revision; absent ones are empty."""

    revision: int
    keys: dict[str, Key]


@contextlib.asynccontextmanager
async def nats_connection(where: NatsSettings | str) -> AsyncIterator[Client]:
    """A connection for one command. Raises CommandError if NATS is away, or goes away."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):  # the client itself goes on trying for long
            connection = await connect_once(where, "atp")
    except AWAY as error:
        raise _no_answer(where, error) from error
    try:
        yield connection
    except _LOST as error:
        raise _no_answer(where, error) from error
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def jetstream(where: NatsSettings | str) -> AsyncIterator[JetStreamContext]:
    """JetStream for one command. Raises CommandError if it is away, or goes away."""
    async with nats_connection(where) as connection:
        yield connection.jetstream()


def _no_answer(where: NatsSettings | str, error: Exception) -> CommandError:
    said = str(error) or type(error).__name__
    url = without_password(where.url if isinstance(where, NatsSettings) else where)
    return CommandError(f"NATS with JetStream does not answer at {url}: start it with `atp up`, or say --nats-url. ({said})", UNREACHABLE)


@contextlib.asynccontextmanager
async def connected(where: StoreSettings | str) -> AsyncIterator[Store]:
    """The store for one command."""
    store = await Store.connect(where)
    try:
        yield store
    finally:
        await store.close()


@contextlib.contextmanager
def known_pool(pool: str) -> Iterator[None]:
    """A stream that is not there is a pool that nobody provisioned. Raises CommandError."""
    try:
        yield
    except NotFoundError as error:
        raise CommandError(f"there is no pool {pool}: correct the name, or have it provisioned (atp provision FILE)", REFUSED) from error


async def checkpoint(js: JetStreamContext, pool: str, origin: str) -> Manifest | None:
    """The checkpoint that is meant, whole; none for the start, and for the latest where there is none. Raises CommandError."""
    published = (await ledger_writer.last_position(js, pool)).revision
    if origin == START:
        return None
    if origin == LATEST:
        return await restoring.newest(js, pool, published)
    found = {str(manifest.whole): manifest for manifest in await checkpoints.manifests(js, pool)}
    if origin not in found:
        there_are = f"there are {', '.join(found)}" if found else "it has none"
        message = f"pool {pool} has no checkpoint of revision {origin}, {there_are}: say one that is there, {LATEST} or {START}"
        raise CommandError(message, USAGE)
    try:
        await restoring.check(js, found[origin], published)
    except (TornCheckpointError, OtherLedgerError) as error:
        message = f"the checkpoint of revision {origin} is of no use: {error}. Say another, {LATEST} or {START}"
        raise CommandError(message, REFUSED) from error
    return found[origin]


class History:
    """The ledger of one pool. Raises LedgerGapError where it is not contiguous, and CommandError for a pool that nobody provisioned."""

    def __init__(self, js: JetStreamContext, pool: str, store: Store | None) -> None:
        self._js = js
        self._pool = pool
        self._store = store

    async def published(self, after: int = 0) -> AsyncGenerator[list[bytes], None]:
        """What JetStream has after a revision, up to its end now."""
        with known_pool(self._pool):
            async with contextlib.aclosing(read_ledger(self._js, self._pool, after)) as batches:
                async for entries in batches:
                    yield entries

    async def between(self, after: int, upto: int) -> AsyncGenerator[list[bytes], None]:
        """The entries after one revision up to and with another: the store's own, and JetStream's where the store let them go.

        Ends early if neither has them.
        """
        while after < upto:
            before = after
            async for entries in self._next(after):
                wanted = entries[: upto - after]
                after += len(wanted)
                if wanted:
                    yield wanted
                if after == upto:
                    break
            if after == before:
                return

    async def _next(self, after: int) -> AsyncIterator[list[bytes]]:
        records = await self._store.ledger_after(self._pool, after, PAGE_ENTRIES) if self._store else []
        if records and records[0].revision == after + 1:
            yield [record.entry for record in records]
            return
        async with contextlib.aclosing(self.published(after)) as batches:
            async for entries in batches:
                yield entries


async def read(store: Store, pool: str, names: list[str]) -> Chunk:
    """Reads keys at one revision."""
    revision, keys = await store.read_keys(pool, names)
    return Chunk(revision, {name: keys.get(name, {}) for name in names})


def chunks(names: Iterable[str], size: Callable[[str], int]) -> Iterator[list[str]]:
    """Names in groups whose keys have so few fields together that reading them does not block the pool. A large key is alone."""
    group: list[str] = []
    fields = 0
    for name in names:
        more = size(name)
        if group and (len(group) == READ_KEYS_MAX or fields + more > READ_FIELDS_MAX):
            yield group
            group, fields = [], 0
        group.append(name)
        fields += more
    if group:
        yield group


assert PAGE_ENTRIES <= limits.LEDGER_KEPT_MIN
