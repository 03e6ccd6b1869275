"""Runs one part of the engine in the foreground until it ends or is asked to."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final

import uvloop

from cli.observe import Process

_NICE: Final = 10  # docs/adr/0112


def run_until_stopped(work: Callable[[], Coroutine[Any, Any, object]], process: Process) -> None:
    """Runs a part on uvloop. Ctrl-C and SIGTERM cancel it: it drains in its `finally`; a second signal ends the process at once."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_shown(work, process))


def give_way() -> None:
    """Asks the system to let others go first: on a machine that is shared with services and stores, checkouts do not wait for consumers."""
    os.nice(_NICE)


async def _shown(work: Callable[[], Coroutine[Any, Any, object]], process: Process) -> None:
    async with process.shown():
        await _stoppable(work())


async def _stoppable(work: Coroutine[Any, Any, object]) -> None:
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    asked = False

    def stop() -> None:
        nonlocal asked
        asked = True
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        await task
    except asyncio.CancelledError:
        if not asked:
            raise
