"""Rule 6 at one SKU, node and source: what a sequence means, and which deltas and snapshots a window keeps."""

import pytest

from atp.model.window import Delta, Physical, Snap, Verdict, Window

ON_HAND, DAMAGED, ALL = 1, 2, 7

# A snapshot of all figures at 10; the deltas 11 and 12 pushed out; 14 and 16 in the window; then a snapshot of damaged alone at 15.
WINDOW = (
    Window()
    .with_snapshot(Snap(10, 100, ALL), 5_000)
    .with_delta(Delta(11, 111, Physical(1)), 2)
    .with_delta(Delta(16, 116, Physical(8, 1)), 2)
    .with_delta(Delta(12, 112, Physical(2)), 2)
    .with_delta(Delta(14, 114, Physical(4)), 2)
    .with_snapshot(Snap(15, 150, DAMAGED), 6_000)
)


def test_the_oldest_deltas_leave_and_a_snapshot_takes_its_own_figures_only() -> None:
    assert [delta.sequence for delta in WINDOW.deltas] == [14, 16]
    assert (WINDOW.fold_sequence, WINDOW.as_of_ms) == (12, 5_000), "the later snapshot says nothing of on hand"
    assert WINDOW.snaps == (Snap(15, 150, DAMAGED), Snap(10, 100, ALL - DAMAGED))
    assert WINDOW.since(14) == Physical(8, 1)


@pytest.mark.parametrize(
    ("kind", "sequence", "fingerprint", "figures", "verdict"),
    [
        ("delta", 9, 1, ALL, Verdict.SUPERSEDED),
        ("delta", 10, 100, ALL, Verdict.CONFLICT),  # a snapshot has that number, even if the fingerprint should be the same
        ("delta", 11, 111, ALL, Verdict.BELOW),  # pushed out: it can no longer be told from a stranger
        ("delta", 11, 111, DAMAGED, Verdict.SUPERSEDED),
        ("delta", 13, 113, ON_HAND, Verdict.NEW),
        ("delta", 13, 113, ON_HAND + DAMAGED, Verdict.NEW),  # as far as on hand goes
        ("delta", 13, 113, DAMAGED, Verdict.SUPERSEDED),
        ("delta", 14, 114, ON_HAND, Verdict.KNOWN),
        ("delta", 14, 115, ON_HAND, Verdict.CONFLICT),
        ("delta", 15, 150, ON_HAND, Verdict.CONFLICT),
        ("delta", 17, 117, ALL, Verdict.NEW),
        ("snapshot", 9, 1, ALL, Verdict.SUPERSEDED),
        ("snapshot", 10, 100, ALL, Verdict.KNOWN),
        ("snapshot", 10, 101, ALL, Verdict.CONFLICT),
        ("snapshot", 12, 1, ON_HAND, Verdict.BELOW),
        ("snapshot", 12, 1, DAMAGED, Verdict.SUPERSEDED),
        ("snapshot", 13, 1, ON_HAND, Verdict.NEW),
        ("snapshot", 14, 114, DAMAGED, Verdict.CONFLICT),
        ("snapshot", 17, 1, ALL, Verdict.NEW),
    ],
)
def test_a_sequence_means_one_thing(kind: str, sequence: int, fingerprint: int, figures: int, verdict: Verdict) -> None:
    assert WINDOW.judge(sequence, fingerprint, figures, snapshot=kind == "snapshot") is verdict


def test_deltas_that_snapshots_contain_whole_leave_the_window() -> None:
    after = WINDOW.with_snapshot(Snap(17, 170, ON_HAND), 7_000)
    assert [delta.sequence for delta in after.deltas] == [16], "its damaged unit is in none"
    assert (after.fold_sequence, after.as_of_ms) == (12, 7_000)
    whole = after.with_snapshot(Snap(18, 180, ALL), 8_000)
    assert (whole.fold_sequence, whole.snaps) == (18, (Snap(18, 180, ALL),))


def test_a_window_that_nothing_has_met_takes_any_first_sequence() -> None:
    assert Window().judge(1, 0, ALL, snapshot=False) is Verdict.NEW
    assert Window().judge(10**15, 0, ALL, snapshot=True) is Verdict.NEW
    assert (Window().next_sequence(), WINDOW.next_sequence()) == (1, 17)
