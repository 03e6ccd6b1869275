"""`atp feeds` on real servers: what it says of sources that are heard, late, silent and never heard, and with a server away."""

import asyncio
import json
import re
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from atp.exceptions import PublishedException
from atp.model.heard import Counts, News
from atp.model.verbs import ChannelConfig, NodeConfig, SourceConfig
from cli import exit_codes
from cli.embedded import NatsServer, StoreServer
from consumers import exceptions
from consumers.opening import open_pool
from consumers.provision import apply_pool, apply_streams
from consumers.provision_file import PoolFile
from tests.e2e import commands
from tests.e2e.consuming import Engine, engine, quick_store
from tests.e2e.test_up import ATP, environment

NODES = [
    NodeConfig("DC1", "distribution_centre", "Europe/London", "wms", "", "lab"),
    NodeConfig("S1", "store", "Europe/Paris", "tills"),
    NodeConfig("S2", "store", "Europe/Paris", "tills"),
]
SOURCES = [
    SourceConfig("wms", False, rhythm_s=60),
    SourceConfig("tills", False, order="time", rhythm_s=600),
    SourceConfig("lab", False),
    SourceConfig("erp", True, rhythm_s=86_400),
]


@pytest.fixture(scope="module")
def store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with quick_store(tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("nats"), sync_interval="10s") as server:
        yield server


def news(source: str, node: str, ago_s: float, counts: Counts, *, lag_s: float = 0, come: list[int] | None = None) -> News:
    """Of events that were taken in the ten minutes before `ago_s`."""
    last_ms = int((time.time() - ago_s) * 1000)
    return News(source, node, last_ms - 600_000, last_ms, last_ms - int(lag_s * 1000), 0, counts, come or [])


async def hear(made: Engine) -> None:
    """DC1 is well but for gaps, S1 was last heard an hour ago, S2 and the laboratory never."""
    await apply_streams(made.js, made.pool)
    await open_pool(made.js, made.store, made.pool)
    await apply_pool(made.store, PoolFile(made.pool, NODES, [ChannelConfig("web", ["DC1"])], SOURCES))
    heard = [
        news("wms", "DC1", 5, Counts(90, 7, 2, 1), lag_s=120, come=[1, 11, 14, 15, 17, 120]),
        news("tills", "S1", 3_600, Counts(50)),
        news("erp", "", 7_200, Counts(3), come=[1, 3]),
    ]
    await made.store.tell_heard(made.pool, heard)
    for number in range(2):
        one = PublishedException(
            id=f"event:wms/{number}",
            pool=made.pool,
            reason="SEQUENCE_CONFLICT",
            state="open",
            sentence="",
            time=datetime.now(UTC),
            source="wms",
            node="DC1",
        )
        await exceptions.publish(made.js, one, one.id)


@pytest.fixture(scope="module")
def servers(store_server: StoreServer, nats_server: NatsServer) -> list[str]:
    prepare("main", store_server, nats_server, hear)
    return ["--store-url", store_server.url, "--nats-url", nats_server.url]


def prepare(pool: str, store_server: StoreServer, nats_server: NatsServer, work: Callable[[Engine], Awaitable[None]]) -> None:
    async def scenario() -> None:
        async with engine(pool, store_server, nats_server, provisioned=False) as made:
            await work(made)

    asyncio.run(scenario())


def test_each_source_and_node_says_when_it_was_heard_how_late_and_what_is_missing(servers: list[str]) -> None:
    ran = commands.run("feeds", *servers)
    assert ran.code == 0
    lines = [re.sub(r"\d+s ago", "some s ago", " ".join(line.split())) for line in ran.said.splitlines()]
    assert lines == [
        "source node heard rhythm lag sequence missing twice a minute exceptions order authority",
        "erp – 2h ago 24h 0s 3 – 0 0.3 0 sequence items",
        "lab DC1 never – – – – – – 0 sequence quality hold",
        "tills S1 60m ago, silent 10m 0s – – 0 5.0 0 time all figures",
        "tills S2 never 10m – – – – – 0 time all figures",
        "wms DC1 some s ago 60s 2m 120 3: 12–13, 16 7 10.0 2 sequence on hand, damaged",
    ]


def test_only_what_needs_attention_is_coloured(servers: list[str]) -> None:
    said = subprocess.run(
        [*ATP, "feeds", *servers], capture_output=True, text=True, check=True, env={**environment(), "FORCE_COLOR": "1", "COLUMNS": "200"}
    ).stdout
    coloured = [part.partition("m")[2].partition("\x1b")[0].strip() for part in said.split("\x1b[1;31")[1:]]
    assert coloured == ["60m ago, silent", "never", "3: 12–13, 16", "2"]


def test_scripts_get_all_of_it(servers: list[str]) -> None:
    said = commands.run("feeds", *servers, "--json").json
    assert (said["pool"], said["store_away"], said["nats_away"], said["messages_waiting"]) == ("main", "", "", 0)
    rows = {(row["source"], row["node"]): row for row in said["feeds"]}
    wms = rows["wms", "DC1"]
    assert (wms["missing"], wms["missing_events"], wms["open_exceptions"], wms["is_silent"]) == ([[12, 13], [16, 16]], 3, 2, False)
    assert [wms[name] for name in ("applied", "duplicates", "parked", "refused")] == [90, 7, 2, 1]
    assert [rows[name]["is_silent"] for name in (("tills", "S1"), ("tills", "S2"), ("lab", "DC1"))] == [True, True, False]
    assert rows["tills", "S2"]["last_heard_ms"] == 0


def test_a_watch_looks_again_and_tells_the_rate_since_the_last_look(store_server: StoreServer, nats_server: NatsServer) -> None:
    prepare("watched", store_server, nats_server, hear)
    urls = ["--store-url", store_server.url, "--nats-url", nats_server.url]
    command = [*ATP, "feeds", "--watch", "--json", "--pool", "watched", *urls]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as watching:
        assert watching.stdout is not None
        try:
            looks = [json.loads(watching.stdout.readline()) for _ in range(2)]
        finally:
            watching.terminate()
    rates = [next(row["per_minute"] for row in seen["feeds"] if row["source"] == "wms") for seen in looks]
    assert rates == [10.0, 0.0]


def test_with_the_store_away_it_tells_what_nats_knows(servers: list[str], tmp_path: Path) -> None:
    with quick_store(tmp_path) as gone:
        nowhere = gone.url
    ran = commands.run("feeds", "--store-url", nowhere, *servers[2:])
    assert ran.code == 0
    assert ran.said.startswith("Not known: when anything was heard. The store: cannot connect")
    assert ran.words.endswith("wms DC1 ? – – – – – – 2 – –")
    said = commands.run("feeds", "--store-url", nowhere, *servers[2:], "--json").json
    assert "cannot connect" in said["store_away"]
    assert [(row["source"], row["last_heard_ms"], row["open_exceptions"]) for row in said["feeds"]] == [("wms", None, 2)]


def test_with_nats_away_it_tells_what_the_store_knows(servers: list[str], tmp_path: Path) -> None:
    with NatsServer(tmp_path) as gone:
        nowhere = gone.url
    ran = commands.run("feeds", *servers[:2], "--nats-url", nowhere)
    assert ran.code == 0
    assert ran.said.startswith("Not known: what waits and which exceptions are open. NATS with JetStream does not answer")
    assert "120 3: 12–13, 16 7 10.0 – sequence on hand, damaged" in ran.words
    assert commands.run("feeds", *servers[:2], "--nats-url", nowhere, "--json").json["messages_waiting"] is None


def test_with_both_away_or_for_no_such_pool_it_says_so_and_fails(servers: list[str], tmp_path: Path) -> None:
    with quick_store(tmp_path / "store") as store, NatsServer(tmp_path / "nats") as nats:
        nowhere = ["--store-url", store.url, "--nats-url", nats.url]
    ran = commands.run("feeds", *nowhere)
    assert (ran.code, ran.said) == (exit_codes.UNREACHABLE, "")
    assert "neither server can be reached" in ran.error
    unknown = commands.run("feeds", *servers, "--pool", "nowhere")
    assert (unknown.code, unknown.error.partition(":")[0]) == (exit_codes.REFUSED, "there is no pool nowhere")
