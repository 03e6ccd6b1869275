"""Who may call the service, over real sockets and TLS: by token, by certificate, by either."""

import asyncio
import contextlib
import socket
import ssl
import string
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from cryptography import x509
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inventory.availability.v1 import reservation_service_pb2 as rp
from service import bootstrap, bounds
from service.call import Scope
from service.listen import ListenError
from service.methods import Method, methods
from service.settings import ClientSettings, ServerTls, ServiceSettings, SettingsError, TokenSettings
from tests.contract.conftest import SERVING, Engine, Failure, Shop, health, told
from tests.issuer import PRIVATE, Issuer

METHODS = methods(None, None)
CHECKOUT = "checkout.example.com"
CLIENTS = {CHECKOUT: ClientSettings(frozenset({Scope.READ, Scope.RESERVE}))}


class Secured:
    """A service that asks who calls, over the stores of an engine, and callers of it."""

    def __init__(self, engine: Engine, address: str, ca: trustme.CA | None) -> None:
        self.engine = engine
        self.address = address
        self._ca = ca

    def call(self, method: str, body: bytes, *authorizations: str, certificate: trustme.LeafCert | None = None) -> bytes:
        """Raw bytes to a method of the table, with as many tokens as are given."""
        metadata = [("authorization", value) for value in authorizations]
        return self.over(lambda channel: channel.unary_unary(method)(body, metadata=metadata, timeout=10), certificate)

    def over(self, ask: Callable[[grpc.aio.Channel], Any], certificate: trustme.LeafCert | None = None) -> Any:
        """What comes of a call over a connection of its own."""
        options = (("grpc.use_local_subchannel_pool", 1),)

        async def send() -> Any:
            if self._ca is None:
                channel = grpc.aio.insecure_channel(self.address, options)
            else:
                shown = (certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes()) if certificate else (None, None)
                credentials = grpc.ssl_channel_credentials(self._ca.cert_pem.bytes(), *shown)
                channel = grpc.aio.secure_channel(self.address, credentials, options)
            async with channel:
                return await ask(channel)

        return self.engine.runner.run(send())

    def refused(self, method: str, body: bytes, *authorizations: str, certificate: trustme.LeafCert | None = None) -> Failure:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            self.call(method, body, *authorizations, certificate=certificate)
        return told(raised.value)


@contextlib.contextmanager
def secured(engine: Engine, ca: trustme.CA | None = None, **more: Any) -> Iterator[Secured]:
    exits = contextlib.AsyncExitStack()
    address = engine.run(exits.enter_async_context(bootstrap.running(engine.stores, ServiceSettings(**more))))
    yield Secured(engine, address, ca)
    engine.run(exits.aclose())


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> ServerTls:
    """The service's certificate; the same authority is that of the callers' certificates."""
    folder = tmp_path_factory.mktemp("tls")
    made = ServerTls(folder / "service.pem", folder / "service.key", folder / "ca.pem")
    renew(ca, made)
    ca.cert_pem.write_to_path(str(made.client_ca_file))
    return made


def renew(ca: trustme.CA, tls: ServerTls) -> int:
    """Writes a new certificate for the service; its serial number."""
    issued = ca.issue_cert("127.0.0.1", "localhost")
    tls.certificate_file.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(tls.key_file))
    return x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes()).serial_number


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return Issuer(tmp_path_factory.mktemp("issuer"))


@pytest.fixture(scope="module")
def by_token(engine: Engine, ca: trustme.CA, tls: ServerTls, issuer: Issuer) -> Iterator[Secured]:
    """TLS without certificates of callers, and tokens."""
    with secured(engine, ca, tls=ServerTls(tls.certificate_file, tls.key_file), token=issuer.settings) as service:
        yield service


@pytest.fixture(scope="module")
def by_certificate(engine: Engine, ca: trustme.CA, tls: ServerTls) -> Iterator[Secured]:
    with secured(engine, ca, tls=tls, clients=CLIENTS) as service:
        yield service


@pytest.fixture(scope="module")
def by_either(engine: Engine, ca: trustme.CA, tls: ServerTls, issuer: Issuer) -> Iterator[Secured]:
    with secured(engine, ca, tls=tls, clients=CLIENTS, token=issuer.settings) as service:
        yield service


def named(name: str) -> str:
    return next(method for method in METHODS if method.endswith(f"/{name}"))


def body_for(method: Method, pool: str = "nowhere") -> bytes:
    return method.request(pool=pool).SerializeToString()


# --- tokens -----------------------------------------------------------------------------------------------------------
WRONG = {
    "missing": lambda issuer: (),
    "malformed": lambda issuer: ("Bearer nonsense-that-is-no-token",),
    "unknown_key": lambda issuer: (f"Bearer {issuer.token(kid='other')}",),
    "wrong_algorithm": lambda issuer: (f"Bearer {issuer.forged({'alg': 'HS256', 'kid': 'EdDSA'}, issuer.jwks_file.read_bytes())}",),
    "bad_signature": lambda issuer: (f"Bearer {issuer.token('RS256', kid='PS256')}",),
    "bad_claims": lambda issuer: (f"Bearer {issuer.token(sub='two words')}",),
    "wrong_issuer": lambda issuer: (f"Bearer {issuer.token(iss='other')}",),
    "wrong_audience": lambda issuer: (f"Bearer {issuer.token(aud='other')}",),
    "expired": lambda issuer: (f"Bearer {issuer.token(exp=1)}",),
    "not_yet_valid": lambda issuer: (f"Bearer {issuer.token(nbf=9e9, exp=9e9)}",),
}


@pytest.mark.parametrize("word", WRONG)
def test_a_caller_is_told_what_is_wrong_and_never_its_token(by_token: Secured, issuer: Issuer, word: str) -> None:
    values = WRONG[word](issuer)
    failure = by_token.refused(named("Reserve"), b"", *values)
    assert (failure.code, failure.reason, failure.metadata) == ("UNAUTHENTICATED", "UNAUTHENTICATED", {"problem": word})
    assert failure.message.startswith(f"UNAUTHENTICATED ({word}). ")
    parts = [part for value in values for part in value.partition(" ")[2].split(".")]
    assert not [part for part in parts if part in failure.message]


def test_two_tokens_are_none(by_token: Secured, issuer: Issuer) -> None:
    value = f"Bearer {issuer.token()}"
    assert by_token.refused(named("Reserve"), b"", value, value).metadata == {"problem": "malformed"}


@given(st.text(alphabet=string.printable.strip() + " ", max_size=6_000))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_whatever_comes_in_place_of_a_token_is_refused(by_token: Secured, noise: str) -> None:
    for value in (noise, f"Bearer {noise}"):
        assert by_token.refused(named("Reserve"), b"", value).reason == "UNAUTHENTICATED"


@pytest.mark.parametrize("name", METHODS)
def test_every_method_asks_for_its_scope_and_for_no_other(by_token: Secured, issuer: Issuer, name: str) -> None:
    method = METHODS[name]
    others = " ".join(scope for scope in Scope if scope is not method.scope)
    failure = by_token.refused(name, b"", f"Bearer {issuer.token(scope=others)}")
    assert (failure.code, failure.reason, failure.metadata) == ("PERMISSION_DENIED", "SCOPE_MISSING", {"scope": method.scope})
    let_in = by_token.refused(name, b"", f"Bearer {issuer.token(scope=method.scope)}")
    assert let_in.reason == "INVALID_REQUEST", "the handler has not seen it"


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_for_the_pools_of_the_caller_alone(by_token: Secured, issuer: Issuer, name: str) -> None:
    method = METHODS[name]
    value = f"Bearer {issuer.token(scope=method.scope, pools=['de', 'nl'])}"
    failure = by_token.refused(name, body_for(method, "fr"), value)
    assert (failure.code, failure.reason, failure.metadata) == ("PERMISSION_DENIED", "POOL_FORBIDDEN", {"pool": "fr"})
    assert by_token.refused(name, body_for(method, "nl"), value).reason == "INVALID_REQUEST"


def test_a_pool_without_a_name_is_forbidden_and_not_repeated(by_token: Secured, issuer: Issuer) -> None:
    value = f"Bearer {issuer.token(pools=['de'])}"
    for pool in ("", "d e", "x" * 100_000):
        failure = by_token.refused(named("Reserve"), rp.ReserveRequest(pool=pool).SerializeToString(), value)
        assert (failure.reason, failure.metadata) == ("POOL_FORBIDDEN", {"pool": ""})
        assert len(failure.message) < 200


def test_what_a_client_changes_has_its_name_in_the_ledger(by_token: Secured, issuer: Issuer, shop: Shop) -> None:
    request = rp.ReserveRequest(pool=shop.pool, channel="web", reservation_id="r1")
    request.lines.add(sku="A", quantity=1)
    by_token.call(named("Reserve"), request.SerializeToString(), f"Bearer {issuer.token(sub='checkout-7', pools=[shop.pool])}")
    entry = shop.explain("A", "N1").entry
    assert (entry.verb, entry.actor) == ("reserve", "checkout-7")


def test_keys_are_renewed_without_a_restart(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "KEYS_REREAD_S_MIN", 0.0)
    issuer = Issuer(tmp_path)
    issuer.publish("RS256")
    with secured(engine, token=issuer.settings) as service:
        old, new = f"Bearer {issuer.token('RS256')}", f"Bearer {issuer.token('ES256')}"
        assert service.refused(named("Reserve"), b"", old).reason == "INVALID_REQUEST"
        assert service.refused(named("Reserve"), b"", new).metadata == {"problem": "unknown_key"}
        issuer.publish("RS256", "ES256")
        assert service.refused(named("Reserve"), b"", new).reason == "INVALID_REQUEST"
        issuer.publish("ES256")
        monkeypatch.setattr(bounds, "KEYS_REREAD_S", 0.0)
        assert service.refused(named("Reserve"), b"", old).metadata == {"problem": "unknown_key"}


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_every_kind_of_key_opens(by_token: Secured, issuer: Issuer, algorithm: str) -> None:
    assert by_token.refused(named("Reserve"), b"", f"Bearer {issuer.token(algorithm)}").reason == "INVALID_REQUEST"


# --- certificates -----------------------------------------------------------------------------------------------------
def test_a_listed_certificate_opens_what_it_is_listed_for(by_certificate: Secured, ca: trustme.CA, shop: Shop) -> None:
    certificate = ca.issue_cert(CHECKOUT)
    request = rp.ReserveRequest(pool=shop.pool, channel="web", reservation_id="r1")
    request.lines.add(sku="A", quantity=1)
    by_certificate.call(named("Reserve"), request.SerializeToString(), certificate=certificate)
    assert shop.explain("A", "N1").entry.actor == CHECKOUT


def test_a_certificate_that_is_not_listed_is_refused_by_name(by_certificate: Secured, ca: trustme.CA) -> None:
    failure = by_certificate.refused(named("Reserve"), b"", certificate=ca.issue_cert("till.example.com"))
    assert (failure.reason, failure.metadata) == ("UNAUTHENTICATED", {"problem": "unknown_client", "client": "till.example.com"})
    assert "till.example.com" in failure.message


def test_without_a_certificate_of_the_authority_there_is_no_connection(by_certificate: Secured) -> None:
    for certificate in (None, trustme.CA().issue_cert(CHECKOUT)):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            by_certificate.call(named("Reserve"), b"", certificate=certificate)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("kind", ["by_token", "by_certificate", "by_either"])
def test_in_plain_text_there_is_no_connection(request: pytest.FixtureRequest, engine: Engine, issuer: Issuer, kind: str) -> None:
    secure: Secured = request.getfixturevalue(kind)
    plain = Secured(engine, secure.address, None)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        plain.call(named("Reserve"), b"", f"Bearer {issuer.token()}")
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


def test_by_either_the_token_counts_if_there_is_one(by_either: Secured, ca: trustme.CA, issuer: Issuer) -> None:
    listed, other = ca.issue_cert(CHECKOUT), ca.issue_cert("till.example.com")
    good, bad = f"Bearer {issuer.token()}", f"Bearer {issuer.token(exp=1)}"
    assert by_either.refused(named("Reserve"), b"", certificate=listed).reason == "INVALID_REQUEST"
    assert by_either.refused(named("Reserve"), b"", good, certificate=other).reason == "INVALID_REQUEST"
    assert by_either.refused(named("Reserve"), b"", bad, certificate=listed).metadata == {"problem": "expired"}
    assert by_either.refused(named("Reserve"), b"", certificate=other).metadata == {
        "problem": "unknown_client",
        "client": "till.example.com",
    }


def test_with_tokens_alone_the_certificate_is_the_way_in_and_no_more(
    engine: Engine, ca: trustme.CA, tls: ServerTls, issuer: Issuer
) -> None:
    with secured(engine, ca, tls=tls, token=issuer.settings) as service:
        anyone = ca.issue_cert("anyone.example.com")
        assert service.refused(named("Reserve"), b"", certificate=anyone).metadata == {"problem": "missing"}
        assert service.refused(named("Reserve"), b"", f"Bearer {issuer.token()}", certificate=anyone).reason == "INVALID_REQUEST"
        with pytest.raises(grpc.aio.AioRpcError):
            service.call(named("Reserve"), b"", f"Bearer {issuer.token()}")


def test_a_renewed_certificate_is_shown_without_a_restart(
    engine: Engine, ca: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "CERTIFICATE_REREAD_S", 0.0)
    own = ServerTls(tmp_path / "service.pem", tmp_path / "service.key")
    trust = ssl.create_default_context()
    ca.configure_trust(trust)
    trust.set_alpn_protocols(["h2"])

    def shown(address: str) -> int:
        host, _, port = address.rpartition(":")
        with socket.create_connection((host, int(port))) as connection, trust.wrap_socket(connection, server_hostname=host) as secure:
            return int(str((secure.getpeercert() or {})["serialNumber"]), 16)

    first = renew(ca, own)
    with secured(engine, ca, tls=own) as service:
        assert engine.run(asyncio.to_thread(shown, service.address)) == first
        second = renew(ca, own)
        assert engine.run(asyncio.to_thread(shown, service.address)) == second


# --- without asking ---------------------------------------------------------------------------------------------------
def test_health_and_the_contract_are_told_to_anyone(by_token: Secured) -> None:
    async def listed(channel: grpc.aio.Channel) -> ServerReflectionResponse:
        ask: grpc.aio.StreamStreamMultiCallable[ServerReflectionRequest, ServerReflectionResponse] = channel.stream_stream(
            f"/{reflection.SERVICE_NAME}/ServerReflectionInfo",
            ServerReflectionRequest.SerializeToString,
            ServerReflectionResponse.FromString,
        )
        return await anext(aiter(ask(iter([ServerReflectionRequest(list_services="")]))))

    assert by_token.over(health) == SERVING
    assert by_token.over(listed).list_services_response.service


def test_beyond_this_machine_a_service_that_asks_nobody_does_not_start(engine: Engine, tls: ServerTls) -> None:
    for more in ({}, {"tls": tls}):
        with pytest.raises(ListenError, match="nobody is asked who they are"), secured(engine, listen="0.0.0.0:0", **more):
            pass


def test_beyond_this_machine_tokens_are_not_taken_in_the_clear(engine: Engine, issuer: Issuer) -> None:
    with pytest.raises(ListenError, match="in the clear"), secured(engine, listen="0.0.0.0:0", token=issuer.settings):
        pass


def test_beyond_this_machine_a_service_that_asks_does_start(engine: Engine, ca: trustme.CA, tls: ServerTls) -> None:
    with secured(engine, ca, listen="0.0.0.0:0", tls=tls, clients=CLIENTS) as service:
        service.address = service.address.replace("0.0.0.0", "127.0.0.1")
        assert service.refused(named("Reserve"), b"", certificate=ca.issue_cert(CHECKOUT)).reason == "INVALID_REQUEST"


def test_a_service_whose_keys_are_no_good_does_not_start(engine: Engine, tmp_path: Path) -> None:
    missing = TokenSettings("issuer", "audience", key_file=tmp_path / "none.pem")
    with pytest.raises(SettingsError, match="cannot be read"), secured(engine, token=missing):
        pass
