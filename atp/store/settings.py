"""How a store server is reached, and as whom."""

from dataclasses import dataclass, field
from pathlib import Path


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
