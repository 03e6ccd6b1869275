"""Keeps parts running: starts again what ends by itself, but not for ever."""

import subprocess
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from cli import processes

RESTARTS_MAX: Final = 5  # of one part within the window; one more and the fault is not going away by itself
RESTART_WINDOW_S: Final = 60.0
RESTART_PAUSE_S: Final = 0.2  # before the first restart in the window; doubled before each that follows
STOP_GRACE_S: Final = 15.0


class Part(Protocol):
    """Something that runs as a process: an embedded server or one of our own commands."""

    @property
    def name(self) -> str: ...
    @property
    def log_path(self) -> Path: ...
    @property
    def running(self) -> bool: ...
    def start(self) -> object: ...
    def stop(self) -> None: ...


class GaveUpError(Exception):
    """A part ended more often than the bound allows."""


class Command:
    """One `atp` command as a part: `Command("service", ["serve", …], folder)`."""

    def __init__(self, name: str, arguments: Sequence[str], log_dir: Path) -> None:
        self.name = name
        self.log_path = log_dir / f"{name}.log"
        self._arguments = [sys.executable, "-m", "cli.main", *arguments]
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    def start(self) -> None:
        if not self.running:
            self._log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
            self._process = processes.spawn(self._arguments, self.log_path)

    def stop(self) -> None:
        if self._process is not None:
            processes.stop(self._process, STOP_GRACE_S)

    def log_tail(self) -> str:
        """What it has said since its last start."""
        return processes.log_tail(self.log_path, self._log_start)


class Supervisor:
    """Watches parts that were started elsewhere. `say` gets one line for each restart."""

    def __init__(self, parts: Sequence[Part], say: Callable[[str], None], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._parts = parts
        self._say = say
        self._clock = clock
        self._restarts: dict[str, deque[float]] = defaultdict(deque)

    def check(self) -> bool:
        """Starts again each part that ended; true if any did. Raises GaveUpError when a part has ended too often."""
        ended = [part for part in self._parts if not part.running]
        for part in ended:
            self._restart(part)
        return bool(ended)

    def _restart(self, part: Part) -> None:
        recent = self._restarts[part.name]
        now = self._clock()
        while recent and recent[0] < now - RESTART_WINDOW_S:
            recent.popleft()
        if len(recent) == RESTARTS_MAX:
            tail = processes.log_tail(part.log_path)
            raise GaveUpError(f"{part.name} ended {RESTARTS_MAX + 1} times in a minute. The end of {part.log_path}:\n{tail}")
        self._say(f"{part.name} ended by itself: starting it again ({len(recent) + 1} of {RESTARTS_MAX} in a minute)")
        time.sleep(RESTART_PAUSE_S * 2 ** len(recent))
        recent.append(now)
        try:
            part.start()
        except RuntimeError as error:  # the next check finds it ended, and counts it
            self._say(f"{part.name} did not start: {error}")
