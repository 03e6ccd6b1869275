"""The stream EXCEPTIONS: publishing an exception, and reading how each stands now."""

from collections import deque
from typing import Final

import msgspec
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy, Header
from nats.js.errors import NotFoundError

from atp.exceptions import PublishedException, digest
from consumers import streams
from consumers.pull import fetch, passing_consumer

LIST_MAX: Final = 1_000
_FETCH_MESSAGES: Final = 200
_FETCH_S: Final = 2.0

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(PublishedException).decode


async def publish(js: JetStreamContext, exception: PublishedException, dedupe_id: str) -> None:
    """Returns once JetStream has it. The same `dedupe_id` again within the window is the same message."""
    subject = streams.exception_subject(exception.pool, digest(exception.id))
    await js.publish(subject, _encode(exception), stream=streams.EXCEPTIONS, headers={Header.MSG_ID.value: dedupe_id})


async def show(js: JetStreamContext, pool: str, exception_id: str) -> PublishedException | None:
    """One exception as it stands; none if there never was one of that id."""
    try:
        message = await js.get_last_msg(streams.EXCEPTIONS, streams.exception_subject(pool, digest(exception_id)))
    except NotFoundError:
        return None
    return _decode(message.data or b"")


async def list_exceptions(
    js: JetStreamContext, *, pool: str | None = None, state: str | None = None, limit: int = LIST_MAX
) -> list[PublishedException]:
    """Exceptions as they stand, newest first, at most `limit`; of one pool or all, in one state or any."""
    config = ConsumerConfig(deliver_policy=DeliverPolicy.LAST_PER_SUBJECT, filter_subject=streams.exception_subject(pool or "*", "*"))
    newest: deque[PublishedException] = deque(maxlen=limit)
    async with passing_consumer(js, streams.EXCEPTIONS, config) as subscription:
        left = (await subscription.consumer_info()).num_pending or 0
        while left > 0 and (messages := await fetch(subscription, min(left, _FETCH_MESSAGES), _FETCH_S)):
            left -= len(messages)
            found = (_decode(message.data) for message in messages)
            newest.extend(exception for exception in found if state in {None, exception.state})
    return list(reversed(newest))
