"""Where the service may listen: beyond this machine only if it knows who calls."""

import ipaddress

from service.settings import ServiceSettings


class ListenError(Exception):
    """The address to listen on is none, may not be listened on, or is taken."""


def split(listen: str) -> tuple[str, int]:
    """Host and port of `host:port`, the host as gRPC takes it. Raises ListenError."""
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535:
        raise ListenError(f"an address to listen on reads host:port, with a port from 0 to 65535, not {listen!r}")
    return "127.0.0.1" if host == "localhost" else host, int(port)


def is_loopback(listen: str) -> bool:
    """Whether only this machine can reach it: a host in 127.0.0.0/8, [::1] or localhost. Raises ListenError."""
    host, _ = split(listen)
    bracketed = host.startswith("[") and host.endswith("]")  # the only way to write an IPv6 address before a port
    try:
        return ipaddress.IPv6Address(host[1:-1]).is_loopback if bracketed else ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False


def objection(listen: str, *, knows_callers: bool, tokens_in_clear: bool) -> str:
    """Why the service may not listen there; empty if it may. Raises ListenError for what is no address."""
    if is_loopback(listen):
        return ""
    if not knows_callers:
        return (
            f"{listen} can be reached from elsewhere, and nobody is asked who they are: "
            "have callers show tokens or certificates, or listen on 127.0.0.1, [::1] or localhost"
        )
    if tokens_in_clear:
        return (
            f"{listen} can be reached from elsewhere, and tokens would travel in the clear: "
            "set certificate_file and key_file, or plaintext = true if something in front of the service ends TLS"
        )
    return ""


def address(settings: ServiceSettings) -> str:
    """Where to listen, as gRPC takes it. Raises ListenError if it may not be."""
    why_not = objection(
        settings.listen,
        knows_callers=bool(settings.token or settings.clients),
        tokens_in_clear=bool(settings.token) and settings.tls is None and not settings.plaintext,
    )
    if why_not:
        raise ListenError(why_not)
    host, port = split(settings.listen)
    return f"{host}:{port}"
