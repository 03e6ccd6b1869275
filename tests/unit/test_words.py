"""Words as people use them: how many of what in a sentence, and times as they type them."""

from datetime import UTC, datetime

import pytest

from atp.exceptions import sentence
from atp.model.status import ExceptionReason
from atp.words import counted
from cli import words
from cli.exit_codes import CommandError


def test_one_of_a_thing_is_not_many_of_it() -> None:
    assert [counted(number, "unit") for number in (0, 1, 2, 1_250)] == ["0 units", "1 unit", "2 units", "1,250 units"]
    assert [counted(number, "entry", "entries") for number in (1, 2)] == ["1 entry", "2 entries"]
    assert counted(-1, "unit") == "-1 unit"


def test_exceptions_of_one_unit_say_so() -> None:
    said = [sentence(reason, sku="TEA", node="DC1", source="wms", cause="S1", quantity=1, detail="it") for reason in ExceptionReason]
    assert not [one for one in said if "1 units" in one]
    assert sum("1 unit" in one for one in said) == 8


@pytest.mark.parametrize("text", ["2026-01-03T22:00:00Z", "2026-01-03T23:00:00+01:00", "2026-01-03 22:00Z"])
def test_a_time_is_read_with_its_offset_from_utc(text: str) -> None:
    assert words.moment(text) == datetime(2026, 1, 3, 22, tzinfo=UTC)


@pytest.mark.parametrize("text", ["yesterday", "2026-01-03", "2026-01-03T22:00:00", ""])
def test_what_is_no_time_is_answered_with_one(text: str) -> None:
    with pytest.raises(CommandError, match=r"a time reads 2026-01-03T22:00:00Z, or .* with its offset from UTC, not"):
        words.moment(text)
