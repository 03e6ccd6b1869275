"""A verdict on a message's content, as the exception that is published with the original."""

import base64
import codecs
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec

from atp import limits
from atp.canonical import ContentError, correlation_of, lines_of, pool_of_subject
from atp.events import node_of
from atp.exceptions import PublishedException, sentence
from atp.model.status import ExceptionReason

#: The pool token of exceptions about messages that name no pool.
NO_POOL: Final = "_"
_TEXT_BYTES_MAX: Final = 2 * limits.EVENT_BYTES_MAX

assert _TEXT_BYTES_MAX < limits.NATS_PAYLOAD_BYTES_MAX


class Original(NamedTuple):
    """A message as an exception carries it."""

    text: str
    encoding: str


def original_of(data: bytes) -> Original:
    """The message, or its first EVENT_BYTES_MAX bytes: as text if it is UTF-8 and stays small in JSON, else in base64."""
    kept = data[: limits.EVENT_BYTES_MAX]
    text: str | None
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(kept, final=len(kept) == len(data))
    except UnicodeDecodeError:
        text = None
    if text is None or len(msgspec.json.encode(text)) > _TEXT_BYTES_MAX:
        return Original(base64.b64encode(kept).decode(), "base64")
    return Original(text, "text")


def exception_of(key: str, subject: str, data: bytes, verdict: ContentError) -> PublishedException:
    """The exception about one message; `key` says where it stands if the message does not say which event it is.

    The same message again is the same exception: its id comes from what the message says, never from where it stands.
    """
    event = verdict.event
    pool = pool_of_subject(subject)
    source = event.source if event else ""
    node = node_of(event) if event else ""
    cause = event.id if event else key
    sku = next((line.sku or line.alias for line in lines_of(event)), "") if event else ""
    original = original_of(data)
    detail = verdict.detail
    if verdict.reason == ExceptionReason.NOT_AUTHORITY:
        detail = f"location {node}" if node else "items"
    return PublishedException(
        id=f"event:{source}/{cause}" if event else f"message:{_print_of(subject, data)}",
        pool=pool or NO_POOL,
        reason=verdict.reason,
        state="open",
        sentence=sentence(verdict.reason, pool=pool or subject, sku=sku, node=node, source=source, cause=cause, detail=detail),
        time=datetime.now(UTC),
        sku=sku,
        node=node,
        source=source,
        cause=cause,
        correlation=correlation_of(data) if event else "",  # the event may be one of which nothing was found to be right
        original=original.text,
        original_encoding="base64" if original.encoding == "base64" else "text",
        original_bytes=len(data),
        subject=subject,
    )


def _print_of(subject: str, data: bytes) -> str:
    return blake2b(subject.encode() + b"\n" + data, digest_size=8).hexdigest()
