"""What the log says of refused events."""

from __future__ import annotations

import pytest

from streams.engine.refusals import RefusalLog


def test_a_kind_of_refusal_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """Each reason and field by itself; the next entry counts those in between."""
    now = [100.0]
    refusals = RefusalLog(lambda: now[0])
    refusals.note("missing", "userId", 1, "events/3/7")
    refusals.note("missing", "userId", 1_500, "events/2/8")
    refusals.note("missing", "callId", 1, "events/3/9")
    now[0] += 59.9
    refusals.note("missing", "userId", 2, "events/3/10")
    now[0] += 0.2
    refusals.note("missing", "userId", 1, "events/3/11")
    refusals.note("not_json", "", 2, "events/3/12")
    assert caplog.messages == [
        "refused an event: missing, field userId, last at events/3/7; `ecounters dlq --reason missing` shows them",
        "refused an event: missing, field callId, last at events/3/9; `ecounters dlq --reason missing` shows them",
        "refused 1,503 events: missing, field userId, last at events/3/11; `ecounters dlq --reason missing` shows them",
        "refused 2 events: not_json, last at events/3/12; `ecounters dlq --reason not_json` shows them",
    ]
