"""`atp up`, as a person meets it: it says where everything is, keeps it running, stops it all, and finds its data again."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli import addresses, demo, exit_codes
from cli.addresses import Run

READY_S = 60
ATP = [sys.executable, "-m", "cli.main"]


class Terminal:
    """One `atp up` in a folder, and what it has said so far."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.said = ""
        self.process = subprocess.Popen(
            [*ATP, "up", *options], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment()
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line

    def wait_for(self, text: str) -> None:
        eventually(lambda: text in self.said or self.process.poll() is not None, f"it never said {text!r}", self)
        assert text in self.said, self.said

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        code = self.process.wait(READY_S)
        self._reader.join(READY_S)
        return code

    def close(self) -> None:
        self.process.kill()
        self._reader.join(READY_S)
        with self.process:  # closes its pipe
            pass

    @property
    def run(self) -> Run:
        run = addresses.read_run(self.folder / addresses.DATA_DIR)
        assert run is not None
        return run


def environment() -> dict[str, str]:
    """Ours, without addresses, with the project's modules wherever the command runs, and with a proxy that nothing here may go by."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("ATP_")}
    return {**outside, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "COLUMNS": "120", "http_proxy": "http://127.0.0.1:9"}


def eventually(condition: Callable[[], bool], otherwise: str, terminal: Terminal | None = None) -> None:
    deadline = time.monotonic() + READY_S
    while not condition():
        assert time.monotonic() < deadline, f"{otherwise}\n{terminal.said if terminal else ''}"
        time.sleep(0.05)


@contextlib.contextmanager
def up(folder: Path, *options: str) -> Iterator[Terminal]:
    terminal = Terminal(folder, *options)
    try:
        terminal.wait_for("Ctrl-C stops everything")
        yield terminal
    finally:
        terminal.close()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_starts_stops_everything_and_finds_its_data_again(tmp_path: Path) -> None:
    with up(tmp_path) as first:
        assert "new, with a small demo pool" in first.said
        assert first.run.address in first.said
        assert demo.read_promised(first.run.address) == demo.promised()
        pids = first.run.pids
        assert set(pids) == {"up", "store", "nats", "consumers", "service"}
        assert first.interrupt() == exit_codes.OK
        assert "Everything is kept" in first.said
        assert not any(alive(pid) for pid in pids.values())
        assert addresses.read_run(tmp_path / addresses.DATA_DIR) is None
    with up(tmp_path) as second:
        assert "found again" in second.said
        assert "demo stock" not in second.said
        assert demo.read_promised(second.run.address) == demo.promised()
        assert second.interrupt(signal.SIGTERM) == exit_codes.OK


def test_a_folder_in_use_is_refused_by_name(tmp_path: Path) -> None:
    with up(tmp_path) as terminal:
        second = subprocess.run([*ATP, "up"], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
        assert second.returncode == exit_codes.REFUSED
        assert f"in use by another `atp up` (process {terminal.process.pid})" in second.stderr
        assert terminal.run.pids["up"] == terminal.process.pid


def test_what_runs_on_another_folder_is_found_by_the_line_it_prints(tmp_path: Path) -> None:
    with up(tmp_path, "--data", "another") as terminal:
        (line,) = [line for line in terminal.said.splitlines() if line.startswith("export ")]
        told = environment() | dict(pair.split("=", 1) for pair in line.split()[1:])
        for command in (["get", demo.SKU], ["verify"]):
            ran = subprocess.run([*ATP, *command], cwd=tmp_path, env=told, capture_output=True, text=True, check=False)
            assert ran.returncode == exit_codes.OK, ran.stderr


@pytest.mark.parametrize("part", ["service", "consumers", "store", "nats"])
def test_a_part_that_dies_is_started_again_and_serves_at_the_same_address(part: str, tmp_path: Path) -> None:
    with up(tmp_path) as terminal:
        before = terminal.run
        os.kill(before.pids[part], signal.SIGKILL)
        terminal.wait_for(f"{part} ended by itself: starting it again (1 of 5 in a minute)")
        eventually(lambda: terminal.run.pids[part] != before.pids[part], f"{part} has no new process", terminal)
        assert (terminal.run.address, terminal.run.store_url, terminal.run.nats_url) == (before.address, before.store_url, before.nats_url)
        eventually(lambda: answers(before.address), "the service does not answer", terminal)
        assert terminal.interrupt() == exit_codes.OK


def answers(address: str) -> bool:
    import grpc

    with contextlib.suppress(grpc.RpcError):
        return demo.read_promised(address) == demo.promised()
    return False


def test_killed_outright_it_leaves_nothing_running_and_starts_again(tmp_path: Path) -> None:
    with up(tmp_path) as terminal:
        pids = terminal.run.pids
        terminal.process.kill()
        terminal.process.wait()
        eventually(lambda: not any(alive(pid) for pid in pids.values()), "something outlived it")
        assert addresses.read_run(tmp_path / addresses.DATA_DIR) is None
    with up(tmp_path) as again:
        assert demo.read_promised(again.run.address) == demo.promised()
