"""A log as messages, and the pace at which they are published."""

from __future__ import annotations

import json

import pytest

from streams.tools.publish import at_speed, read_log


@pytest.mark.parametrize(
    "ts", ["1790000001000", 1_790_000_001_000, "2026-09-21T14:13:21Z", "2026-09-21T19:43:21+05:30"]
)
def test_the_pace_of_a_log_is_read_from_its_times(ts: object) -> None:
    """All forms of ts are understood; at speed 2 a second takes half of one."""
    first, second = read_log([json.dumps({"ts": 1_790_000_000_000}).encode(), json.dumps({"ts": ts}).encode()])
    now = 50.0
    wait_s = at_speed(2, lambda: now)
    assert wait_s(first.due_ms or 0) == 0
    assert second.due_ms == 1_790_000_001_000
    assert wait_s(second.due_ms) == 0.5
    now = 50.4
    assert wait_s(second.due_ms) == pytest.approx(0.1)
