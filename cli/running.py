"""Runs one part of the engine in the foreground until it ends or is asked to."""

import asyncio
import logging
import signal
from collections.abc import Coroutine
from typing import Any

import uvloop

from cli import config
from cli.config import Configuration


def run_until_stopped(work: Coroutine[Any, Any, object], configuration: Configuration) -> None:
    """Runs a part on uvloop. Ctrl-C and SIGTERM cancel it: it drains in its `finally`; a second signal ends the process at once."""
    logging.basicConfig(level=config.log(configuration).level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_stoppable(work))


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
