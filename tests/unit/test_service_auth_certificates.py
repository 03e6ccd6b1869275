"""Whose certificate it is, and how renewed certificates of the service itself are taken."""

import datetime as dt
import ipaddress
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from service import bounds
from service.auth import authenticator
from service.auth.certificates import Certificates
from service.call import LOCAL, Identity, Scope
from service.errors import UnauthenticatedError
from service.settings import ClientSettings, ServerTls, ServiceSettings, SettingsError
from service.tls import Renewal
from tests.issuer import Issuer

DNS, URI = x509.DNSName("checkout.example.com"), x509.UniformResourceIdentifier("spiffe://example.com/checkout")
MAIL, IP = x509.RFC822Name("a@example.com"), x509.IPAddress(ipaddress.ip_address("10.0.0.7"))
SETTINGS = ClientSettings(frozenset({Scope.READ}), frozenset({"de"}))
NOW = dt.datetime.now(dt.UTC)


def pem(names: Sequence[x509.GeneralName] = (), common: str = "") -> bytes:
    """A certificate with these names; good for an hour."""
    key = ed25519.Ed25519PrivateKey.generate()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)] if common else [])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW)
        .not_valid_after(NOW + dt.timedelta(hours=1))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not common)
    return builder.sign(key, None).public_bytes(Encoding.PEM)


def problem_of(certificates: Certificates, shown: bytes | None) -> tuple[str, str]:
    with pytest.raises(UnauthenticatedError) as raised:
        certificates.identity(shown)
    return raised.value.args[0], raised.value.client


@pytest.mark.parametrize(
    ("names", "common", "client"),
    [
        ([DNS, URI], "other", DNS.value),
        ([URI, DNS], "other", URI.value),
        ([MAIL, IP, URI], "other", URI.value),
        ([MAIL, IP], "checkout-7", "checkout-7"),
        ([], "checkout-7", "checkout-7"),
    ],
)
def test_the_first_name_of_a_machine_counts_else_the_common_name(names: list[x509.GeneralName], common: str, client: str) -> None:
    certificates = Certificates({client: SETTINGS}, time.time)
    assert certificates.identity(pem(names, common)) == Identity(client, frozenset({Scope.READ}), frozenset({"de"}))


def test_who_is_not_listed_is_refused_by_name() -> None:
    certificates = Certificates({"checkout-7": SETTINGS}, time.time)
    assert problem_of(certificates, pem([DNS], "checkout-7")) == ("unknown_client", DNS.value)
    assert problem_of(certificates, pem([MAIL])) == ("unknown_client", "")
    assert problem_of(certificates, pem(common="a name with spaces")) == ("unknown_client", "")


def test_no_certificate_and_no_certificate_at_all_are_told_apart() -> None:
    certificates = Certificates({"checkout-7": SETTINGS}, time.time)
    assert problem_of(certificates, None) == ("missing", "")
    assert problem_of(certificates, b"-----BEGIN CERTIFICATE-----") == ("malformed", "")


def test_a_connection_does_not_outlive_its_certificate() -> None:
    now = time.time()
    certificates = Certificates({"checkout-7": SETTINGS}, lambda: now)
    shown = pem(common="checkout-7")
    assert certificates.identity(shown).client == "checkout-7"
    now += 3601
    assert problem_of(certificates, shown) == ("expired", "")


@pytest.mark.parametrize("name", ["", "two words", "n" * 65])
def test_a_client_has_a_name_that_can_stand_in_the_ledger(name: str) -> None:
    with pytest.raises(SettingsError, match="1 to 64 printable"):
        Certificates({name: SETTINGS}, time.time)


# --- which of the ways ------------------------------------------------------------------------------------------------
def test_nobody_is_asked_where_nothing_is_configured() -> None:
    def fail() -> bytes:
        raise AssertionError("asked")

    assert authenticator(ServiceSettings(), LOCAL)([("authorization", "nonsense")], fail) is LOCAL


def test_of_both_the_token_counts_if_there_is_one_good_or_not(tmp_path: Path) -> None:
    issuer = Issuer(tmp_path)
    authenticate = authenticator(ServiceSettings(token=issuer.settings, clients={"till": SETTINGS}), LOCAL)
    shown = pem(common="till")
    assert authenticate([], lambda: shown).client == "till"
    assert authenticate([("authorization", f"Bearer {issuer.token()}")], lambda: shown).client == "checkout-7"
    for value, word in (("Bearer x", "malformed"), (f"Bearer {issuer.token(exp=1)}", "expired")):
        with pytest.raises(UnauthenticatedError, match=word):
            authenticate([("authorization", value)], lambda: shown)


def test_with_tokens_alone_a_certificate_says_nothing(tmp_path: Path) -> None:
    authenticate = authenticator(ServiceSettings(token=Issuer(tmp_path).settings), LOCAL)
    with pytest.raises(UnauthenticatedError, match="missing"):
        authenticate([], lambda: pem(common="till"))


def test_with_certificates_alone_a_token_says_nothing(tmp_path: Path) -> None:
    authenticate = authenticator(ServiceSettings(clients={"till": SETTINGS}), LOCAL)
    assert authenticate([("authorization", f"Bearer {Issuer(tmp_path).token()}")], lambda: pem(common="till")).client == "till"


# --- the service's own ------------------------------------------------------------------------------------------------
class Files:
    """The service's certificate and key, and its callers' authority."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.tls = ServerTls(folder / "service.pem", folder / "service.key", folder / "clients.pem")
        self.renew()
        assert self.tls.client_ca_file
        self.ca.cert_pem.write_to_path(str(self.tls.client_ca_file))

    def renew(self, *, key: bool = True) -> None:
        issued = self.ca.issue_cert("localhost")
        self.tls.certificate_file.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        if key:
            issued.private_key_pem.write_to_path(str(self.tls.key_file))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_a_renewed_certificate_is_taken_once_and_looked_for_seldom(files: Files) -> None:
    now = 0.0
    renewal = Renewal(files.tls, lambda: now)
    now += bounds.CERTIFICATE_REREAD_S
    assert renewal() is None
    files.renew()
    assert renewal() is None, "the files are read at every handshake"
    now += bounds.CERTIFICATE_REREAD_S
    assert renewal() is not None
    now += bounds.CERTIFICATE_REREAD_S
    assert renewal() is None


def test_half_of_a_renewed_pair_is_not_taken(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    renewal = Renewal(files.tls, lambda: now)
    files.renew(key=False)
    now += bounds.CERTIFICATE_REREAD_S
    assert renewal() is None
    assert "do not belong together: the certificate known so far stays in force" in caplog.text
    files.tls.certificate_file.unlink()
    now += bounds.CERTIFICATE_REREAD_S
    assert renewal() is None
    files.renew()
    now += bounds.CERTIFICATE_REREAD_S
    assert renewal() is not None


@pytest.mark.parametrize("which", ["certificate_file", "key_file", "client_ca_file"])
@pytest.mark.parametrize("content", [b"", b"no PEM", None])
def test_files_that_are_no_good_are_refused_at_the_start(files: Files, which: str, content: bytes | None) -> None:
    path: Path = getattr(files.tls, which)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError):
        Renewal(files.tls, lambda: 0.0)
