"""The share of refused events: of the last minute, whoever looks and however often."""

from __future__ import annotations

import pytest

from streams.engine.health import SHARE_S, SHARE_STEP_S, RefusedShare


def test_nothing_read_is_no_share() -> None:
    """0, not a division by 0; also where nothing more comes."""
    share = RefusedShare(100.0)
    assert share.look(100.0, 0, 0) == 0
    assert share.look(115.0, 10, 10) == 1
    assert share.look(115.0 + 2 * SHARE_S, 10, 10) == 0


#    looks every 15 s; 100 events/s; the bad ones come from 60 s to 75 s
#    0    15   30   45   60   75   90  105  120  135  150
#    |----|----|----|----|xxxx|----|----|----|----|----|
@pytest.mark.parametrize(
    ("at", "share"),
    [(15, 0), (60, 0), (75, 0.25), (90, 0.25), (120, 0.25), (135, 0), (150, 0)],
)
def test_it_is_of_the_last_minute(at: int, share: float) -> None:
    """A flood is seen when it comes, and forgotten a minute after it."""
    window = RefusedShare(0.0)
    told = 0.0
    for now in range(15, at + 1, 15):
        told = window.look(now, now * 100, 1_500 if now >= 75 else 0)
    assert told == share


def test_looks_that_are_far_apart_share_what_is_between_them() -> None:
    """Nothing is known of the time in between; nothing is left out of it either."""
    window = RefusedShare(0.0)
    assert window.look(300.0, 1_000, 0) == 0
    assert window.look(600.0, 2_000, 500) == 0.5
    assert window.look(900.0, 3_000, 500) == 0


def test_many_looks_are_not_all_remembered() -> None:
    """Two who look a hundred times a second disturb neither each other nor the memory."""
    window = RefusedShare(0.0)
    for at in range(1, 20_001):
        now = at / 100
        told = window.look(now, at, at // 2)
        assert told == pytest.approx(0.5, abs=0.5 / at + 0.01)
    assert len(window._samples) <= SHARE_S / SHARE_STEP_S + 2


def test_the_first_minute_counts_from_the_start() -> None:
    """A worker that has just begun says what it has seen until now."""
    window = RefusedShare(50.0)
    assert window.look(50.5, 4, 1) == 0.25
    assert window.look(52.0, 8, 4) == 0.5
