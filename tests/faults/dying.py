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
from consumers import ledger_writer
from consumers.bootstrap import consume


def _deadly(real: Callable[..., Awaitable[Any]], times: int, *, after: bool) -> Callable[..., Awaitable[Any]]:
    """The step, but that it is the last one: done, or not even begun."""
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


def main() -> None:
    role, step, times, store_url, nats_url = sys.argv[1:]
    logging.basicConfig(level=logging.INFO)
    if step == "published":
        ledger_writer.append = _deadly(ledger_writer.append, int(times), after=True)
    elif step == "told":
        Store.published = _deadly(Store.published, int(times), after=False)  # type: ignore[method-assign]  # that is the fault
    else:
        Msg.ack = _deadly(Msg.ack, int(times), after=False)  # type: ignore[method-assign]  # that is the fault
    asyncio.run(consume(role, Stores(Store(store_url)), nats_url))


if __name__ == "__main__":
    main()
