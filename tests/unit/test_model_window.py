"""Rule 6 at one SKU and node: what a sequence means, and what base and window add up to."""

import pytest

from atp.model.window import Delta, Physical, Verdict, Window

# A snapshot at 10; the deltas 11 and 12 folded into it; 14 and 16 in the window.
WINDOW = (
    Window()
    .with_snapshot(10, 100, 5_000, Physical(50, 2, 1))
    .with_delta(Delta(11, 111, Physical(1)), 2)
    .with_delta(Delta(16, 116, Physical(8)), 2)
    .with_delta(Delta(12, 112, Physical(2)), 2)
    .with_delta(Delta(14, 114, Physical(4)), 2)
)


def test_the_oldest_deltas_fold_into_the_base_and_the_sum_stays() -> None:
    assert [delta.sequence for delta in WINDOW.deltas] == [14, 16]
    assert (WINDOW.snap_sequence, WINDOW.fold_sequence, WINDOW.base) == (10, 12, Physical(53, 2, 1))
    assert WINDOW.figures() == Physical(65, 2, 1)


@pytest.mark.parametrize(
    ("kind", "sequence", "fingerprint", "verdict"),
    [
        ("delta", 9, 1, Verdict.SUPERSEDED),
        ("delta", 10, 100, Verdict.CONFLICT),  # a snapshot has that number, even if the fingerprint should be the same
        ("delta", 11, 111, Verdict.BELOW),  # folded: it can no longer be told from a stranger
        ("delta", 12, 112, Verdict.BELOW),
        ("delta", 13, 113, Verdict.NEW),
        ("delta", 14, 114, Verdict.KNOWN),
        ("delta", 14, 115, Verdict.CONFLICT),
        ("delta", 17, 117, Verdict.NEW),
        ("snapshot", 9, 1, Verdict.SUPERSEDED),
        ("snapshot", 10, 100, Verdict.KNOWN),
        ("snapshot", 10, 101, Verdict.CONFLICT),
        ("snapshot", 12, 1, Verdict.BELOW),
        ("snapshot", 13, 1, Verdict.NEW),
        ("snapshot", 14, 114, Verdict.CONFLICT),
        ("snapshot", 17, 1, Verdict.NEW),
    ],
)
def test_a_sequence_means_one_thing(kind: str, sequence: int, fingerprint: int, verdict: Verdict) -> None:
    assert WINDOW.judge(sequence, fingerprint, snapshot=kind == "snapshot") is verdict


def test_a_snapshot_contains_the_deltas_up_to_its_own_sequence_and_keeps_the_later_ones() -> None:
    after = WINDOW.with_snapshot(15, 150, 6_000, Physical(40))
    assert after.figures() == Physical(48)
    assert (after.snap_sequence, after.fold_sequence, after.as_of_ms, len(after.deltas)) == (15, 15, 6_000, 1)


def test_a_window_that_nothing_has_met_takes_any_first_sequence() -> None:
    assert Window().judge(1, 0, snapshot=False) is Verdict.NEW
    assert Window().judge(10**15, 0, snapshot=True) is Verdict.NEW
