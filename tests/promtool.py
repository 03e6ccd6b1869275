"""Prometheus' own tool, where there is one: it checks rules, and evaluates them over time."""

import shutil
import subprocess
from pathlib import Path

import pytest

WHY_NOT = "no promtool on the PATH: what only Prometheus itself can say is not asked (Debian: apt install prometheus)"


def promtool(*arguments: str, folder: Path | None = None) -> str:
    """What it says; fails the test with it if it finds a mistake, skips it where there is no such program."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip(WHY_NOT)
    ran = subprocess.run([program, *arguments], cwd=folder, check=False, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout
