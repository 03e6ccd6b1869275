"""The role `files`: takes what other systems put into a drop folder, file by file, and moves each away once JetStream has all of it.

`<folder>/<feed>/` is where files come, `done/` and `failed/` in it are where they go. A file is put there under a name that begins with a
dot, or ends in .part or .tmp, and renamed once it is whole; one that is written in place is taken when it has not changed between two
looks, which cannot be more than a guess. One that has changed while it was taken, or in whose place another was put, is not moved away
but taken again, and so is one whose process dies between taking and moving it: the same events.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from atp.errors import IntakeUnavailableError
from atp.seldom import Seldom
from atp.words import counted
from consumers.connection import Outage, pause
from consumers.feeds import FeedSettings
from consumers.incoming import Incoming, Tally
from consumers.metrics import IncomingMetrics

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
DONE, FAILED = "done", "failed"
_UNFINISHED: Final = (".part", ".tmp")


#: Device, inode, size and time of change: another for another file, and after a change.
Mark = tuple[int, int, int, int]


class Look(NamedTuple):
    """A file as it was at one moment."""

    path: Path
    bytes: int
    changed_ns: int


class DropFolder:
    """The folder of one feed."""

    def __init__(self, folder: Path, feed: FeedSettings, incoming: Incoming, metrics: IncomingMetrics) -> None:
        self._folder = folder / feed.name
        self._feed = feed
        self._incoming = incoming
        self._metrics = metrics
        self._seldom = Seldom()
        self._before: set[Look] = set()
        self._since: dict[Path, float] = {}  # when each that is there was first seen
        self._unmoved: dict[Mark, Tally] = {}  # taken once, however often they cannot be moved

    async def follow(self, stop: asyncio.Event) -> None:
        """Takes files until the stop: the oldest first, one at a time."""
        self._metrics.begin(self._feed.name)
        self._metrics.files(self._feed.name, 0, time.time())  # a folder that cannot be looked into has been so since now
        outage = Outage(f"the drop folder of feed {self._feed.name}")
        while not stop.is_set():
            try:
                for path in await asyncio.to_thread(self._whole):
                    await self._try(path, stop)
            except (IntakeUnavailableError, OSError) as error:
                await outage.wait(error, stop)
            else:
                outage.over()
                await pause(stop, LOOK_S)

    def _whole(self) -> list[Path]:
        """The files that have not changed since the last look."""
        for folder in (self._folder, self._folder / DONE, self._folder / FAILED):
            folder.mkdir(parents=True, exist_ok=True)
        looks = [look for entry in self._folder.iterdir() if (look := _look(entry))]
        whole, self._before = self._before.intersection(looks), set(looks)
        now_s = time.time()
        self._since = {look.path: self._since.get(look.path, now_s) for look in looks}
        self._metrics.files(self._feed.name, len(looks), min(self._since.values(), default=now_s))
        return [look.path for look in sorted(whole, key=lambda look: (look.changed_ns, look.path.name))]

    async def _try(self, path: Path, stop: asyncio.Event) -> None:
        """Takes a file, unless it cannot be read or moved: then it stays, and holds up no other."""
        try:
            await self._take(path, stop)
        except FileNotFoundError:
            log.info("feed %s: %s is gone: another process has taken it, or a person", self._feed.name, _name(path))
        except OSError as error:
            if self._seldom.may_say(str(error)):
                log.warning("feed %s: %s stays where it is: %s", self._feed.name, _name(path), error)

    async def _take(self, path: Path, stop: asyncio.Event) -> None:
        with _open(path) as file:
            taken = _mark(os.fstat(file.fileno()))
            tally = self._unmoved.get(taken) or await self._incoming.take(self._feed, _name(path), file, stop)
        if tally is None:
            return
        self._unmoved[taken] = tally
        is_same = await asyncio.to_thread(_move, path, self._folder / (FAILED if tally.mistakes else DONE), taken)
        del self._unmoved[taken]
        if not is_same:
            log.warning("feed %s: %s has changed while it was taken, and is taken again", self._feed.name, _name(path))
            return
        self._since.pop(path, None)  # whatever has that name now is another
        self._metrics.events(self._feed.name, tally.taken)
        self._metrics.message(self._feed.name, "fault" if tally.is_our_fault else "mistakes" if tally.mistakes else "taken")
        self._tell(path, tally)

    def _tell(self, path: Path, tally: Tally) -> None:
        name = f"feed {self._feed.name}, {_name(path)}"
        taken = counted(tally.taken, "event")
        if tally.mistakes:
            mistakes = counted(tally.mistakes, "mistake")
            log.warning("%s: %s taken, %s, the first: %s", name, taken, mistakes, tally.told[0])
        else:
            log.info("%s: %s taken", name, taken)


def _look(path: Path) -> Look | None:
    """None for what is no file, or not a whole one yet. Links are not followed: they could lead to what is nobody's business."""
    if path.name.startswith(".") or path.name.endswith(_UNFINISHED) or path.is_symlink() or not path.is_file():
        return None
    with contextlib.suppress(FileNotFoundError):
        found = path.stat()
        return Look(path, found.st_size, found.st_mtime_ns)
    return None


def _open(path: Path) -> BinaryIO:
    """Raises OSError for a link or a pipe that was put in the file's place since it was looked at."""
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")


def _mark(found: os.stat_result) -> Mark:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _name(path: Path) -> str:
    """Its name for people: any bytes may be in it, and not all of them are text."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in path.name)


def _move(path: Path, folder: Path, taken: Mark) -> bool:
    """Under its own name, or with a number behind it where another has that name; back again, if it is not what was taken."""
    target = _free(folder / path.name)
    path.rename(target)
    is_same = _mark(target.stat()) == taken  # only now: before, another could still come in its place
    if not is_same:
        target.rename(_free(path))
    return is_same


def _free(path: Path) -> Path:
    found, number = path, 1
    while found.exists():
        number += 1
        found = path.with_name(f"{path.name}.{number}")
    return found


async def take_files(
    folder: Path, feeds: Iterable[FeedSettings], incoming: Incoming, metrics: IncomingMetrics, stop: asyncio.Event
) -> None:
    """Until the stop; what is in hand then is taken again later."""
    async with asyncio.TaskGroup() as group:
        for feed in feeds:
            group.create_task(DropFolder(folder, feed, incoming, metrics).follow(stop), name=f"files {feed.name}")
