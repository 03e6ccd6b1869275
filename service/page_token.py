"""Page tokens: opaque to the caller, good only for the request that they were made for."""

import base64
import re

from atp.requests import fingerprint

_TOKEN = re.compile(r"([0-9]{1,10})\.([0-9]{1,19})").fullmatch


def encode(position: int, scope: object) -> str:
    """A token to go on behind `position` in what `scope` names."""
    return base64.urlsafe_b64encode(f"{fingerprint(scope)}.{position}".encode()).decode().rstrip("=")


def decode(token: str, scope: object) -> int | None:
    """The position in a token; None if it was not made for this scope."""
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    except ValueError:
        return None
    found = _TOKEN(text)
    return int(found[2]) if found and int(found[1]) == fingerprint(scope) else None
