"""The worked cases of docs/feeds.md, played on model and scripts: what the page shows is what happens."""

import asyncio
import re
from pathlib import Path

import pytest

from cli.embedded import StoreServer
from tests.lua.scenario import play

PAGE = Path(__file__).parents[2] / "docs" / "feeds.md"


def worked_cases() -> list[tuple[str, str]]:
    """Each block that can be played, with the heading it stands under."""
    heading, cases = "", []
    for found in re.finditer(r"^#{2,3} (?P<heading>[^\n]*)$|^```play\n(?P<steps>.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        if found["heading"]:
            heading = found["heading"]
        else:
            cases.append((heading, found["steps"]))
    return cases


CASES = worked_cases()


def test_every_fenced_case_is_played() -> None:
    assert CASES
    assert len(CASES) == PAGE.read_text().count("```play")


@pytest.mark.parametrize("steps", [pytest.param(steps, id=f"{heading}, {n}") for n, (heading, steps) in enumerate(CASES, 1)])
def test_case(store_server: StoreServer, steps: str) -> None:
    asyncio.run(play(store_server.url, steps, {}))
