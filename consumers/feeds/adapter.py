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
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import BinaryIO, Final, NamedTuple, TypeVar

import msgspec

from atp import canonical, events, limits
from atp.canonical import ContentError
from atp.model.status import ExceptionReason

SIGNATURE_HEADER: Final = "x-atp-signature"
_SIGNATURE: Final = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})").fullmatch
_NUMBER: Final = re.compile(r"([-+]?[0-9]{1,20})(?:\.([0-9]{0,20}))?").fullmatch
_SAID_CHARS_MAX: Final = 64

T = TypeVar("T")


class FeedSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One feed: what comes in, for whom, and what its places are called here."""

    name: str
    adapter: str  # a name in ADAPTERS
    pool: str
    source: str
    nodes: dict[str, str]  # the system's locations → nodes; a location whose node is empty is of no concern: what happens there is left out
    secret: str = ""  # what webhooks are signed with; without one every webhook is refused
    time_zone: str = "UTC"  # of times that come without their offset from UTC

    def node(self, location: str) -> str:
        """The node that a location is, empty if it is of no concern. Raises ContentError."""
        try:
            return self.nodes[location]
        except KeyError:
            raise malformed(f"location {said(location)} is not among the nodes of feed {self.name}") from None

    def moment(self, written: datetime) -> datetime:
        """A time as the system wrote it, with its offset."""
        return written if written.tzinfo else written.replace(tzinfo=zoneinfo.ZoneInfo(self.time_zone))


class Mistake(NamedTuple):
    """A document that could not be read."""

    place: str  # in the message, the same when it comes again: `line 17`, `document 2025/4900000123`
    original: bytes  # the document alone
    error: ContentError


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
    """An outside format."""

    name: str
    read: Reader
    verify: Verifier = signed


# --- what adapters are written with -------------------------------------------------------------------------------
def malformed(detail: str) -> ContentError:
    """The verdict on a document; `detail` names the field, what it says and what it should say."""
    return ContentError(ExceptionReason.MALFORMED, f"{detail}.")


def said(value: object) -> str:
    """What a document says, short enough for a sentence."""
    text = repr(value)
    return text if len(text) <= _SAID_CHARS_MAX else f"{text[:_SAID_CHARS_MAX]}…"


def each(documents: Iterable[tuple[str, T, bytes]], read_one: Callable[[T], Iterable[events.Event]]) -> Iterator[events.Event | Mistake]:
    """The events of documents (place, document, original), each document whole or not at all, each event checked as it would be on NATS."""
    for place, document, original in documents:
        try:
            found = [canonical.read(canonical.encode(event)) for event in read_one(document)]
        except ContentError as error:
            yield Mistake(place, original, error)
        else:
            yield from found


def whole(file: BinaryIO) -> bytes:
    """A message that is one piece. Raises ContentError TOO_LARGE."""
    data = file.read(limits.FEED_BODY_BYTES_MAX + 1)
    if len(data) > limits.FEED_BODY_BYTES_MAX:
        raise ContentError(ExceptionReason.TOO_LARGE, f"it has more than {limits.FEED_BODY_BYTES_MAX} bytes: send it in parts.")
    return data


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


def parts(name: str, lines: list[T]) -> Iterator[tuple[str, list[T]]]:
    """Lines by as many as one event takes, each with the id of its event: `name`, and with more than one event `name.2` and so on."""
    for start in range(0, len(lines), limits.EVENT_LINES_MAX):
        number = start // limits.EVENT_LINES_MAX + 1
        yield name if number == 1 else f"{name}.{number}", lines[start : start + limits.EVENT_LINES_MAX]
