"""Servers for the tests: real ones, one of each per session, on free ports, with temporary folders.

They do not wait for the disk, since most tests do not ask what survives; a test that does starts its own durable server
(`tests/e2e/test_embedded.py` shows how). A test that needs an empty store takes a pool name of its own, or flushes.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.embedded import NatsServer, StoreKind, StoreServer


def start_store(kind: StoreKind, folder: Path) -> StoreServer:
    """A quick store of a kind; skips at home, and fails in CI, when there is no such server."""
    if kind == "redis" and shutil.which("redis-server") is None:
        if os.environ.get("ATP_REQUIRE_REDIS"):
            pytest.fail("ATP_REQUIRE_REDIS is set, and no redis-server is on the PATH")
        pytest.skip("no redis-server on the PATH: this test runs on Valkey only (Debian: apt install redis-server)")
    return StoreServer(folder, kind=kind, fsync="no", options={"appendonly": "no"})


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    """The embedded Valkey."""
    with start_store("valkey", tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="session")
def redis7(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    """The oldest server supported: Redis 7.0 from the PATH."""
    with start_store("redis", tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session", params=["valkey", "redis7"])
def store_server(request: pytest.FixtureRequest) -> StoreServer:
    """Every supported server in turn: a test that takes this runs once on each."""
    server: StoreServer = request.getfixturevalue(request.param)
    return server


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """NATS with JetStream."""
    with NatsServer(tmp_path_factory.mktemp("nats"), sync_interval="10s") as server:
        yield server
