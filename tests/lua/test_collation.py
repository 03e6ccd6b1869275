"""Names are put in the order of their bytes, as in the model, also by a server that was started where a comes before B."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from cli.embedded import StoreServer
from tests.conftest import start_store
from tests.lua.scenario import play

LOCALE = "en_US.UTF-8"
BOUNDS = {"BOOKINGS_MAX": 1}

STOCK = """
    register a B → OK
    receive N1 a 9 B 9 → OK
    receive N4 a 9 B 9 source=wcs → OK
"""
CASES = {
    "a count books the lower shipment first": """
        reserve R1 a 2 nodes=N1 → OK 1×2
        confirm R1 → OK 1×2
        fulfil R1 s1 1 1 → OK 1×1
        fulfil R1 S2 1 1 → OK 1×1
        count N1 a 8 → OK
        row a N1 on_hand=8 shipped_unbooked=1
    """,
    "a pick books the lower shipment first": """
        reserve R1 a 2 channel=depot → OK 1×2
        confirm R1 → OK 1×2
        fulfil R1 s1 1 1 → OK 1×1
        fulfil R1 S2 1 1 → OK 1×1
        pick N4 a 1 of=R1 → OK
        row a N4 on_hand=8 shipped_unbooked=1
    """,
    "a shipment keeps its units by rising SKU": """
        ship N1 S1 a 1 B 1 → OK
        ship N1 S1 B 1 a 1 → DUPLICATE
    """,
    "the lowest SKU is told of accounts that differ": """
        reserve R1 B 1 nodes=N1 → OK 1×1
        confirm R1 → OK 1×1
        fulfil R1 S1 → OK 1×1
        ship N1 S1 a 1 → OK
        raised SHIPMENT_DIFFERS 0
    """,
    "nodes that are shut are kept by their names": """
        locate n1 store Europe/Rome → OK
        node n1 closed → OK
        node N2 closed → OK
    """,
}


@pytest.fixture(scope="module", params=["valkey", "redis"])
def collating(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    """A server whose Lua compares text as people in America do."""
    if shutil.which("localedef") is None or not Path("/usr/share/i18n/locales/en_US").exists():
        pytest.skip("no locale can be made here: Debian has what it takes in the package locales")
    locales = tmp_path_factory.mktemp("locales")
    subprocess.run(["localedef", "-c", "-i", "en_US", "-f", "UTF-8", str(locales / LOCALE)], check=False, capture_output=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCPATH", str(locales))
        patch.setenv("LC_ALL", LOCALE)
        with start_store(request.param, tmp_path_factory.mktemp("collating")) as server:
            yield server


def test_its_lua_has_another_order_than_bytes(collating: StoreServer) -> None:
    with redis.Redis.from_url(collating.url) as server:
        assert server.eval("return 'a' < 'B' and 1 or 0", 0) == 1
    assert sorted(["a", "B"]) == ["B", "a"]


@pytest.mark.parametrize("title", CASES)
def test_case(collating: StoreServer, title: str) -> None:
    asyncio.run(play(collating.url, STOCK + CASES[title], BOUNDS))
