"""An issuer of tokens for tests: keys of every kind, a JWKS file, and tokens that are right or wrong in one way."""

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms

from service.settings import TokenSettings

NAME, AUDIENCE = "https://login.example.com/", "atp"
#: A private key of each algorithm that is taken.
PRIVATE: dict[str, Any] = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "PS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def public_pem(private: Any) -> bytes:
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def jwk(kid: str, algorithm: str, private: Any) -> dict[str, Any]:
    return {**get_default_algorithms()[algorithm].to_jwk(private.public_key(), as_dict=True), "kid": kid}


class Issuer:
    """Signs with keys named after their algorithms; `publish` says which of them are believed."""

    def __init__(self, folder: Path) -> None:
        self.jwks_file = folder / "jwks.json"
        self.settings = TokenSettings(NAME, AUDIENCE, jwks_file=self.jwks_file)
        self.publish(*PRIVATE)

    def publish(self, *algorithms: str) -> None:
        keys = [jwk(algorithm, algorithm, PRIVATE[algorithm]) for algorithm in algorithms]
        self.jwks_file.write_text(json.dumps({"keys": keys}))

    def claims(self, **claims: Any) -> dict[str, Any]:
        """Good ones, but for those given; None leaves one out."""
        good = {"iss": NAME, "aud": AUDIENCE, "sub": "checkout-7", "exp": int(time.time()) + 3600, "scope": "read reserve"}
        return {name: value for name, value in {**good, **claims}.items() if value is not None}

    def token(self, algorithm: str = "EdDSA", *, kid: str | None = "", header: dict[str, Any] | None = None, **claims: Any) -> str:
        """`kid` is the algorithm's name unless it is said; None leaves it out."""
        named = {} if kid is None else {"kid": kid or algorithm}
        return jwt.encode(self.claims(**claims), PRIVATE[algorithm], algorithm, {**named, **(header or {})})

    def forged(self, header: dict[str, Any], secret: bytes = b"") -> str:
        """Good claims under any header, signed as HS256 with a secret of the forger's choice."""
        return forged(header, self.claims(), secret)


def forged(header: Any, claims: Any, secret: bytes = b"") -> str:
    signed = f"{part(json.dumps(header).encode())}.{part(json.dumps(claims).encode())}"
    return f"{signed}.{part(hmac.digest(secret, signed.encode(), hashlib.sha256) if secret else b'')}"


def part(content: bytes) -> str:
    """A part of a token: base64url without padding."""
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
