"""The three topics: made with what they need, or checked where they are there already."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

from ecounters.errors import Stop
from streams.settings.table import Settings

MIB: Final = 1_048_576
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS

REQUEST_LIMIT_MS: Final = 10_000
"""For each request to the broker. Making a topic of many partitions takes seconds on a busy cluster."""

_ALREADY_THERE: Final = 36
"""Kafka's error code TOPIC_ALREADY_EXISTS."""
KNOWN_POLL_S: Final = 0.05
KNOWN_POLLS: Final = 200

EVENTS_CONFIG: Final = {
    # The broker's clock: an event's being too far ahead is then the same verdict whenever the log is read.
    "message.timestamp.type": "LogAppendTime",
    "retention.ms": str(7 * DAY_MS),
    "max.message.bytes": str(MIB),
}

DLQ_CONFIG: Final = {
    "retention.ms": str(30 * DAY_MS),
    # A message as it came and headers on top: what went into the events' topic must go into this one.
    "max.message.bytes": str(2 * MIB),
}

CHANGELOG_CONFIG: Final = {
    "cleanup.policy": "compact",
    # Half of the log may be dead entries before Kafka looks by default; a restore reads them all.
    "min.cleanable.dirty.ratio": "0.1",
    # The segment that is written to is never compacted: it must not be Kafka's week and 1 GiB. 16 MiB are read in less
    # than a second.
    "segment.bytes": str(16 * MIB),
    "segment.ms": str(HOUR_MS),
    # Removals, and the marks of transactions, go in the second compaction that finds them: there must be one.
    "max.compaction.lag.ms": str(HOUR_MS),
    # A restore that takes longer than this could miss a removal. Kafka's day would be a day of ended calls to read.
    "delete.retention.ms": str(HOUR_MS),
    # A flush is a transaction of batches of less than this.
    "max.message.bytes": str(2 * MIB),
}


@dataclass(frozen=True, slots=True)
class TopicsSpec:
    """Which topics there must be. The numbers are for topics that are yet to be made."""

    events: str
    dlq: str
    changelog: str
    partitions: int
    replication: int

    @classmethod
    def of(cls, settings: Settings) -> TopicsSpec:
        """As the settings say."""
        return cls(
            settings.topic,
            settings.dlq_topic,
            settings.changelog_topic,
            settings.partitions,
            settings.replication,
        )


async def count_partitions(broker: str, topic: str) -> int:
    """How many partitions a topic has that is there. KafkaError if the broker cannot be asked."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker, request_timeout_ms=REQUEST_LIMIT_MS)
    try:
        await admin.start()
        return (await _partitions(admin, [topic]))[topic]
    finally:
        await admin.close()


class Topics(NamedTuple):
    """Topics that are there. ``partitions``: of events and of the changelog; ``lines``: what was done or found."""

    partitions: int
    lines: list[str]


async def ensure_topics(broker: str, spec: TopicsSpec) -> Topics:
    """Make the topics that are missing and check the others.

    Stop if a topic cannot be made, or if one that is there would not do; the text says what to do. aiokafka's
    KafkaError where the broker cannot be reached.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=broker, request_timeout_ms=REQUEST_LIMIT_MS)
    try:
        await admin.start()
        return await _ensure(admin, spec)
    finally:
        await admin.close()


async def _ensure(admin: Any, spec: TopicsSpec) -> Topics:
    # list_topics first: to be asked about a topic that is missing makes some brokers create it.
    there = await _partitions(admin, sorted({spec.events, spec.dlq, spec.changelog} & set(await admin.list_topics())))
    events, changelog = there.get(spec.events), there.get(spec.changelog)
    if events is not None and changelog is not None and events != changelog:
        raise Stop(_uneven(spec, events, changelog))
    partitions = events or changelog or spec.partitions
    wanted = {
        spec.events: (partitions, EVENTS_CONFIG),
        spec.changelog: (partitions, CHANGELOG_CONFIG),
        spec.dlq: (partitions, DLQ_CONFIG),
    }
    lines = []
    if partitions != spec.partitions:
        lines.append(f"{partitions} partitions as there are already, not {spec.partitions}")
    found = await _configs(admin, list(there))
    for name in there:
        lines.append(f"{name}: there, {there[name]} partitions")
        lines.extend(_checked(name, found[name], spec))
    missing = [
        NewTopic(name, count, spec.replication, topic_configs=config)
        for name, (count, config) in wanted.items()
        if name not in there
    ]
    made, others = await _create(admin, missing) if missing else ([], [])
    await _until_known(admin, [spec.events, spec.dlq, spec.changelog])
    if others:  # somebody else was quicker, and what they have made is to be checked like the rest
        return await _ensure(admin, spec)
    return Topics(partitions, lines + made)


async def _until_known(admin: Any, names: list[str]) -> None:
    """Wait until the brokers know of topics that were just made: Kafka acknowledges before all of them do."""
    for _ in range(KNOWN_POLLS):
        known = set(await admin.list_topics()) & set(names)
        if len(known) == len(names) and all((await _partitions(admin, names)).values()):
            return
        await asyncio.sleep(KNOWN_POLL_S)
    raise TimeoutError(f"the brokers do not know of {', '.join(names)} yet, which were made; try again")


async def _partitions(admin: Any, names: list[str]) -> dict[str, int]:
    if not names:
        return {}
    return {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics(names)}


async def _configs(admin: Any, names: list[str]) -> dict[str, dict[str, str]]:
    """Each topic's configuration."""
    if not names:
        return {}
    asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    found = {}
    for response in await admin.describe_configs(asked):
        for code, text, _, name, entries in response.resources:
            if code:
                raise Stop(f"topic {name}: its configuration cannot be read: {text or for_code(code).__name__}")
            found[name] = {entry[0]: entry[1] for entry in entries}
    return found


def _checked(name: str, config: dict[str, str], spec: TopicsSpec) -> list[str]:
    """Warnings about a topic that is there; Stop if the state would not be safe in it."""
    if name == spec.changelog and config.get("cleanup.policy") != "compact":
        raise Stop(
            f"topic {name} has cleanup.policy={config.get('cleanup.policy')}, which throws away counters with time: "
            f"kafka-configs.sh --alter --topic {name} --add-config cleanup.policy=compact"
        )
    stamp = config.get("message.timestamp.type")
    if name == spec.events and stamp != "LogAppendTime":
        return [
            f"{name}: warning: message.timestamp.type={stamp}: events whose clock is ahead are judged by their "
            "producers' clocks; LogAppendTime is better"
        ]
    return []


def _uneven(spec: TopicsSpec, events: int, changelog: int) -> str:
    return (
        f"topic {spec.events} has {events} partitions and {spec.changelog} has {changelog}, but they must be equal, as "
        "each partition's state belongs to its events. Partitions were added to one of them: go on under new names "
        "(ECOUNTERS_TOPIC and ECOUNTERS_APP_ID) and publish the log again with `ecounters replay`"
    )


async def _create(admin: Any, topics: list[NewTopic]) -> tuple[list[str], list[str]]:
    """(lines on what was made, names of topics that are there after all)."""
    response = await admin.create_topics(topics)
    lines, others = [], []
    for name, code, *text in response.topic_errors:
        if code == _ALREADY_THERE:
            others.append(name)
            continue
        if code:
            why = text[0] if text and text[0] else for_code(code).__name__
            raise Stop(f"topic {name} cannot be made: {why}")
        made = next(topic for topic in topics if topic.name == name)
        lines.append(f"{name}: made, {made.num_partitions} partitions, {made.replication_factor} copies")
    return lines, others
