"""The public keys that tokens are signed with, as a file has them; the algorithms of each follow from its kind."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from service import bounds
from service.settings import SettingsError

RSA_BITS_MIN: Final = 2048
_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384"}
_log = logging.getLogger(__name__)


PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


class Key(NamedTuple):
    """A key, and the algorithms that its owner may sign with."""

    public: PublicKey
    algorithms: tuple[str, ...]


class KeyFile:
    """Keys by `kid`, from a file that may change. The last good content stays in force while the file is not readable."""

    def __init__(self, path: Path, parse: Callable[[bytes], dict[str, Key]], now: float) -> None:
        self._path = path
        self._parse = parse
        self._read_at = now
        self._content = _read(path)
        self.keys = _parsed(path, parse, self._content)
        if not self.keys:
            raise SettingsError(f"{path} holds no key that a token may be signed with (docs/security.md)")

    def changed(self, now: float, after_s: float) -> bool:
        """Reads the file again if that was longer ago than this; whether other keys are in force since."""
        if 0 <= now - self._read_at < after_s:
            return False
        self._read_at = now
        try:
            content = _read(self._path)
            if content == self._content:
                return False
            self.keys = _parsed(self._path, self._parse, content)
        except SettingsError as error:
            _log.error("%s: the keys known so far stay in force", error)
            return False
        self._content = content
        _log.info("%s has changed: keys in force: %d", self._path, len(self.keys))
        return True


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(bounds.KEYS_BYTES_MAX + 1)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > bounds.KEYS_BYTES_MAX:
        raise SettingsError(f"{path} is longer than {bounds.KEYS_BYTES_MAX} bytes")
    return content


def _parsed(path: Path, parse: Callable[[bytes], dict[str, Key]], content: bytes) -> dict[str, Key]:
    try:
        return parse(content)
    except (ValueError, UnsupportedAlgorithm, RecursionError) as error:
        raise SettingsError(f"{path}: {error}") from error


def pem(content: bytes) -> dict[str, Key]:
    """One public key; it has no name. Raises ValueError."""
    try:
        public = load_pem_public_key(content)
    except ValueError as error:
        raise ValueError("must be one public key in PEM form (BEGIN PUBLIC KEY)") from error
    return {"": usable(public)}


class _Jwk(msgspec.Struct, omit_defaults=True):
    """The members of a key that are read (RFC 7517, 7518, 8037)."""

    kty: str
    kid: str = ""
    use: str = "sig"
    alg: str = ""
    crv: str = ""
    n: str = ""
    e: str = ""
    x: str = ""
    y: str = ""
    d: str = ""


class _Jwks(msgspec.Struct):
    keys: list[_Jwk]


def jwks(content: bytes) -> dict[str, Key]:
    """The keys of a set that are for signatures; those that cannot be used are told in the log. Raises ValueError."""
    try:
        listed = msgspec.json.decode(content, type=_Jwks).keys
    except msgspec.MsgspecError as error:
        raise ValueError(f'must be a set of keys, JSON such as {{"keys": [...]}}: {error}') from error
    found: dict[str, Key] = {}
    for number, jwk in enumerate(listed):
        if jwk.use != "sig":
            continue
        try:
            if not jwk.kid or jwk.kid in found:
                raise ValueError("it needs a kid that no other has")
            found[jwk.kid] = usable(_public(jwk), jwk.alg)
        except (ValueError, UnsupportedAlgorithm) as error:
            _log.warning("key %d of the set is left out: %s", number, error)
    return found


def _public(jwk: _Jwk) -> object:
    if jwk.d:
        raise ValueError("it is a private key: give the public part alone")
    try:
        return jwt.PyJWK({name: value for name, value in msgspec.to_builtins(jwk).items() if name not in {"alg", "use", "kid"}}).key
    except (jwt.PyJWTError, KeyError):
        raise ValueError("it is incomplete, or of a kind that is not taken") from None  # PyJWT's own words hold the key


def usable(public: object, algorithm: str = "") -> Key:
    """Raises ValueError for keys that are not public, weak, or not for one of the algorithms we take."""
    if isinstance(public, rsa.RSAPublicKey):
        if public.key_size < RSA_BITS_MIN:
            raise ValueError(f"an RSA key needs {RSA_BITS_MIN} bits, this one has {public.key_size}")
        algorithms: tuple[str, ...] = ("RS256", "PS256")
    elif isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name in _CURVES:
        algorithms = (_CURVES[public.curve.name],)
    elif isinstance(public, ed25519.Ed25519PublicKey):
        algorithms = ("EdDSA",)
    else:
        raise ValueError("a key must be public and RSA, P-256, P-384 or Ed25519")
    if algorithm:
        algorithms = tuple(one for one in algorithms if one == algorithm)
        if not algorithms:
            raise ValueError(f"its alg is {algorithm!r}, which is not for its kind of key or not taken")
    return Key(public, algorithms)
