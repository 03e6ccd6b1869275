"""Runs a command of `atp` in this process, as `cli.main` would: its exit code, what it said, and its error line."""

import json
from typing import Any, NamedTuple

import typer
from typer.testing import CliRunner

from cli import checkpoint, drift, exceptions, exit_codes, feeds, ledger, rebuild, reservations, stock, sync, trace, verify

app = typer.Typer()
for module in (stock, reservations, ledger, exceptions, feeds, drift, sync, trace, verify, checkpoint, rebuild):
    module.register(app)


class Ran(NamedTuple):
    code: int
    said: str
    error: str

    @property
    def json(self) -> Any:
        return json.loads(self.said)

    @property
    def words(self) -> str:
        """What was said, with blanks evened out: tables are wide."""
        return " ".join(self.said.split())


def run(*words: str) -> Ran:
    """Raises what would be a traceback."""
    result = CliRunner().invoke(app, list(words))
    error = result.exception
    if error is None or isinstance(error, SystemExit):
        return Ran(result.exit_code, result.stdout, result.stderr)
    expected = exit_codes.from_error(error) if isinstance(error, Exception) else None
    if expected is None:
        raise error
    return Ran(expected.exit_code, result.stdout, str(expected))
