"""Each alert of the other ways in is made to fire, on metrics of real processes: files that stay where they were, webhooks refused."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cli.embedded import NatsServer
from consumers import files
from tests.e2e.consuming import until
from tests.e2e.scraping import Clock, Prometheus, is_true
from tests.e2e.test_files import Drop, line, make_streams
from tests.e2e.test_files import watching as watching_files
from tests.e2e.test_webhooks import receiving


def test_files_that_stay_where_they_were_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(files, "time", clock)
    monkeypatch.setattr(files, "LOOK_S", 0.02)

    async def scenario() -> None:
        with NatsServer(tmp_path / "nats", sync_interval="10s") as own_nats:
            drop = Drop(tmp_path, own_nats)
            await make_streams(drop)
            async with watching_files(drop) as metrics:
                seen = Prometheus([metrics], clock)
                drop.put("taken.csv", line("e1"))
                await drop.gone("taken.csv")
                clock.ahead_s = 3_600
                await seen.quiet("FilesWaiting")
                own_nats.kill()
                drop.put("stays.csv", line("e2"))
                await until(lambda: is_true(metrics.get_sample_value("atp_incoming_files", {"feed": "erp"}) == 1), "it is seen")
                await seen.quiet("FilesWaiting")
                clock.ahead_s += 1_000
                found = await seen.fires("FilesWaiting", feed="erp")
                assert 1_000 <= found.value < 1_900
                own_nats.start()
                await drop.gone("stays.csv")
                await seen.quiet("FilesWaiting")

    asyncio.run(scenario())


def test_a_file_under_the_name_of_one_that_was_taken_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, move = Clock(), files._move
    monkeypatch.setattr(files, "time", clock)
    monkeypatch.setattr(files, "LOOK_S", 0.02)

    async def scenario() -> None:
        with NatsServer(tmp_path / "nats", sync_interval="10s") as own_nats:
            drop = Drop(tmp_path, own_nats)
            await make_streams(drop)

            def move_late_and_drop_the_next(*args: Any) -> bool:
                is_same = move(*args)
                own_nats.kill()
                clock.ahead_s = 1_000
                drop.put("stock.csv", line("e2"))
                return is_same

            monkeypatch.setattr(files, "_move", move_late_and_drop_the_next)
            async with watching_files(drop) as metrics:
                seen = Prometheus([metrics], clock)
                drop.put("stock.csv", line("e1"))
                await until(lambda: is_true(clock.ahead_s > 0), "the first is taken")
                await seen.quiet("FilesWaiting")
                monkeypatch.undo()
                own_nats.start()
                await until(lambda: is_true((drop.folder / "done/stock.csv.2").exists()), "the second is taken")

    asyncio.run(scenario())


def test_a_drop_folder_that_nobody_can_look_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(files, "time", clock)

    async def scenario() -> None:
        with NatsServer(tmp_path / "nats", sync_interval="10s") as own_nats:
            drop = Drop(tmp_path, own_nats)
            drop.folder.write_text("a file where the folder should be")
            async with watching_files(drop) as metrics:
                seen = Prometheus([metrics], clock)
                await until(lambda: is_true(metrics.get_sample_value("atp_incoming_files", {"feed": "erp"}) == 0), "it is at work")
                await seen.quiet("FilesWaiting")
                clock.ahead_s = 1_000
                await seen.fires("FilesWaiting", feed="erp")
                drop.folder.unlink()
                await seen.quiet("FilesWaiting")

    asyncio.run(scenario())


def test_webhooks_that_are_not_signed_as_agreed(tmp_path: Path) -> None:
    async def scenario() -> None:
        with NatsServer(tmp_path, sync_interval="10s") as own_nats:
            async with receiving(own_nats) as receiver:
                seen = Prometheus([receiver.metrics])
                assert (await receiver.deliver(line("e1").strip())).status == 200
                assert (await receiver.deliver("no event")).status == 400
                await seen.quiet("WebhooksRefused")
                assert (await receiver.deliver(line("e2").strip(), secret="another")).status == 401
                found = await seen.fires("WebhooksRefused")
                assert found.summary.startswith("1 messages for wms were refused in the last hour")

    asyncio.run(scenario())
