"""Where things are comes from the option, else from what `atp up` wrote, as long as that `up` lives."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli import addresses, config
from cli.addresses import DATA_DIR, Run
from cli.exit_codes import UNREACHABLE, CommandError

RESOLVERS: list[Callable[[str | None], str]] = [
    lambda option: config.store_of(config.load({}, store_url=option), "main").url,
    lambda option: config.nats(config.load({}, nats_url=option)).url,
    addresses.address,
]
MINE = ["redis://mine:1", "nats://mine:1", "mine:1"]


def run_of(pid: int) -> Run:
    return Run(store_url="redis://a:1", nats_url="nats://b:2", address="c:3", pids={"up": pid})


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    DATA_DIR.mkdir()
    return DATA_DIR


def test_what_up_wrote_is_read_back_whole(data_dir: Path) -> None:
    addresses.write_run(data_dir, run_of(os.getpid()))
    assert addresses.read_run(data_dir) == run_of(os.getpid())
    assert [resolve(None) for resolve in RESOLVERS] == ["redis://a:1", "nats://b:2", "c:3"]


def test_an_option_wins(data_dir: Path) -> None:
    addresses.write_run(data_dir, run_of(os.getpid()))
    assert [resolve(url) for resolve, url in zip(RESOLVERS, MINE, strict=True)] == MINE


@pytest.mark.parametrize("resolve", RESOLVERS)
def test_without_any_the_message_says_what_to_do(resolve: Callable[[str | None], str]) -> None:
    with pytest.raises(CommandError, match="atp up") as raised:
        resolve(None)
    assert raised.value.exit_code == UNREACHABLE


def test_what_a_dead_up_left_behind_is_not_believed(data_dir: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    addresses.write_run(data_dir, run_of(ended.pid))
    assert addresses.read_run(data_dir) is None


@pytest.mark.parametrize("content", ["", "{", '{"store_url": 1}'])
def test_a_broken_file_is_as_good_as_none(data_dir: Path, content: str) -> None:
    (data_dir / addresses.RUN_FILE).write_text(content)
    assert addresses.read_run(data_dir) is None
