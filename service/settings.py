"""What the service is told when it starts: where it listens, and whom it lets in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from service.call import Scope


class SettingsError(Exception):
    """A file that the settings name, or a client, is no good: the service does not start so."""


@dataclass(frozen=True, slots=True)
class ServerTls:
    """Our certificate and its key (PEM). With `client_ca_file` every caller must show a certificate that it signed."""

    certificate_file: Path
    key_file: Path
    client_ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """Which bearer tokens are believed: JWTs of this issuer for this audience, signed by the one key (PEM), or by one of the JWKS."""

    issuer: str
    audience: str
    key_file: Path | None = None
    jwks_file: Path | None = None


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """What a client that shows a certificate may do; `pools` is None for all, `sources` are those it speaks for beside its own name."""

    scopes: frozenset[Scope]
    pools: frozenset[str] | None = None
    sources: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """Without `token` and `clients` nobody is asked who they are: then the service listens on loopback only.

    `clients` are the names in certificates. Tokens travel in the clear without TLS: beyond loopback that is refused unless `plaintext`
    says that something in front of the service ends TLS.
    """

    listen: str = "127.0.0.1:0"
    tls: ServerTls | None = None
    token: TokenSettings | None = None
    clients: Mapping[str, ClientSettings] = field(default_factory=dict)
    plaintext: bool = False
