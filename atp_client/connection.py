"""Where the service is and how it is reached: the address gRPC is given, its options, TLS, and where a token may go."""

import ipaddress
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import grpc

from inventory.availability.v1.availability_service_pb2_grpc import AvailabilityServiceStub
from inventory.availability.v1.inventory_service_pb2_grpc import InventoryServiceStub
from inventory.availability.v1.reservation_service_pb2_grpc import ReservationServiceStub

Options: TypeAlias = tuple[tuple[str, Any], ...]
ChannelT = TypeVar("ChannelT", bound=grpc.Channel | grpc.aio.Channel)

RECONNECT_MS_FIRST: Final = 100  # by itself gRPC waits a second before it tries again, and soon minutes
RECONNECT_MS_MAX: Final = 1_000
CONNECT_MS_MAX: Final = 2_000  # for one attempt at an address that does not answer; by itself gRPC takes 20 s

KEEPALIVE_MS: Final = 10_000  # an open connection on which nothing came for so long is tried, and left if nothing comes
KEEPALIVE_ANSWER_MS: Final = 2_000

TAKES_CALLS: Final = "takes-calls"  # the name in the service's health that says until it stops that calls may come

_OPTIONS: Final[Options] = (
    ("grpc.use_local_subchannel_pool", 1),  # else all clients of one process share one connection
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": TAKES_CALLS}})),
    ("grpc.initial_reconnect_backoff_ms", RECONNECT_MS_FIRST),
    ("grpc.max_reconnect_backoff_ms", RECONNECT_MS_MAX),
    ("grpc.min_reconnect_backoff_ms", CONNECT_MS_MAX),
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_ANSWER_MS),
    ("grpc.http2.ping_timeout_ms", KEEPALIVE_ANSWER_MS),  # by itself gRPC gives a ping a minute, whatever the line above says
)
_CERTIFICATE: Final = b"CERTIFICATE-----"
#: A loopback address is this machine's own: a proxy of the environment (http_proxy) would take the call, and its token, elsewhere.
NO_PROXY: Final[Options] = (("grpc.enable_http_proxy", 0),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Files in PEM form: whom to trust, and who we are if the service asks; the name the service's certificate has."""

    ca_file: str | Path | None = None
    certificate_file: str | Path | None = None
    key_file: str | Path | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        if self.ca_file is None and (self.certificate_file or self.key_file or self.server_name):
            raise ValueError("TLS needs ca_file, the certificates to trust; for those of the system, name the system's file")
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together")

    def credentials(self) -> grpc.ChannelCredentials | None:
        """None: in plain text. Raises OSError for a file that cannot be read, ValueError for one without a certificate."""
        if self.ca_file is None:
            return None
        key, certificate = (Path(file).read_bytes() if file else None for file in (self.key_file, self.certificate_file))
        trusted = Path(self.ca_file).read_bytes()
        if _CERTIFICATE not in trusted:  # gRPC would say that nobody listens there
            raise ValueError(f"{self.ca_file} has no certificate to trust: ca_file is a PEM file with BEGIN CERTIFICATE")
        return grpc.ssl_channel_credentials(trusted, key, certificate)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A target for gRPC, and the credentials for it."""

    target: str
    credentials: grpc.ChannelCredentials | None
    options: Options

    def open(self, plain: Callable[..., ChannelT], secure: Callable[..., ChannelT]) -> ChannelT:
        if self.credentials is None:
            return plain(self.target, options=self.options)
        return secure(self.target, self.credentials, options=self.options)


def endpoint(address: str | Sequence[str], tls: Tls, *, sends_token: bool, plaintext_token: bool) -> Endpoint:
    """Several addresses share the calls, and one that is away is left out. Raises ValueError for what cannot work or is not safe."""
    addresses = [address] if isinstance(address, str) else list(address)
    hosts = [_host(one) for one in addresses]
    if not hosts:
        raise ValueError("say where the service is: one address host:port, or several")
    if len(addresses) > 1 and tls.ca_file is not None and tls.server_name is None:
        raise ValueError("several addresses with TLS need server_name: the name that stands in all their certificates")
    credentials = tls.credentials()
    on_this_machine = all(map(_is_loopback, hosts))
    more = NO_PROXY if on_this_machine else ()
    if sends_token and credentials is None and not plaintext_token and not on_this_machine:
        raise ValueError(
            "a token does not go over the network in plain text: give ca_file, or plaintext_token=True if something else encrypts the way"
        )
    if len(addresses) == 1:
        return Endpoint(addresses[0], credentials, _options(tls.server_name) + more)
    return Endpoint(_static_target(addresses, hosts), credentials, _options(tls.server_name or addresses[0]) + more)


def stubs(channel: Any) -> dict[str, Any]:
    """Every method of the contract by its name: the generated stubs keep them as their attributes."""
    return {**vars(AvailabilityServiceStub(channel)), **vars(ReservationServiceStub(channel)), **vars(InventoryServiceStub(channel))}


def _host(address: str) -> str:
    host, colon, port = address.rpartition(":")
    if not host or not colon or not port.isdecimal():
        raise ValueError(f"an address reads host:port, not {address!r}")
    return host


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address("127.0.0.1" if host == "localhost" else host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    ip = _ip(host)
    return ip is not None and ip.is_loopback


def _static_target(addresses: Sequence[str], hosts: Sequence[str]) -> str:
    versions = {ip.version if (ip := _ip(host)) else 0 for host in hosts}
    if versions not in ({4}, {6}):
        raise ValueError("several addresses must be all IPv4 or all IPv6; for a name, give the one that resolves to all of them")
    return f"ipv{versions.pop()}:{','.join(addresses)}".replace("localhost", "127.0.0.1")


def _options(authority: str | None) -> Options:
    return (*_OPTIONS, ("grpc.default_authority", authority)) if authority else _OPTIONS
