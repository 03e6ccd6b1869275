"""Where a store is and as whom it is asked: the URL, and what the settings say over it."""

from pathlib import Path

import pytest

from atp.store import StoreSettings
from atp.store.address import Address, parse, without_password
from cli import config
from cli.config import ConfigurationError

PLAIN = Address(host="h", port=7, path="", database=0, username="", password="", tls=False)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://h:7", PLAIN),
        ("redis://h:7/3", PLAIN._replace(database=3)),
        ("redis://h", PLAIN._replace(port=6379)),
        ("redis://u:p%40ss@h:7", PLAIN._replace(username="u", password="p@ss")),
        ("redis://:p@h:7", PLAIN._replace(password="p")),
        ("rediss://[::1]:7", PLAIN._replace(host="::1", tls=True)),
        ("unix:///run/valkey.sock", PLAIN._replace(host="127.0.0.1", port=6379, path="/run/valkey.sock")),
    ],
)
def test_a_url_says_where_as_whom_and_whether_by_tls(url: str, address: Address) -> None:
    assert parse(url) == address


@pytest.mark.parametrize("url", ["http://h:7", "h:7", "unix://", ""])
def test_what_is_no_address_is_refused_with_the_forms_that_are(url: str) -> None:
    with pytest.raises(ValueError, match="rediss:// for TLS"):
        parse(url)


def test_settings_win_over_the_url_each_by_itself() -> None:
    def login(**settings: str) -> tuple[str, str]:
        address = StoreSettings("redis://u:p@h:7", **settings).address()
        return address.username, address.password

    assert login() == ("u", "p")
    assert login(password="q") == ("u", "q")
    assert login(username="v", password="q") == ("v", "q")


def test_a_password_is_shown_nowhere() -> None:
    settings = StoreSettings("redis://h:7", "u", "secret")
    assert "secret" not in repr(settings) + str(settings.address())


@pytest.mark.parametrize("way", ["store", "nats"])
@pytest.mark.parametrize(
    "url",
    [
        "redis://:ab/SECRET@h:1/0",
        "nats://u:SECRET/ab@h:1",
        "redis://u:SECRET#ab@h:1",
        "redis://u:12?SECRET@h:1",
        "redis://u:a@SECRET@h:x",
        "redis://:1/SECRET@h:1",
        "redis:u:SECRET@h:1",
        "u:SECRET@h:1",
        "nats://u:x@h:1,nats://u:ab/SECRET@h:1",
        "nats://u:x@h:1,u:SECRET@h:1",
    ],
)
def test_no_part_of_a_password_is_shown_where_it_breaks_its_url(url: str, way: str) -> None:
    """What makes passwords puts in characters that end the login's part of a URL."""
    with pytest.raises(ConfigurationError, match="address reads") as told:
        config.load({f"ATP_{way.upper()}_URL": url})
    assert "SECRET" not in str(told.value)
    assert "ab" not in str(told.value).partition("address reads")[2].partition("not ")[2]


def test_addresses_are_shown_without_their_logins() -> None:
    shown = without_password("nats://u:p@h:1, tls://u:a,b@h:2,nats://h:3")
    assert shown == "nats://…@h:1, tls://…@h:2,nats://h:3"


def test_certificates_without_tls_are_a_mistake_and_no_plain_connection(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.touch()
    with pytest.raises(ValueError, match=r"rediss:// only.*'redis://…@h:7'"):
        StoreSettings("redis://u:p@h:7", ca_file=ca).address()
    with pytest.raises(ConfigurationError, match=r"store\.url \(ATP_STORE_URL\).*rediss:// only"):
        config.load({"ATP_STORE_URL": "redis://h:7", "ATP_STORE_CA_FILE": str(ca)})


def test_every_nats_server_of_a_list_must_be_one() -> None:
    config.load({"ATP_NATS_URL": "nats://a:1, tls://b:2"})
    with pytest.raises(ConfigurationError, match="a NATS address reads"):
        config.load({"ATP_NATS_URL": "nats://a:1,http://b:2"})
