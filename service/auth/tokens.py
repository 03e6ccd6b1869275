"""Callers by their tokens: signed JWTs, verified once and remembered until they expire or the keys change."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import jwt
import msgspec

from atp.model.verbs import ENGINE_ACTORS
from atp.requests import is_id, is_name
from service import bounds
from service.auth.keys import Key, KeyFile, jwks, pem
from service.call import Identity, Scope
from service.errors import UnauthenticatedError
from service.settings import SettingsError, TokenSettings

AUTHORIZATION: Final = "authorization"
_BEARER: Final = "bearer "
_SCOPES: Final = {scope.value: scope for scope in Scope}
_JWS: Final = jwt.PyJWS()  # structure and signature; the claims are ours, since the clock is


class Claims(msgspec.Struct):
    """What is read of a token; the rest of it is the issuer's own."""

    exp: float
    sub: str
    iss: str = ""
    aud: str | list[str] = ""
    nbf: float = 0.0
    scope: str = ""
    pools: list[str] | msgspec.UnsetType = msgspec.UNSET
    sources: list[str] = []


class _Verified(NamedTuple):
    identity: Identity
    expires: float


def authorization(metadata: "Iterable[tuple[str, str | bytes]] | None") -> str | None:
    """The one value of that name; none if there is none. Of two, one could be for a proxy to see and the other for us."""
    values = [value for key, value in metadata or () if key == AUTHORIZATION]
    if not values:
        return None
    if len(values) > 1 or not isinstance(values[0], str):
        raise UnauthenticatedError("malformed")
    return values[0]


class Tokens:
    """Identities by the value of `authorization`."""

    def __init__(self, settings: TokenSettings, clock: Callable[[], float]) -> None:
        if not settings.issuer or not settings.audience:
            raise SettingsError("tokens need an issuer and an audience that they must name")
        self._settings = settings
        self._clock = clock
        self._verified: OrderedDict[str, _Verified] = OrderedDict()  # the least recently used first
        if settings.jwks_file:
            self._file, self._is_set = KeyFile(settings.jwks_file, jwks, clock()), True
        elif settings.key_file:
            self._file, self._is_set = KeyFile(settings.key_file, pem, clock()), False
        else:
            raise SettingsError("tokens need a key_file or a jwks_file that says which signatures are believed")

    def identity(self, value: str | None) -> Identity:
        """Raises UnauthenticatedError."""
        if value is None:
            raise UnauthenticatedError("missing")
        if len(value) > len(_BEARER) + bounds.TOKEN_CHARS_MAX:
            raise UnauthenticatedError("malformed")
        now = self._clock()
        self._look(now, bounds.KEYS_REREAD_S)
        verified = self._verified.get(value)
        if verified and now < verified.expires:
            self._verified.move_to_end(value)
            return verified.identity
        self._verified.pop(value, None)
        verified = self._verify(value, now)
        if len(self._verified) >= bounds.TOKENS_KEPT_MAX:
            self._verified.popitem(last=False)
        self._verified[value] = verified
        return verified.identity

    def _look(self, now: float, after_s: float) -> None:
        if self._file.changed(now, after_s):
            self._verified.clear()

    def _verify(self, value: str, now: float) -> _Verified:
        if value[: len(_BEARER)].lower() != _BEARER:
            raise UnauthenticatedError("malformed")
        claims = self._claims(value[len(_BEARER) :].strip(" "), now)
        expires = claims.exp + bounds.CLOCK_LEEWAY_S
        audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
        for wrong, problem in (
            (claims.iss != self._settings.issuer, "wrong_issuer"),
            (self._settings.audience not in audiences, "wrong_audience"),
            (now >= expires, "expired"),
            (now < claims.nbf - bounds.CLOCK_LEEWAY_S, "not_yet_valid"),
        ):
            if wrong:
                raise UnauthenticatedError(problem)
        return _Verified(_identity(claims), expires)

    def _claims(self, token: str, now: float) -> Claims:
        """What the token says, its signature verified."""
        try:
            header = _JWS.get_unverified_header(token)
            key = self._key(header.get("kid"), now)
            payload = _JWS.decode_complete(token, key.public, list(key.algorithms))["payload"]
        except jwt.InvalidAlgorithmError:
            raise UnauthenticatedError("wrong_algorithm") from None
        except jwt.InvalidSignatureError:
            raise UnauthenticatedError("bad_signature") from None
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise UnauthenticatedError("malformed") from None
        try:
            return msgspec.json.decode(payload, type=Claims)
        except (msgspec.MsgspecError, RecursionError):
            raise UnauthenticatedError("bad_claims") from None

    def _key(self, kid: object, now: float) -> Key:
        """The one key of a PEM file, or the key of a set that the token names; the file is read again for one that is not known."""
        if not self._is_set:
            return self._file.keys[""]
        if not isinstance(kid, str):
            raise UnauthenticatedError("unknown_key")
        if kid not in self._file.keys:
            self._look(now, bounds.KEYS_REREAD_S_MIN)
        if kid not in self._file.keys:
            raise UnauthenticatedError("unknown_key")
        return self._file.keys[kid]


def _identity(claims: Claims) -> Identity:
    pools = claims.pools
    names = [*claims.sources, *([] if pools is msgspec.UNSET else pools)]
    if not is_id(claims.sub) or claims.sub in ENGINE_ACTORS or not all(map(is_name, names)):
        raise UnauthenticatedError("bad_claims")
    scopes = frozenset(_SCOPES[word] for word in claims.scope.split() if word in _SCOPES)
    return Identity(claims.sub, scopes, None if pools is msgspec.UNSET else frozenset(pools), frozenset(claims.sources))
