"""Which pools there are: those whose ledger stream JetStream has. Provisioning makes the stream, so no other list is kept."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from consumers import streams
from consumers.connection import AWAY, Outage, pause

REFRESH_S: Final = 1.0
NEW_POOLS_S: Final = 0.2


async def pool_names(js: JetStreamContext) -> set[str]:
    """Asks JetStream, page by page."""
    names: set[str] = set()
    offset = 0
    while page := await js.streams_info(offset):
        found = (streams.pool_of_ledger(info.config.name or "") for info in page)
        names.update(name for name in found if name)
        offset += len(page)
    return names


async def has_ledger(js: JetStreamContext, pool: str) -> bool:
    """Whether a pool was ever provisioned, whatever the store says now: an emptied store does not make it unknown."""
    try:
        await js.stream_info(streams.ledger_stream(pool))
    except NotFoundError:
        return False
    return True


class Pools:
    """The names as last heard; they stay while JetStream is away."""

    def __init__(self, js: JetStreamContext) -> None:
        self._js = js
        self.names: set[str] = set()

    async def follow(self, stop: asyncio.Event) -> None:
        """Keeps the names fresh until the stop; asks at least once, however soon that comes."""
        outage = Outage("the list of pools")
        asked = False
        while not (asked and stop.is_set()):
            asked = True
            try:
                self.names = await pool_names(self._js)
            except AWAY as error:
                await outage.wait(error, stop)
            else:
                outage.over()
                await pause(stop, REFRESH_S)

    async def for_each(self, work: Callable[[str], Coroutine[Any, Any, None]], name: str, stop: asyncio.Event) -> None:
        """Starts the work of each pool, also of those provisioned later, until the stop; returns once all have ended."""
        running: set[str] = set()
        async with asyncio.TaskGroup() as group:
            stopping = False
            while not stopping:
                stopping = stop.is_set()  # looked at first: a pool that was provisioned just before the stop has its work too
                for pool in self.names - running:
                    group.create_task(work(pool), name=f"{name} {pool}")
                    running.add(pool)
                await pause(stop, NEW_POOLS_S)
