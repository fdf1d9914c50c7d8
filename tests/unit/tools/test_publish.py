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


def test_a_line_of_a_log_is_a_message_with_its_users_key() -> None:
    """Empty lines are left out; a restart without a user goes to every partition; what is no event goes as it is."""
    lines = [
        b' {"userId":"u1","ts":5}\n',
        b"\n",
        b'{"type":"switch.restarted"}',
        b'{"type":"switch.restarted","userId":"u1"}',
        b"not json\r\n",
        b'{"userId":7}',
    ]
    assert [(message.value, message.user_id, message.everywhere, message.due_ms) for message in read_log(lines)] == [
        (b'{"userId":"u1","ts":5}', "u1", False, 5),
        (b'{"type":"switch.restarted"}', None, True, None),
        (b'{"type":"switch.restarted","userId":"u1"}', "u1", False, None),
        (b"not json", None, False, None),
        (b'{"userId":7}', None, False, None),
    ]


@pytest.mark.parametrize("ts", [None, "soon", "", "2026-09-21T14:13:21", 1.5])
def test_what_is_no_time_sets_no_pace(ts: object) -> None:
    """Such a message is published at once."""
    (message,) = read_log([json.dumps({"ts": ts}).encode()])
    assert message.due_ms is None


def test_a_log_that_is_flat_out_never_waits() -> None:
    """At speed 0, whatever its times are."""
    wait_s = at_speed(0)
    assert [wait_s(at_ms) for at_ms in (0, 10**12)] == [0, 0]
