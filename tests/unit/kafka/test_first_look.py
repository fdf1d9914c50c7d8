"""What a worker is told before it begins: here, that a state is gone."""

from __future__ import annotations

from streams.kafka.first_look import forgotten
from streams.kafka.topics import TopicsSpec

SPEC = TopicsSpec("ev", "ev.dlq", "app-state-changelog", 4, 1)


def test_a_state_that_is_gone_is_noticed_by_the_committed_offsets() -> None:
    """Offset 0 says that nothing was counted; a new deployment has no offsets at all."""
    assert forgotten([], {}, "app", SPEC) == ""
    assert forgotten([], {0: 0, 1: 0}, "app", SPEC) == ""
    assert forgotten([0, 1, 2], {0: 7, 2: 9, 3: 0}, "app", SPEC) == ""
    line = forgotten([0], {0: 7, 3: 9, 2: 5}, "app", SPEC)
    assert line.startswith("app-state-changelog has no saved state of partition 2 of ev, ")
    assert "up to offset 5" in line
    assert line.endswith("kafka-consumer-groups.sh --delete --group app")
