"""These take minutes: they run where they are asked for by their mark, and `make test` leaves them out."""

from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "faults: breaks a server or a process under load; `make faults` runs them, `make test` does not")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if "faults" not in config.option.markexpr and collection_path.name.startswith("test_") else None
