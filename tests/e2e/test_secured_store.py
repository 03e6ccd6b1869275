"""The way to the store: over TLS, under a user, and what is said when the store does not let us in."""

import asyncio
import logging
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import pytest
import redis
import trustme
import uvloop
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from atp.errors import StoreRefusedError, StoreUnavailableError
from atp.model.verbs import Context, Expire
from atp.store import Store, Stores, StoreSettings
from cli.embedded import StoreServer, free_port, store_binary
from service import bootstrap
from service.settings import ServiceSettings
from tests.e2e.consuming import until
from tests.e2e.secured import password, secured_store, store_as

USER = "atp-service"
SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING
Health = Callable[[], Awaitable[int]]


@dataclass
class Tls:
    """A store that speaks TLS and wants certificates of its callers, who are told where it is and what to show."""

    ca: trustme.CA
    settings: StoreSettings


def has_tls(binary: Path) -> bool:
    """The server that comes with the engine is built without."""
    linked = subprocess.run(["ldd", binary], capture_output=True, text=True, check=False).stdout
    return "libssl" in linked


@pytest.fixture
def tls(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Tls]:
    request.getfixturevalue("redis7")  # skips where there is none
    if not has_tls(store_binary("redis")):
        pytest.skip("the redis-server on the PATH is built without TLS")
    ca = trustme.CA()
    paths = {name: tmp_path / f"{name}.pem" for name in ("ca", "server", "key", "mine", "my-key")}
    ca.cert_pem.write_to_path(str(paths["ca"]))
    issue(ca, "localhost", paths["server"], paths["key"])
    issue(ca, "service.atp", paths["mine"], paths["my-key"])
    port = free_port()
    options = {
        "tls-port": str(port),
        "tls-cert-file": str(paths["server"]),
        "tls-key-file": str(paths["key"]),
        "tls-ca-cert-file": str(paths["ca"]),
        "tls-auth-clients": "yes",
    }
    with secured_store(tmp_path / "store", "redis", **options):
        url = f"rediss://localhost:{port}"
        yield Tls(ca, StoreSettings(url, USER, password(USER), paths["ca"], paths["mine"], paths["my-key"]))


def issue(ca: trustme.CA, name: str, certificate: Path, key: Path) -> None:
    issued = ca.issue_cert(name)
    issued.private_key_pem.write_to_path(str(key))
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))


async def both_ways_work(store: Store) -> bool:
    """Scripts on the one connection, plain commands on the other."""
    answered = await store.write("p", Expire(Context("tester")))
    return answered.status == "UNKNOWN_POOL" and (await store.pool_info("p")).revision == 0


async def refused(settings: StoreSettings, words: str) -> None:
    with pytest.raises(StoreRefusedError, match=words):
        await Store.connect(settings)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_both_ways_to_the_store_go_over_tls(tls: Tls, loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def scenario() -> None:
        store = await Store.connect(tls.settings)
        try:
            assert await both_ways_work(store)
        finally:
            await store.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(scenario())


def test_a_server_that_cannot_prove_who_it_is_gets_nothing(tls: Tls, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    by_number = replace(tls.settings, url=tls.settings.url.replace("localhost", "127.0.0.1"))
    for settings in (replace(tls.settings, ca_file=other), replace(tls.settings, ca_file=None)):
        asyncio.run(refused(settings, "certificate verify failed"))
        asyncio.run(plain_refused(settings, "certificate verify failed"))
    asyncio.run(refused(by_number, "IP address mismatch"))
    asyncio.run(plain_refused(by_number, "IP address mismatch"))


async def plain_refused(settings: StoreSettings, words: str) -> None:
    """The other way to the store, which is asked only while the first one works: so it is asked by itself."""
    store = Store(settings)
    try:
        with pytest.raises(StoreUnavailableError, match=words):
            await store.scan_keys("p")
    finally:
        await store.close()


def test_a_server_that_wants_to_know_us_is_shown_our_certificate(tls: Tls, tmp_path: Path) -> None:
    asyncio.run(refused(replace(tls.settings, certificate_file=None, key_file=None), "certificate"))
    issue(trustme.CA(), "service.atp", tmp_path / "strange.pem", tmp_path / "strange.key")
    strange = replace(tls.settings, certificate_file=tmp_path / "strange.pem", key_file=tmp_path / "strange.key")
    asyncio.run(refused(strange, "certificate|unknown ca"))


def test_a_renewed_certificate_is_taken_without_a_restart(tls: Tls, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        mine, key = tmp_path / "renewed.pem", tmp_path / "renewed.key"
        issue(trustme.CA(), "service.atp", mine, key)
        store = Store(replace(tls.settings, certificate_file=mine, key_file=key))
        await store.start()
        try:
            assert not store.connected
            issue(tls.ca, "service.atp", mine, key)
            await until(lambda: both_ways_work(store), "in")
        finally:
            await store.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    assert "refuses atp-service" in caplog.text


# --- users --------------------------------------------------------------------------------------------------------------
@pytest.fixture(params=["valkey", "redis"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreServer]:
    if request.param == "redis":
        request.getfixturevalue("redis7")  # skips where there is none
    with secured_store(tmp_path / "store", request.param) as server:
        yield server


def change_user(server: StoreServer, *rules: str) -> None:
    """As the operator does it."""
    with redis.Redis(port=server.port, username="default", password=password("default"), protocol=2) as operator:
        operator.execute_command("ACL", "SETUSER", USER, *rules)


def test_a_name_without_its_password_is_nobody(tmp_path: Path) -> None:
    """And not the default user, who may do everything where an operator has not taken that away."""

    async def scenario(server: StoreServer) -> None:
        with pytest.raises(StoreUnavailableError, match="WRONGPASS"):
            await Store.connect(StoreSettings(server.url, "atp-service"))

    with StoreServer(tmp_path, fsync="no", options={"appendonly": "no"}) as open_to_all:
        asyncio.run(scenario(open_to_all))


def test_a_wrong_password_is_told_once_and_tried_until_it_is_right(server: StoreServer, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        settings = StoreSettings(server.url, USER, "rotated")
        await refused(settings, "AUTH: WRONGPASS")
        async with service_on(settings) as health:
            assert await health() == NOT_SERVING
            change_user(server, ">rotated")
            await until(lambda: is_serving(health), "in, without a restart")

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    told = [text for text in caplog.messages if "refuses atp-service" in text]
    assert len(told) == 2, told  # the one of the command, and the service's, which has tried many times
    assert "WRONGPASS" in told[1]
    assert "rotated" not in caplog.text


async def is_serving(health: Health) -> bool:
    return await health() == SERVING


@asynccontextmanager
async def service_on(settings: StoreSettings) -> AsyncIterator[Health]:
    """A service, and how to ask its health."""
    stores = Stores(Store(settings))
    await stores.start()
    try:
        async with bootstrap.running(stores, ServiceSettings()) as address, grpc.aio.insecure_channel(address) as channel:
            stub = HealthStub(channel)

            async def ask() -> int:
                return (await stub.Check(HealthCheckRequest(), timeout=5)).status

            yield ask
    finally:
        await stores.close()


def test_a_missing_right_is_told_and_waited_for_and_is_no_fault_of_the_call(server: StoreServer, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        store = await Store.connect(store_as(USER, server))
        try:
            change_user(server, "-hmget")
            for _ in range(3):
                with pytest.raises(StoreRefusedError) as half_way:
                    await store.write("p", Expire(Context("tester")))
                assert half_way.value.outcome_unknown
                with pytest.raises(StoreRefusedError, match="HMGET"):
                    await store.pool_info("p")
            change_user(server, "+hmget", "-evalsha")
            with pytest.raises(StoreRefusedError) as at_once:
                await store.write("p", Expire(Context("tester")))
            assert not at_once.value.outcome_unknown
            change_user(server, "+evalsha")
            assert await both_ways_work(store)
        finally:
            await store.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    told = [text for text in caplog.messages if "refuses atp-service" in text]
    assert len(told) == 3, told
    assert "expire at " in told[0]
    assert "HMGET at " in told[1]
    assert "evalsha" in told[2]
