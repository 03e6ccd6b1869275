"""Which tokens are believed, for how long, and what is said of those that are not."""

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from service import bounds
from service.auth.keys import jwks
from service.auth.tokens import Tokens, authorization
from service.call import Identity, Scope
from service.errors import PROBLEMS, UnauthenticatedError
from service.settings import SettingsError, TokenSettings
from tests.issuer import AUDIENCE, NAME, PRIVATE, Issuer, forged, jwk, part, public_pem


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path)


@pytest.fixture
def tokens(issuer: Issuer, clock: Clock) -> Tokens:
    return Tokens(issuer.settings, clock)


def problem_of(tokens: Tokens, value: str | None) -> str:
    """The word that a caller is told; it must say no part of the token."""
    with pytest.raises(UnauthenticatedError) as raised:
        tokens.identity(value)
    told = f"{raised.value!r} {raised.value.advice} {raised.value.__cause__!r}"
    assert not [word for word in (value or "").replace("Bearer ", "").split(".") if len(word) > 8 and word in told]
    return str(raised.value.args[0])


# --- good ones --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("algorithm", PRIVATE)
def test_a_good_token_says_who_may_do_what_where(issuer: Issuer, tokens: Tokens, algorithm: str) -> None:
    token = issuer.token(algorithm, scope="read openid admin", pools=["de", "nl"])
    expected = Identity("checkout-7", frozenset({Scope.READ, Scope.ADMIN}), frozenset({"de", "nl"}))
    assert tokens.identity(f"Bearer {token}") == expected
    assert tokens.identity(f"bearer {token}") == expected


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_one_key_in_pem_form_is_enough(issuer: Issuer, clock: Clock, tmp_path: Path, algorithm: str) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(public_pem(PRIVATE[algorithm]))
    tokens = Tokens(TokenSettings(NAME, AUDIENCE, key_file=file), clock)
    assert tokens.identity(f"Bearer {issuer.token(algorithm, kid=None)}").client == "checkout-7"
    other = "ES256" if algorithm != "ES256" else "ES384"
    assert problem_of(tokens, f"Bearer {issuer.token(other, kid=None)}") == "wrong_algorithm"


def test_without_pools_it_is_for_all_and_without_scope_for_nothing(issuer: Issuer, tokens: Tokens) -> None:
    assert tokens.identity(f"Bearer {issuer.token(scope=None)}") == Identity("checkout-7", frozenset(), None)
    assert tokens.identity(f"Bearer {issuer.token(pools=[])}").pools == frozenset()


def test_one_of_several_audiences_is_enough(issuer: Issuer, tokens: Tokens) -> None:
    assert tokens.identity(f"Bearer {issuer.token(aud=['other', AUDIENCE])}").client == "checkout-7"


def test_clocks_may_be_a_little_apart(issuer: Issuer, tokens: Tokens, clock: Clock) -> None:
    assert tokens.identity(f"Bearer {issuer.token(exp=clock.now - bounds.CLOCK_LEEWAY_S + 1)}").client == "checkout-7"
    assert tokens.identity(f"Bearer {issuer.token(nbf=clock.now + bounds.CLOCK_LEEWAY_S - 1)}").client == "checkout-7"


# --- wrong ones -------------------------------------------------------------------------------------------------------
WRONG: dict[str, tuple[Callable[[Issuer], str | None], str]] = {
    "nothing": (lambda _: None, "missing"),
    "an empty value": (lambda _: "", "malformed"),
    "another scheme": (lambda issuer: f"Basic {issuer.token()}", "malformed"),
    "no scheme": (lambda issuer: issuer.token(), "malformed"),
    "no token": (lambda _: "Bearer ", "malformed"),
    "words": (lambda _: "Bearer let me in please", "malformed"),
    "two parts": (lambda issuer: "Bearer " + issuer.token().rpartition(".")[0], "malformed"),
    "a header that is no JSON": (lambda _: f"Bearer {part(b'{')}.{part(b'{}')}.AAAA", "malformed"),
    "a header that is no object": (lambda _: f"Bearer {forged([], {})}", "malformed"),
    "a header of great depth": (lambda _: f"Bearer {part(b'[' * 2500)}.AAAA.AAAA", "malformed"),
    "a header without algorithm": (lambda issuer: f"Bearer {issuer.forged({'kid': 'EdDSA'})}", "wrong_algorithm"),
    "an algorithm that is no text": (lambda issuer: f"Bearer {issuer.forged({'kid': 'EdDSA', 'alg': {}})}", "wrong_algorithm"),
    "extensions that must be known": (lambda issuer: f"Bearer {issuer.token(header={'crit': ['exp'], 'exp': 1})}", "malformed"),
    "longer than the bound": (lambda issuer: f"Bearer {issuer.token(more='x' * bounds.TOKEN_CHARS_MAX)}", "malformed"),
    "no kid": (lambda issuer: f"Bearer {issuer.token(kid=None)}", "unknown_key"),
    "a kid of nobody's": (lambda issuer: f"Bearer {issuer.token(kid='other')}", "unknown_key"),
    "a kid that is no text": (lambda issuer: f"Bearer {issuer.forged({'alg': 'EdDSA', 'kid': 7})}", "malformed"),
    "no signature": (lambda issuer: "Bearer " + jwt.encode(issuer.claims(), None, "none", {"kid": "EdDSA"}), "wrong_algorithm"),
    "another algorithm of the same key": (lambda issuer: f"Bearer {signed_as(issuer, 'RS512')}", "wrong_algorithm"),
    "another key": (lambda issuer: f"Bearer {issuer.token('RS256', kid='PS256')}", "bad_signature"),
    "another's signature": (lambda issuer: f"Bearer {swapped(issuer)}", "bad_signature"),
    "claims that are no object": (
        lambda _: "Bearer " + jwt.PyJWS().encode(b"[]", PRIVATE["EdDSA"], "EdDSA", {"kid": "EdDSA"}),
        "bad_claims",
    ),
    "no end": (lambda issuer: f"Bearer {issuer.token(exp=None)}", "bad_claims"),
    "an end that is no time": (lambda issuer: f"Bearer {signed(issuer, exp='tomorrow')}", "bad_claims"),
    "no client": (lambda issuer: f"Bearer {issuer.token(sub=None)}", "bad_claims"),
    "a client with spaces": (lambda issuer: f"Bearer {issuer.token(sub='checkout 7')}", "bad_claims"),
    "a client of many characters": (lambda issuer: f"Bearer {issuer.token(sub='c' * 65)}", "bad_claims"),
    "a client who takes the engine's own name": (lambda issuer: f"Bearer {issuer.token(sub='sweeper')}", "bad_claims"),
    "a client that is no text": (lambda issuer: f"Bearer {signed(issuer, sub=7)}", "bad_claims"),
    "scopes as a list": (lambda issuer: f"Bearer {issuer.token(scope=['read'])}", "bad_claims"),
    "pools that are no list": (lambda issuer: f"Bearer {issuer.token(pools='de')}", "bad_claims"),
    "pools that are null": (lambda issuer: f"Bearer {signed(issuer, pools=None)}", "bad_claims"),
    "pools that are no names": (lambda issuer: f"Bearer {issuer.token(pools=['d e'])}", "bad_claims"),
    "another issuer": (lambda issuer: f"Bearer {issuer.token(iss='https://login.example.org/')}", "wrong_issuer"),
    "no issuer": (lambda issuer: f"Bearer {issuer.token(iss=None)}", "wrong_issuer"),
    "another audience": (lambda issuer: f"Bearer {issuer.token(aud='other')}", "wrong_audience"),
    "part of an audience": (lambda issuer: f"Bearer {issuer.token(aud='atp-test')}", "wrong_audience"),
    "no audience": (lambda issuer: f"Bearer {issuer.token(aud=None)}", "wrong_audience"),
    "time over": (lambda issuer: f"Bearer {issuer.token(exp=time.time() - 31)}", "expired"),
    "time not begun": (lambda issuer: f"Bearer {issuer.token(nbf=time.time() + 60)}", "not_yet_valid"),
}


def signed(issuer: Issuer, **claims: object) -> str:
    """Truly signed, whatever the claims are."""
    content = json.dumps({**issuer.claims(), **claims}).encode()
    return jwt.PyJWS().encode(content, PRIVATE["EdDSA"], "EdDSA", {"kid": "EdDSA"})


def signed_as(issuer: Issuer, algorithm: str) -> str:
    return jwt.encode(issuer.claims(), PRIVATE["RS256"], algorithm, {"kid": "RS256"})


def swapped(issuer: Issuer) -> str:
    """The claims of one token under the signature of another."""
    one, other = issuer.token(sub="checkout-7"), issuer.token(sub="admin")
    header, _, signature = one.split(".")
    return f"{header}.{other.split('.')[1]}.{signature}"


@pytest.mark.parametrize("way", WRONG)
def test_every_wrong_way_has_its_word(issuer: Issuer, tokens: Tokens, way: str, caplog: pytest.LogCaptureFixture) -> None:
    make, word = WRONG[way]
    value = make(issuer)
    assert problem_of(tokens, value) == word
    assert not value or value not in caplog.text


def test_every_word_of_a_token_is_tried() -> None:
    assert {word for _, word in WRONG.values()} == {*PROBLEMS} - {"unknown_client"}


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_a_public_key_is_no_secret_to_sign_with(issuer: Issuer, clock: Clock, tmp_path: Path, algorithm: str) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(public_pem(PRIVATE[algorithm]))
    for secret in (file.read_bytes(), issuer.jwks_file.read_bytes()):
        value = f"Bearer {issuer.forged({'alg': 'HS256', 'kid': algorithm}, secret)}"
        assert problem_of(Tokens(issuer.settings, clock), value) == "wrong_algorithm"
        assert problem_of(Tokens(TokenSettings(NAME, AUDIENCE, key_file=file), clock), value) == "wrong_algorithm"


def test_a_key_that_is_for_one_algorithm_is_for_no_other(issuer: Issuer, clock: Clock) -> None:
    issuer.jwks_file.write_text(json.dumps({"keys": [{**jwk("RS256", "RS256", PRIVATE["RS256"]), "alg": "PS256"}]}))
    tokens = Tokens(issuer.settings, clock)
    assert problem_of(tokens, f"Bearer {issuer.token('RS256')}") == "wrong_algorithm"
    pss = jwt.encode(issuer.claims(), PRIVATE["RS256"], "PS256", {"kid": "RS256"})
    assert tokens.identity(f"Bearer {pss}").client == "checkout-7"


def test_of_two_values_neither_is_believed(issuer: Issuer) -> None:
    value = ("authorization", f"Bearer {issuer.token()}")
    assert authorization([("user-agent", "x"), value]) == value[1]
    assert authorization(None) is None
    with pytest.raises(UnauthenticatedError, match="malformed"):
        authorization([value, value])


@given(st.one_of(st.text(), st.text(alphabet="abcXYZ019-_.= {}", max_size=300), st.binary().map(lambda noise: noise.decode("latin-1"))))
def test_noise_is_refused_and_nothing_else_happens(shared: tuple[str, Tokens], noise: str) -> None:
    _, tokens = shared
    for value in (noise, f"Bearer {noise}", f"Bearer {noise}.{noise}.{noise}", f"Bearer {part(noise.encode(errors='replace'))}.e30.AAAA"):
        with pytest.raises(UnauthenticatedError):
            tokens.identity(value)


@given(st.data())
def test_a_token_with_any_character_changed_is_refused(shared: tuple[str, Tokens], data: st.DataObject) -> None:
    token, tokens = shared
    at = data.draw(st.integers(0, len(token) - 1))
    changed = token[:at] + data.draw(st.characters().filter(lambda other: other != token[at])) + token[at + 1 :]
    with pytest.raises(UnauthenticatedError):
        tokens.identity(f"Bearer {changed.strip(' ')}")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Tokens]:
    issuer = Issuer(tmp_path_factory.mktemp("issuer"))
    return issuer.token(), Tokens(issuer.settings, time.time)


# --- time, and keys that come and go ----------------------------------------------------------------------------------
def test_a_token_that_was_verified_is_still_refused_once_it_expires(issuer: Issuer, tokens: Tokens, clock: Clock) -> None:
    value = f"Bearer {issuer.token(exp=clock.now + 20)}"
    assert tokens.identity(value) is tokens.identity(value), "it is verified again at every call"
    clock.now += 20 + bounds.CLOCK_LEEWAY_S
    assert problem_of(tokens, value) == "expired"


def test_a_new_key_is_taken_as_soon_as_a_token_names_it(issuer: Issuer, clock: Clock) -> None:
    issuer.publish("RS256")
    tokens = Tokens(issuer.settings, clock)
    value = f"Bearer {issuer.token('EdDSA')}"
    issuer.publish("RS256", "EdDSA")
    assert problem_of(tokens, value) == "unknown_key", "the file is read at every call that names nonsense"
    clock.now += bounds.KEYS_REREAD_S_MIN
    assert tokens.identity(value).client == "checkout-7"


def test_a_key_that_is_taken_out_is_soon_believed_no_more(issuer: Issuer, tokens: Tokens, clock: Clock) -> None:
    value, other = f"Bearer {issuer.token('EdDSA')}", f"Bearer {issuer.token('RS256')}"
    tokens.identity(value)
    tokens.identity(other)
    issuer.publish("RS256")
    clock.now += bounds.KEYS_REREAD_S
    assert problem_of(tokens, value) == "unknown_key"
    assert tokens.identity(other).client == "checkout-7"


def test_a_clock_that_is_set_back_does_not_keep_keys_for_longer(issuer: Issuer, tokens: Tokens, clock: Clock) -> None:
    value = f"Bearer {issuer.token()}"
    tokens.identity(value)
    issuer.publish("RS256")
    clock.now -= 3600
    assert problem_of(tokens, value) == "unknown_key"


def test_an_empty_set_stops_everyone(issuer: Issuer, tokens: Tokens, clock: Clock) -> None:
    value = f"Bearer {issuer.token()}"
    tokens.identity(value)
    issuer.publish()
    clock.now += bounds.KEYS_REREAD_S
    assert problem_of(tokens, value) == "unknown_key"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"keys": 1}', b'{"keys": [{"kty": []}]}', b"x" * (bounds.KEYS_BYTES_MAX + 1), None]
)
def test_a_file_that_cannot_be_read_changes_nothing_and_is_told(
    issuer: Issuer, tokens: Tokens, clock: Clock, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    value = f"Bearer {issuer.token()}"
    tokens.identity(value)
    issuer.jwks_file.unlink()
    if content is not None:
        issuer.jwks_file.write_bytes(content)
    clock.now += bounds.KEYS_REREAD_S
    assert tokens.identity(value).client == "checkout-7"
    assert "the keys known so far stay in force" in caplog.text
    issuer.publish("RS256")
    clock.now += bounds.KEYS_REREAD_S
    assert problem_of(tokens, value) == "unknown_key"


def test_only_so_many_tokens_are_remembered(issuer: Issuer, tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "TOKENS_KEPT_MAX", 2)
    first, second, third = (f"Bearer {issuer.token(jti=number)}" for number in range(3))
    known = {value: tokens.identity(value) for value in (first, second)}
    assert tokens.identity(first) is known[first]
    tokens.identity(third)
    assert tokens.identity(first) is known[first], "the one used last was forgotten first"
    assert tokens.identity(second) is not known[second]


# --- files that are no good -------------------------------------------------------------------------------------------
PRIVATE_PEM = PRIVATE["EdDSA"].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (PRIVATE_PEM, "one public key in PEM form"),
        (b"", "one public key in PEM form"),
        (public_pem(rsa.generate_private_key(65537, 1024)), "needs 2048 bits"),
        (public_pem(ec.generate_private_key(ec.SECP521R1())), "RSA, P-256, P-384 or Ed25519"),
    ],
)
def test_a_key_file_that_is_no_good_is_refused_at_the_start(tmp_path: Path, content: bytes, why: str) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=why):
        Tokens(TokenSettings(NAME, AUDIENCE, key_file=file), time.time)


GOOD = jwk("k", "EdDSA", PRIVATE["EdDSA"])


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({**GOOD, "kid": ""}, "needs a kid"),
        ({**GOOD, "d": "AAAA"}, "a private key"),
        ({**GOOD, "alg": "HS256"}, "not for its kind"),
        ({**GOOD, "x": "AAAA"}, "incomplete"),
        ({"kty": "oct", "kid": "s", "k": "AAAA"}, "incomplete, or of a kind"),
        ({"kty": "RSA", "kid": "r"}, "incomplete"),
        (jwk("r", "RS256", rsa.generate_private_key(65537, 1024)), "needs 2048 bits"),
    ],
)
def test_a_key_of_a_set_that_is_no_good_is_left_out_and_told(bad: object, why: str, caplog: pytest.LogCaptureFixture) -> None:
    good = jwk("good", "RS256", PRIVATE["RS256"])
    assert list(jwks(json.dumps({"keys": [bad, {**GOOD, "use": "enc"}, good]}).encode())) == ["good"]
    assert why in caplog.text
    assert str(GOOD["x"]) not in caplog.text


def test_a_name_that_two_keys_have_is_the_first_ones(caplog: pytest.LogCaptureFixture) -> None:
    found = jwks(json.dumps({"keys": [GOOD, jwk("k", "RS256", PRIVATE["RS256"])]}).encode())
    assert found["k"].algorithms == ("EdDSA",)
    assert "no other has" in caplog.text


def test_a_set_without_keys_is_refused_at_the_start(issuer: Issuer) -> None:
    issuer.publish()
    with pytest.raises(SettingsError, match="holds no key"):
        Tokens(issuer.settings, time.time)


@pytest.mark.parametrize(
    "settings", [TokenSettings(NAME, AUDIENCE), TokenSettings("", AUDIENCE, Path("k")), TokenSettings(NAME, "", Path("k"))]
)
def test_settings_that_would_believe_anyone_are_refused(settings: TokenSettings) -> None:
    with pytest.raises(SettingsError, match="need"):
        Tokens(settings, time.time)


def test_a_change_of_keys_is_told(issuer: Issuer, tokens: Tokens, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    issuer.publish("RS256")
    clock.now += bounds.KEYS_REREAD_S
    tokens.identity(f"Bearer {issuer.token('RS256')}")
    assert "keys in force: 1" in caplog.text
