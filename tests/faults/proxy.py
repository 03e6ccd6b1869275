"""An address before a server: it can lead to another server, lead nowhere, fall silent, and cut off a reply once the script has run."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Final

from cli.embedded import HOST, free_port

_CHUNK: Final = 65_536
_SCRIPT: Final = b"EVALSHA"


class Proxy:
    """`cut` is the chance that a reply to scripts never comes and its connection is gone instead."""

    def __init__(self, target: int, chance: random.Random) -> None:
        self.port = free_port()
        self.cut = 0.0
        self.cut_off = 0  # replies
        self._target: int | None = target
        self._chance = chance
        self._writers: set[asyncio.StreamWriter] = set()
        self._flows = asyncio.Event()
        self._flows.set()

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}"

    def lead_to(self, target: int | None) -> None:
        """From now on to another server, or nowhere; connections there are break."""
        self._target = target
        self._flows.set()
        for writer in self._writers:
            writer.transport.abort()

    def fall_silent(self) -> None:
        """Nothing comes through any more, and no connection breaks: as when a cable is cut. `lead_to` ends it."""
        self._flows.clear()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, HOST, self.port)
        try:
            yield
        finally:
            server.close()
            self.lead_to(None)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError):
                if self._target is not None:
                    await self._carry(reader, writer, self._target)
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int) -> None:
        there, to_there = await asyncio.open_connection(HOST, target)
        asked = asyncio.Event()

        async def requests() -> None:
            while data := await reader.read(_CHUNK):
                if _SCRIPT in data:
                    asked.set()
                await self._flows.wait()
                to_there.write(data)
                await to_there.drain()

        async def replies() -> None:
            while data := await there.read(_CHUNK):
                if asked.is_set() and self._chance.random() < self.cut:
                    self.cut_off += 1
                    return
                asked.clear()
                await self._flows.wait()
                writer.write(data)
                await writer.drain()

        ways = [asyncio.create_task(requests()), asyncio.create_task(replies())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            to_there.transport.abort()
