"""The tables of verbs, on every supported server, each step compared with the model."""

import asyncio

import pytest

from cli.embedded import StoreServer
from tests.lua.scenario import play
from tests.lua.scenarios import ALL


@pytest.mark.parametrize("title", ALL)
def test_scenario(store_server: StoreServer, title: str) -> None:
    asyncio.run(play(store_server.url, *ALL[title]))
