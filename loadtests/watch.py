"""One run: locust as a child process on an engine, its processor time watched, and what came of it put together."""

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cli import processes
from cli.embedded import ServerError
from loadtests import cpu, shapes, summary
from loadtests.cpu import Sample, Use
from loadtests.summary import Summary

#: What the environment says of a service that is secured; servers of our own are not.
SECURED: Final = ("ATP_TOKEN", "ATP_CA_FILE", "ATP_CERTIFICATE_FILE", "ATP_KEY_FILE")
LOCUSTFILE: Final = Path(__file__).with_name("locustfile.py")
POLL_S: Final = 0.5
#: Locust starts its processes, and waits for calls under way when it stops.
START_AND_STOP_S_MAX: Final = 90.0
STOP_GRACE_S: Final = 15.0


class Load(msgspec.Struct, frozen=True):
    """What locust is to do, where, and in which folder it leaves its reports."""

    address: str
    pool: str
    channel: str
    sku_file: Path
    hot: int
    shape: str
    users: int
    duration_s: int
    processes: int
    folder: Path
    own: bool

    @property
    def summary(self) -> Path:
        return self.folder / "summary.json"

    @property
    def log(self) -> Path:
        return self.folder / "locust.log"

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    def command(self) -> list[str | Path]:
        """A plain command line of locust. How to reach a service that is secured, the environment tells it."""
        words: list[str | Path] = [sys.executable, "-m", "locust", "-f", LOCUSTFILE, "--headless", "--only-summary", "--host", self.address]
        words += ["--shape", self.shape, "--users", str(self.users), "--run-time", f"{self.duration_s}s"]
        words += ["--pool", self.pool, "--channel", self.channel, "--sku-file", self.sku_file, "--hot", str(self.hot)]
        words += ["--html", self.report, "--summary", self.summary, "--exit-code-on-error", "0"]
        words += ["--processes", str(self.processes)] if self.processes > 1 else []
        return words


class Watched(msgspec.Struct, frozen=True):
    """What locust left, and what was used while there were users: by its busiest process, by the machine, by each part of the engine."""

    summary: Summary
    exit_code: int
    busiest: Use
    machine: Use
    used: dict[str, Use]


def watch(load: Load, parts: Mapping[str, int], console: Console) -> Watched:
    """Runs locust to its end. Raises ServerError if it does not come to one, or leaves nothing."""
    load.summary.unlink(missing_ok=True)
    process = processes.spawn(load.command(), load.log, env=dict.fromkeys(SECURED, "") if load.own else None)
    samples: list[Sample] = []
    family: list[int] = []
    deadline = time.monotonic() + load.duration_s + START_AND_STOP_S_MAX
    try:
        with _progress(load, console) as show:
            while process.poll() is None and time.monotonic() < deadline:
                found = summary.read(load.summary)
                if found and found.users:
                    samples.append(cpu.sample())
                    family = cpu.groups([process.pid])[process.pid] or family
                show(found)
                time.sleep(POLL_S)
    finally:
        processes.stop(process, STOP_GRACE_S)
    found = summary.read(load.summary)
    if found is None or process.returncode is None or time.monotonic() >= deadline:
        raise ServerError(f"locust did not come to its end. The end of {load.log}:\n{processes.log_tail(load.log)}")
    used = {"locust": cpu.used(samples, family)} | {name: cpu.used(samples, [pid]) for name, pid in parts.items()}
    busiest = max((cpu.used(samples, [pid]) for pid in family), key=lambda use: use.busiest, default=Use(0.0, 0.0))
    return Watched(found, process.returncode, busiest, cpu.machine(samples), used)


@contextlib.contextmanager
def _progress(load: Load, console: Console) -> "Iterator[_Show]":
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield _Show(load, bar)


class _Show:
    """The line that moves while the load is on."""

    def __init__(self, load: Load, bar: Progress) -> None:
        self._load = load
        self._bar = bar
        self._task = bar.add_task("locust starts", total=load.duration_s)
        self._began_s: float | None = None

    def __call__(self, found: Summary | None) -> None:
        if found is None or not (found.users or self._began_s):
            return
        self._began_s = self._began_s or time.monotonic()
        elapsed_s = time.monotonic() - self._began_s
        moment = shapes.at(self._load.shape, elapsed_s, self._load.users, self._load.duration_s)
        calls, errors = sum(call.calls for call in found.calls), sum(call.errors for call in found.calls)
        words = (
            f"{moment.stage if moment else 'ends'}: {found.users} users, {calls:,} calls, {errors} errors, {found.counts.refused} refused"
        )
        self._bar.update(self._task, description=words, completed=min(elapsed_s, self._load.duration_s))
