"""The drop folder with real files and a real NATS: each file once, whole, and whatever happens none is lost."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from atp import limits
from atp.exceptions import PublishedException
from atp.store import Stores
from cli.embedded import NatsServer
from consumers import bootstrap, exceptions, files, streams
from consumers.connection import connect_once
from consumers.feeds import FeedSettings
from consumers.files import DropFolder
from consumers.incoming import Incoming, Tally
from consumers.intake import JetStreamIntake
from consumers.metrics import IncomingMetrics
from consumers.ways_in import WaysIn
from tests.e2e.consuming import DEADLINE_S, until
from tests.e2e.fleet import Member
from tests.e2e.reading import in_stream

ERP = FeedSettings(name="erp", adapter="csv", pool="main", source="erp", nodes={"1000": "DC1"})
HEAD = "type,id,time,node,sequence,sku,quantity\n"


def line(name: str, quantity: object = 1) -> str:
    return f"receipt,{name},2026-01-02T03:04:05Z,1000,1,TEA,{quantity}\n"


class Drop:
    """The folder, and what became of what was put there."""

    def __init__(self, folder: Path, server: NatsServer) -> None:
        self.root = folder
        self.folder = folder / "erp"
        self.server = server

    def put(self, name: str, *lines: str) -> None:
        """As a system should: written under another name, and renamed once it is whole."""
        self.folder.mkdir(exist_ok=True)
        unfinished = self.folder / f"{name}.part"
        unfinished.write_text(HEAD + "".join(lines))
        unfinished.rename(self.folder / name)

    async def gone(self, name: str, where: str = "done") -> None:
        async def true() -> bool:
            return (self.folder / where / name).exists()

        await until(true, f"{name} is in {where}")
        assert not (self.folder / name).exists()

    async def ids(self) -> list[str]:
        return [one.id for one in await in_stream(self.server, "main")]

    async def exceptions(self) -> list[PublishedException]:
        client = await connect_once(self.server.url, "test")
        try:
            return await exceptions.list_exceptions(client.jetstream(), pool="main")
        finally:
            await client.close()


@pytest.fixture
def drop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Drop]:
    monkeypatch.setattr(files, "LOOK_S", 0.02)
    (tmp_path / "drop").mkdir()
    with NatsServer(tmp_path / "nats", sync_interval="10s") as server:
        drop = Drop(tmp_path / "drop", server)
        asyncio.run(make_streams(drop))
        yield drop


async def make_streams(drop: Drop) -> None:
    client = await connect_once(drop.server.url, "test")
    for stream in (streams.inventory(), streams.exceptions()):
        await client.jetstream().add_stream(stream)
    await client.close()


@contextlib.asynccontextmanager
async def watching(drop: Drop) -> AsyncIterator[CollectorRegistry]:
    stop, metrics = asyncio.Event(), CollectorRegistry()
    ways = WaysIn((ERP,), folder=drop.root)
    work = asyncio.create_task(bootstrap.consume("files", Stores(), drop.server.url, stop=stop, metrics=metrics, ways=ways))
    try:
        yield metrics
    finally:
        stop.set()
        await asyncio.wait_for(work, DEADLINE_S)


def run(drop: Drop, scenario: Callable[[CollectorRegistry], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with watching(drop) as metrics:
            await scenario(metrics)

    asyncio.run(whole())


def test_a_file_is_taken_and_moved_away(drop: Drop) -> None:
    async def scenario(metrics: CollectorRegistry) -> None:
        drop.put("one.csv", line("e1"), line("e2"))
        await drop.gone("one.csv")
        assert await drop.ids() == ["e1", "e2"]
        assert await drop.exceptions() == []
        assert metrics.get_sample_value("atp_incoming_messages_total", {"feed": "erp", "outcome": "taken"}) == 1
        assert metrics.get_sample_value("atp_incoming_events_total", {"feed": "erp"}) == 2

    run(drop, scenario)


def test_a_file_that_is_there_already_is_taken_and_unfinished_ones_and_links_are_not(drop: Drop, tmp_path: Path) -> None:
    drop.put("one.csv", line("e1"))
    for name in (".hidden.csv", "two.part", "three.tmp"):
        (drop.folder / name).write_text(HEAD + line(name))
    (tmp_path / "elsewhere").write_text(HEAD + line("elsewhere"))
    (drop.folder / "link.csv").symlink_to(tmp_path / "elsewhere")

    async def scenario(_: CollectorRegistry) -> None:
        await drop.gone("one.csv")
        drop.put("later.csv", line("e2"))
        await drop.gone("later.csv")
        assert await drop.ids() == ["e1", "e2"]
        assert {entry.name for entry in drop.folder.iterdir()} == {".hidden.csv", "two.part", "three.tmp", "link.csv", "done", "failed"}

    run(drop, scenario)


def test_a_file_that_still_changes_is_not_taken(drop: Drop) -> None:
    folder = DropFolder(drop.root, ERP, None, IncomingMetrics(CollectorRegistry()))
    drop.put("one.csv", line("e1"))
    assert folder._whole() == []
    with (drop.folder / "one.csv").open("a") as file:
        file.write(line("e2"))
    assert folder._whole() == []
    assert folder._whole() == [drop.folder / "one.csv"]


def test_files_are_taken_in_the_order_in_which_they_were_written(drop: Drop) -> None:
    folder = DropFolder(drop.root, ERP, None, IncomingMetrics(CollectorRegistry()))
    for number, name in enumerate(("c", "a", "b")):
        drop.put(name)
        os.utime(drop.folder / name, (1_000 + number, 1_000 + number))
    folder._whole()
    assert [path.name for path in folder._whole()] == ["c", "a", "b"]


def test_a_bad_line_fails_its_file_by_name_and_costs_no_other_line(drop: Drop) -> None:
    async def scenario(metrics: CollectorRegistry) -> None:
        drop.put("bad.csv", line("e1"), line("e2", "many"), line("e3"))
        drop.put("good.csv", line("e4"))
        await drop.gone("bad.csv", "failed")
        await drop.gone("good.csv")
        assert sorted(await drop.ids()) == ["e1", "e3", "e4"]
        (exception,) = await drop.exceptions()
        assert exception.sentence.startswith("A message from erp cannot be read: bad.csv, line 3: quantity: 'many' is not")
        assert (exception.original, exception.cause) == (line("e2", "many").strip(), "bad.csv")
        assert metrics.get_sample_value("atp_incoming_messages_total", {"feed": "erp", "outcome": "mistakes"}) == 1
        drop.put("bad.csv", line("e1"), line("e2", 2), line("e3"))  # corrected, under its old name
        await drop.gone("bad.csv")
        assert sorted(await drop.ids()) == ["e1", "e1", "e2", "e3", "e3", "e4"]

    run(drop, scenario)


def test_a_file_that_is_nothing_of_the_kind_fails_as_a_whole(drop: Drop) -> None:
    async def scenario(_: CollectorRegistry) -> None:
        drop.folder.mkdir(exist_ok=True)
        (drop.folder / "picture.jpg").write_bytes(bytes(range(256)) * 1_000)
        await drop.gone("picture.jpg", "failed")
        assert [one.reason for one in await drop.exceptions()] == ["MALFORMED"]

    run(drop, scenario)


def test_files_of_one_name_are_all_kept(drop: Drop) -> None:
    async def scenario(_: CollectorRegistry) -> None:
        for number, kept in enumerate(("daily.csv", "daily.csv.2", "daily.csv.3")):
            drop.put("daily.csv", line(f"e{number}"))
            await drop.gone(kept)
        assert await drop.ids() == ["e0", "e1", "e2"]

    run(drop, scenario)


def test_while_jetstream_is_away_a_file_stays_and_is_taken_after(drop: Drop) -> None:
    async def scenario(_: CollectorRegistry) -> None:
        drop.put("one.csv", line("e1"))
        await drop.gone("one.csv")
        drop.server.kill()
        drop.put("two.csv", line("e2"))
        drop.put("three.csv", line("e3", "many"))
        drop.server.start()
        await drop.gone("two.csv")
        await drop.gone("three.csv", "failed")
        assert await drop.ids() == ["e1", "e2"]

    run(drop, scenario)


class DiedError(Exception):
    """What a kill is to a process, for a test."""


def test_a_process_that_dies_between_taking_and_moving_takes_the_same_events_again(drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
    drop.put("one.csv", line("e1"), line("e2", "many"))

    async def first() -> None:
        client = await connect_once(drop.server.url, "test")
        incoming = Incoming(JetStreamIntake(client), client.jetstream())
        folder = DropFolder(drop.root, ERP, incoming, IncomingMetrics(CollectorRegistry()))
        with pytest.raises(DiedError):
            await folder._take(drop.folder / "one.csv", asyncio.Event())
        await client.close()

    def die(*_: object) -> None:
        raise DiedError

    with monkeypatch.context() as patch:
        patch.setattr(files, "_move", die)
        asyncio.run(first())
    assert (drop.folder / "one.csv").exists()
    assert asyncio.run(drop.ids()) == ["e1"]

    async def second(_: CollectorRegistry) -> None:
        await drop.gone("one.csv", "failed")
        assert await drop.ids() == ["e1", "e1"]
        assert len(await drop.exceptions()) == 1

    run(drop, second)


@pytest.mark.slow
def test_a_long_file_is_taken_whole_though_its_process_is_killed_in_the_middle(drop: Drop, tmp_path: Path) -> None:
    events = 20_000
    drop.put("long.csv", *(line(f"e{number}") for number in range(events)))
    config = tmp_path / "atp.toml"
    feed = '[feeds.erp]\nadapter = "csv"\npool = "main"\nsource = "erp"\nnodes = { "1000" = "DC1" }\n'
    config.write_text(f'[nats]\nurl = "{drop.server.url}"\n[files]\nfolder = "{drop.root}"\n{feed}')
    process = Member("files", ["--config", str(config), "consume", "files"], tmp_path)

    async def scenario() -> None:
        client = await connect_once(drop.server.url, "test")

        async def some() -> bool:
            return (await client.jetstream().stream_info(streams.INVENTORY)).state.messages > limits.INTAKE_AT_ONCE_MAX

        process.start()
        await until(some, "it is under way")
        process.kill()
        taken = (await client.jetstream().stream_info(streams.INVENTORY)).state.messages
        assert (drop.folder / "long.csv").exists(), f"it was done before it could be killed, with {taken}"
        process.start()
        await until(lambda: moved(drop), "it is whole", 60)
        process.stop()
        await client.close()
        assert {*(await drop.ids())} == {f"e{number}" for number in range(events)}

    asyncio.run(scenario())


async def moved(drop: Drop) -> bool:
    return (drop.folder / "done" / "long.csv").exists()


def test_a_name_that_is_no_text_costs_no_other_file(drop: Drop) -> None:
    async def scenario(_: CollectorRegistry) -> None:
        name = os.fsdecode(b"caf\xe9\n.csv")  # as an older system writes it
        drop.put(name, line("e1", "many"))
        await drop.gone(name, "failed")
        drop.put("good.csv", line("e2"))
        await drop.gone("good.csv")
        assert [one.cause for one in await drop.exceptions()] == ["caf\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}.csv"]

    run(drop, scenario)


def test_a_file_that_cannot_be_moved_is_not_sent_again_and_again(drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
    take, move = Incoming.take, files._move
    took: list[str] = []
    moves = iter(range(3))

    async def count(self: Incoming, feed: FeedSettings, name: str, *args: Any) -> Tally | None:
        took.append(name)
        return await take(self, feed, name, *args)

    def refuse(*args: Any) -> bool:
        if next(moves, None) is not None:
            raise PermissionError("done is not ours")
        return move(*args)

    monkeypatch.setattr(Incoming, "take", count)
    monkeypatch.setattr(files, "_move", refuse)

    async def scenario(_: CollectorRegistry) -> None:
        drop.put("one.csv", line("e1"))
        await drop.gone("one.csv")
        assert took == ["one.csv"]

    run(drop, scenario)


@pytest.mark.parametrize(("how", "taken"), [("replaced", ["e1", "e2"]), ("written on", ["e1", "e1", "e2"])])
def test_a_file_that_is_another_once_it_is_taken_is_taken_again(
    drop: Drop, how: str, taken: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    take = Incoming.take
    kept: list[Tally | None] = []

    async def take_slowly(self: Incoming, *args: Any) -> Tally | None:
        tally = await take(self, *args)
        if not kept:
            kept.append(tally)
            if how == "replaced":
                drop.put("stock.csv", line("e2"))
            else:
                with (drop.folder / "stock.csv").open("a") as file:
                    file.write(line("e2"))
        return tally

    monkeypatch.setattr(Incoming, "take", take_slowly)

    async def scenario(_: CollectorRegistry) -> None:
        drop.put("stock.csv", line("e1"))
        await drop.gone("stock.csv")
        assert await drop.ids() == taken

    run(drop, scenario)


@pytest.mark.parametrize("what", ["link", "pipe"])
def test_what_is_put_in_the_place_of_a_file_after_the_look_is_not_followed(drop: Drop, tmp_path: Path, what: str) -> None:
    secret, path = tmp_path / "secret", drop.folder / "one.csv"
    drop.folder.mkdir()
    secret.write_text(HEAD + line("e1"))
    if what == "link":
        path.symlink_to(secret)
    else:
        os.mkfifo(path)

    async def scenario() -> None:
        client = await connect_once(drop.server.url, "test")
        folder = DropFolder(drop.root, ERP, Incoming(JetStreamIntake(client), client.jetstream()), IncomingMetrics(CollectorRegistry()))
        await folder._try(path, asyncio.Event())
        await client.close()

    asyncio.run(scenario())
    assert path.is_symlink() or path.is_fifo()
    assert asyncio.run(drop.ids()) == []
