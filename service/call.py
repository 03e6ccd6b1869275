"""What a handler knows about the call it answers, whatever the transport: deadline, identity, correlation, peer."""

import itertools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from google.protobuf.message import Message

from atp.model.verbs import Context
from atp.requests import is_name

_RUN = os.urandom(4).hex()
_NUMBERS = itertools.count(1)


class Scope(StrEnum):
    """What an identity may be allowed to do: to ask, to hold and settle, to report stock, to put right by hand."""

    READ = "read"
    RESERVE = "reserve"
    FEED = "feed"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls: `client` stands as actor in the ledger. `pools` is None for one that may use all of them.

    `sources` are those that it speaks for beside the one of its own name, None for one that speaks for all.
    """

    client: str
    scopes: frozenset[Scope]
    pools: frozenset[str] | None = None
    sources: frozenset[str] | None = frozenset()

    def speaks_for(self, source: str) -> bool:
        """Whether what it tells may be the word of this source."""
        return self.sources is None or source == self.client or source in self.sources


#: Who calls where nobody is asked: anyone on this machine, allowed everything.
LOCAL = Identity("local", frozenset(Scope), sources=None)

#: Who calls until that is known.
UNKNOWN = Identity("unknown", frozenset())


class Call:
    """One call. Cancellation needs no field: a transport cancels the handler's task."""

    __slots__ = ("_peer", "correlation", "deadline", "identity", "method", "request")

    def __init__(self, method: str, deadline: float, identity: Identity, correlation: str, peer: Callable[[], str]) -> None:
        self.method = method  # without its service
        self.deadline = deadline  # on time.monotonic()'s clock, in seconds
        self.identity = identity
        self.correlation = correlation
        self.request: Message | None = None  # once it is decoded
        self._peer = peer

    @property
    def pool(self) -> str:
        """The pool it is about, as far as it says."""
        return getattr(self.request, "pool", "")

    def log_fields(self) -> dict[str, str]:
        """What each line of the log says of it."""
        fields = {"correlation": self.correlation, "method": self.method, "client": self.identity.client, "peer": self.peer}
        return {**fields, "pool": self.pool} if is_name(self.pool) else fields

    @property
    def peer(self) -> str:
        """The caller's address, as the transport writes it; looked up when it is asked for."""
        return self._peer()

    @property
    def timeout_s(self) -> float:
        """What is left until the deadline, at least 0."""
        return max(0.0, self.deadline - time.monotonic())

    @property
    def context(self) -> Context:
        """Who asks, for the ledger."""
        return Context(self.identity.client, self.correlation)


def new_correlation() -> str:
    """An id for a call that came without one: unique, short (it stands in the ledger), good for finding the call in the log."""
    return f"{_RUN}-{next(_NUMBERS):x}"
