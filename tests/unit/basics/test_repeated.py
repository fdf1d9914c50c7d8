"""Lines that stay true are logged again and again, but not too often."""

from __future__ import annotations

from streams.basics.repeated import AGAIN_S, LogAgain


def test_a_line_is_due_at_once_and_then_after_a_minute() -> None:
    """Another line is due at once as well."""
    now_s = 1_000.0
    again = LogAgain(lambda: now_s)
    assert [again.is_due(), again.is_due()] == [True, False]
    now_s += AGAIN_S - 1
    assert not again.is_due()
    now_s += 1
    assert [again.is_due(), again.is_due()] == [True, False]
    again.reset()
    assert again.is_due()
