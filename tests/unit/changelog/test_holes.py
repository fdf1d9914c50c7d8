"""Holes: which times and which moments they concern."""

from __future__ import annotations

import pytest

from ecounters.changelog.holes import (
    HOLES_MAX,
    OPEN,
    Hole,
    Holes,
    closed,
    concern,
    concern_live,
    is_open,
    merged,
    with_hole,
)


#   100 ---- 200            a hole; ranges are [begin, end)
@pytest.mark.parametrize(
    ("begin", "end", "concerned"),
    [(0, 100, False), (0, 101, True), (150, 160, True), (200, 300, True), (201, 300, False), (50, 250, True)],
)
def test_a_hole_concerns_ranges_that_it_overlaps(begin: int, end: int, concerned: bool) -> None:
    """Both of its ends are inside. Before the next event is read nobody knows where it ends."""
    assert concern((Hole(100, 200),), begin, end) == concerned
    assert concern((Hole(100, OPEN),), begin, end) == (end > 100)
    assert not concern((), begin, end)


def test_live_calls_are_concerned_until_a_lost_end_is_reaped() -> None:
    """That is max_call after the hole, by the clock of the partition."""
    holes = (Hole(1, 2), Hole(100, 200))
    assert concern_live(holes, 1_200, 1_000)
    assert not concern_live(holes, 1_201, 1_000)
    assert concern_live((Hole(100, OPEN),), 10**15, 1_000)
    assert not concern_live((), 0, 1_000)


def test_holes_are_added_closed_and_forgotten() -> None:
    """Those that overlap are one; an end never stands before its begin."""
    holes = with_hole((), 100, 0)
    assert holes == (Hole(100, OPEN),) and is_open(holes)
    assert with_hole(holes, 150, 0) == (Hole(100, OPEN),)
    holes = closed(holes, 90)
    assert holes == (Hole(100, 100),) and not is_open(holes)
    assert with_hole(holes, 100, 0) == (Hole(100, OPEN),)
    assert with_hole(holes, 80, 0) == (Hole(80, OPEN),)
    assert with_hole(holes, 500, 100) == (Hole(100, 100), Hole(500, OPEN))
    assert with_hole(holes, 500, 101) == (Hole(500, OPEN),)


def test_holes_of_several_partitions_are_merged() -> None:
    """Where users of both are moved to one; what overlaps is one, and open if one of them is."""
    assert merged([(Hole(1, 5), Hole(20, 30)), (Hole(4, 8),), ()]) == (Hole(1, 8), Hole(20, 30))
    assert merged([(Hole(1, 5),), (Hole(4, OPEN),), (Hole(50, 60),)]) == (Hole(1, OPEN),)
    assert merged([]) == ()


def test_there_are_at_most_so_many() -> None:
    """Of more, the oldest two are one: it concerns more than it must, and never less."""
    holes: Holes = ()
    for at in range(HOLES_MAX + 5):
        holes = closed(with_hole(holes, at * 100, 0), at * 100 + 10)
    assert len(holes) == HOLES_MAX
    assert holes[0] == Hole(0, 510)
    assert all(concern(holes, at * 100, at * 100 + 1) for at in range(HOLES_MAX + 5))
