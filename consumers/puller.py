"""A steady pull from a durable consumer: what is asked for next is on its way while what came is being worked on."""

import asyncio
from collections import deque
from typing import Final, NamedTuple

import msgspec
import nats.errors
from nats.aio.client import Client as NatsClient
from nats.aio.subscription import Subscription
from nats.js.api import StatusCode

from consumers.connection import Client

_EXPIRES_S: Final = 10
_HEARTBEAT_S: Final = 1
_DEAD_AFTER_S: Final = 3 * _HEARTBEAT_S
_NANOSECONDS: Final = 1_000_000_000
_PENDING_MESSAGES: Final = "Nats-Pending-Messages"  # how many of a request will not come
_STATUS_AT: Final = len(b"NATS/1.0 ")
_STATUS_DIGITS: Final = 3
#: Where a reply subject says which message of the stream this is; two more words stand before it where servers name domain and account.
_SEQUENCE_AT: Final = {9: 5}
_SEQUENCE_AT_WITH_DOMAIN: Final = 7


class NoDurableError(nats.errors.NoRespondersError):
    """Nobody answers for a durable: it was never made, or JetStream is away."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __str__(self) -> str:
        return f"JetStream has no durable {self._name}: provision the pool again (atp provision FILE), unless JetStream itself is away"


class Pulled(NamedTuple):
    """A message of a stream. It is acked, or kept, by publishing to `reply`."""

    subject: str
    reply: str
    data: bytes
    headers: bytes  # as they came

    @property
    def sequence(self) -> int:
        """Its number in the stream."""
        return self.place[0]

    @property
    def place(self) -> tuple[int, float]:
        """Its number in the stream, and when JetStream took it, Unix time."""
        words = self.reply.split(".")
        at = _SEQUENCE_AT.get(len(words), _SEQUENCE_AT_WITH_DOMAIN)
        return int(words[at]), int(words[at + 2]) / _NANOSECONDS

    def header(self, name: str) -> str:
        """What a header says, empty if it is not there."""
        return _header(self.headers, name)


def _header(headers: bytes, name: str) -> str:
    wanted = name.lower().encode()
    for line in headers.split(b"\r\n"):
        key, _, value = line.partition(b":")
        if key.strip().lower() == wanted:
            return value.strip().decode("utf-8", "replace")
    return ""


class Puller:
    """At most `count` messages are asked for or in hand at any time. One reader.

    nats-py's own fetch of many waits out its time for the rest once the first has come, which costs either latency or full batches; and
    each message costs it a queue, an object and a task's turn.
    """

    def __init__(self, connection: NatsClient, stream: str, consumer: str, count: int) -> None:
        assert isinstance(connection, Client), "nats-py's own client hands over no messages as they come"
        self._connection = connection
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._name = f"{stream}.{consumer}"
        self._count = count
        self._inbox = connection.new_inbox()
        self._subscription: Subscription | None = None
        self._came: deque[Pulled] = deque()
        self._news = asyncio.Event()
        self._asked = 0  # of what was requested, how much is still to come
        self._heard_at = 0.0
        self._gone = False

    async def take(self, timeout_s: float) -> list[Pulled]:
        """All that is there, as soon as something is; nothing after the time-out. Raises a nats error while nobody answers."""
        if self._subscription is None:
            self._subscription = await self._connection.subscribe_raw(self._inbox, self._note)
        await self._ask()
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            return []
        self._news.clear()
        if self._gone:
            self._gone = False
            raise NoDurableError(self._name)
        return self._take()

    async def close(self) -> list[Pulled]:
        """Takes no more and returns what came meanwhile."""
        if self._subscription is not None:
            await self._connection.drain_raw(self._subscription)
        return self._take()

    def _take(self) -> list[Pulled]:
        messages = list(self._came)
        self._came.clear()
        return messages

    async def _ask(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._asked and now - self._heard_at > _DEAD_AFTER_S:
            self._asked = 0  # no heartbeat: the server has lost the request, with its process or with the connection
        in_hand = self._asked + len(self._came)
        if in_hand <= self._count // 2:
            wanted = self._count - in_hand
            request = {"batch": wanted, "expires": _EXPIRES_S * _NANOSECONDS, "idle_heartbeat": _HEARTBEAT_S * _NANOSECONDS}
            await self._connection.publish(self._subject, msgspec.json.encode(request), reply=self._inbox)
            self._asked += wanted
            self._heard_at = now

    def _note(self, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        if reply:  # what can be acked is an event, whatever headers its sender gave it
            self._came.append(Pulled(subject.decode("utf-8", "replace"), reply.decode(), data, headers))
            self._asked = max(0, self._asked - 1)
            self._news.set()
            return
        status = headers[_STATUS_AT : _STATUS_AT + _STATUS_DIGITS].decode("latin-1")
        if status == StatusCode.SERVICE_UNAVAILABLE:
            self._asked, self._gone = 0, True
            self._news.set()
        elif status != StatusCode.CONTROL_MESSAGE:
            self._asked = max(0, self._asked - int(_header(headers, _PENDING_MESSAGES) or self._asked))
