"""The stream EXCEPTIONS: publishing an exception, and reading how each stands now."""

from collections import deque
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

import msgspec
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy, Header, PubAck
from nats.js.errors import NotFoundError

from atp.exceptions import PublishedException, digest
from consumers import streams
from consumers.pull import fetch, passing_consumer

LIST_MAX: Final = 1_000
_FETCH_MESSAGES: Final = 200
_FETCH_S: Final = 2.0

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(PublishedException).decode


class Standing(NamedTuple):
    """An exception as it stands, and the message of the stream that says so."""

    exception: PublishedException
    sequence: int


async def publish(js: JetStreamContext, exception: PublishedException, dedupe_id: str, *, after: int | None = None) -> PubAck:
    """Returns once JetStream has it. The same `dedupe_id` again within the window is the same message.

    `after` is the message that it must follow: if another came behind that one, BadRequestError is raised and this one is not kept.
    """
    subject = streams.exception_subject(exception.pool, digest(exception.id))
    headers = {Header.MSG_ID.value: dedupe_id}
    if after is not None:
        headers[Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value] = str(after)
    return await js.publish(subject, _encode(exception), stream=streams.EXCEPTIONS, headers=headers)


async def standing(js: JetStreamContext, pool: str, exception_id: str) -> Standing | None:
    """One exception as it stands; none if there never was one of that id."""
    try:
        message = await js.get_last_msg(streams.EXCEPTIONS, streams.exception_subject(pool, digest(exception_id)))
    except NotFoundError:
        return None
    return Standing(_decode(message.data or b""), message.seq or 0)


async def show(js: JetStreamContext, pool: str, exception_id: str) -> PublishedException | None:
    """The same without the place of its message."""
    found = await standing(js, pool, exception_id)
    return found.exception if found else None


async def list_exceptions(
    js: JetStreamContext, *, pool: str | None = None, state: str | None = None, limit: int = LIST_MAX
) -> list[PublishedException]:
    """Exceptions as they stand, newest first, at most `limit`; of one pool or all, in one state or any."""
    return [found.exception for found in await list_standing(js, pool=pool, state=state, limit=limit)]


async def list_standing(
    js: JetStreamContext, *, pool: str | None = None, state: str | None = None, reason: str | None = None, limit: int = LIST_MAX
) -> list[Standing]:
    """The same with the places of their messages; of one reason or any."""
    config = ConsumerConfig(deliver_policy=DeliverPolicy.LAST_PER_SUBJECT, filter_subject=streams.exception_subject(pool or "*", "*"))
    newest: deque[Standing] = deque(maxlen=limit)
    async with passing_consumer(js, streams.EXCEPTIONS, config) as subscription:
        left = (await subscription.consumer_info()).num_pending or 0
        while left > 0 and (messages := await fetch(subscription, min(left, _FETCH_MESSAGES), _FETCH_S)):
            left -= len(messages)
            found = (Standing(_decode(message.data), message.metadata.sequence.stream) for message in messages)
            newest.extend(one for one in found if state in {None, one.exception.state} and reason in {None, one.exception.reason})
    return list(reversed(newest))


async def read_history(js: JetStreamContext, pool: str, start: int) -> AsyncIterator[tuple[PublishedException, int, int]]:
    """All that was published of a pool's exceptions from a place of the stream on, in order; how many were read, and of how many.

    Leave it early only with `contextlib.aclosing`.
    """
    config = ConsumerConfig(
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=start, filter_subject=streams.exception_subject(pool, "*")
    )
    async with passing_consumer(js, streams.EXCEPTIONS, config) as subscription:
        total = (await subscription.consumer_info()).num_pending or 0
        done = 0
        while done < total and (messages := await fetch(subscription, min(total - done, _FETCH_MESSAGES), _FETCH_S)):
            for message in messages:
                done += 1
                yield _decode(message.data), done, total
