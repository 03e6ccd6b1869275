"""Pulling messages from JetStream without waiting for more than there are."""

import contextlib
from collections.abc import AsyncIterator
from typing import Final

import nats.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import NotFoundError

from consumers.connection import AWAY
from consumers.puller import Puller

_LINGER_S: Final = 0.01
_FORGOTTEN_AFTER_S: Final = 60.0


async def fetch(subscription: JetStreamContext.PullSubscription, count: int, timeout_s: float) -> list[Msg]:
    """Up to `count` messages as soon as there are any; none after the time-out.

    Two steps, since nats-py's fetch of many waits out its whole time for the rest once the first has come.
    """
    try:
        messages = await subscription.fetch(1, timeout_s)
    except nats.errors.TimeoutError:
        return []
    if count > 1:
        with contextlib.suppress(*AWAY):  # what came is kept; if the server is away, the next fetch says so
            messages += await subscription.fetch(count - 1, _LINGER_S)
    return messages


@contextlib.asynccontextmanager
async def passing_consumer(js: JetStreamContext, stream: str, config: ConsumerConfig) -> AsyncIterator[JetStreamContext.PullSubscription]:
    """A pull consumer without acks, for one reading; the server forgets it by itself if its reader goes away."""
    made = await _add(js, stream, config)
    subscription = await js.pull_subscribe_bind(consumer=made, stream=stream)
    try:
        yield subscription
    finally:
        with contextlib.suppress(*AWAY):
            await subscription.unsubscribe()
            await js.delete_consumer(stream, made)


@contextlib.asynccontextmanager
async def passing_puller(js: JetStreamContext, stream: str, config: ConsumerConfig, count: int) -> AsyncIterator[Puller]:
    """The same for large messages, of which at most `count` are on their way at a time.

    Who asks for more than it reads is thrown out by the server, and `fetch` cannot know what it has asked for already.
    """
    made = await _add(js, stream, config)
    puller = Puller(js._nc, stream, made, count)  # nats-py has no other way from JetStream to its connection
    try:
        yield puller
    finally:
        with contextlib.suppress(*AWAY):
            await puller.close()
            await js.delete_consumer(stream, made)


async def _add(js: JetStreamContext, stream: str, config: ConsumerConfig) -> str:
    made = await js.add_consumer(
        stream, config, ack_policy=AckPolicy.NONE, mem_storage=True, num_replicas=1, inactive_threshold=_FORGOTTEN_AFTER_S
    )
    return made.name or ""


async def is_alive(subscription: JetStreamContext.PullSubscription) -> bool:
    """Whether the server still has the subscription's consumer: one that was away too long has forgotten it."""
    try:
        await subscription.consumer_info()
    except NotFoundError:
        return False
    return True
