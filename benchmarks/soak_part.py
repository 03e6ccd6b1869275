"""The service or the consumers as the soak runs them: as always, but records live a minute past their end, and tasks are counted.

`python -m benchmarks.soak_part service FILE STORE_URL`, `… consumers FILE STORE_URL NATS_URL`: FILE is told the number of asyncio tasks.
"""

import asyncio
import logging
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import uvloop

from atp.store import Store, Stores
from consumers.bootstrap import consume
from service.bootstrap import serve
from service.settings import ServiceSettings

RETENTION_MS = 60_000
_TOLD_EVERY_S = 1.0


def _part(name: str, store_url: str, nats_url: str = "") -> Coroutine[Any, Any, None]:
    stores = Stores(Store(store_url, bounds={"RETENTION_MS": RETENTION_MS, "SHIPMENT_RETENTION_MS": RETENTION_MS}))
    if name == "consumers":
        return consume("all", stores, nats_url)
    return serve(stores, ServiceSettings(), lambda address: print(f"serving on {address}", flush=True))


async def _counted(part: Coroutine[Any, Any, None], file: Path) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(part)
        while True:
            file.write_text(str(len(asyncio.all_tasks())))  # noqa: ASYNC240 (a few bytes a second)
            await asyncio.sleep(_TOLD_EVERY_S)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    uvloop.run(_counted(_part(sys.argv[1], *sys.argv[3:]), Path(sys.argv[2])))
