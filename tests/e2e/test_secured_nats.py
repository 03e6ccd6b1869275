"""The way to NATS: over TLS, under a user or a credentials file, and what is said when it does not let us in."""

import asyncio
import base64
import hashlib
import json
import logging
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import nkeys  # type: ignore[import-untyped]  # it ships no types
import pytest
import trustme

from cli.embedded import NatsServer
from consumers.connection import Client, NatsRefusedError, NatsSettings, connect, connect_once
from tests.e2e.consuming import until
from tests.e2e.secured import nats_as, secured_nats
from tests.e2e.test_secured_store import issue

USERS: Final = 'authorization { users: [{ user: "atp", password: "PASSWORD" }] }'


async def answers(client: Client) -> bool:
    """Whether JetStream hears us."""
    return (await client.jetstream().account_info()).streams == 0


async def talks(settings: NatsSettings) -> None:
    for opening in (connect_once, connect):  # who is refused hears so from the first; the second goes on trying
        client = await opening(settings, "test")
        try:
            assert await answers(client)
        finally:
            await client.close()


async def refused(settings: NatsSettings, words: str) -> None:
    with pytest.raises(NatsRefusedError, match=words):
        await connect_once(settings, "test")


# --- TLS ------------------------------------------------------------------------------------------------------------
@dataclass
class Tls:
    """A server that speaks TLS and wants certificates of its callers, and what to tell those."""

    ca: trustme.CA
    server: NatsServer
    settings: NatsSettings


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[Tls]:
    ca = trustme.CA()
    paths = {name: tmp_path / f"{name}.pem" for name in ("ca", "server", "key", "mine", "my-key")}
    ca.cert_pem.write_to_path(str(paths["ca"]))
    issue(ca, "localhost", paths["server"], paths["key"])
    issue(ca, "relay.atp", paths["mine"], paths["my-key"])
    files = f'cert_file: "{paths["server"]}", key_file: "{paths["key"]}", ca_file: "{paths["ca"]}"'
    with NatsServer(tmp_path / "nats", options=f"tls {{ {files}, verify: true }}\n{USERS}") as server:
        url = f"tls://localhost:{server.port}"
        yield Tls(ca, server, NatsSettings(url, None, "atp", "PASSWORD", paths["ca"], paths["mine"], paths["my-key"]))


def test_a_server_with_tls_is_talked_to(tls: Tls) -> None:
    asyncio.run(talks(tls.settings))
    asyncio.run(talks(replace(tls.settings, url=tls.settings.url.replace("tls://", "nats://"))))  # the files say enough


def test_a_server_that_cannot_prove_who_it_is_gets_nothing(tls: Tls, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    for settings in (replace(tls.settings, ca_file=other), replace(tls.settings, ca_file=None)):
        asyncio.run(refused(settings, "certificate verify failed"))
    asyncio.run(refused(replace(tls.settings, url=tls.server.url), "IP address mismatch"))


def test_a_server_that_wants_to_know_us_is_shown_our_certificate(tls: Tls, tmp_path: Path) -> None:
    asyncio.run(talks(tls.settings))
    asyncio.run(refused(replace(tls.settings, certificate_file=None, key_file=None), "certificate"))
    issue(trustme.CA(), "relay.atp", tmp_path / "strange.pem", tmp_path / "strange.key")
    strange = replace(tls.settings, certificate_file=tmp_path / "strange.pem", key_file=tmp_path / "strange.key")
    asyncio.run(refused(strange, "certificate|unknown ca"))


def test_over_tls_too_a_connection_finds_its_way_back_with_a_renewed_certificate(tls: Tls) -> None:
    async def scenario() -> None:
        client = await connect(tls.settings, "test")
        try:
            tls.server.kill()
            assert tls.settings.certificate_file is not None
            assert tls.settings.key_file is not None
            issue(tls.ca, "relay.atp", tls.settings.certificate_file, tls.settings.key_file)
            tls.server.start()
            await until(lambda: answers(client), "back")
        finally:
            await client.close()

    asyncio.run(scenario())


def test_nothing_is_sent_in_clear_where_tls_is_wanted(tmp_path: Path) -> None:
    """A server without TLS, or somebody between who takes the word out of its greeting."""
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.11.0","max_payload":1048576,"auth_required":true}\r\n')
        said = await reader.read()
        writer.close()
        await writer.wait_closed()
        heard.put_nowait(said)

    async def scenario() -> None:
        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            await refused(NatsSettings(f"tls://127.0.0.1:{port}", username="atp", password="secret"), "secure connection not available")
            ca = tmp_path / "ca.pem"
            trustme.CA().cert_pem.write_to_path(str(ca))
            settings = NatsSettings(f"nats://127.0.0.1:{port}", username="atp", password="secret", ca_file=ca)
            await refused(settings, "secure connection not available")
            assert [await heard.get(), await heard.get()] == [b"", b""]

    asyncio.run(scenario())


# --- users ----------------------------------------------------------------------------------------------------------
def test_a_name_without_its_password_is_nobody(tmp_path: Path) -> None:
    """And not the user that the server takes those for who have no name."""
    guests = 'authorization { users: [{user: "guest", password: "g"}] }\nno_auth_user: "guest"'
    with NatsServer(tmp_path, options=guests) as server, pytest.raises(NatsRefusedError, match="Authorization Violation"):
        asyncio.run(connect_once(NatsSettings(server.url, username="atp-feeds"), "test"))


def test_a_changed_password_is_told_once_and_tried_until_it_is_right(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A connection that is thrown out while it works comes back too: nats-py by itself would close for good."""

    async def scenario() -> None:
        with NatsServer(tmp_path, options=USERS) as server:
            settings = NatsSettings(server.url, username="atp", password="PASSWORD")
            await refused(replace(settings, password="rotated"), "Authorization Violation")
            client = await connect(settings, "atp relay")
            try:
                reload(server, "PASSWORD", "rotated")
                await until(lambda: told(caplog), "told")
                reload(server, "rotated", "PASSWORD")
                await until(lambda: answers(client), "back")
            finally:
                await client.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    assert "PASSWORD" not in caplog.text
    warnings = [text for text in caplog.messages if "NATS refuses atp relay (atp): " in text]
    assert len(warnings) == len(set(warnings)) <= 2, warnings


async def told(caplog: pytest.LogCaptureFixture) -> bool:
    return "Authorization Violation" in caplog.text


def reload(server: NatsServer, before: str, after: str) -> None:
    """As the operator does it."""
    config = server.data_dir / "nats.conf"
    config.write_text(config.read_text().replace(before, after))
    os.kill(server.pid, signal.SIGHUP)


def test_a_right_that_is_missing_is_told_with_its_subject_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        with secured_nats(tmp_path, monkeypatch) as server:
            client = await connect(nats_as("atp-feeds", server), "atp feeds")
            try:
                for subject in ("ledger.Main", "ledger.Main", "inv.Main.wms.receipt"):
                    await client.publish(subject, b"")
                await client.subscribe("ledger.>")
                for _ in range(2):  # nats-py sends the first ping ahead of what it has in hand
                    await client.flush()
            finally:
                await client.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    warnings = [text for text in caplog.messages if "NATS refuses atp feeds (atp-feeds)" in text]
    assert [text.partition("Permissions Violation for ")[2].partition(".")[0] for text in warnings] == [
        'Publish to "ledger',
        'Publish to "inv',
        'Subscription to "ledger',
    ]
    assert '"ledger.Main"' in warnings[0]  # as it was written


# --- credentials ------------------------------------------------------------------------------------------------------
class Signer:
    """A key of an operator, an account or a user, and the JWTs that it signs."""

    def __init__(self, prefix: int) -> None:
        seed = nkeys.encode_seed(os.urandom(32), prefix)
        self.seed = seed.decode()
        self._pair = nkeys.from_seed(bytearray(seed))
        self.public = self._pair.public_key.decode()

    def sign(self, subject: str, name: str, nats: dict[str, Any]) -> str:
        claims = {"iat": 0, "iss": self.public, "sub": subject, "name": name, "nats": {**nats, "version": 2}}
        claims["jti"] = base64.b32encode(hashlib.sha256(json.dumps(claims).encode()).digest()).decode().rstrip("=")
        head = {"typ": "JWT", "alg": "ed25519-nkey"}
        body = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (head, claims))
        return f"{body}.{base64.urlsafe_b64encode(self._pair.sign(body.encode())).decode().rstrip('=')}"


@dataclass
class Operated:
    """A server that believes an operator, whose accounts make their users without telling it."""

    server: NatsServer
    account: Signer

    def credentials(self, path: Path, **rights: Any) -> Path:
        """A file as `nsc` makes it."""
        user = Signer(nkeys.PREFIX_BYTE_USER)
        jwt = self.account.sign(user.public, "relay", {"type": "user", "subs": -1, "data": -1, "payload": -1, **rights})
        path.write_text(
            f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
        )
        return path


@pytest.fixture
def operated(tmp_path: Path) -> Iterator[Operated]:
    operator, account, system = (Signer(prefix) for prefix in (nkeys.PREFIX_BYTE_OPERATOR, *[nkeys.PREFIX_BYTE_ACCOUNT] * 2))
    free = {"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": True, "conn": -1, "leaf": -1}
    stores = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
    jwt = operator.sign(operator.public, "retailer", {"type": "operator", "system_account": system.public})
    accounts = {
        account.public: operator.sign(account.public, "ATP", {"type": "account", "limits": {**free, **stores}}),
        system.public: operator.sign(system.public, "SYS", {"type": "account", "limits": free}),
    }
    preloaded = "\n".join(f"{name}: {token}" for name, token in accounts.items())
    options = f"operator: {jwt}\nsystem_account: {system.public}\nresolver: MEMORY\nresolver_preload: {{\n{preloaded}\n}}"
    with NatsServer(tmp_path / "nats", options=options) as server:
        yield Operated(server, account)


def test_a_credentials_file_lets_us_in(operated: Operated, tmp_path: Path) -> None:
    asyncio.run(talks(NatsSettings(operated.server.url, operated.credentials(tmp_path / "relay.creds"))))


def test_a_credentials_file_of_another_account_does_not(operated: Operated, tmp_path: Path) -> None:
    stranger = replace(operated, account=Signer(nkeys.PREFIX_BYTE_ACCOUNT))
    asyncio.run(refused(NatsSettings(operated.server.url, stranger.credentials(tmp_path / "x.creds")), "Authorization Violation"))


@pytest.mark.parametrize("content", ["", "-----BEGIN NATS USER JWT-----\nx\n", "-----BEGIN USER NKEY SEED-----\nx\n"])
def test_a_broken_credentials_file_is_told_and_not_read_for_ever(operated: Operated, tmp_path: Path, content: str) -> None:
    broken = tmp_path / "broken.creds"
    broken.write_text(content)
    asyncio.run(refused(NatsSettings(operated.server.url, broken), "invalid user credentials"))
    asyncio.run(refused(NatsSettings(operated.server.url, tmp_path / "none.creds"), "No such file"))


def test_credentials_that_were_mended_are_read_again(operated: Operated, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        path = tmp_path / "relay.creds"
        path.write_text("")
        connecting = asyncio.create_task(connect(NatsSettings(operated.server.url, path), "atp relay"))

        async def is_told() -> bool:
            return f"NATS refuses atp relay ({path}): nats: invalid user credentials" in caplog.text

        await until(is_told, "told")
        operated.credentials(path)
        client = await connecting
        try:
            assert await answers(client)
        finally:
            await client.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
