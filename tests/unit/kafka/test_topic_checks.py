"""What is refused of topics, and what is warned of: each with the command that mends it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from streams.kafka.first_look import missing
from streams.kafka.metadata import TopicFacts
from streams.kafka.topic_checks import DAY_MS, HOUR_MS, MESSAGE_BYTES, Found, Names, refusal, warnings

NAMES = Names("ev", "ev.dlq", "app-state-changelog")
GOOD = {
    "ev": {
        "cleanup.policy": "delete",
        "retention.ms": str(DAY_MS),
        "retention.bytes": "-1",
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(MESSAGE_BYTES),
    },
    "ev.dlq": {"cleanup.policy": "delete", "max.message.bytes": str(MESSAGE_BYTES)},
    "app-state-changelog": {
        "cleanup.policy": "compact",
        "delete.retention.ms": str(HOUR_MS),
        "max.message.bytes": str(MESSAGE_BYTES),
    },
}


def found(topic: str = "ev", *, copies: int = 3, topic_id: str = "ab" * 16, **changed: str) -> Found:
    """Good topics of 4 partitions, but for some settings of one."""
    return counted({"ev": 4, "ev.dlq": 4, "app-state-changelog": 4}, topic, copies, topic_id, **changed)


def counted(
    counts: Mapping[str, int], topic: str = "ev", copies: int = 3, topic_id: str = "ab" * 16, **changed: str
) -> Found:
    """Good topics with so many partitions, but for some settings of one."""
    settings = {name.replace("_", "."): value for name, value in changed.items()}
    configs = {name: {**config, **(settings if name == topic else {})} for name, config in GOOD.items()}
    return Found({name: TopicFacts(topic_id, count, copies, None) for name, count in counts.items()}, configs)


def test_good_topics_are_neither_refused_nor_warned_of() -> None:
    """Kept for a day, or for ever; and where the broker tells no configuration."""
    for good in (found(), found(retention_ms="-1"), Found({}, {}), Found(found().facts, {})):
        assert (refusal(NAMES, good), warnings(NAMES, good)) == ("", [])


@pytest.mark.parametrize(
    ("bad", "mends"),
    [
        (found(cleanup_policy="compact"), "--topic ev --add-config cleanup.policy=delete"),
        (found(cleanup_policy="compact,delete"), "--topic ev --add-config cleanup.policy=delete"),
        (found(retention_ms=str(HOUR_MS - 1)), "--topic ev --add-config retention.ms="),
        (found(retention_ms="0"), "--topic ev --add-config retention.ms="),
        (found("app-state-changelog", cleanup_policy="delete"), "changelog --add-config cleanup.policy=compact"),
        (
            found("app-state-changelog", cleanup_policy="compact,delete"),
            "changelog --add-config cleanup.policy=compact",
        ),
        (counted({"ev": 8, "app-state-changelog": 4}), "`ecounters topics --grow 8`"),
        (counted({"ev": 4, "app-state-changelog": 8}), "`ecounters topics --grow 8`"),
    ],
)
def test_what_loses_counters_is_refused(bad: Found, mends: str) -> None:
    """In one line, which ends with what helps."""
    why = refusal(NAMES, bad)
    assert mends in why
    assert "\n" not in why


@pytest.mark.parametrize(
    ("bad", "mends"),
    [
        (found(retention_ms=str(DAY_MS - 1)), "ev --add-config retention.ms="),
        (found(retention_ms=str(HOUR_MS)), "ev --add-config retention.ms="),
        (found(retention_bytes="1000000"), "ev --add-config retention.bytes=-1"),
        (found(message_timestamp_type="CreateTime"), "ev --add-config message.timestamp.type=LogAppendTime"),
        (found(max_message_bytes="1048588"), "1 MiB"),
        (found("ev.dlq", max_message_bytes="1048588"), "ev.dlq --add-config max.message.bytes="),
        (
            found("app-state-changelog", delete_retention_ms=str(HOUR_MS - 1)),
            "app-state-changelog --add-config delete.retention.ms=",
        ),
        (counted({"ev": 4, "ev.dlq": 3}), "--topic ev.dlq --partitions 4"),
        (counted({"ev": 4}, copies=1), "--replication 3"),
    ],
)
def test_what_should_be_mended_is_warned_of(bad: Found, mends: str) -> None:
    """In one line, with the command."""
    assert refusal(NAMES, bad) == ""
    (line,) = warnings(NAMES, bad)
    assert ": warning: " in line
    assert mends in line


def test_a_limit_in_bytes_is_no_matter_on_the_embedded_broker() -> None:
    """It has all data in memory. `ecounters run` sets the limit."""
    assert warnings(NAMES, found(topic_id="", retention_bytes="1000000")) == []


def test_one_copy_is_no_matter_on_the_embedded_broker() -> None:
    """It tells no ids, and has one copy of everything."""
    assert warnings(NAMES, found(copies=1, topic_id="")) == []


def test_a_missing_topic_is_named_with_the_nearest() -> None:
    """If one is near: else the command alone."""
    line = missing("calls.event", ["other", "calls.events", "calls.events.dlq"], is_events=True)
    assert "no topic calls.event (ECOUNTERS_TOPIC); did you mean calls.events?" in line
    assert "`ecounters topics`" in line
    assert "did you mean" not in missing("calls", ["xyz"], is_events=True)
    assert "ECOUNTERS_TOPIC" not in missing("calls.dlq", [], is_events=False)
