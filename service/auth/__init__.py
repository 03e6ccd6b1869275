"""Who calls: one function for each way that the settings know callers by. No transport is named here."""

import time
from collections.abc import Callable, Iterable
from typing import TypeAlias

from service.auth.certificates import Certificates
from service.auth.tokens import Tokens, authorization
from service.call import Identity
from service.settings import ServiceSettings

Metadata: TypeAlias = "Iterable[tuple[str, str | bytes]] | None"
#: Takes the call's metadata, and a way to ask for the certificate (PEM) that the caller showed. Raises UnauthenticatedError.
Authenticate: TypeAlias = Callable[[Metadata, Callable[[], bytes | None]], Identity]


def authenticator(settings: ServiceSettings, anyone: Identity, *, clock: Callable[[], float] = time.time) -> Authenticate:
    """Nobody is asked where nothing is configured: all are `anyone`. Raises SettingsError for keys or clients that are no good."""
    tokens = Tokens(settings.token, clock) if settings.token else None
    certificates = Certificates(settings.clients, clock) if settings.clients else None
    if tokens and certificates:
        return _by_either(tokens, certificates)
    if tokens:
        return lambda metadata, _certificate: tokens.identity(authorization(metadata))
    if certificates:
        return lambda _metadata, certificate: certificates.identity(certificate())
    return lambda _metadata, _certificate: anyone


def _by_either(tokens: Tokens, certificates: Certificates) -> Authenticate:
    """By the token if the call carries one, good or not, else by the certificate."""

    def authenticate(metadata: Metadata, certificate: Callable[[], bytes | None]) -> Identity:
        value = authorization(metadata)
        return certificates.identity(certificate()) if value is None else tokens.identity(value)

    return authenticate
