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


def without_password(urls: str) -> str:
    """A URL, or several with commas between them, as they may be shown. A password can have any character, and break a URL's form."""
    return ",".join(map(_without_password, re.split(r",(?=\s*\w+://)", urls)))


def _without_password(url: str) -> str:
    scheme, mark, rest = url.partition("://") if "://" in url else ("", "", url)
    _, at, where = rest.rpartition("@")
    return f"{scheme}{mark}…@{where}" if at else url


def parse(url: str) -> Address:
    """Reads `redis://[user:password@]host[:port][/database]`, the same with `rediss`, or `unix:///path`.

    Raises ValueError with what is wrong.
    """
    try:
        parts = urlsplit(url)
        is_socket = parts.scheme == "unix"
        port, database = parts.port or 6379, 0 if is_socket else int(parts.path.strip("/") or 0)
    except ValueError:  # its own words can hold a part of the password
        raise _wrong(url) from None
    if parts.scheme not in {"redis", "rediss", "unix"} or (is_socket and not parts.path) or parts.query or parts.fragment:
        raise _wrong(url)
    return Address(
        host=parts.hostname or "127.0.0.1",
        port=port,
        path=parts.path if is_socket else "",
        database=database,
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        tls=parts.scheme == "rediss",
    )


def _wrong(url: str) -> ValueError:
    advice = "; in a user or password write %2F for /, %3F for ?, %23 for #, %40 for @" if "@" in url else ""
    return ValueError(
        f"a store address reads redis://host:port/database, rediss:// for TLS, or unix:///path, not {without_password(url)!r}{advice}"
    )
