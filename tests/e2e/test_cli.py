"""The commands of a person, on an engine that `atp up` started: what they say, what scripts get, and their exit codes."""

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import nats
import pytest

from atp import events
from cli import words
from cli.addresses import Run
from cli.embedded import free_port
from cli.exit_codes import CommandError
from consumers.bootstrap import ROLES
from tests.e2e import commands
from tests.e2e.commands import Ran
from tests.e2e.test_up import ATP, environment, eventually, up


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The demo pool, in a folder of its own: TEA-EARL-GREY has 118 at DC1 and 12 at STORE1, KETTLE-STEEL one at STORE1."""
    with up(tmp_path_factory.mktemp("engine")) as terminal:
        yield terminal.run


@pytest.fixture
def atp(engine: Run) -> Callable[..., Ran]:
    """Runs a command of the gRPC face."""

    def run(*said: str) -> Ran:
        return commands.run(*said, "--address", engine.address)

    return run


@pytest.fixture
def atp_nats(engine: Run) -> Callable[..., Ran]:
    """Runs a command that reads JetStream."""

    def run(*said: str) -> Ran:
        return commands.run(*said, "--nats-url", engine.nats_url)

    return run


# --- what can be promised -------------------------------------------------------------------------------------------------
def test_get_says_how_many_and_from_where(atp: Callable[..., Ran]) -> None:
    one = atp("get", "MUG-WHITE")
    assert one.code == 0
    assert one.said.startswith("436 can be promised: 400 at DC1, 36 at STORE1\n")
    assert "Why: atp explain MUG-WHITE --node DC1" in one.said
    several = atp("get", "MUG-WHITE", "KETTLE-STEEL=2")
    assert "SKU can be promised DC1 STORE1 wanted" in several.words
    assert "MUG-WHITE 436 400 36" in several.words
    assert "KETTLE-STEEL 1 1 2 no" in several.words
    assert several.code == 1


def test_get_tells_what_is_wanted_and_what_is_not_known(atp: Callable[..., Ran]) -> None:
    assert atp("get", "TEAPOT-2L=3").said.splitlines()[1] == "3 wanted: yes"
    assert atp("get", "TEAPOT-2L=300").code == 1
    unknown = atp("get", "NO-SUCH")
    assert unknown.code == 1
    assert "NO-SUCH is not registered in pool main" in unknown.said
    at_store = atp("get", "MUG-WHITE", "--node", "STORE1", "--json")
    assert at_store.json["lines"][0]["nodes"] == [{"node": "STORE1", "available": "36", "shut": False}]


def test_explain_shows_every_term_and_the_last_change(atp: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    ran = atp("explain", "TEA-EARL-GREY", "--node", "DC1")
    assert ran.code == 0
    assert re.search(r"on hand \+120 wms \S+ \S+ \+120 receipt of demo-receipt-DC1 by wms \(revision \d+\)", ran.words)
    assert re.search(r"safety stock -2 \S+ \S+ item_registered of demo-items by erp", ran.words)
    assert "Last changed " in ran.said
    assert "receipt of demo-receipt-DC1" in ran.said
    assert {term["name"] for term in atp("explain", "TEA-EARL-GREY", "--node", "DC1", "--json").json["terms"]} >= {"on_hand", "reserved"}


# --- a reservation's life ---------------------------------------------------------------------------------------------
def test_a_reservation_from_hold_to_shipment(atp: Callable[..., Ran]) -> None:
    held = atp("reserve", "MUG-WHITE=410", "TEAPOT-2L=1", "--id", "life", "--order", "O-life", "--ttl", "10m")
    assert held.code == 0, held
    assert held.said.startswith("life: held. It is HELD until ")
    assert "1 MUG-WHITE DC1 400" in held.words
    assert "2 MUG-WHITE STORE1 10" in held.words
    again = atp("reserve", "MUG-WHITE=410", "TEAPOT-2L=1", "--id", "life", "--order", "O-life", "--ttl", "10m")
    assert "This call was made before" in again.said
    assert atp("extend", "life", "--ttl", "2h").said.startswith("life: held longer. It is HELD until ")
    released = atp("release", "life", "1=300", "2")
    assert released.code == 0
    assert "1 MUG-WHITE DC1 300" in released.words
    assert "2 MUG-WHITE STORE1 10" in released.words
    confirmed = atp("confirm", "life", "--key", "k")
    assert confirmed.said.startswith("life: confirmed. It is CONFIRMED.")
    shown = atp("show", "life")
    assert "life: CONFIRMED" in shown.said
    assert "for order O-life" in shown.said
    assert "1 MUG-WHITE DC1 400 300 0 100" in shown.words
    part = atp("fulfil", "life", "1=60", "--shipment", "S-life-1", "--at", "2026-01-01T08:00:00")
    assert part.said.startswith("life: shipped with S-life-1. It is CONFIRMED.")
    rest = atp("fulfil", "life", "--shipment", "S-life-2")
    assert rest.said.startswith("life: shipped with S-life-2. It is FULFILLED.")
    by_order = atp("show", "--order", "O-life", "--json")
    assert [(one["reservation_id"], one["state"]) for one in by_order.json["reservations"]] == [("life", "STATE_FULFILLED")]


def test_what_is_short_is_named_and_nothing_is_held(atp: Callable[..., Ran]) -> None:
    refused = atp("reserve", "KETTLE-STEEL=2", "--id", "short")
    assert refused.code == 1
    assert "INSUFFICIENT_STOCK: Not all of it can be promised; nothing was changed." in refused.said
    assert "KETTLE-STEEL 2 1" in refused.words
    missing = atp("show", "short")
    assert missing.code == 1
    assert missing.error.startswith("UNKNOWN_RESERVATION (short). ")
    partly = atp("reserve", "KETTLE-STEEL=2", "--partial", "--id", "partly")
    assert partly.code == 0
    assert partly.said.startswith("partly: held in part. ")
    assert "KETTLE-STEEL 2 1" in partly.words
    assert atp("release", "partly").code == 0
    for_scripts = atp("reserve", "KETTLE-STEEL=2", "--json")
    assert for_scripts.code == 1
    assert for_scripts.json["outcome"] == "OUTCOME_INSUFFICIENT_STOCK"
    assert for_scripts.json["shortfalls"] == [{"sku": "KETTLE-STEEL", "requested": "2", "available": "1"}]


def test_each_state_says_what_to_do_next(atp: Callable[..., Ran]) -> None:
    assert atp("reserve", "TEA-DARJEELING=1", "--id", "states", "--ttl", "1s").code == 0
    early = atp("fulfil", "states", "--shipment", "S-states")
    assert (early.code, early.said) == (1, "HELD: It is held, not confirmed: atp confirm states comes first.\n")
    eventually(lambda: atp("show", "states", "--json").json["state"] == "STATE_EXPIRED", "it does not expire")
    late = atp("confirm", "states")
    assert late.code == 1
    assert "atp confirm states --reacquire takes them again" in late.said
    assert atp("confirm", "states", "--reacquire").code == 0
    assert atp("extend", "states").said.startswith("CONFIRMED: It is confirmed already")
    assert "atp show states says what is open" in atp("release", "states", "1=9").said
    assert atp("release", "states").code == 0
    assert atp("release", "states").said.startswith("RELEASED: ")


# --- errors -----------------------------------------------------------------------------------------------------------
def test_errors_are_sentences_that_say_what_to_do(atp: Callable[..., Ran]) -> None:
    pool = atp("get", "MUG-WHITE", "--pool", "nl")
    assert (pool.code, pool.error) == (1, "UNKNOWN_POOL (nl). Correct the name, or have the pool provisioned.")
    bad = atp("reserve", "MUG-WHITE=0", "MUG-WHITE=-1", "--channel", "no channel")
    assert bad.code == 2
    assert bad.error.splitlines()[0] == "INVALID_REQUEST. Change these fields; the request can never succeed as it is."
    assert "  channel must be 1 to 32 of A-Z a-z 0-9 _ -" in bad.error.splitlines()
    assert "  lines[0].quantity must be 1 to 1000000000, is 0" in bad.error.splitlines()
    assert atp("reserve", "MUG-WHITE=1", "--id", "reused").code == 0
    reused = atp("reserve", "MUG-WHITE=2", "--id", "reused")
    assert reused.code == 1
    assert reused.error.startswith("KEY_REUSED (lines). ")


def test_a_service_that_is_not_there_is_exit_code_3() -> None:
    ran = commands.run("get", "A", "--address", f"127.0.0.1:{free_port()}")
    assert ran.code == 3
    assert "no service answers at " in ran.error
    assert "atp up" in ran.error


@pytest.mark.parametrize(
    "said",
    [
        ("reserve", "MUG-WHITE"),
        ("reserve", "=2"),
        ("reserve", "MUG-WHITE=two"),
        ("reserve", "MUG-WHITE=1", "--ttl", "soon"),
        ("release", "R", "one=1"),
        ("release", "R", "1=x"),
        ("show",),
        ("show", "R", "--order", "O"),
        ("get",),
        ("fulfil", "R"),
        ("explain", "MUG-WHITE"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_read_is_wrong_usage(atp: Callable[..., Ran], said: tuple[str, ...]) -> None:
    assert atp(*said).code == 2


def test_words_are_read_as_people_type_them() -> None:
    assert [words.duration_ms(text) for text in ("500ms", "90s", "15m", "2h", "1d")] == [500, 90_000, 900_000, 7_200_000, 86_400_000]
    assert words.wanted("A=B=2") == ("A=B", 2)
    assert words.maybe_wanted("A=B") == ("A=B", 0)
    assert (words.part("3"), words.part("3=0"), words.part("3=7")) == ((3, 0), (3, 0), (3, 7))
    with pytest.raises(CommandError, match="SKU=QTY"):
        words.wanted("A=99999999999999999999")


# --- the ledger and exceptions ----------------------------------------------------------------------------------------
def test_the_ledger_tells_each_change_in_words(atp: Callable[..., Ran], engine: Run) -> None:
    assert atp("reserve", "TEA-DARJEELING=2", "--id", "told").code == 0
    servers = ("--nats-url", engine.nats_url, "--store-url", engine.store_url)
    latest = commands.run("ledger", "--last", "1", *servers)
    assert latest.code == 0
    assert len(latest.said.splitlines()) == 1
    assert "reserve told" in latest.said
    assert "TEA-DARJEELING at DC1: reserved +2" in latest.said
    assert atp("release", "told").code == 0
    of_sku = commands.run("ledger", "--sku", "KETTLE-STEEL", "--from", "1", *servers).said.splitlines()
    assert all("KETTLE-STEEL" in line for line in of_sku)
    assert any("receipt demo-receipt-STORE1" in line for line in of_sku)
    for_scripts = [json.loads(line) for line in commands.run("ledger", "--from", "1", "--json", *servers).said.splitlines()]
    assert [entry["revision"] for entry in for_scripts] == list(range(1, len(for_scripts) + 1))
    assert for_scripts[0]["verb"] == "open"
    nowhere = commands.run("ledger", "--pool", "nowhere", "--from", "1", *servers)
    assert (nowhere.code, nowhere.said) == (1, "")
    assert "no pool nowhere" in nowhere.error


def test_the_ledger_is_followed_as_it_happens(atp: Callable[..., Ran], engine: Run, tmp_path: Path) -> None:
    following = [*ATP, "ledger", "--follow", "--last", "1", "--json", "--nats-url", engine.nats_url]
    with subprocess.Popen(following, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        latest = json.loads(process.stdout.readline())
        assert atp("reserve", "MUG-WHITE=1", "--id", "followed").code == 0
        seen = json.loads(process.stdout.readline())
        assert seen["revision"] == latest["revision"] + 1
        assert (seen["verb"], seen["cause"]) == ("reserve", "followed")
        assert seen["facts"] == [{"sku": "MUG-WHITE", "node": "DC1", "day": 0, "term": "reserved", "delta": 1}]
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0, "Ctrl-C is how it ends"
    assert atp("release", "followed").code == 0


def test_exceptions_are_listed_and_shown_with_what_is_at_risk(atp: Callable[..., Ran], atp_nats: Callable[..., Ran], engine: Run) -> None:
    assert atp("reserve", "TEAPOT-2L=2", "--id", "at-risk", "--order", "O-risk", "--node", "STORE1").code == 0

    async def lose_stock() -> None:
        connection = await nats.connect(engine.nats_url)
        lines = [events.ChangeLine(sku="TEAPOT-2L", on_hand=-3)]
        data = events.AdjustmentData(node="STORE1", sequence=77, lines=lines, reason="water")
        event = events.Adjustment(specversion="1.0", id="flood", source="wms", time=datetime.now(UTC), data=data)
        await connection.jetstream().publish("inv.main.wms.adjustment", msgspec.json.encode(event))
        await connection.close()

    asyncio.run(lose_stock())
    deadline = time.monotonic() + 20
    while "over:STORE1:TEAPOT-2L" not in (listed := atp_nats("exceptions", "list")).said:
        assert time.monotonic() < deadline, listed
        time.sleep(0.1)
    assert "TEAPOT-2L at STORE1 is short by 1 unit:" in listed.words
    shown = atp_nats("exceptions", "show", "over:STORE1:TEAPOT-2L")
    assert shown.said.startswith("OVERCOMMITTED over:STORE1:TEAPOT-2L: open since ")
    assert "O-risk at-risk HELD 2" in shown.words
    assert atp_nats("exceptions", "list", "--json").json[0]["id"] == "over:STORE1:TEAPOT-2L"
    assert atp_nats("exceptions", "show", "none").code == 1
    assert "No exceptions in pool main" in atp_nats("exceptions", "list", "--state", "resolved").said
    assert atp("release", "at-risk").code == 0


# --- the program ------------------------------------------------------------------------------------------------------
def test_an_error_is_one_line_on_standard_error_and_its_exit_code(engine: Run, tmp_path: Path) -> None:
    said = [*ATP, "show", "nobody", "--address", engine.address]
    ran = subprocess.run(said, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("atp: UNKNOWN_RESERVATION (nobody). ")
    assert "Traceback" not in ran.stderr
    assert sys.executable not in ran.stderr


def test_the_help_of_consume_names_every_role() -> None:
    ran = subprocess.run([*ATP, "consume", "--help"], env=environment(), capture_output=True, text=True, check=True)
    told = " ".join(ran.stdout.replace("│", " ").split())
    assert f"{', '.join(ROLES)}, or all of them" in told


def test_after_all_this_the_pool_is_sound_and_can_be_rebuilt(engine: Run) -> None:
    servers = ("--nats-url", engine.nats_url, "--store-url", engine.store_url)
    verified = commands.run("verify", *servers)
    assert verified.code == 0, verified.said
    rebuilt = commands.run("rebuild", *servers, "--json")
    assert rebuilt.code == 0, rebuilt.said
    assert rebuilt.json["equal"] is True
