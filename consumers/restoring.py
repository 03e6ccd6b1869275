"""Makes a pool in a store again: a checkpoint loaded, and entries replayed, several calls on their way at a time."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Self
from uuid import uuid4

from nats.js import JetStreamContext

from atp.checkpoint import Manifest, entry_digest
from atp.errors import AtpError
from atp.store import Store
from consumers import checkpoints
from consumers.checkpoints import TornCheckpointError
from consumers.ledger_reader import read_ledger

log = logging.getLogger(__name__)

CALLS_ON_THE_WAY: Final = 4  # to a store: enough that it never waits for us, few enough that each is answered in time


def any_of_them(_manifest: Manifest) -> bool:
    """Every checkpoint will do."""
    return True


async def newest(js: JetStreamContext, pool: str, published: int, is_wanted: Callable[[Manifest], bool] = any_of_them) -> Manifest | None:
    """The newest checkpoint that is wanted, whole, and of this ledger, which JetStream has up to `published`.

    The log says why others are passed over.
    """
    for manifest in filter(is_wanted, await checkpoints.manifests(js, pool)):
        try:
            await check(js, manifest, published)
        except (TornCheckpointError, OtherLedgerError) as error:
            log.warning("pool %s: the checkpoint of revision %d is passed over: %s", pool, manifest.whole, error)
        else:
            return manifest
    return None


class OtherLedgerError(AtpError):
    """A checkpoint is of another ledger than the one in JetStream."""


async def check(js: JetStreamContext, manifest: Manifest, published: int) -> None:
    """Raises TornCheckpointError, or OtherLedgerError if the ledger does not have the entry that the checkpoint knows."""
    if manifest.whole > published:
        raise OtherLedgerError(f"JetStream has the ledger up to revision {published} only")
    async with contextlib.aclosing(read_ledger(js, manifest.pool, manifest.whole - 1)) as ledger:
        async for entries in ledger:
            if entry_digest(entries[0]) != manifest.entry:
                raise OtherLedgerError(f"the entry of revision {manifest.whole} is another in JetStream")
            break
    await checkpoints.check(js, manifest)


async def load(
    js: JetStreamContext,
    store: Store,
    pool: str,
    manifest: Manifest | None,
    revision: int,
    watch: Callable[[list[bytes]], None] | None = None,
) -> None:
    """Puts a checkpoint in place of all that the store has of a pool that is not open, and stands at `revision`; without one, nothing.

    `watch` is told the pieces. Raises RefusedError if another process is at it, TornCheckpointError if it is overwritten meanwhile.
    """
    token = uuid4().hex
    await store.bulk.begin(pool, token, revision)
    if manifest is None:
        await store.bulk.end(pool, token, 0, 0, 0)
        return
    async with Calls() as calls, contextlib.aclosing(checkpoints.read(js, manifest)) as messages:
        async for pieces in messages:
            for piece in pieces:
                await calls.add(store.bulk.put(pool, token, [piece]))
            if watch:
                watch(pieces)
    await store.bulk.end(pool, token, manifest.after, manifest.epoch, manifest.time_ms)


async def replay(
    store: Store, pool: str, ledger: AsyncGenerator[list[bytes], None], watch: Callable[[list[bytes]], None] | None = None
) -> None:
    """Applies entries in order; `watch` is told them. Raises RefusedError if they do not follow on."""
    async with Calls() as calls, contextlib.aclosing(ledger) as batches:
        async for entries in batches:
            await calls.add(store.replay(pool, entries))
            if watch:
                watch(entries)


class Calls:
    """Calls that may overtake nobody, on one connection: the next is sent while others are on their way. The first error ends all."""

    def __init__(self) -> None:
        self._under_way: deque[asyncio.Task[None]] = deque()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """All have ended when it returns: what was sent is done."""
        ended = await asyncio.gather(*self._under_way, return_exceptions=True)
        if error is None:
            for failure in ended:
                if failure is not None:
                    raise failure

    async def add(self, call: Coroutine[Any, Any, None]) -> None:
        """Sends it. Waits for, and raises the error of, an earlier one."""
        self._under_way.append(asyncio.create_task(call))
        await asyncio.sleep(0)  # it is sent in its turn
        while len(self._under_way) >= CALLS_ON_THE_WAY:
            await self._under_way.popleft()
