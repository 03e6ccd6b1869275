"""Where the service may listen: on this machine only, as long as there is no authentication."""

import ipaddress


class ListenError(Exception):
    """The address to listen on is none, is not this machine's own, or is taken."""


def loopback_address(listen: str) -> str:
    """`host:port` in the form that grpc takes, if the host is localhost, in 127.0.0.0/8 or ::1. Raises ListenError."""
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535:
        raise ListenError(f"an address to listen on reads host:port, with a port from 0 to 65535, not {listen!r}")
    if host == "localhost":
        host = "127.0.0.1"
    if not _is_loopback(host):
        raise ListenError(
            f"{host or 'every address'} is not this machine's own: there is no authentication yet, "
            "so the service listens on 127.0.0.0/8, [::1] or localhost only"
        )
    return f"{host}:{port}"


def _is_loopback(host: str) -> bool:
    bracketed = host.startswith("[") and host.endswith("]")  # the only way to write an IPv6 address before a port
    try:
        return ipaddress.IPv6Address(host[1:-1]).is_loopback if bracketed else ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False
