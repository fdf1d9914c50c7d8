"""What is wrong with existing topics: by their partitions, copies and configurations. Each message says what helps.

``refusal`` is about what would lose counters or give wrong ones: no worker may begin. ``warnings`` is about the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from streams.kafka.metadata import TopicFacts

MIB: Final = 1_048_576
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
MESSAGE_BYTES: Final = 2 * MIB
"""``max.message.bytes`` that all topics should have: a switch.snapshot has up to 1 MiB, and its record has a key,
headers and a frame; the batches of a flush must fit as well."""


class Names(NamedTuple):
    """The names of the three topics."""

    events: str
    dlq: str
    changelog: str


class Found(NamedTuple):
    """The topics that exist, by name, and their configurations: topic -> {name of a setting: value}.

    ``cluster_id``: of the cluster that has them; "" if the broker tells none.
    """

    facts: Mapping[str, TopicFacts]
    configs: Mapping[str, Mapping[str, str]]
    cluster_id: str = ""


def refusal(names: Names, found: Found) -> str:
    """Why no worker may use these topics; "" if workers may. A topic that is missing is passed over."""
    return next(_refusals(names, found), "")


def _refusals(names: Names, found: Found) -> Iterator[str]:
    events, changelog = found.facts.get(names.events), found.facts.get(names.changelog)
    config = found.configs.get(names.events, {})
    policy = config.get("cleanup.policy", "")
    if "compact" in policy:
        yield (
            f"topic {names.events} has cleanup.policy={policy}, so Kafka removes events that have a newer one of "
            f"the same key, before they are counted: {_alter(names.events, 'cleanup.policy=delete')}"
        )
    kept_ms = _number(config, "retention.ms")
    if kept_ms is not None and 0 <= kept_ms < HOUR_MS:
        yield (
            f"topic {names.events} has retention.ms={kept_ms}, less than an hour, so Kafka deletes events before a "
            f"worker that was away has counted them: {_alter(names.events, f'retention.ms={7 * DAY_MS}')}"
        )
    policy = found.configs.get(names.changelog, {}).get("cleanup.policy", "compact")
    if policy != "compact":
        yield (
            f"topic {names.changelog} has cleanup.policy={policy}, which throws away counters with time: "
            f"{_alter(names.changelog, 'cleanup.policy=compact')}"
        )
    if events is not None and changelog is not None and events.partitions != changelog.partitions:
        most = max(events.partitions, changelog.partitions)
        yield (
            f"topic {names.events} has {events.partitions} partitions and {names.changelog} has "
            f"{changelog.partitions}, but they must be equal, as each state belongs to its events; with all workers "
            f"stopped, `ecounters topics --grow {most}` gives all topics {most} and moves what was counted"
        )


def warnings(names: Names, found: Found) -> list[str]:
    """What should be mended, and does no harm to counters while all goes well: one line each, with the topic first."""
    return [*_events_warnings(names, found), *_changelog_warnings(names, found), *_warnings(names, found)]


def _events_warnings(names: Names, found: Found) -> Iterator[str]:
    """Warnings about the topic of events alone."""
    topic, config = names.events, found.configs.get(names.events, {})
    stamp = config.get("message.timestamp.type", "LogAppendTime")
    if stamp != "LogAppendTime":
        yield (
            f"{topic}: warning: message.timestamp.type={stamp}: whether an event is ahead is judged by the clock of "
            "the worker that reads it, and Kafka deletes events by the times that producers give them; "
            f"{_alter(topic, 'message.timestamp.type=LogAppendTime')}"
        )
    kept_ms, kept_bytes = _number(config, "retention.ms"), _number(config, "retention.bytes")
    if kept_ms is not None and 0 <= kept_ms < DAY_MS:
        yield (
            f"{topic}: warning: retention.ms={kept_ms}, less than a day: what comes while workers are down for longer "
            f"is lost; {_alter(topic, f'retention.ms={7 * DAY_MS}')}"
        )
    facts = found.facts.get(topic)
    tells_ids = facts is None or facts.topic_id  # the embedded broker tells none, and `ecounters run` limits its memory
    if kept_bytes is not None and kept_bytes >= 0 and tells_ids:
        yield (
            f"{topic}: warning: retention.bytes={kept_bytes}: Kafka deletes what is more than this in a partition, "
            f"however new it is; {_alter(topic, 'retention.bytes=-1')}"
        )


def _changelog_warnings(names: Names, found: Found) -> Iterator[str]:
    """Warnings about the changelog alone. A restore may take half an hour: see ``topics.CHANGELOG_STALE_MS``."""
    topic = names.changelog
    kept_ms = _number(found.configs.get(topic, {}), "delete.retention.ms")
    if kept_ms is not None and kept_ms < HOUR_MS:
        yield (
            f"{topic}: warning: delete.retention.ms={kept_ms}, less than an hour: a worker that needs longer than "
            "that to read it can miss what was removed meanwhile, and count that again; "
            f"{_alter(topic, f'delete.retention.ms={HOUR_MS}')}"
        )


def _warnings(names: Names, found: Found) -> Iterator[str]:
    """Warnings about all three topics."""
    events, dlq = found.facts.get(names.events), found.facts.get(names.dlq)
    if events is not None and dlq is not None and dlq.partitions < events.partitions:
        yield (
            f"{names.dlq}: warning: {dlq.partitions} partitions, and {names.events} has {events.partitions}: dead "
            "letters of the others go to partitions that are there; "
            f"kafka-topics.sh --alter --topic {names.dlq} --partitions {events.partitions}"
        )
    for name, facts in sorted(found.facts.items()):
        if facts.copies == 1 and facts.topic_id:  # the embedded broker, which tells no ids, has one copy of all
            yield (
                f"{name}: warning: one copy: a lost disk takes it along; kafka-reassign-partitions.sh gives it more, "
                "and `ecounters topics --replication 3` creates new ones with three"
            )
        size = _number(found.configs.get(name, {}), "max.message.bytes")
        if size is not None and size < MESSAGE_BYTES:
            holds = "a switch.snapshot can have 1 MiB, and its record more; " if name == names.events else ""
            yield (
                f"{name}: warning: max.message.bytes={size}: {holds}what is larger is refused or lost; "
                f"{_alter(name, f'max.message.bytes={MESSAGE_BYTES}')}"
            )


def _alter(topic: str, setting: str) -> str:
    """The command that gives a topic another setting."""
    return f"kafka-configs.sh --alter --topic {topic} --add-config {setting}"


def _number(config: Mapping[str, str], name: str) -> int | None:
    """A setting that is a whole number; None if the broker does not tell it."""
    text = config.get(name) or ""
    return int(text) if text.removeprefix("-").isdecimal() else None
