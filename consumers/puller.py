"""A steady pull from a durable consumer: what is asked for next is on its way while what came is being worked on."""

import asyncio
from collections import deque
from typing import Final

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import Header, StatusCode

_EXPIRES_S: Final = 10
_HEARTBEAT_S: Final = 1
_DEAD_AFTER_S: Final = 3 * _HEARTBEAT_S
_NANOSECONDS: Final = 1_000_000_000
_PENDING_MESSAGES: Final = "Nats-Pending-Messages"  # how many of a request will not come


class NoDurableError(nats.errors.NoRespondersError):
    """Nobody answers for a durable: it was never made, or JetStream is away."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __str__(self) -> str:
        return f"JetStream has no durable {self._name}: provision the pool again (atp provision FILE), unless JetStream itself is away"


class Puller:
    """At most `count` messages are asked for or in hand at any time. One reader.

    nats-py's own fetch of many waits out its time for the rest once the first has come, which costs either latency or full batches.
    """

    def __init__(self, connection: Client, stream: str, consumer: str, count: int) -> None:
        self._connection = connection
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._name = f"{stream}.{consumer}"
        self._count = count
        self._inbox = connection.new_inbox()
        self._subscription: Subscription | None = None
        self._came: deque[Msg] = deque()
        self._news = asyncio.Event()
        self._asked = 0  # of what was requested, how much is still to come
        self._heard_at = 0.0
        self._gone = False

    async def take(self, timeout_s: float) -> list[Msg]:
        """All that is there, as soon as something is; nothing after the time-out. Raises a nats error while nobody answers."""
        if self._subscription is None:
            self._subscription = await self._connection.subscribe(self._inbox, cb=self._note)
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

    async def close(self) -> list[Msg]:
        """Takes no more and returns what came meanwhile."""
        if self._subscription is not None:
            await self._subscription.drain()
        return self._take()

    def _take(self) -> list[Msg]:
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

    async def _note(self, message: Msg) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        # What can be acked is an event, whatever headers its sender gave it.
        status = message.headers.get(Header.STATUS) if message.headers and not message.reply else None
        if status is None:
            self._came.append(message)
            self._asked = max(0, self._asked - 1)
        elif status == StatusCode.CONTROL_MESSAGE:
            return
        elif status == StatusCode.SERVICE_UNAVAILABLE:
            self._asked, self._gone = 0, True
        else:
            self._asked = max(0, self._asked - int((message.headers or {}).get(_PENDING_MESSAGES, self._asked)))
            return
        self._news.set()
