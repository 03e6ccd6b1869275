"""Where a store server is, from a URL in the forms that redis-py reads too."""

import re
from typing import NamedTuple
from urllib.parse import unquote, urlsplit


class Address(NamedTuple):
    """`path` is a Unix socket and wins over host and port."""

    host: str
    port: int
    path: str
    database: int
    username: str
    password: str
    tls: bool

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    return re.sub(r"(?<=://)[^/@]*@", "…@", url)


def parse(url: str) -> Address:
    """Reads `redis://[user:password@]host[:port][/database]`, the same with `rediss`, or `unix:///path`.

    Raises ValueError with what is wrong.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"redis", "rediss", "unix"} or (parts.scheme == "unix" and not parts.path):
        raise ValueError(
            f"a store address reads redis://host:port/database, rediss:// for TLS, or unix:///path, not {without_password(url)!r}"
        )
    is_socket = parts.scheme == "unix"
    return Address(
        host=parts.hostname or "127.0.0.1",
        port=parts.port or 6379,
        path=parts.path if is_socket else "",
        database=0 if is_socket else int(parts.path.strip("/") or 0),
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        tls=parts.scheme == "rediss",
    )
