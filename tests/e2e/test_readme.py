"""README's first screen and the client's page, tried as they are written: the commands, what they answer, and the Python."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.up import NEXT
from tests.e2e.test_up import ATP, Terminal, environment, up

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
CLIENT_PAGE = (ROOT / "docs/client.md").read_text()

#: What each command of the table answers. Those that are tried elsewhere: tests/e2e/test_simulate.py, test_cli.py and test_sync.py.
ANSWERS = {
    "atp race": "50 won, 150 refused, 0 without an answer; 0 units left.",
    "atp reserve TEA-EARL-GREY=3 --id R1": "R1: held. It is HELD until ",
    "atp confirm R1": "R1: confirmed. It is CONFIRMED.",
    "atp fulfil R1 --shipment S1": "R1: shipped with S1. It is FULFILLED.",
    "atp show R1": "R1: FULFILLED",
    "atp explain TEA-EARL-GREY --node DC1": "Last changed ",
    "atp feeds": "all figures",
    "atp trace R1": "FULFILLED",
    "atp drift": "there is nothing to compare.",
    "atp exceptions list": "No exceptions in pool main.",
    "atp verify": "No rule was bent",
    "atp rebuild": "compared with the live store: all are equal.",
}
ELSEWHERE = {"atp simulate", "atp ledger --follow", "atp sync count.csv --node DC1 --source wms --sequence 100"}


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """What `make up` starts, in a folder of its own; the tests below go from top to bottom of the page."""
    with up(tmp_path_factory.mktemp("readme")) as terminal:
        yield terminal


def said(terminal: Terminal, command: list[str]) -> str:
    """What a command says in a second terminal. It must end well."""
    ran = subprocess.run(command, cwd=terminal.folder, env=environment(), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, (command, ran.stdout, ran.stderr)
    return ran.stdout


def atp(terminal: Terminal, written: str) -> str:
    """A command as it is written, but for the path of the virtual environment."""
    return said(terminal, [*ATP, *shlex.split(written)[1:]])


def section(page: str, title: str) -> str:
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def python_blocks(page: str, terminal: Terminal) -> list[str]:
    blocks = re.findall(r"^```python$(.*?)^```", page, re.DOTALL | re.MULTILINE)
    return [block.replace("127.0.0.1:PORT", terminal.run.address) for block in blocks]


def test_the_first_command_answers_as_shown(terminal: Terminal) -> None:
    shown = re.findall(r"^```$\n\$ (.*?)\n(.*?)^```", section(README, "Two commands"), re.DOTALL | re.MULTILINE)
    assert shown, "there is no command with its answer on the first screen"
    for command, answer in shown:
        words = command.partition(" ")[2]
        pasted = [line for line in terminal.said.splitlines() if line.endswith(f" {words}")]
        assert pasted, "`make up` prints another one"
        assert said(terminal, shlex.split(pasted[0])) == answer


def test_every_command_of_the_table_does_what_it_says(terminal: Terminal) -> None:
    written = re.findall(r"`(atp [^`]+)`", section(README, "Then try"))
    assert set(written) == {*ANSWERS, *ELSEWHERE}
    assert {f"atp {command}" for command, _ in NEXT} <= set(written), "`make up` names another one"
    for command in written:
        if command not in ELSEWHERE:
            assert ANSWERS[command] in atp(terminal, command), command


def test_the_python_of_the_readme_sells_an_order(terminal: Terminal) -> None:
    blocks = python_blocks(section(README, "Use it"), terminal)
    assert len(blocks) == 1
    for _ in range(2):  # as often as you like
        assert said(terminal, [sys.executable, "-c", blocks[0]]) == ""
    assert atp(terminal, "atp show order-4711").startswith("order-4711: CONFIRMED")


def test_the_example_it_names_runs_after_it(terminal: Terminal) -> None:
    (program,) = re.findall(r"`\.venv/bin/python (\S+) HOST:PORT`", section(README, "Use it"))
    assert "FULFILLED" in said(terminal, [sys.executable, str(ROOT / program), terminal.run.address])


def test_the_python_of_the_clients_page_runs(terminal: Terminal) -> None:
    first, told, same_call, on_a_loop = python_blocks(CLIENT_PAGE, terminal)
    assert said(terminal, [sys.executable, "-c", first]) == ""
    client = f"with AtpClient({terminal.run.address!r}, pool='main', channel='web') as stock: "
    assert said(terminal, [sys.executable, "-c", told + client + "received(stock, 'D1', 1000, {'MUG-WHITE': 5})"]) == ""
    assert said(terminal, [sys.executable, "-c", told + client + "received(stock, 'D2', 1001, {'MUG-WHITE': -5})"]).startswith("MALFORMED")
    assert said(terminal, [sys.executable, "-c", same_call + client + "print(hold(stock, {'MUG-WHITE': 1}))"]) == "True\n"
    assert re.fullmatch(r"\[\d+, 60\]\n", said(terminal, [sys.executable, "-c", on_a_loop]))
