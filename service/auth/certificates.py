"""Callers by their certificates, which the transport has verified: the name in one is looked up among the clients."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID

from atp.requests import is_id
from service import bounds
from service.call import Identity
from service.errors import UnauthenticatedError
from service.settings import ClientSettings, SettingsError

_NAMING: Final = (x509.DNSName, x509.UniformResourceIdentifier)


class Certificates:
    """Identities by certificate (PEM)."""

    def __init__(self, clients: Mapping[str, ClientSettings], clock: Callable[[], float]) -> None:
        for name in clients:
            if not is_id(name):
                raise SettingsError(f"clients.{name!r}: a client's name is 1 to 64 printable characters without spaces")
        self._identities = {name: Identity(name, client.scopes, client.pools, client.sources) for name, client in clients.items()}
        self._clock = clock

    def identity(self, pem: bytes | None) -> Identity:
        """Raises UnauthenticatedError."""
        if not pem:
            raise UnauthenticatedError("missing")
        shown = _read(pem)
        if self._clock() >= shown.expires:  # it was good when the connection was made
            raise UnauthenticatedError("expired")
        identity = self._identities.get(shown.name)
        if identity is None:
            raise UnauthenticatedError("unknown_client", shown.name if is_id(shown.name) else "")
        return identity


class _Shown(NamedTuple):
    name: str
    expires: float


@lru_cache(bounds.CERTIFICATES_KEPT_MAX)
def _read(pem: bytes) -> _Shown:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        return _Shown(_name(certificate), certificate.not_valid_after_utc.timestamp())
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise UnauthenticatedError("malformed") from None


def _name(certificate: x509.Certificate) -> str:
    """The first DNS or URI name, else the common name; empty if it has none."""
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        alternatives = x509.SubjectAlternativeName([])
    for alternative in alternatives:
        if isinstance(alternative, _NAMING):
            return alternative.value
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(common[0].value) if common else ""
