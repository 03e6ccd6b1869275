"""Whatever breaks, nothing that was acknowledged is lost, and nothing is done twice. `pytest -m faults tests/faults`."""

import asyncio

import pytest

from tests.faults.__main__ import can_run, chosen_seed
from tests.faults.ground import play
from tests.faults.scenarios import FAULTS


@pytest.mark.faults
@pytest.mark.parametrize("name", FAULTS)
def test_a_life_outlives_what_breaks(name: str) -> None:
    if not can_run(name):
        pytest.skip("no redis-server on the PATH (Debian: apt install redis-server)")
    seed = chosen_seed()
    print(f"ATP_SEED={seed}")
    outcome = asyncio.run(play(FAULTS[name], seed))
    assert outcome.lost == []
    assert outcome.wrong == []
