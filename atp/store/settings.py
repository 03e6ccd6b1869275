"""How a store server is reached, and as whom."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from atp import tls
from atp.store import address
from atp.store.address import Address


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """`redis://host:port/database`, `rediss://…` for TLS, or `unix:///path`. What stands here wins over what the URL says of it.

    The server's certificate is checked against `ca_file`, or against the system's authorities; `certificate_file` and `key_file` (PEM)
    tell the server who we are.
    """

    url: str
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    def address(self) -> Address:
        """Where, and as whom. Raises ValueError for a URL that cannot be read, or files for TLS where the URL does not ask for it."""
        at = address.parse(self.url)
        if not at.tls and (self.ca_file or self.certificate_file):
            raise ValueError(
                f"certificates are of use with rediss:// only, and the store is {address.without_password(self.url)!r}: "
                "correct the URL, or leave them out"
            )
        return at._replace(username=self.username or at.username, password=self.password or at.password)

    def context(self) -> ssl.SSLContext | None:
        """TLS for one connection, if the URL asks for it. Raises OSError for files that are no good."""
        if not self.address().tls:
            return None
        return tls.client_context(self.ca_file, self.certificate_file, self.key_file)
