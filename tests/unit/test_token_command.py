"""`atp token`: keys and tokens to try a secured service with."""

import json
import stat
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typer.testing import CliRunner

from cli import exit_codes, token
from cli.config import load, service
from service.auth.tokens import Tokens
from service.call import Identity, Scope
from service.settings import TokenSettings
from tests.issuer import PRIVATE, public_pem

app = typer.Typer()
token.register(app)


def run(*words: object) -> Any:
    return CliRunner().invoke(app, ["token", *map(str, words)])


def refused(*words: object) -> tuple[int, str]:
    expected = exit_codes.from_error(run(*words).exception)
    assert expected is not None
    return expected.exit_code, str(expected)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    folder = tmp_path / "keys"
    assert run("keys", folder).exit_code == exit_codes.OK
    return folder


def test_keys_and_tokens_and_the_configuration_fit_together(keys: Path) -> None:
    settings = service(load({"ATP_CONFIG_FILE": str(keys / "service.toml")})).token
    assert settings is not None
    issued = run("issue", "--key", keys / "private.pem", "--client", "checkout-7", "--scope", "read", "--scope", "reserve", "--pool", "de")
    assert issued.stdout.count("\n") == 1
    assert "checkout-7: read reserve in de, good for 1h" in issued.stderr
    assert issued.stdout.strip() not in issued.stderr
    value = f"Bearer {issued.stdout.strip()}"
    expected = Identity("checkout-7", frozenset({Scope.READ, Scope.RESERVE}), frozenset({"de"}))
    assert Tokens(settings, time.time).identity(value) == expected
    by_pem = TokenSettings(settings.issuer, settings.audience, key_file=keys / "public.pem")
    assert Tokens(by_pem, time.time).identity(value) == expected


def test_the_private_key_is_for_its_owner_alone(keys: Path) -> None:
    assert stat.S_IMODE((keys / "private.pem").stat().st_mode) == 0o600
    (public,) = json.loads((keys / "jwks.json").read_text())["keys"]
    assert "d" not in public


def test_keys_that_are_there_are_not_overwritten(keys: Path) -> None:
    before = {file: file.read_bytes() for file in keys.iterdir()}
    code, said = refused("keys", keys)
    assert code == exit_codes.REFUSED
    assert "private.pem, public.pem, jwks.json, service.toml already" in said
    assert {file: file.read_bytes() for file in keys.iterdir()} == before


def test_it_is_good_for_as_long_as_is_said_and_for_whom(keys: Path) -> None:
    words = ("--ttl", "10m", "--issuer", "me", "--audience", "you")
    issued = run("issue", "--key", keys / "private.pem", "--client", "c", "--scope", "read", *words).stdout.strip()
    now = time.time() + 570
    tokens = Tokens(TokenSettings("me", "you", key_file=keys / "public.pem"), lambda: now)
    assert tokens.identity(f"Bearer {issued}") == Identity("c", frozenset({Scope.READ}), None)
    now += 61
    with pytest.raises(Exception, match="expired"):
        tokens.identity(f"Bearer {issued}")


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_it_signs_with_any_kind_of_key_that_is_taken(tmp_path: Path, algorithm: str) -> None:
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    private.write_bytes(PRIVATE[algorithm].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(public_pem(PRIVATE[algorithm]))
    issued = run("issue", "--key", private, "--client", "c", "--scope", "read").stdout.strip()
    tokens = Tokens(TokenSettings(token.ISSUER, token.AUDIENCE, key_file=public), time.time)
    assert tokens.identity(f"Bearer {issued}").client == "c"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--client", "two words", "--scope", "read"), "--client must be 1 to 64"),
        (("--client", "c", "--scope", "reads"), "--scope must be one of read, reserve, feed, admin"),
        (("--client", "c", "--scope", "read", "--pool", "d e"), "--pool must be 1 to 32"),
        (("--client", "c", "--scope", "read", "--ttl", "10ms"), "a second at least"),
        (("--client", "c", "--scope", "read", "--ttl", "soon"), "a time reads"),
    ],
)
def test_what_no_service_would_take_is_not_issued(keys: Path, words: tuple[str, ...], why: str) -> None:
    code, said = refused("issue", "--key", keys / "private.pem", *words)
    assert code == exit_codes.USAGE
    assert why in said


def test_a_public_key_signs_nothing(keys: Path) -> None:
    code, said = refused("issue", "--key", keys / "public.pem", "--client", "c", "--scope", "read")
    assert code == exit_codes.USAGE
    assert "is no private key to sign with" in said


def test_the_file_of_a_callers_token_is_no_setting_of_the_service() -> None:
    assert load({"ATP_TOKEN_FILE": "token"}).layers.tables.get("token") is None
