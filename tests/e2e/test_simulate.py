"""`atp simulate` and `atp race`, as a person meets them: with nothing running they start all they need, judge, and leave nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cli import exit_codes

ATP = [sys.executable, "-m", "cli.main"]
TIMEOUT_S = 240


def environment(folder: Path) -> dict[str, str]:
    """Ours, without addresses, with the project's modules wherever the command runs, and with temporary folders inside `folder`."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("ATP_")}
    return {**outside, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "COLUMNS": "120", "TMPDIR": str(folder)}


def atp(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ATP, *arguments], cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def checked(result: dict[str, Any]) -> dict[str, bool]:
    return {check["name"]: check["ok"] for check in result["checks"]}


@pytest.mark.slow
def test_the_sample_goes_through_the_engine_and_the_verdict_holds(tmp_path: Path) -> None:
    done = atp(tmp_path, "simulate", "--json", "--speed", "60000")
    assert done.returncode == exit_codes.OK, done.stdout + done.stderr
    printed = json.loads(done.stdout)
    result = printed["result"]
    assert result["ok"]
    assert len(checked(result)) == 6
    assert all(checked(result).values())
    counts = result["counts"]
    assert counts["held"] + counts["refused"] == 42
    assert min(counts[name] for name in ("held", "refused", "confirmed", "shipped", "expired", "released")) > 0
    assert counts["resent"] == counts["replayed"] > 0
    assert result["feeds"]["sent"] == result["feeds"]["applied"]
    assert result["unknown"] == 0
    assert printed["reading"]["lines"]["sale"] == 246
    assert not list(tmp_path.iterdir()), "a run on servers of its own leaves nothing behind"


@pytest.mark.slow
def test_a_person_sees_what_was_read_and_what_came_of_it(tmp_path: Path) -> None:
    done = atp(tmp_path, "simulate", "--baskets", "5", "--speed", "0")
    assert done.returncode == exit_codes.OK, done.stdout + done.stderr
    for words in ("exact duplicate rows", "baskets held", "Feeds over NATS", "p99 ms", "Nothing was oversold"):
        assert words in done.stdout


@pytest.mark.slow
def test_ctrl_c_stops_the_run_and_everything_it_started(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*ATP, "simulate", "--speed", "1"], cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    with process:
        wait_for_a_hold(tmp_path)
        children = children_of(process.pid)
        assert len(children) == 4
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert b"Traceback" not in said, said
    assert not [child for child in children if Path(f"/proc/{child}").exists()]
    assert not list(tmp_path.iterdir())


def wait_for_a_hold(folder: Path) -> None:
    """Returns once the run has begun to sell: what its store wrote to the disk has a reservation in it."""
    deadline = time.monotonic() + 60
    while not any(b":rsv:" in written.read_bytes() for written in folder.glob("atp-*/store/*/*.aof")):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
def test_a_race_has_as_many_winners_as_units(tmp_path: Path) -> None:
    done = atp(tmp_path, "race", "--json", "--clients", "120", "--units", "30")
    assert done.returncode == exit_codes.OK, done.stdout + done.stderr
    outcome = json.loads(done.stdout)
    assert (outcome["won"], outcome["refused"], outcome["failed"], outcome["left"]) == (30, 90, 0, 0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,b\n1,2\n", "the header names no InvoiceNo"),
        ("InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n", "no sale"),
    ],
)
def test_a_file_of_something_else_is_refused_before_anything_starts(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "file.csv"
    file.write_text(content)
    done = atp(tmp_path, "simulate", str(file))
    assert done.returncode == exit_codes.USAGE
    assert said in done.stderr
    assert "starting servers" not in done.stderr
