"""What a terminal shows: nothing is squeezed until it cannot be read."""

from io import StringIO

import pytest
from rich.console import Console

from atp.drift import Difference, Drifts, Said, Tolerance
from atp.model.stock import Comparison, StockRow
from cli import drift, output
from cli.trace import TABLE_COLUMNS_MIN, show_rows
from cli.trace_rows import Row

TOLD = "answered confirm (key 01a1ff19-98bc-702b-8f7f-7affcfe8b287): CONFIRMED, and as many words again as a narrow window cannot hold"
ROW = Row(time_ms=0, where="answer", what="confirm", id="R1", who="checkout", revision=8, correlation="", sentence=TOLD)


def shown(width: int) -> list[str]:
    out = Console(file=StringIO(), width=width, highlight=False, markup=False, soft_wrap=True)
    show_rows([ROW], out)
    return out.file.getvalue().splitlines()  # type: ignore[attr-defined]  # it is the one above


def test_a_trace_is_a_table_where_there_is_room() -> None:
    lines = shown(TABLE_COLUMNS_MIN + 80)
    assert lines[0].split() == ["time", "where", "what", "who", "revision", "or", "sequence", "sentence"]
    assert lines[1].rstrip().endswith(TOLD)


def test_in_a_narrow_window_each_sentence_of_a_trace_has_lines_of_its_own() -> None:
    first, *sentence = shown(80)
    assert first.split()[2:] == ["answer", "confirm", "checkout", "8"]
    assert all(line.startswith("    ") and len(line) <= 80 for line in sentence)
    assert " ".join(" ".join(sentence).split()) == TOLD


def test_a_file_or_a_pipe_folds_no_cell(capsys: pytest.CaptureFixture[str]) -> None:
    output.console().print(output.table(["one", "two"], [("x" * 120, "y" * 120)]))
    assert "x" * 120 + "  " + "y" * 120 in capsys.readouterr().out


def test_columns_that_say_nothing_in_any_row_are_left_out() -> None:
    assert output.filled(["a", "b#", "c"], [["", 0, "–"], ["–", 1, "x"]]) == (["b#", "c"], [[0, "–"], [1, "x"]])


def test_drift_says_in_words_that_the_value_of_a_difference_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    found = Drifts(Tolerance())
    found.compare(Said("TEA", "DC1", "erp", 7, StockRow(10), Comparison(8)))
    found.add(
        Difference(
            "TEA", "DC1", "erp", -2, 0, 0, units=-2, value=None, currency="", as_of_ms=0, changed_ms=0, may_be_timing=False, beyond=True
        )
    )
    drift.show(found, "main", 0.1)
    said = capsys.readouterr().out
    assert "Not in the value: 1 difference of items whose cost nobody told" in said
    assert "no cost" in said
    assert "?" not in said.replace("timing?", "")
