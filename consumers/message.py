"""An event's message as the feeds work on it, wherever it came from: the stream, or the waiting room of its item."""

from typing import NamedTuple

from atp import canonical


class Message(NamedTuple):
    """A message as it came. `name` is the same when the message comes again."""

    name: str
    subject: str
    data: bytes
    taken_s: float  # when JetStream took it, or the event that gave it its turn; Unix time
    traceparent: str = ""  # W3C's header: the trace that it is part of

    def log_fields(self) -> dict[str, str]:
        """What each line of the log says of it."""
        pool = canonical.pool_of_subject(self.subject)
        return {"event": self.name, "subject": self.subject, "pool": pool, "correlation": canonical.correlation_of(self.data)}
