"""What `ecounters user erase` says of what the topics still hold, for settings that an operator may have made."""

from __future__ import annotations

import pytest

from streams.settings.table import Settings
from streams.tools.erase import remains

DAY_MS = 86_400_000


def said(events: dict[str, str], changelog: dict[str, str] | None = None) -> list[str]:
    """The lines for these settings of the topics of events and of the changelog."""
    settings = Settings()
    configs = {settings.topic: events, settings.dlq_topic: {}, settings.changelog_topic: changelog or {}}
    return list(remains(settings, configs))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"retention.ms": str(7 * DAY_MS)}, "for 7 days after each was written (retention.ms), and until its segment"),
        ({"retention.ms": str(DAY_MS), "segment.ms": "3600000"}, "for 1 day after"),
        ({"retention.ms": str(DAY_MS), "segment.ms": "5400000"}, "its segment is deleted, 90 minutes more at most"),
        ({"retention.ms": "1500"}, "for 1,500 ms after"),
        ({"retention.ms": "-1"}, "without a limit of time: its retention.ms is -1"),
        (
            {"retention.ms": str(DAY_MS), "cleanup.policy": "compact"},
            "without a limit: its cleanup.policy is not delete",
        ),
        ({"retention.ms": str(DAY_MS), "cleanup.policy": "compact,delete"}, "for 1 day after"),
    ],
)
def test_how_long_a_topic_holds_events(config: dict[str, str], words: str) -> None:
    """By retention and segments; without a limit, the line says which setting is the reason."""
    assert words in said(config)[0]


def test_how_long_the_changelog_holds_what_was_counted() -> None:
    """Until it is compacted, and its tombstones until the compaction after their retention."""
    lines = said({}, {"max.compaction.lag.ms": "7200000", "delete.retention.ms": "60000"})[2:4]
    assert lines[0].endswith("until Kafka compacts it, about 2 hours after the erasure.")
    assert lines[1].endswith("which name numbers and DIDs, for 1 minute more until the next compaction.")
    lines = said({}, {"max.compaction.lag.ms": "9223372036854775807"})[2:4]
    assert lines[0].endswith("until Kafka compacts it.")
    assert lines[1].endswith("which name numbers and DIDs, until the next compaction.")
