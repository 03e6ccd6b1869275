"""What a process shows of itself, piece by piece: lines of the log, floods of them, pages over HTTP, the event loop's beat."""

import asyncio
import contextlib
import contextvars
import http.client
import io
import json
import logging
import socket
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily

from atp.observed import Readiness, busy_with
from cli import output
from cli.exit_codes import USAGE, CommandError
from cli.observe import endpoint, logs
from cli.observe.endpoint import condition_page, metrics_page, serving
from cli.observe.heartbeat import BEAT_S, LIVE_AGE_S, Heartbeat

log = logging.getLogger("service.test_observe")


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Call:
    """Something that a task is busy with."""

    def log_fields(self) -> dict[str, str]:
        return {"correlation": "C-1", "pool": "main"}


@contextlib.contextmanager
def written(form: str, flood: logs.Flood | None = None) -> Iterator[io.StringIO]:
    """All that our loggers write inside, in a form."""
    text = io.StringIO()
    handler = logs.writer(form, text, flood or logs.Flood())
    roots = [logging.getLogger(name) for name in ("service", "cli")]
    for root in roots:
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
    try:
        yield text
    finally:
        for root in roots:
            root.removeHandler(handler)
            root.setLevel(logging.NOTSET)


def busy(do: contextvars.Context, work: Call) -> None:
    do.run(busy_with.set, work)


# --- lines --------------------------------------------------------------------------------------------------------------
def test_a_line_in_json_is_one_object_with_all_its_fields() -> None:
    task = contextvars.copy_context()
    busy(task, Call())
    with written("json") as text:
        task.run(log.warning, "a %s\nof two lines", "message", extra={"outcome": "INTERNAL"})
    (line,) = text.getvalue().splitlines()
    found = json.loads(line)
    assert found.pop("time").endswith("+00:00")
    assert found == {
        "level": "WARNING",
        "logger": "service.test_observe",
        "message": "a message\nof two lines",
        "outcome": "INTERNAL",
        "correlation": "C-1",
        "pool": "main",
    }


def test_an_exception_is_one_field() -> None:
    with written("json") as text:
        try:
            raise ValueError("broken")
        except ValueError:
            log.exception("it failed")
    (line,) = text.getvalue().splitlines()
    assert json.loads(line)["exception"].endswith("ValueError: broken")


def test_a_line_for_people_shows_fields_and_is_one_line() -> None:
    task = contextvars.copy_context()
    busy(task, Call())
    with written("people") as text:
        task.run(log.info, "one\n2026-01-01 INFO forged: two")
    assert text.getvalue().endswith(" INFO    service.test_observe: one\\n2026-01-01 INFO forged: two [correlation=C-1 pool=main]\n")
    assert text.getvalue().count("\n") == 1


# --- floods -------------------------------------------------------------------------------------------------------------
def test_of_a_flood_the_first_lines_are_written_and_then_how_many_were_left_out() -> None:
    clock = Clock()
    flood = logs.Flood(clock)
    with written("json", flood) as text:
        for number in range(10_000):
            log.warning("a call failed: %s", number, extra={"outcome": "STORE_UNAVAILABLE"})
        log.warning("a call failed: %s", "otherwise", extra={"outcome": "INTERNAL"})
        flood.tell()
        assert len(text.getvalue().splitlines()) == logs.LINES_A_SECOND_MAX + 1, "the second is not over"
        clock.now += 1
        flood.tell()
        flood.tell()
    lines = [json.loads(line) for line in text.getvalue().splitlines()]
    assert [line["outcome"] for line in lines[:-1]] == ["STORE_UNAVAILABLE"] * logs.LINES_A_SECOND_MAX + ["INTERNAL"]
    assert lines[-1]["message"] == f"{10_000 - logs.LINES_A_SECOND_MAX} more lines like this were left out: a call failed: %s"
    assert (lines[-1]["left_out"], lines[-1]["outcome"], lines[-1]["level"]) == (9_990, "STORE_UNAVAILABLE", "WARNING")


def test_every_second_writes_its_first_lines_again() -> None:
    clock = Clock()
    with written("people", logs.Flood(clock)) as text:
        for _ in range(3):
            for _ in range(logs.LINES_A_SECOND_MAX):
                log.info("steady")
            clock.now += 1
    assert len(text.getvalue().splitlines()) == 3 * logs.LINES_A_SECOND_MAX


def test_what_was_asked_for_with_debug_is_written_whole() -> None:
    with written("people") as text:
        for number in range(1_000):
            log.debug("call %d", number)
    assert len(text.getvalue().splitlines()) == 1_000


def test_lines_that_are_all_different_are_a_flood_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "KINDS_MAX", 5)
    clock = Clock()
    flood = logs.Flood(clock)
    with written("people", flood) as text:
        for number in range(1_000):
            log.warning(f"number {number}")  # noqa: G004 (a library that writes so is what is tried)
        clock.now += 1
        flood.tell()
    lines = text.getvalue().splitlines()
    assert len(lines) == 5 + logs.LINES_A_SECOND_MAX + 1
    assert f"{1_000 - 5 - logs.LINES_A_SECOND_MAX} more lines like this were left out: lines of many kinds" in lines[-1]


# --- the beat -----------------------------------------------------------------------------------------------------------
def test_a_loop_that_has_not_turned_is_not_alive() -> None:
    clock = Clock()
    heartbeat = Heartbeat(lambda: None, clock)
    clock.now += LIVE_AGE_S
    assert heartbeat.why_not_live() == ""
    clock.now += 1
    assert heartbeat.why_not_live() == "the event loop has not turned for 11 s"


def test_a_beat_tells_how_late_the_loop_was() -> None:
    clock = Clock()
    beats = asyncio.Event()
    heartbeat = Heartbeat(beats.set, clock)

    async def beat() -> None:
        beating = asyncio.create_task(heartbeat.beat())
        await asyncio.sleep(0)
        clock.now += BEAT_S + 0.4
        await beats.wait()
        beating.cancel()

    asyncio.run(beat())
    assert heartbeat.lag_s == pytest.approx(0.4)
    assert heartbeat.why_not_live() == ""


# --- pages --------------------------------------------------------------------------------------------------------------
def get(address: str, path: str, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection(address, timeout=10)
    with contextlib.closing(connection):
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_a_page_says_yes_or_why_not() -> None:
    readiness = Readiness()
    with serving("127.0.0.1:0", {"/ready": condition_page(readiness.why_not)}) as address:
        assert get(address, "/ready") == (503, "no: it is starting\n")
        readiness.answered_by(lambda: "")
        assert get(address, "/ready?verbose") == (200, "yes\n")
        assert get(address, "/ready", "HEAD") == (200, "")
        assert get(address, "/") == (404, "there are /ready\n")
        assert get(address, "/ready", "POST")[0] == 501


def test_metrics_are_made_once_a_second_however_many_ask() -> None:
    made = []

    class Counting:
        def collect(self) -> Iterator[GaugeMetricFamily]:
            made.append(1)
            yield GaugeMetricFamily("scrapes", "How many.", len(made))

    registry, clock = CollectorRegistry(), Clock()
    registry.register(Counting())
    made.clear()
    page = metrics_page(registry, clock)
    bodies = {page().body for _ in range(100)}
    assert (len(bodies), len(made)) == (1, 1)
    clock.now += endpoint.METRICS_AGE_S
    assert b"scrapes 2.0" in page().body


def test_an_address_that_is_taken_is_one_line_and_wrong_usage() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with (
            pytest.raises(CommandError, match=f"metrics.listen: cannot listen on {listen}: Address already in use") as raised,
            serving(listen, {}),
        ):
            raise AssertionError("listens")
    assert raised.value.exit_code == USAGE


def test_connections_that_say_nothing_do_not_take_all_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "CONNECTIONS_MAX", 2)
    with serving("127.0.0.1:0", {"/live": condition_page(lambda: "")}) as address, contextlib.ExitStack() as silent:
        host, _, port = address.rpartition(":")
        held = [silent.enter_context(socket.create_connection((host, int(port)))) for _ in range(3)]
        held[2].settimeout(10)
        assert held[2].recv(1) == b"", "one more is closed unread"
        held[0].close()
        held[1].sendall(b"GET /live HTTP/1.0\r\n\r\n")
        assert held[1].recv(15) == b"HTTP/1.0 200 OK"


def test_it_listens_on_ipv6_too() -> None:
    with serving("[::1]:0", {"/live": condition_page(lambda: "")}) as address:
        assert address.startswith("[::1]:")
        assert get(address, "/live") == (200, "yes\n")


def test_what_others_write_is_shown_and_not_obeyed(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    """A feed can have a message cleared off the screen, or an id read backwards, if a terminal may obey what it sent."""
    hostile = "a\x1b[2J\u202eb\x9bc\nd"
    shown = r"a\x1b[2J\u202eb\x9bc"
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("%s", hostile, extra={"client": hostile})
    assert logs.ForPeople().format(caplog.records[0]).endswith(rf"test: {shown}\nd [client={shown}\nd]")
    screen = output.console()
    screen.print(hostile)
    screen.print(output.table(["x"], [[hostile]]))
    assert [line.strip() for line in capsys.readouterr().out.splitlines()] == [shown, "d", "x", shown, "d"]
