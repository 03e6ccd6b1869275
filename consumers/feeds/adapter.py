"""The shape of an adapter: what an outside format needs so that webhooks and the drop folder can take it. A file each, a line in ADAPTERS.

A message is a file: the body of a webhook, or a file of a million lines. It holds documents (a material document, a basket, an order's
rows), and a document is read whole or not at all: half of one would meet its other half as a conflict when it is sent again. What cannot
be read costs itself alone; all else goes on.
"""

import hashlib
import hmac
import re
import time
import zoneinfo
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, BinaryIO, Final, Generic, NamedTuple, TypeVar

import msgspec

from atp import canonical, events, limits
from atp.canonical import ContentError
from atp.intake import in_parts
from atp.model.status import ExceptionReason
from atp.requests import is_id

SIGNATURE_HEADER: Final = "x-atp-signature"
_SIGNATURE: Final = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})").fullmatch
_NUMBER: Final = re.compile(r"([-+]?[0-9]{1,20})(?:\.([0-9]{0,20}))?").fullmatch
_SAID_CHARS_MAX: Final = 64
_ID_CHARS_MAX: Final = limits.ID_CHARS_MAX - len(f".{limits.SNAPSHOT_PARTS_MAX}")  # with the number of a part behind it

#: Events that their own id makes once: two halves of one would contradict each other.
_UNDIVIDED: Final = frozenset({"shipment", "sale"})

_decode_any = msgspec.json.Decoder(dict[str, msgspec.Raw] | list[msgspec.Raw]).decode

T = TypeVar("T")
#: A canonical event on its way to be checked.
Message = dict[str, Any]


class FeedSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One feed: what comes in, for whom, and what its places are called here."""

    name: str
    adapter: str  # a name in ADAPTERS
    pool: str
    source: str
    nodes: dict[str, str]  # the system's locations → nodes; a location whose node is empty is of no concern: what happens there is left out
    secret: str = ""  # what webhooks are signed with; without one every webhook is refused
    time_zone: str = "UTC"  # of times that come without their offset from UTC

    def node(self, *locations: str) -> str:
        """The node that a location is, empty if it is of no concern; of several names the first that is known. Raises ContentError."""
        for location in locations:
            if location in self.nodes:
                return self.nodes[location]
        raise malformed(f"location {said(locations[0])} is not among the nodes of feed {self.name}")

    def moment(self, written: datetime) -> datetime:
        """A time as the system wrote it, with its offset."""
        return written if written.tzinfo else written.replace(tzinfo=zoneinfo.ZoneInfo(self.time_zone))


class Mistake(NamedTuple):
    """A document that could not be read."""

    place: str  # in the message, the same when it comes again: `line 17`, `document 2025/4900000123`
    original: bytes  # the document alone
    error: ContentError


class Document(NamedTuple, Generic[T]):
    """What a message holds one or many of; place and original as in Mistake."""

    place: str
    content: T
    original: bytes


#: What a message says, in its order. The file can be read twice (it seeks), and is read as the events are taken: never as a whole, if long.
Reader = Callable[[BinaryIO, FeedSettings], Iterator[events.Event | Mistake]]
#: Headers (their names in lower case), body and secret → whether the sender knows the secret.
Verifier = Callable[[Mapping[str, str], bytes, str], bool]


def signed(headers: Mapping[str, str], body: bytes, secret: str) -> bool:
    """Whether `X-Atp-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256 of "<t>.<body>">` is right, and not older or newer than allowed."""
    found = _SIGNATURE(headers.get(SIGNATURE_HEADER, ""))
    if not found or not secret:
        return False
    when, mark = found.groups()
    wanted = hmac.new(secret.encode(), when.encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mark, wanted) and abs(time.time() - int(when)) <= limits.WEBHOOK_SIGNATURE_AGE_S_MAX


class Adapter(NamedTuple):
    """An outside format, and what a source whose word it is must be provisioned with; empty: whatever is so."""

    name: str
    read: Reader
    verify: Verifier = signed
    order: str = ""
    snapshots: str = ""


# --- what adapters are written with -------------------------------------------------------------------------------
def malformed(detail: str) -> ContentError:
    """The verdict on a document; `detail` names the field, what it says and what it should say."""
    return ContentError(ExceptionReason.MALFORMED, f"{detail}.")


def said(value: object) -> str:
    """What a document says, short enough for a sentence."""
    text = repr(value)
    return text if len(text) <= _SAID_CHARS_MAX else f"{text[:_SAID_CHARS_MAX]}…"


def short(text: str) -> str:
    """An id of the outside system as the id of an event, which has bounds of its own: itself, or its digest if it does not fit."""
    return (
        text if is_id(text) and len(text) <= _ID_CHARS_MAX else hashlib.blake2b(text.encode(errors="replace"), digest_size=16).hexdigest()
    )


def message(settings: FeedSettings, kind: str, event_id: str, when: datetime, data: Mapping[str, object]) -> Message:
    """A canonical event, as it would be sent over NATS."""
    moment = settings.moment(when)
    return {"specversion": "1.0", "id": event_id, "source": settings.source, "type": kind, "time": moment, "data": data}


def messages(
    settings: FeedSettings, kind: str, event_id: str, when: datetime, data: Mapping[str, object], lines: Sequence[object]
) -> Iterator[Message]:
    """The same of any number of lines: as many events as they need, `event_id`, `event_id.2` and so on. Raises ContentError."""
    if len(lines) > limits.EVENT_LINES_MAX and kind in _UNDIVIDED:
        raise malformed(f"a {kind} has at most {limits.EVENT_LINES_MAX} lines, this one has {len(lines)}")
    for number, part in enumerate(in_parts(lines), 1):
        part_id = event_id if number == 1 else f"{event_id}.{number}"
        yield message(settings, kind, part_id, when, {**data, "lines": part})


def each(documents: Iterable[Document[T]], read_one: Callable[[T], Iterable[Message]]) -> Iterator[events.Event | Mistake]:
    """The events of documents, each document whole or not at all, each event checked as it would be on NATS."""
    for place, content, original in documents:
        try:
            found = [canonical.read(canonical.encode(event)) for event in read_one(content)]
        except ContentError as error:
            yield Mistake(place, original, error)
        else:
            yield from found


def unwrapped(data: bytes, wrappings: Sequence[str]) -> list[bytes]:
    """What is in a message's wrappings, one in another, or in none: a list of documents, or one. Raises ContentError."""
    for _ in range(len(wrappings) + 1):  # each step reads all of it, so nobody's message is wrapped more often than a format knows
        found = parsed(_decode_any, data)
        if isinstance(found, list):
            return [bytes(document) for document in found]
        inner = next((found[wrapping] for wrapping in wrappings if wrapping in found), None)
        if inner is None:
            return [data]
        data = bytes(inner)
    raise malformed(f"it is wrapped in {', '.join(wrappings)} more often than once each")


def each_json(
    file: BinaryIO, split: Callable[[bytes], Iterable[bytes]], read_one: Callable[[bytes], Iterable[Message]]
) -> Iterator[events.Event | Mistake]:
    """The same of a message that is one piece of JSON, which `split` takes apart."""
    data = file.read(limits.FEED_BODY_BYTES_MAX + 1)
    try:
        if len(data) > limits.FEED_BODY_BYTES_MAX:
            raise ContentError(ExceptionReason.TOO_LARGE, f"it has more than {limits.FEED_BODY_BYTES_MAX} bytes: send it in parts.")
        found = list(split(data))
    except ContentError as error:
        yield Mistake("the whole", data[: limits.EVENT_BYTES_MAX], error)
    else:
        yield from first_mistakes(each((Document(f"document {number}", part, part) for number, part in enumerate(found, 1)), read_one))


def first_mistakes(found: Iterable[events.Event | Mistake]) -> Iterator[events.Event | Mistake]:
    """All events; of the mistakes as many as one message may tell one by one, and of the others their number."""
    mistakes = 0
    for one in found:
        mistakes += isinstance(one, Mistake)
        if mistakes <= limits.FEED_FILE_MISTAKES_MAX or not isinstance(one, Mistake):
            yield one
    if more := max(0, mistakes - limits.FEED_FILE_MISTAKES_MAX):
        detail = f"{more} more mistakes are not told one by one: correct those that are, and send the rest again"
        yield Mistake("more mistakes", b"", malformed(detail))


def parsed(decode: Callable[[bytes], T], data: bytes) -> T:
    """JSON as a struct of the outside format. Raises ContentError, which names the field."""
    try:
        return decode(data)
    except UnicodeDecodeError as error:
        raise malformed(f"it is not UTF-8 text ({error.reason} at byte {error.start})") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise malformed(str(error)) from error


def units(field: str, value: object) -> int:
    """A quantity, written as number or text, as the whole number of units that it must be. Raises ContentError."""
    found = _NUMBER(str(value))
    if not found:
        raise malformed(f"{field}: {said(value)} is not a number of units")
    whole, fraction = found.groups()
    if (fraction or "").strip("0"):
        raise malformed(f"{field}: {said(value)} is not a whole number of units; count the item in a smaller unit")
    if abs(int(whole)) > limits.QUANTITY_MAX:
        raise malformed(f"{field}: {said(value)} is more than {limits.QUANTITY_MAX} units")
    return int(whole)
