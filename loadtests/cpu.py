"""What processes use of the processor, read from /proc: the mean of a run, and its busiest seconds."""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

WINDOW_S: Final = 5.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class Use(NamedTuple):
    """Per cent of one core."""

    mean: float
    busiest: float


class Sample(NamedTuple):
    """Seconds of processor time until a moment: of each process, and of the whole machine."""

    at_s: float
    seconds: Mapping[int, float]
    machine: float


def groups(leaders: Iterable[int]) -> dict[int, list[int]]:
    """The processes of each process group, by its leader: what `cli.processes` starts leads one, and what that forks is in it."""
    found: dict[int, list[int]] = {leader: [] for leader in leaders}
    for pid, fields in _processes():
        if int(fields[2]) in found:
            found[int(fields[2])].append(pid)
    return found


def sample() -> Sample:
    """Of all processes of this machine."""
    seconds = {pid: (int(fields[11]) + int(fields[12])) / _TICKS for pid, fields in _processes()}
    user, nice, system, _idle, _waiting, *rest = map(int, Path("/proc/stat").read_text().split(maxsplit=9)[1:9])
    return Sample(time.monotonic(), seconds, (user + nice + system + sum(rest)) / _TICKS)


def used(samples: Sequence[Sample], pids: Iterable[int]) -> Use:
    """What these processes used together; a process that is not there has used nothing."""
    chosen = list(pids)
    return _use([(moment.at_s, sum(moment.seconds.get(pid, 0.0) for pid in chosen)) for moment in samples])


def machine(samples: Sequence[Sample]) -> Use:
    """What everything on this machine used, and what its host took from it: at most 100 % of each core."""
    return _use([(moment.at_s, moment.machine) for moment in samples])


def _use(at: list[tuple[float, float]]) -> Use:
    if len(at) < 2:
        return Use(0.0, 0.0)
    windows = [
        _share(earlier, later) for earlier in at if (later := next((later for later in at if later[0] - earlier[0] >= WINDOW_S), None))
    ]
    mean = _share(at[0], at[-1])
    return Use(mean, max(windows, default=mean))


def _share(earlier: tuple[float, float], later: tuple[float, float]) -> float:
    return max(0.0, 100 * (later[1] - earlier[1]) / max(later[0] - earlier[0], 1e-9))


def _processes() -> Iterable[tuple[int, list[str]]]:
    """Each process with the fields of its `stat` behind the name, which may hold blanks: state, parent, group, …"""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                stat = (folder / "stat").read_text()
            except OSError:  # it has ended meanwhile
                continue
            yield int(folder.name), stat.rpartition(")")[2].split()
