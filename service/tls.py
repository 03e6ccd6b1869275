"""The service's own certificate, and the authority of its callers'; renewed files are taken without a restart."""

import logging
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, cast

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from service import bounds
from service.settings import ServerTls, SettingsError

_log = logging.getLogger(__name__)


def credentials(tls: ServerTls, *, clock: Callable[[], float] = time.monotonic) -> grpc.ServerCredentials:
    """With `client_ca_file` a caller without a certificate of that authority gets no connection. Raises SettingsError."""
    renewal = Renewal(tls, clock)
    fetch = cast(Callable[[], grpc.ServerCertificateConfiguration], renewal)  # grpc takes None for no change; its types do not say so
    return grpc.dynamic_ssl_server_credentials(renewal.files.configuration(), fetch, tls.client_ca_file is not None)


class _Files(NamedTuple):
    """What the files hold."""

    key: bytes
    certificate: bytes
    client_ca: bytes | None

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([(self.key, self.certificate)], self.client_ca)


class Renewal:
    """Is asked by gRPC, on threads of its own, before each handshake: the new configuration, or none to go on as before."""

    def __init__(self, tls: ServerTls, clock: Callable[[], float]) -> None:
        self._tls = tls
        self._clock = clock
        self._one_looks = threading.Lock()
        self._looked_at = clock()
        self.files = _read(tls)
        _check(self.files)

    def __call__(self) -> grpc.ServerCertificateConfiguration | None:
        if not self._one_looks.acquire(blocking=False):
            return None
        try:
            if self._clock() - self._looked_at < bounds.CERTIFICATE_REREAD_S:
                return None
            self._looked_at = self._clock()
            files = _read(self._tls)
            if files == self.files:
                return None
            _check(files)
        except SettingsError as error:
            _log.error("%s: the certificate known so far stays in force", error)
            return None
        else:
            self.files = files
            _log.info("%s is taken anew", self._tls.certificate_file)
            return files.configuration()
        finally:
            self._one_looks.release()


def _read(tls: ServerTls) -> _Files:
    try:
        client_ca = tls.client_ca_file.read_bytes() if tls.client_ca_file else None
        return _Files(tls.key_file.read_bytes(), tls.certificate_file.read_bytes(), client_ca)
    except OSError as error:
        raise SettingsError(f"{error.filename} cannot be read: {error.strerror}") from error


def _check(files: _Files) -> None:
    """Raises SettingsError: for half of a renewed pair too, which gRPC would take and then fail every handshake."""
    try:
        ours = x509.load_pem_x509_certificates(files.certificate)[0].public_key()
        key = load_pem_private_key(files.key, password=None).public_key()
        if files.client_ca is not None:
            x509.load_pem_x509_certificates(files.client_ca)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SettingsError(f"the service's certificate, its key or the callers' authority is no PEM of its kind: {error}") from error
    if _bytes(ours) != _bytes(key):
        raise SettingsError("the service's certificate and its key do not belong together")


def _bytes(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
