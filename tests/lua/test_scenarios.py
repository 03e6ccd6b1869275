"""The tables of verbs, on every supported server, each step compared with the model."""

import asyncio

import pytest

from cli.embedded import StoreServer
from tests.lua.scenario import Player
from tests.lua.scenarios import SCENARIOS, STOCK
from tests.pair import Pair


@pytest.mark.parametrize("title", SCENARIOS)
def test_scenario(store_server: StoreServer, title: str) -> None:
    async def play() -> None:
        pair = Pair(store_server.url)
        await pair.start()
        try:
            await Player(pair).play(STOCK + SCENARIOS[title])
        finally:
            await pair.close()

    asyncio.run(play())
