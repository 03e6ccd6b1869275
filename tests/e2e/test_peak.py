"""A short peak as a person runs it, on servers of its own and on those that run; locust is in processes of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import exit_codes
from cli.retail.engine import Engine, own_engine
from loadtests import mix

#: Whatever machine this is, and whatever else it does: these times say nothing about the engine.
PATIENT = ["--p50-ms", "20000", "--p99-ms", "20000", "--baskets-share", "0"]
RUN_S_MAX = 120


def peak(*options: str | Path) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ATP_")} | {"COLUMNS": "200"}
    command = [sys.executable, "-m", "loadtests", *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=RUN_S_MAX, check=False)


def verdicts(said: str) -> dict[str, list[str]]:
    """The words behind each criterion."""
    rows = [line.split() for line in said.partition("Verdict")[2].splitlines()]
    return {row[0]: row[1:] for row in rows if row}


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Engine]:
    with own_engine(tmp_path / "engine") as engine:
        yield engine


@pytest.mark.slow
def test_a_short_flash_sale_on_servers_of_its_own_passes_and_leaves_a_report(tmp_path: Path) -> None:
    ran = peak("--shape", "flash-sale", "--users", str(2 * mix.TEAM), "--processes", "2", "--duration", "10", "--out", tmp_path, *PATIENT)
    assert ran.returncode == exit_codes.OK, ran.stdout + ran.stderr
    for line in (
        "BatchGetAvailability",
        "Reserve",
        "Confirm",
        "Fulfil",
        "Release",
        "atp verify",
        "oversold",
        "units shipped",
        "service",
        "store",
    ):
        assert line in ran.stdout
    assert "FAIL" not in ran.stdout
    assert "not checked" not in ran.stdout
    assert str(tmp_path / "report.html") in ran.stdout.replace("\n", "")
    assert "BatchGetAvailability" in (tmp_path / "report.html").read_text()
    counts = json.loads((tmp_path / "summary.json").read_text())["counts"]
    assert counts["held"] >= counts["confirmed"] >= counts["shipped"] > 0


@pytest.mark.slow
def test_on_an_engine_that_runs_a_bound_that_cannot_be_kept_fails_the_run_by_name(running: Engine, tmp_path: Path) -> None:
    servers = ["--host", running.address, "--store-url", running.store.url, "--nats-url", running.nats.url]
    ran = peak(*servers, "--shape", "baseline", "--duration", "5", "--out", tmp_path, *PATIENT, "--p99-ms", "0")
    assert ran.returncode == exit_codes.REFUSED, ran.stdout + ran.stderr
    found = verdicts(ran.stdout)
    assert found["Reserve"][0] == "FAIL"
    assert found["oversold"][0] == "pass"
    assert "A criterion failed." in ran.stdout


@pytest.mark.slow
def test_a_pool_that_is_not_there_is_told_before_the_load(running: Engine, tmp_path: Path) -> None:
    skus = tmp_path / "skus.txt"
    skus.write_text("TEA-EARL-GREY\nMUG-WHITE\n")
    options = ["--host", running.address, "--sku-file", skus, "--pool", "nowhere", "--shape", "baseline", "--duration", "5", *PATIENT]
    ran = peak(*options, "--out", tmp_path)
    assert ran.returncode == exit_codes.REFUSED, ran.stdout + ran.stderr
    assert "UNKNOWN_POOL (nowhere)" in ran.stderr
    assert "users at rest" not in ran.stderr


def test_users_that_cannot_be_dealt_to_the_processes_are_refused_before_anything_starts() -> None:
    ran = peak("--users", str(mix.TEAM), "--processes", "2")
    assert ran.returncode == exit_codes.USAGE
    assert f"take at least {2 * mix.TEAM}" in ran.stderr
    assert "Starting" not in ran.stderr


def test_a_service_that_cannot_be_used_is_told_before_the_load(tmp_path: Path) -> None:
    skus = tmp_path / "skus.txt"
    skus.write_text("A\nB\n")
    ran = peak("--host", "127.0.0.1:1", "--sku-file", skus, "--out", tmp_path)
    assert ran.returncode == exit_codes.UNREACHABLE, ran.stdout + ran.stderr
    assert "no service answers at 127.0.0.1:1" in ran.stderr
    assert "users at rest" not in ran.stderr
