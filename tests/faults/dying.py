"""A consumer that dies at one step: `python -m tests.faults.dying ROLE STEP TIMES STORE_URL NATS_URL`, at that step for the TIMES-th time.

`published`: JetStream has acked a batch of the ledger, and nobody knows. `told`: its exceptions are out too, the store has not been told.
`applied`: the events of a batch are in the store, and not acked; others are in hand.
"""

import asyncio
import itertools
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from atp.store import Store, Stores
from consumers import ledger_writer
from consumers.bootstrap import consume
from consumers.connection import Client

Step = Callable[..., Awaitable[Any]]


def _deadly(real: Step, times: int, *, after: bool) -> Step:
    """The step, but one is the last: done, or not even begun."""
    count = itertools.count(1)

    async def step(*args: Any, **kwargs: Any) -> Any:
        is_last = next(count) >= times
        if is_last and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = await real(*args, **kwargs)
        if is_last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return step


def _replace(owner: object, name: str, times: int, *, after: bool) -> None:
    setattr(owner, name, _deadly(getattr(owner, name), times, after=after))


def main() -> None:
    role, step, times, store_url, nats_url = sys.argv[1:]
    logging.basicConfig(level=logging.INFO)
    if step == "published":
        _replace(ledger_writer, "append", int(times), after=True)
    elif step == "told":
        _replace(Store, "published", int(times), after=False)
    else:
        _replace(Client, "publish_empty", int(times), after=False)
    asyncio.run(consume(role, Stores(Store(store_url)), nats_url))


if __name__ == "__main__":
    main()
