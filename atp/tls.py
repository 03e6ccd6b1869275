"""TLS towards a server, for every way out: the server is always checked, by chain and by name."""

import ssl
from pathlib import Path


def client_context(ca_file: Path | None, certificate_file: Path | None, key_file: Path | None) -> ssl.SSLContext:
    """Made anew for each connection, so that renewed files are taken without a restart. Raises OSError for files that are no good.

    With `ca_file` those authorities alone are believed, else the system's.
    """
    context = ssl.create_default_context(cafile=ca_file)
    if certificate_file:
        context.load_cert_chain(certificate_file, key_file)
    return context


def is_refusal(error: BaseException | None) -> bool:
    """Whether one side does not believe the other, or a file is not there: not a connection that broke."""
    broke = ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError
    return isinstance(error, ssl.SSLError | FileNotFoundError | PermissionError) and not isinstance(error, broke)
