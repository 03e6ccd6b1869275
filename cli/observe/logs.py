"""The log: a line for people or a JSON object a line, each with what its task is busy with, and no flood of them."""

import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple, TextIO

from pythonjsonlogger.json import JsonFormatter

from atp.observed import busy_with
from cli.config.sections import LogSection
from cli.words import visible

LINES_A_SECOND_MAX: Final = 10  # of one kind
KINDS_MAX: Final = 1_000  # told apart in one second

#: Our own packages: `debug` is for them; what the libraries under them have to say begins at info.
_OURS: Final = ("atp", "service", "consumers", "cli")
_STANDARD: Final = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
_log = logging.getLogger(__name__)


def set_up(section: LogSection) -> "Flood":
    """Sends every line to standard error, in the form and from the level that are asked for."""
    flood = Flood()
    handler = writer(section.format, sys.stderr, flood)
    level = logging.getLevelNamesMapping()[section.level.upper()]
    logging.basicConfig(handlers=[handler], level=max(level, logging.INFO), force=True)
    for name in _OURS:
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(capture=True)
    return flood


def writer(form: str, stream: TextIO, flood: "Flood") -> logging.Handler:
    """Writes lines to a stream, `json` or for people."""
    handler = logging.StreamHandler(stream)
    handler.addFilter(flood)
    handler.addFilter(_add_fields)
    handler.setFormatter(_json() if form == "json" else ForPeople())
    return handler


def _add_fields(record: logging.LogRecord) -> bool:
    work = busy_with.get()
    if work is not None:
        for name, value in work.log_fields().items():
            record.__dict__.setdefault(name, value)
    return True


def _json() -> logging.Formatter:
    return JsonFormatter(
        "%(levelname)s %(name)s %(message)s",
        timestamp="time",
        rename_fields={"levelname": "level", "name": "logger", "exc_info": "exception"},
        json_ensure_ascii=False,
    )


class ForPeople(logging.Formatter):
    """Time, level, logger, message, and the fields in brackets; a line break, or an order to a terminal, is shown and not obeyed."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        line = super().formatMessage(record)
        fields = " ".join(f"{name}={value}" for name, value in vars(record).items() if name not in _STANDARD and value is not None)
        return visible(f"{line} [{fields}]" if fields else line)


class _Kind(NamedTuple):
    """Lines of one kind say the same of different things: one place in the code, one outcome."""

    logger: str
    level: int
    template: str
    outcome: str


class _Second:
    """What was written of a kind in a second that began at `began`."""

    __slots__ = ("began", "left_out", "written")

    def __init__(self, began: float) -> None:
        self.began = began
        self.written = 0
        self.left_out = 0


class Flood:
    """A filter that writes the first LINES_A_SECOND_MAX of a kind in a second; `tell` then says how many were left out.

    An outage fails thousands of calls a second, all for one reason: the first few lines and their number say as much. What is asked for
    with `debug` is written whole.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds: dict[_Kind, _Second] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno <= logging.DEBUG or record.name == __name__:
            return True
        kind = _Kind(record.name, record.levelno, str(record.msg), getattr(record, "outcome", ""))
        now = self._clock()
        with self._lock:
            if kind not in self._seconds and len(self._seconds) >= KINDS_MAX:
                kind = _Kind("", record.levelno, "lines of many kinds", "")
            second = self._seconds.get(kind)
            if second is None or (now - second.began >= 1 and not second.left_out):
                second = self._seconds[kind] = _Second(now)
            admitted = second.written < LINES_A_SECOND_MAX
            second.written += admitted
            second.left_out += not admitted
        return admitted

    def tell(self, *, all_of_them: bool = False) -> None:
        """Says what was left out in the seconds that are over, and forgets them."""
        now = self._clock()
        with self._lock:
            over = {kind: second for kind, second in self._seconds.items() if all_of_them or now - second.began >= 1}
            for kind in over:
                del self._seconds[kind]
        for kind, second in over.items():
            if second.left_out:
                fields = {"left_out": second.left_out, "of": kind.logger, "outcome": kind.outcome or None}
                _log.log(kind.level, "%d more lines like this were left out: %s", second.left_out, kind.template, extra=fields)
