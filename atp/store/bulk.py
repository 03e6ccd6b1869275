"""Whole pools: read key by key, copied for a checkpoint, and loaded from one. Every call is short, so that others have their turn."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from atp import limits
from atp.errors import RefusedError
from atp.model.status import Status
from atp.model.verbs import Result
from atp.store.connection import Word
from atp.store.link import Link
from atp.store.scripts import Script

START: Final = "0"  # of a key that has not been begun
_TIMEOUT_S: Final = limits.CALL_TIMEOUT_MS_DEFAULT / 1000
_SCAN_BATCH: Final = 1_000

_encode = msgspec.msgpack.Encoder().encode
_decode_result = msgspec.msgpack.Decoder(Result).decode


class Copied(NamedTuple):
    """What one read gave: of the names asked for, so many to their end, and where the next one goes on."""

    revision: int
    ended: int
    cursor: str
    keys: int
    fields: int
    pieces: list[bytes]


class Contents(NamedTuple):
    """Keys as they were at one revision, each field followed by its value, each member by its score; and when they vanish, or 0."""

    revision: int
    flat: dict[str, list[bytes]]
    expiries: dict[str, int]

    def key(self, name: str) -> dict[bytes, bytes]:
        """By field or member; empty if absent."""
        flat = self.flat[name]
        return dict(zip(flat[::2], flat[1::2], strict=True))


class Bulk:
    """Raises StoreUnavailableError, StoreBusyError, CallTimeoutError from every call, and RefusedError from those that load."""

    def __init__(self, link: Link, scripts: Mapping[str, Script], command: Callable[..., Awaitable[Any]]) -> None:
        self._link = link
        self._scripts = scripts
        self._command = command

    async def scan(self, pattern: str) -> AsyncIterator[list[str]]:
        """Keys of the server, page by page: all that are there the whole time, some of them twice, others perhaps."""
        cursor = b"0"
        while True:
            cursor, page = await self._command("SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN_BATCH)
            if page:
                yield [key.decode() for key in page]
            if int(cursor) == 0:
                return

    async def names(self, pool: str) -> AsyncIterator[list[str]]:
        """The same of one pool, without the prefix."""
        prefix = f"{{{pool}}}:"
        async for page in self.scan(f"{prefix}*"):
            yield [key.removeprefix(prefix) for key in page]

    async def read(self, pool: str, names: Sequence[str], enough: int = 0) -> Contents:
        """The keys, whole; if it is said with how many fields it is `enough`, the first of them until then, and at least one."""
        head, expiries, *flats = await self._run("contents", pool, _encode(names), *([enough] if enough else []))
        flat = dict(zip(names, flats, strict=False))
        return Contents(_decode_result(head).revision, flat, dict(zip(flat, expiries, strict=True)))

    async def index(self, pool: str, name: str, lowest: str, at_most: int) -> tuple[int, list[bytes]]:
        """Members of a ZSET from a score on, each followed by its score, in order; and the revision."""
        head, flat = await self._run("index", pool, _encode((name, lowest, at_most)))
        return _decode_result(head).revision, flat

    async def copy(self, pool: str, names: Sequence[str], cursor: str = START) -> Copied:
        """Reads keys until one call has read enough; the first goes on at the cursor."""
        reply = await self._run("copy", pool, _encode((cursor, *names)))
        (ended, cursor_after, keys, fields), pieces = reply[1], reply[2:]
        return Copied(_decode_result(reply[0]).revision, ended, cursor_after.decode(), keys, fields, pieces)

    async def missing(self, pool: str, names: Sequence[str]) -> list[str]:
        """Those that the store does not have."""
        keys = [f"{{{pool}}}:{name}" for name in names]
        if not keys or await self._command("EXISTS", *keys) == len(keys):
            return []
        return [name for name, key in zip(names, keys, strict=True) if not await self._command("EXISTS", key)]

    # --- loading --------------------------------------------------------------------------------------------------
    async def begin(self, pool: str, token: str, revision: int) -> None:
        """Takes a pool that is not open, as it stands at `revision`, and clears it. Raises RefusedError if another was quicker."""
        await self._step(pool, (token, "begin", revision))
        async for page in self.names(pool):
            names = [name for name in page if name != "pool"]
            for at in range(0, len(names), limits.COPY_FIELDS_MAX):
                await self._step(pool, (token, "clear", *names[at : at + limits.COPY_FIELDS_MAX]))

    async def put(self, pool: str, token: str, pieces: Sequence[bytes]) -> None:
        """Adds what the pieces hold. Raises RefusedError if another has taken over."""
        await self._step(pool, (token, "put"), *pieces)

    async def end(self, pool: str, token: str, revision: int, epoch: int, time_ms: int) -> None:
        """From now on the pool is at `revision`, and entries are replayed from there. Raises RefusedError as `put` does."""
        await self._step(pool, (token, "end", revision, epoch, time_ms))

    async def _step(self, pool: str, request: tuple[str | int, ...], *pieces: bytes) -> None:
        result = _decode_result(await self._run("load", pool, _encode(request), *pieces))
        if result.status != Status.OK:
            raise RefusedError(Status(result.status), [f"another loads a checkpoint into pool {pool}, or it is open"])

    async def _run(self, script: str, pool: str, *arguments: Word) -> Any:
        return await self._link.run_script(self._scripts[script], f"{{{pool}}}:pool", arguments, _TIMEOUT_S)
