"""What a person does about an exception: has its message tried again, or discards it, and says why."""

import base64
from datetime import UTC, datetime
from typing import Final, NamedTuple

from nats.js import JetStreamContext
from nats.js.errors import BadRequestError

from atp import canonical, limits
from atp.canonical import ContentError
from atp.errors import AtpError, RefusedError
from atp.events import Event
from atp.exceptions import PublishedException, Resolution, digest, ended
from atp.model.status import ExceptionReason, Status
from atp.model.verbs import Context, Unpark
from atp.store import Store
from consumers import exceptions, ledger_writer, streams
from consumers.exceptions import Standing
from consumers.refused import NO_POOL

_PARKED: Final = "wait:"
_HAD_ITS_TURN: Final = "its event waits no longer: it has had its turn, or was discarded before"
#: These end by themselves, and only so: what they say is true until then.
_LASTING: Final = {
    ExceptionReason.OVERCOMMITTED: "it ends by itself once stock covers what is promised: move or release orders, or have stock counted",
    ExceptionReason.SPLIT_HISTORY: "it ends by itself once the pool goes on: do what it says",
}


class NotEndedError(AtpError):
    """It cannot be ended so; the message says what to do instead."""


class Who(NamedTuple):
    """A person, and their reason."""

    actor: str
    why: str


def is_parked(exception: PublishedException) -> bool:
    """Whether its event still waits in the store for its SKU."""
    return exception.reason == ExceptionReason.UNKNOWN_SKU and exception.state == "open"


# --- retry --------------------------------------------------------------------------------------------------------
async def retry(js: JetStreamContext, found: Standing, who: Who) -> PublishedException:
    """Publishes the message of an exception again, and then that the exception is over; how it stands then.

    Where the feed was quicker to find the message wrong again, the exception stays as the feed has opened it anew. Raises NotEndedError.
    """
    exception = found.exception
    if exception.state != "open" and exception.resolution != "discarded":
        raise NotEndedError("it is over already: nothing is left to be tried again")
    if is_parked(exception):
        raise NotEndedError(f"its event waits, and is applied by itself once {exception.sku} is registered: register it, or discard this")
    data = _original(exception)
    await js.publish(_subject(exception, data), data, stream=streams.INVENTORY)
    return await _publish_ended(js, found, "retried", who)


def _original(exception: PublishedException) -> bytes:
    """The message as it came. Raises NotEndedError if there is none, or only its beginning."""
    if not exception.original:
        raise NotEndedError("no message belongs to it that could be tried again: discard it once it has been dealt with")
    text = exception.original
    data = base64.b64decode(text) if exception.original_encoding == "base64" else text.encode()
    if len(data) != exception.original_bytes:
        raise NotEndedError(
            f"of its {exception.original_bytes:,} bytes only the first {len(data):,} are kept: have the source send it again in parts of "
            f"at most {limits.EVENT_BYTES_MAX:,} bytes, then discard this"
        )
    return data


def _subject(exception: PublishedException, data: bytes) -> str:
    """Where the message belongs, if it can be read; else where it came. Raises NotEndedError if that would change whose word it is."""
    if exception.pool == NO_POOL:
        raise NotEndedError("its subject names no pool: have the source send it on inv.<pool>.<source>.<type>, then discard this")
    came_on, event = exception.subject, _event(data)
    if event is None:
        if not came_on:
            raise NotEndedError("it is not known where its message came in: have the source send it again, then discard this")
        return came_on
    # What came as a message of another system has no subject; its feed speaks for one source, whatever the message looks like.
    source = ([*came_on.split("."), "", ""])[2] if came_on else exception.source
    belongs_on = canonical.subject_of(exception.pool, event)
    if source != event.source:
        raise NotEndedError(
            f"it came in as a message of {source or 'nobody'} and says that it is of {event.source}: have {event.source} send it on "
            f"{belongs_on}, then discard this"
        )
    return belongs_on


def _event(data: bytes) -> Event | None:
    """The event, as far as it can be read."""
    try:
        return canonical.read(data)
    except ContentError as error:
        return error.event


# --- discard ------------------------------------------------------------------------------------------------------
async def discard(js: JetStreamContext, store: Store | None, found: Standing, who: Who) -> PublishedException:
    """Publishes that an exception is over since a person says so; how it stands then. `store` is needed for an event that is parked.

    Raises NotEndedError.
    """
    exception = found.exception
    if exception.state != "open":
        raise NotEndedError("it is over already")
    if advice := _LASTING.get(ExceptionReason(exception.reason)):
        raise NotEndedError(advice)
    if is_parked(exception):
        assert store is not None, "whoever discards a parked event brings the store that has it"
        return await _discard_parked(js, store, exception, who)
    return await _publish_ended(js, found, "discarded", who)


async def _discard_parked(js: JetStreamContext, store: Store, exception: PublishedException, who: Who) -> PublishedException:
    """Takes the event out of its waiting room, which the ledger tells; the relay publishes that too, but not why.

    Only while its item is not known: from then on it has its turn at any time, and what is applied cannot be said to be discarded.
    """
    name, key = exception.sku, exception.id.removeprefix(_PARKED)
    original = await store.parked(exception.pool, name, key)
    if original is None:
        raise NotEndedError(_HAD_ITS_TURN)
    is_alias = name in canonical.aliases_of(canonical.read(original.encode()))
    result = await store.write(
        exception.pool, Unpark(Context(who.actor, exception.correlation), name, key, discards=True, is_alias=is_alias)
    )
    if result.status == Status.DUPLICATE:
        raise NotEndedError(_HAD_ITS_TURN)
    if result.status == Status.SKU_KNOWN:
        raise NotEndedError(
            f"{name} is registered now, so its event is having its turn: see what becomes of it. If it goes on waiting, have {name} "
            "registered again"
        )
    if result.status != Status.OK:
        raise RefusedError(Status(result.status), result.detail or [exception.pool])
    over = ended(exception, "discarded", who.actor, who.why, datetime.now(UTC))
    # Under the relay's own id: whichever of the two comes second is not kept. If that was ours, it is said once more.
    told_by_relay = f"{exception.pool}.{result.revision}.{digest(exception.id)}"
    ack = await exceptions.publish(js, over, told_by_relay)
    if ack.duplicate:
        await exceptions.publish(js, over, f"{told_by_relay}.discarded")
    return over


async def _publish_ended(js: JetStreamContext, found: Standing, resolution: Resolution, who: Who) -> PublishedException:
    """How the exception stands: as ended here, unless something else was published of it meanwhile."""
    over = ended(found.exception, resolution, who.actor, who.why, datetime.now(UTC))
    try:
        await exceptions.publish(js, over, f"{over.pool}.{digest(over.id)}.{resolution}.{found.sequence}", after=found.sequence)
    except BadRequestError as error:
        if error.err_code != ledger_writer.WRONG_LAST_SEQUENCE:
            raise
        return await exceptions.show(js, over.pool, over.id) or over
    return over
