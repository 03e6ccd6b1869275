"""The role `files`: takes what other systems put into a drop folder, file by file, and moves each away once JetStream has all of it.

`<folder>/<feed>/` is where files come, `done/` and `failed/` in it are where they go. A file is put there under a name that begins with a
dot, or ends in .part or .tmp, and renamed once it is whole; one that is written in place is taken when it has not changed between two
looks, which cannot be more than a guess. A process that dies between taking a file and moving it takes it again: the same events.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from atp.errors import IntakeUnavailableError
from atp.seldom import Seldom
from consumers.connection import Outage, pause
from consumers.feeds import FeedSettings
from consumers.incoming import Incoming, Tally
from consumers.metrics import IncomingMetrics

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
DONE, FAILED = "done", "failed"
_UNFINISHED: Final = (".part", ".tmp")


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

    async def follow(self, stop: asyncio.Event) -> None:
        """Takes files until the stop: the oldest first, one at a time."""
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
        self._metrics.files(self._feed.name, len(looks))
        return [look.path for look in sorted(whole, key=lambda look: (look.changed_ns, look.path.name))]

    async def _try(self, path: Path, stop: asyncio.Event) -> None:
        """Takes a file, unless it cannot be read or moved: then it stays, and holds up no other."""
        try:
            await self._take(path, stop)
        except FileNotFoundError:
            log.info("feed %s: %s is gone: another process has taken it, or a person", self._feed.name, path.name)
        except OSError as error:
            if self._seldom.may_say(str(error)):
                log.warning("feed %s: %s stays where it is: %s", self._feed.name, path.name, error)

    async def _take(self, path: Path, stop: asyncio.Event) -> None:
        with path.open("rb") as file:
            tally = await self._incoming.take(self._feed, path.name, file, stop)
        if tally is None:
            return
        await asyncio.to_thread(_move, path, self._folder / (FAILED if tally.mistakes else DONE))
        self._metrics.events(self._feed.name, tally.taken)
        self._metrics.message(self._feed.name, "fault" if tally.is_our_fault else "mistakes" if tally.mistakes else "taken")
        self._tell(path, tally)

    def _tell(self, path: Path, tally: Tally) -> None:
        name = f"feed {self._feed.name}, {path.name}"
        if tally.mistakes:
            log.warning("%s: %d events taken, %d mistakes, the first: %s", name, tally.taken, tally.mistakes, tally.told[0])
        else:
            log.info("%s: %d events taken, %d of them known", name, tally.taken, tally.known)


def _look(path: Path) -> Look | None:
    """None for what is no file, or not a whole one yet. Links are not followed: they could lead to what is nobody's business."""
    if path.name.startswith(".") or path.name.endswith(_UNFINISHED) or path.is_symlink() or not path.is_file():
        return None
    with contextlib.suppress(FileNotFoundError):
        found = path.stat()
        return Look(path, found.st_size, found.st_mtime_ns)
    return None


def _move(path: Path, folder: Path) -> None:
    """Under its own name, or with a number behind it where another has that name."""
    target, number = folder / path.name, 1
    while target.exists():
        number += 1
        target = folder / f"{path.name}.{number}"
    path.rename(target)


async def take_files(
    folder: Path, feeds: Iterable[FeedSettings], incoming: Incoming, metrics: IncomingMetrics, stop: asyncio.Event
) -> None:
    """Until the stop; what is in hand then is taken again later."""
    async with asyncio.TaskGroup() as group:
        for feed in feeds:
            group.create_task(DropFolder(folder, feed, incoming, metrics).follow(stop), name=f"files {feed.name}")
