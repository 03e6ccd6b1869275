"""A consumer that dies at one step: `python -m tests.faults.dying ROLE STEP TIMES STORE_URL NATS_URL`, at that step for the TIMES-th time.

`published`: JetStream has acked a batch of the ledger, and nobody knows. `told`: its exceptions are out too, the store has not been told.
`applied`: an event is in the store, and not acked; others of its batch are in hand.
"""

import asyncio
import itertools
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from nats.aio.msg import Msg

from atp.store import Store, Stores
from consumers import ledger_writer, streams
from consumers.bootstrap import consume

Step = Callable[..., Awaitable[Any]]


def _deadly(real: Step, times: int, *, after: bool, counts: Callable[..., bool] = lambda *_: True) -> Step:
    """The step, but that of those that count one is the last: done, or not even begun."""
    count = itertools.count(1)

    async def step(*args: Any, **kwargs: Any) -> Any:
        is_last = counts(*args) and next(count) >= times
        if is_last and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = await real(*args, **kwargs)
        if is_last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return step


def _replace(owner: object, name: str, times: int, **how: Any) -> None:
    setattr(owner, name, _deadly(getattr(owner, name), times, **how))


def main() -> None:
    role, step, times, store_url, nats_url = sys.argv[1:]
    logging.basicConfig(level=logging.INFO)
    if step == "published":
        _replace(ledger_writer, "append", int(times), after=True)
    elif step == "told":
        _replace(Store, "published", int(times), after=False)
    else:
        _replace(Msg, "ack", int(times), after=False, counts=lambda message: message.metadata.consumer != streams.STRAYS)
    asyncio.run(consume(role, Stores(Store(store_url)), nats_url))


if __name__ == "__main__":
    main()
