"""Takes a checkpoint of a pool that goes on working: in short reads, with a pause after each that leaves the store to its callers."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Final

from nats.js import JetStreamContext

from atp import limits
from atp.audit import is_operational
from atp.checkpoint import SCHEMA, Manifest, entry_digest
from atp.errors import RefusedError
from atp.ledger import decode_entry, image_value
from atp.model.status import Status
from atp.model.views import PoolInfo
from atp.replay import Replay
from atp.store import Store
from atp.store.bulk import START
from consumers import checkpoints, ledger_writer
from consumers.checkpoints import CheckpointError, Writer
from consumers.connection import pause
from consumers.ledger_reader import read_ledger

PAUSE_S: Final = 0.005  # after each read, which the store works 0.5 to 1 ms for
LEDGER_WAIT_S: Final = 60.0  # for JetStream to have the entries that were made meanwhile
_LOOK_S: Final = 0.05
_TURN_ENTRIES: Final = 100  # decoded before others in this process have their turn
_HEAD: Final = "pool"  # not copied: the manifest has what entries make of it

#: Told how many keys are copied, and how many there were the last time.
Progress = Callable[[int, int], None]


async def take(
    js: JetStreamContext, store: Store, pool: str, progress: Progress | None = None, stop: asyncio.Event | None = None
) -> Manifest:
    """Copies all keys of an open pool into the next slot of its stream, and closes it; gives up at the stop.

    Raises CheckpointError if it came to nothing, RefusedError for a pool that is not open, and the errors of a server that is away. Then
    nothing counts of what was written, and the checkpoints that were there stand.
    """
    return await _Taking(js, store, pool, progress or _nobody, stop or asyncio.Event()).run()


def _nobody(_done: int, _total: int) -> None:
    """Nobody asked to be told."""


class _Taking:
    def __init__(self, js: JetStreamContext, store: Store, pool: str, progress: Progress, stop: asyncio.Event) -> None:
        self._js = js
        self._store = store
        self._pool = pool
        self._progress = progress
        self._stop = stop
        self._revision = 0  # of the last read
        self._keys = 0
        self._fields = 0
        self._expected = 0  # keys, by the last checkpoint
        self._waiting: list[bytes] = []  # pieces that do not fill a message yet
        self._waiting_bytes = 0

    async def run(self) -> Manifest:
        began = time.monotonic()
        head = await self._store.pool_info(self._pool)
        if not head.open:
            raise RefusedError(Status.POOL_NOT_OPEN, [self._pool])
        known = await checkpoints.manifests(self._js, self._pool)
        self._expected = known[0].keys if known else 0
        writer = await Writer.begin(self._js, self._pool)
        try:
            window = await self._take(head, writer)
        except BaseException:
            await writer.give_up()
            raise
        manifest = Manifest(
            schema=SCHEMA,
            pool=self._pool,
            after=head.revision,
            epoch=head.epoch,
            time_ms=head.time_ms,
            whole=window.revision,
            entry=window.entry,
            taken_ms=int(time.time() * 1000),
            took_s=time.monotonic() - began,
            version=version("atp-promise-engine"),
            slot=writer.slot,
            first=writer.first,
            messages=writer.totals.messages,
            keys=self._keys,
            fields=self._fields,
            bytes=writer.totals.bytes,
            digest=writer.totals.digest,
        )
        await writer.close(manifest)
        return manifest

    async def _take(self, head: PoolInfo, writer: Writer) -> "_Window":
        """Copies, and makes sure of all that the copy rests on; what happened meanwhile."""
        self._revision = head.revision
        await self._copy(writer)
        window = _Window(head.revision)
        await self._follow(window, self._revision)
        await self._miss_nothing(window)
        await self._look_again(head)
        return window

    # --- copying --------------------------------------------------------------------------------------------------
    async def _copy(self, writer: Writer) -> None:
        async for page in self._store.bulk.names(self._pool):
            names = [name for name in page if name != _HEAD and not is_operational(name)]
            cursor = START
            while names:
                ended, cursor = await self._read(writer, names, cursor)
                names = names[ended:]
            self._progress(self._keys, max(self._keys, self._expected))
        await self._send(writer)

    async def _read(self, writer: Writer, names: list[str], cursor: str) -> tuple[int, str]:
        """One read and the pause after it; how many names it ended, and where the next goes on."""
        copied = await self._store.bulk.copy(self._pool, names, cursor)
        if copied.revision < self._revision:
            raise CheckpointError(f"the store of pool {self._pool} went back from revision {self._revision} to {copied.revision}")
        self._revision = copied.revision
        self._keys += copied.keys
        self._fields += copied.fields
        for piece in copied.pieces:
            if self._waiting_bytes + len(piece) > limits.CHECKPOINT_MESSAGE_BYTES_MAX:
                await self._send(writer)
            self._waiting.append(piece)
            self._waiting_bytes += len(piece)
        await self._pause(PAUSE_S)
        return copied.ended, copied.cursor

    async def _pause(self, seconds: float) -> None:
        await pause(self._stop, seconds)
        if self._stop.is_set():
            raise CheckpointError(f"the checkpoint of pool {self._pool} was given up: its process ends")

    async def _send(self, writer: Writer) -> None:
        if self._waiting:
            await writer.add(self._waiting)
        self._waiting, self._waiting_bytes = [], 0

    # --- what happened meanwhile ----------------------------------------------------------------------------------
    async def _follow(self, window: "_Window", revision: int) -> None:
        """Up to a revision, once JetStream has it: without those entries the copy is of no use."""
        deadline = time.monotonic() + LEDGER_WAIT_S
        while (published := (await ledger_writer.last_position(self._js, self._pool)).revision) < revision:
            if time.monotonic() > deadline:
                raise CheckpointError(f"JetStream has the ledger of pool {self._pool} up to {published} only, not up to {revision}")
            await self._pause(_LOOK_S)
        async with contextlib.aclosing(read_ledger(self._js, self._pool, window.next - 1)) as ledger:
            async for entries in ledger:
                for number, entry in enumerate(entries):
                    if window.revision == revision and window.entry:
                        return
                    window.take(entry)
                    if number % _TURN_ENTRIES == 0:
                        await asyncio.sleep(0)

    async def _miss_nothing(self, window: "_Window") -> None:
        """A key that vanishes by its expiry before it is read, after an entry of the window wrote to it, would be made again in part."""
        if not await self._missing(window):
            return
        await self._follow(window, (await self._store.pool_info(self._pool)).revision)
        if gone := await self._missing(window):  # not taken away by an entry either
            raise CheckpointError(f"{gone[0]} vanished by its expiry while pool {self._pool} was copied: take the checkpoint again")

    async def _missing(self, window: "_Window") -> list[str]:
        names, found = window.written(), []
        for at in range(0, len(names), limits.COPY_FIELDS_MAX):
            found += await self._store.bulk.missing(self._pool, names[at : at + limits.COPY_FIELDS_MAX])
        return found

    async def _look_again(self, head: PoolInfo) -> None:
        """A store that was opened again meanwhile may have been another, or empty for a while."""
        info = await self._store.pool_info(self._pool)
        if not info.open or info.epoch != head.epoch:
            raise CheckpointError(f"pool {self._pool} was closed while it was copied: take the checkpoint again")


class _Window:
    """The entries from the one at which the copy was begun, to the one at which it ended."""

    def __init__(self, after: int) -> None:
        self._replay = Replay()
        self._replay.revision = after
        self._begun: set[str] = set()  # keys that it makes from their beginning
        self.entry = ""  # the digest of the last entry

    @property
    def revision(self) -> int:
        return self._replay.revision

    @property
    def next(self) -> int:
        """The revision of the entry to be taken next: the first time the one that the copy was begun behind."""
        return self.revision + 1 if self.entry else self.revision

    def take(self, data: bytes) -> None:
        if self.entry:
            entry = decode_entry(data)
            self._begun.update(image_value(image[1]).decode() for image in entry.images if image_value(image[0]) == b"DEL")
            self._replay.apply(entry)
        self.entry = entry_digest(data)

    def written(self) -> list[str]:
        """Keys that are there after it, of which it knows a part."""
        return sorted(self._replay.keys.keys() - self._begun)
