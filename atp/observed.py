"""What a face lets its process show: whether it is ready, what each task is busy with, and spans for whoever collects them."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Protocol


class Readiness:
    """Whether a process should be sent work: its face says who can answer."""

    def __init__(self) -> None:
        self._ask: Callable[[], str] = lambda: "it is starting"

    def answered_by(self, ask: Callable[[], str]) -> None:
        """`ask` answers as `why_not` does, from any thread."""
        self._ask = ask

    def why_not(self) -> str:
        """Empty if it should; else a sentence that says why not."""
        return self._ask()


class Work(Protocol):
    """One call or one event."""

    def log_fields(self) -> Mapping[str, str]:
        """What each line of the log says of it; asked only for a line that is written."""


#: What this task is busy with: every line that it logs, from whatever module, carries its fields.
busy_with: ContextVar[Work | None] = ContextVar("busy_with", default=None)


class Span(Protocol):
    """A piece of work that is being traced."""

    def end(self, outcome: str, attributes: Mapping[str, str]) -> None: ...


class Tracer(Protocol):
    """Traces pieces of work. A face that is given none asks nothing and pays nothing."""

    def begin(self, name: str, traceparent: str) -> Span:
        """Begins a span in this task: calls to a store become its children. `traceparent` is W3C's header, or empty."""
