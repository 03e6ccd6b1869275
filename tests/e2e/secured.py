"""Servers with the users of `deploy/`: a password for each, put in the way each server takes them."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from atp.store import Store, Stores, StoreSettings
from cli.embedded import NatsServer, StoreKind, StoreServer
from consumers import bootstrap
from consumers.connection import NatsSettings
from tests.e2e.consuming import DEADLINE_S

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
USERS_ACL = DEPLOY / "redis" / "users.acl"
NATS_CONF = DEPLOY / "nats" / "nats.conf"
POOL = "main"
NOBODY = f"#{'0' * 64}"  # the hash of no password that anybody knows


def password(user: str) -> str:
    return f"secret{user.replace('-', '')}"


# --- Redis and Valkey ---------------------------------------------------------------------------------------------
def acl() -> dict[str, list[str]]:
    """The users of the file: their rules, in order."""
    lines = (line.split() for line in USERS_ACL.read_text().splitlines())
    return {words[1]: words[2:] for words in lines}


def secured_store(folder: Path, kind: StoreKind, **options: str) -> StoreServer:
    """A store that keeps nothing, with the users of the file."""
    folder.mkdir(parents=True, exist_ok=True)
    users = folder / "users.acl"
    digests = {user: hashlib.sha256(password(user).encode()).hexdigest() for user in acl()}
    lines = USERS_ACL.read_text().splitlines()
    users.write_text("".join(line.replace(NOBODY, f"#{digests[line.split()[1]]}") + "\n" for line in lines))
    return StoreServer(folder, kind=kind, fsync="no", options={"appendonly": "no", "aclfile": str(users), **options})


def store_as(user: str, server: StoreServer) -> StoreSettings:
    return StoreSettings(server.url, user, password(user))


# --- NATS ---------------------------------------------------------------------------------------------------------
def nats_users() -> list[str]:
    return re.findall(r'user: "([\w-]+)"', NATS_CONF.read_text())


def accounts() -> str:
    """The accounts of the file, with one more source."""
    text = NATS_CONF.read_text()
    text = text[text.index("accounts {") :]
    source = re.search(r"      \{\s+user: \"wms\".*?\n      \}\n", text, re.DOTALL)
    assert source is not None
    more = source[0].replace("wms", "erp").replace("WMS", "ERP")
    return text.replace(source[0], source[0] + more)


def secured_nats(folder: Path, monkeypatch: pytest.MonkeyPatch) -> NatsServer:
    """NATS with the users of the file, whose passwords it takes from its environment."""
    text = accounts()
    for user, variable in re.findall(r'user: "([\w-]+)", password: \$(\w+)', text):
        monkeypatch.setenv(variable, password(user))
    return NatsServer(folder, sync_interval="10s", options=text)


def nats_as(user: str, server: NatsServer) -> NatsSettings:
    return NatsSettings(server.url, username=user, password=password(user))


@asynccontextmanager
async def role(name: str, nats_user: str, store_server: StoreServer, nats_server: NatsServer) -> AsyncIterator[None]:
    """Runs a role as its own user, and drains it."""
    stop, ready = asyncio.Event(), asyncio.Event()
    stores = Stores(Store(store_as("atp-consumers", store_server)))
    work = asyncio.create_task(bootstrap.consume(name, stores, nats_as(nats_user, nats_server), stop=stop, on_ready=ready.set))
    try:
        async with asyncio.timeout(DEADLINE_S):
            await ready.wait()
        yield
    finally:
        stop.set()
        await asyncio.wait_for(work, DEADLINE_S)
