"""The servers under load, each alone on a core of its own; the load and the stores share the other."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from benchmarks.echo import REPLY as ECHO_REPLY

__all__ = ["ECHO_REPLY", "LOAD_CORE", "echo", "pinned_to_load_core", "service", "tell_of_other_work"]

SERVER_CORE, LOAD_CORE = 0, 1
_BUSY = 0.5  # load average at the start: above it, others have a part in what is measured
_ADDRESS = re.compile(r"\S+:\d+")


@contextlib.contextmanager
def _server(*arguments: str | Path) -> Iterator[str]:
    """Runs a Python program on the servers' core; yields the address that it prints."""
    command = ["taskset", "-c", str(SERVER_CORE), sys.executable, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout
        said = process.stdout.readline()
        address = _ADDRESS.search(said)
        if address is None:
            raise RuntimeError(f"{command} said {said!r}, which names no address")
        yield address[0]
    finally:
        process.terminate()
        process.wait()


def echo() -> contextlib.AbstractContextManager[str]:
    """The yardstick: a server that does nothing."""
    return _server(Path(__file__).with_name("echo.py"))


def service(store_url: str) -> contextlib.AbstractContextManager[str]:
    """`atp serve`, as anyone runs it."""
    return _server("-m", "cli.main", "serve", "--store-url", store_url)


@contextlib.contextmanager
def pinned_to_load_core() -> Iterator[None]:
    """Keeps this process off the servers' core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {LOAD_CORE})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def tell_of_other_work(console: Console, what: str) -> None:
    """A line, if this machine has other things to do."""
    if (busy := os.getloadavg()[0]) > _BUSY:
        console.print(f"This machine has other work (load average {busy:.1f}): {what} will tell of that too")
