"""All that can be configured: a section a class, a setting a field, each with its sentence. docs/configuration.md is made from this."""

import zoneinfo
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr

from atp.requests import is_name
from atp.store import address
from consumers.feeds import ADAPTERS
from service.call import Scope
from service.listen import ListenError, split


def _checked(check: Callable[[str], object]) -> AfterValidator:
    """A text that a check of its own must take; what the check raises is the mistake."""

    def validate(value: str) -> str:
        check(value)
        return value

    return AfterValidator(validate)


def _listening(value: str) -> None:
    try:
        split(value)
    except ListenError as error:
        raise ValueError(str(error)) from error


def _is_nats(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"nats", "tls"} and bool(parts.hostname) and parts.port != 0 and url.endswith(parts.netloc)
    except ValueError:
        return False


def _nats(value: str) -> None:
    if not all(_is_nats(server.strip()) for server in value.split(",")):
        raise ValueError(f"a NATS address reads nats://host:port, or tls://host:port, not {address.without_password(value)!r}")


def _readable(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"{path} is no file")
    try:
        path.open("rb").close()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    return path


def _split(value: Any) -> Any:
    """A list in an environment variable is separated by commas."""
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def _name(value: str) -> str:
    if not is_name(value):
        raise ValueError(f"{value!r} must be 1 to 32 of A-Z a-z 0-9 _ -")
    return value


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise ValueError(f"{path} is no folder")
    return path


def _adapter(value: str) -> None:
    if value not in ADAPTERS:
        raise ValueError(f"must be one of {', '.join(ADAPTERS)}, is {value!r}")


def _nodes(value: dict[str, str]) -> dict[str, str]:
    for node in value.values():
        if node:
            _name(node)
    return value


def _time_zone(value: str) -> None:
    if value not in zoneinfo.available_timezones():
        raise ValueError(f"must be a time zone such as Europe/Paris, is {value!r}")


def _not_empty(value: str) -> None:
    if not value:
        raise ValueError("must not be empty")


NonEmpty: TypeAlias = Annotated[str, _checked(_not_empty)]
ReadableFile: TypeAlias = Annotated[Path, AfterValidator(_readable)]
StoreUrl: TypeAlias = Annotated[str, _checked(address.parse)]
NatsUrl: TypeAlias = Annotated[str, _checked(_nats)]
Listen: TypeAlias = Annotated[str, _checked(_listening)]
PoolName: TypeAlias = Annotated[str, AfterValidator(_name)]
Scopes: TypeAlias = Annotated[frozenset[Scope], BeforeValidator(_split)]
PoolNames: TypeAlias = Annotated[frozenset[PoolName], BeforeValidator(_split)]
SourceName: TypeAlias = Annotated[str, AfterValidator(_name)]
SourceNames: TypeAlias = Annotated[frozenset[SourceName], BeforeValidator(_split)]
Folder: TypeAlias = Annotated[Path, AfterValidator(_folder)]
AdapterName: TypeAlias = Annotated[str, _checked(_adapter)]
NodesByPlace: TypeAlias = Annotated[dict[str, str], AfterValidator(_nodes)]
TimeZone: TypeAlias = Annotated[str, _checked(_time_zone)]


class Section(BaseModel):
    """A table of the file; `title` heads its part of the documentation."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
    title: ClassVar[str] = ""


class StoreSection(Section):
    """Redis from 7.0 or Valkey. Pools that `[pools]` does not name are here."""

    title = "The store"
    url: StoreUrl | None = None
    """`redis://host:port/database`, `rediss://…` for TLS, or `unix:///path`."""
    username: str = ""
    """The ACL user; wins over one in the URL."""
    password: SecretStr = SecretStr("")
    """Its password; wins over one in the URL."""
    ca_file: ReadableFile | None = None
    """Authorities that the server's certificate is checked against (PEM); without it, the system's."""
    certificate_file: ReadableFile | None = None
    """Our certificate, for a server that asks for one (PEM)."""
    key_file: ReadableFile | None = None
    """Its key (PEM)."""


class NatsSection(Section):
    """NATS with JetStream."""

    title = "The broker"
    url: NatsUrl | None = None
    """`nats://host:port`, or `tls://host:port`; several, separated by commas. `tls` for one, or a file below, is TLS for all."""
    credentials_file: ReadableFile | None = None
    """A credentials file (`.creds`): the user's JWT and its seed; read again at every connection."""
    username: str = ""
    """The user, where the server knows users by password."""
    password: SecretStr = SecretStr("")
    """Its password."""
    ca_file: ReadableFile | None = None
    """Authorities that the server's certificate is checked against (PEM); without it, the system's."""
    certificate_file: ReadableFile | None = None
    """Our certificate, for a server that asks for one (PEM)."""
    key_file: ReadableFile | None = None
    """Its key (PEM)."""


class ServiceSection(Section):
    """The gRPC service. It listens beyond loopback only if it knows who calls: by `[token]`, by `[clients.…]`, or both."""

    title = "The service"
    listen: Listen = "127.0.0.1:0"
    """Where, `host:port`; port 0 takes a free one."""
    certificate_file: ReadableFile | None = None
    """The service's certificate and its chain (PEM): callers then speak TLS. A renewed one is taken without a restart."""
    key_file: ReadableFile | None = None
    """Its key (PEM)."""
    client_ca_file: ReadableFile | None = None
    """The authority of the callers' certificates (PEM): every caller must then show one."""
    plaintext: bool = False
    """Says that something in front of the service ends TLS, so that tokens may be taken without it beyond loopback."""


class TokenSection(Section):
    """Bearer tokens: JWTs whose `sub` is the client, whose `scope` lists what it may, and whose `pools`, if any, where."""

    title = "Callers with tokens"
    issuer: NonEmpty = ""
    """The `iss` that a token must have."""
    audience: NonEmpty = ""
    """The `aud` that a token must name."""
    key_file: ReadableFile | None = None
    """The public key that belongs to the one tokens are signed with (PEM); read again every minute."""
    jwks_file: ReadableFile | None = None
    """Or a set of them (JWKS), each with its `kid`; read again every minute, and when a token names one that is not known."""


class ClientSection(Section):
    """A caller by the name in its certificate: the first DNS or URI name, else the common name."""

    title = "Callers with certificates"
    scopes: Scopes
    """What it may: `read`, `reserve`, `feed`, `admin`."""
    pools: PoolNames | None = None
    """The pools it may use; without it, all."""
    sources: SourceNames = frozenset()
    """The sources it may send events of, beside one of its own name."""


class WebhooksSection(Section):
    """Messages of other systems over HTTP, `POST /NAME` of a feed that has a secret. Something in front ends TLS.

    The answer is 200 once JetStream has all of the message; 400 if some of it cannot be read (the rest is taken, and an exception says what
    is wrong), 401 without the right signature, 413 over 8 MiB, 503 with `Retry-After` while JetStream is away. A message may be sent again
    after any of them: it is the same events.
    """

    title = "Webhooks"
    listen: Listen | None = None
    """Where, `host:port`; without it nowhere. `atp consume webhooks` serves it, and so does `all`."""


class FilesSection(Section):
    """Messages of other systems as files: of each feed those in its own folder, `NAME` in the one below.

    A file is put there under a name that begins with a dot, or ends in `.part` or `.tmp`, and renamed once it is whole. Then it is taken,
    the oldest first, and moved to `done` in the same folder, or to `failed` if some of it cannot be read: the rest of it is taken, an
    exception names each line, and the corrected file may come under the same name. What is in `done` and `failed` is yours to clear away.
    """

    title = "The drop folder"
    folder: Folder | None = None
    """Where; without it nowhere. `atp consume files` looks there, and so does `all`."""


class FeedSection(Section):
    """A system whose messages come as webhooks or files: their format, and whose word they are."""

    title = "Feeds of other systems"
    adapter: AdapterName
    """The format: [feeds.md](feeds.md) has a table of them, and of what each needs."""
    pool: PoolName
    """The pool."""
    source: SourceName
    """The provisioned source whose word it is."""
    nodes: NodesByPlace
    """The system's locations and what nodes they are, `{ "1000" = "DC1" }`; what happens at one whose node is empty is left out."""
    secret: SecretStr = SecretStr("")
    """What its webhooks are signed with; without one, or the file, none is taken."""
    secret_file: ReadableFile | None = None
    """A file with it."""
    time_zone: TimeZone = "UTC"
    """Of times that come without their offset from UTC."""


class LogSection(Section):
    """What is told on standard error."""

    title = "The log"
    format: Literal["people", "json"] = "people"
    """A line for people, or a JSON object a line."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is told; `debug` tells every call."""


class MetricsSection(Section):
    """Prometheus metrics, and `/ready` and `/live` for whoever restarts processes."""

    title = "Metrics"
    listen: Listen | None = None
    """Where they are served over HTTP, `host:port`; without it nowhere."""


class CheckpointSection(Section):
    """How often the role `auditor` takes a checkpoint of each pool, if anything has changed; 0: not for that reason."""

    title = "Checkpoints"
    every_hours: Annotated[float, AfterValidator(lambda value: _between(value, 0, 8_760))] = 6
    """So long after the last one."""
    every_entries: Annotated[int, AfterValidator(lambda value: _between(value, 0, 1_000_000_000))] = 1_000_000
    """With so many ledger entries behind the last one."""


class DriftSection(Section):
    """How often the role `drift` compares what other sources say with the stock, and which differences nobody need look at."""

    title = "Drift"
    every_minutes: Annotated[float, AfterValidator(lambda value: _between(value, 0, 525_600))] = 15
    """So long after the last time; 0: never. Less often than hourly: set the alert NobodyCompares accordingly."""
    units: Annotated[int, AfterValidator(lambda value: _between(value, 0, 1_000_000_000))] | None = None
    """A difference of up to so many units is within the tolerance; without any bound none is."""
    value: Annotated[int, AfterValidator(lambda value: _between(value, 0, 2**53 - 1))] | None = None
    """One of up to so much value, in minor units of the item's currency; where nobody told the cost, units alone count."""


class TraceSection(Section):
    """OpenTelemetry traces; needs the extra `trace`."""

    title = "Traces"
    endpoint: str | None = None
    """Where spans are sent, OTLP over HTTP, such as `http://collector:4318/v1/traces`; without it nowhere."""
    ratio: Annotated[float, AfterValidator(lambda value: _between(value, 0, 1))] = 0.01
    """The part of the calls that is traced, unless the caller's `traceparent` has decided."""


def _between(value: float, low: float, high: float) -> float:
    if not low <= value <= high:
        raise ValueError(f"must be {low} to {high}, is {value}")
    return value


#: The sections, by the name of their table.
SECTIONS: Final[dict[str, type[Section]]] = {
    "store": StoreSection,
    "nats": NatsSection,
    "service": ServiceSection,
    "token": TokenSection,
    "log": LogSection,
    "metrics": MetricsSection,
    "checkpoint": CheckpointSection,
    "drift": DriftSection,
    "trace": TraceSection,
    "webhooks": WebhooksSection,
    "files": FilesSection,
}
#: Sections of many tables, `[name.…]`, of one kind.
FAMILIES: Final[dict[str, type[Section]]] = {"stores": StoreSection, "clients": ClientSection, "feeds": FeedSection}
#: The table of pools that are not in the default store: pool → a name of `[stores.…]`.
POOLS: Final = "pools"
