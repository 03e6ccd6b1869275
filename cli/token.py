"""`atp token`: keys and tokens to try a secured service with, in place of the issuer that an installation has."""

import hashlib
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.exit_codes import REFUSED, USAGE, CommandError

if TYPE_CHECKING:
    from service.auth.keys import PublicKey

ISSUER: Final = "atp-development"
AUDIENCE: Final = "atp"
PRIVATE, PUBLIC, JWKS, CONFIG = "private.pem", "public.pem", "jwks.json", "service.toml"
_THUMBPRINT: Final = ("crv", "e", "kty", "n", "x", "y")  # the members that make a key's name (RFC 7638)

token = typer.Typer(
    help="Makes keys and tokens to try a secured service with; an installation has an issuer for them.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    app.add_typer(token, name="token")


@token.command("keys")
def make_keys(
    folder: Annotated[Path, typer.Argument(file_okay=False, help="Where to; what is there already is never overwritten.")],
) -> None:
    """Makes a key pair: the private key, the public one as PEM and as JWKS, and a configuration file for `atp serve`."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    private = Ed25519PrivateKey.generate()
    public = private.public_key()
    jwk = _jwk(public)
    config = f'[token]\nissuer = "{ISSUER}"\naudience = "{AUDIENCE}"\njwks_file = "{JWKS}"\n'
    files = {
        PRIVATE: private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        PUBLIC: public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        JWKS: json.dumps({"keys": [jwk]}, indent=2).encode() + b"\n",
        CONFIG: config.encode(),
    }
    taken = [name for name in files if (folder / name).exists()]
    if taken:
        raise CommandError(f"{folder} holds {', '.join(taken)} already, which is not overwritten: name another folder", REFUSED)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if name == PRIVATE else 0o644)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    typer.echo(f"made {', '.join(files)} in {folder}; the key's name (kid) is {jwk['kid']}")
    typer.echo(f"serve: atp --config {folder / CONFIG} serve")
    typer.echo(f"call:  atp token issue --key {folder / PRIVATE} --client NAME --scope read")


@token.command("issue")
def issue(
    key: Annotated[Path, typer.Option("--key", exists=True, dir_okay=False, help="The private key to sign with (PEM).")],
    client: Annotated[str, typer.Option("--client", help="Whom it is for: the name that stands in the ledger.")],
    scope: Annotated[list[str], typer.Option("--scope", help="What the client may: read, reserve, feed or admin; repeat it for more.")],
    pool: Annotated[
        list[str] | None, typer.Option("--pool", help="A pool it may use; repeat it for more. Without it: all.", show_default=False)
    ] = None,
    ttl: Annotated[str, typer.Option("--ttl", help="How long it is good for: 90s, 15m, 1h, 1d.")] = "1h",
    issuer: Annotated[str, typer.Option("--issuer", help="Who says so; the service must trust this name.")] = ISSUER,
    audience: Annotated[str, typer.Option("--audience", help="The service that it is for.")] = AUDIENCE,
) -> None:
    """Prints a token. Nothing else goes to standard output, so that `ATP_TOKEN=$(atp token issue …) atp get …` works."""
    import jwt

    from atp.requests import ID_RULE, NAME_RULE, is_id, is_name
    from cli import words
    from service.auth.keys import usable
    from service.call import Scope

    for word in scope:
        if word not in list(Scope):
            raise CommandError(f"--scope must be one of {', '.join(Scope)}, not {word!r}", USAGE)
    if not is_id(client):
        raise CommandError(f"--client {ID_RULE}", USAGE)
    for name in pool or ():
        if not is_name(name):
            raise CommandError(f"--pool {NAME_RULE}", USAGE)
    seconds = words.duration_ms(ttl) // 1000
    if seconds < 1:
        raise CommandError("--ttl must be a second at least", USAGE)
    private = _private(key)
    now = int(time.time())
    claims: dict[str, Any] = {"iss": issuer, "aud": audience, "sub": client, "iat": now, "nbf": now, "exp": now + seconds}
    claims |= {"scope": " ".join(scope)} | ({"pools": pool} if pool else {})
    usable_key = usable(private.public_key())
    typer.echo(jwt.encode(claims, private, usable_key.algorithms[0], {"kid": _jwk(usable_key.public)["kid"]}))
    where = f"in {', '.join(pool)}" if pool else "in every pool"
    typer.echo(f"for {client}: {' '.join(scope)} {where}, good for {ttl}. Use it: ATP_TOKEN=… atp get SKU --address HOST:PORT", err=True)


def _private(path: Path) -> Any:
    """A private key of a kind that the service takes. Raises CommandError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from service.auth.keys import usable

    try:
        private = load_pem_private_key(path.read_bytes(), password=None)
        usable(private.public_key())
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CommandError(f"{path} is no private key to sign with: {error}", USAGE) from error
    return private


def _jwk(public: "PublicKey") -> dict[str, str]:
    """A public key as a member of a JWKS, named by its thumbprint."""
    import jwt
    from jwt.algorithms import get_default_algorithms

    from service.auth.keys import usable

    algorithm = usable(public).algorithms[0]
    members: Any = get_default_algorithms()[algorithm].to_jwk(public, as_dict=True)
    named: dict[str, str] = {name: members[name] for name in _THUMBPRINT if name in members}
    digest = hashlib.sha256(json.dumps(named, separators=(",", ":")).encode()).digest()
    return {**named, "kid": jwt.utils.base64url_encode(digest).decode(), "use": "sig", "alg": algorithm}
