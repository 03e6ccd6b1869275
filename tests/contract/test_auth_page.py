"""The part of docs/security.md about callers: its commands as they are written, its tables as the code has them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli.embedded import StoreServer, free_port
from service import bounds
from service.auth.tokens import Claims
from service.call import Scope
from service.errors import PROBLEMS
from service.methods import methods
from tests.contract.conftest import Engine, Shop

PAGE = (Path(__file__).resolve().parents[2] / "docs/security.md").read_text()
ADDRESS = "127.0.0.1:50051"


def section(title: str) -> str:
    found = PAGE.partition(f"\n### {title}\n")[2].partition("\n#")[0]
    assert found, title
    return found


def test_the_table_of_scopes_is_that_of_the_methods() -> None:
    listed = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", section("Scopes"), re.MULTILINE))
    assert set(listed) == set(Scope)
    for scope, text in listed.items():
        assert re.findall(r"`(\w+)`", text) == [method.short_name for method in methods(None, None).values() if method.scope == scope]


def test_the_table_of_problems_is_that_of_the_service() -> None:
    assert re.findall(r"^\| `(\w+)` \| (.*) \|$", section("When a caller is refused"), re.MULTILINE) == list(PROBLEMS.items())


def test_the_table_of_claims_has_all_that_are_read() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", section("Tokens"), re.MULTILINE)) == set(Claims.__struct_fields__)


def test_the_bounds_are_those_of_the_service() -> None:
    assert f"at most {bounds.TOKEN_CHARS_MAX:,} characters" in section("Tokens")
    assert f"{bounds.CLOCK_LEEWAY_S:.0f} s more are given" in section("Tokens")
    renewing = section("Renewing")
    assert f"at most {bounds.KEYS_REREAD_S_MIN:.0f} s later" in renewing
    assert renewing.count(f"at most {bounds.KEYS_REREAD_S:.0f} s") == 3
    assert f"made {bounds.CERTIFICATE_REREAD_S:.0f} s later" in renewing


@pytest.fixture
def folder(tmp_path: Path, engine: Engine, valkey: StoreServer) -> tuple[Path, dict[str, str]]:
    """A folder to type commands in, and an environment with a store that has what the commands sell."""
    shop = Shop(engine)
    engine.run(shop.register({"TEA-EARL-GREY": 0}))
    engine.run(shop.receive("TEA-EARL-GREY", "N1", 1))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return tmp_path, {"PATH": path, "ATP_STORE_URL": valkey.url, "ATP_POOL": shop.pool}


def test_the_three_commands_do_what_they_say(folder: tuple[Path, dict[str, str]]) -> None:
    here, environment = folder
    block = re.search(r"^```\n(.*?)^```", section("Try it"), re.DOTALL | re.MULTILINE)
    assert block
    keys, serve, call = block[1].replace(ADDRESS, f"127.0.0.1:{free_port()}").splitlines()

    def said(command: str) -> subprocess.CompletedProcess[str]:
        shell = ["bash", "-c", command]
        return subprocess.run(shell, cwd=here, env=environment, capture_output=True, text=True, timeout=60, check=False)

    assert said(keys).returncode == 0
    with subprocess.Popen(["bash", "-c", f"exec {serve}"], cwd=here, env=environment, stdout=subprocess.PIPE, text=True) as service:
        try:
            assert service.stdout
            assert service.stdout.readline().startswith("serving on 127.0.0.1:")
            held = said(call)
            assert "It is HELD until" in held.stdout, held.stderr
            assert "for checkout-7: read reserve in every pool" in held.stderr
            shown = said(f"{call.partition(' atp reserve ')[0]} atp explain TEA-EARL-GREY --node N1 --address {call.split()[-1]}")
            assert "asked for by checkout-7" in shown.stdout, shown.stderr
            refused = said(call.partition(") ")[2])
            assert refused.returncode == 1
            assert "UNAUTHENTICATED (missing). Send a token" in refused.stderr
        finally:
            service.terminate()
