"""What ends by itself is started again, but not for ever."""

from pathlib import Path

import pytest

from cli import supervisor
from cli.supervisor import RESTART_WINDOW_S, RESTARTS_MAX, GaveUpError, Supervisor


class Flaky:
    """A part that ends whenever the test says so."""

    name = "flaky"

    def __init__(self, folder: Path) -> None:
        self.log_path = folder / "flaky.log"
        self.log_path.write_text("the reason it ended\n")
        self.running = True
        self.starts = 0
        self.refusals = 0

    def start(self) -> None:
        self.starts += 1
        if self.refusals:
            self.refusals -= 1
            raise RuntimeError("its port is taken")
        self.running = True

    def stop(self) -> None:
        self.running = False


class Watch:
    """A supervisor with its lines, on a clock that the test moves."""

    def __init__(self, part: Flaky) -> None:
        self.now = 0.0
        self.lines: list[str] = []
        self.supervisor = Supervisor([part], self.lines.append, clock=lambda: self.now)
        self.check = self.supervisor.check


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "RESTART_PAUSE_S", 0)


@pytest.fixture
def part(tmp_path: Path) -> Flaky:
    return Flaky(tmp_path)


def test_a_part_that_runs_is_left_alone(part: Flaky) -> None:
    watch = Watch(part)
    assert not watch.check()
    assert (part.starts, watch.lines) == (0, [])


def test_a_part_that_ended_is_started_again_with_a_line_that_says_so(part: Flaky) -> None:
    watch = Watch(part)
    part.running = False
    assert watch.check()
    assert part.running
    assert watch.lines == ["flaky ended by itself: starting it again (1 of 5 in a minute)"]


def test_one_restart_too_many_within_a_minute_gives_up_and_shows_the_log(part: Flaky) -> None:
    watch = Watch(part)
    for _ in range(RESTARTS_MAX):
        part.running = False
        watch.check()
    part.running = False
    with pytest.raises(GaveUpError, match="the reason it ended"):
        watch.check()
    assert part.starts == RESTARTS_MAX


def test_restarts_of_long_ago_do_not_count(part: Flaky) -> None:
    watch = Watch(part)
    for _ in range(RESTARTS_MAX * 2):
        part.running = False
        watch.check()
        watch.now += RESTART_WINDOW_S / RESTARTS_MAX + 1
    assert part.starts == RESTARTS_MAX * 2


def test_a_part_that_does_not_start_is_tried_again(part: Flaky) -> None:
    watch = Watch(part)
    part.running = False
    part.refusals = 1
    assert watch.check()
    assert watch.check(), "it still did not run"
    assert not watch.check()
    assert watch.lines[1] == "flaky did not start: its port is taken"
