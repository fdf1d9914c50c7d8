"""Creates the three topics (events, dead letters, changelog) with the settings they need, or checks existing ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import ClusterAuthorizationFailedError, TopicAuthorizationFailedError, for_code

from ecounters.errors import Stop, Unfit
from streams.kafka.admin import admin_client
from streams.kafka.clients import Kafka
from streams.kafka.metadata import UNKNOWN_TOPIC, facts_of
from streams.kafka.rights import TOPIC, is_missing, missing_right, needing
from streams.kafka.topic_checks import DAY_MS, HOUR_MS, MESSAGE_BYTES, MIB, Found, Names, refusal, warnings
from streams.settings.table import Settings

TOPIC_ALREADY_EXISTS: Final = 36
"""Kafka's error code TOPIC_ALREADY_EXISTS."""
KNOWN_POLL_S: Final = 0.05
KNOWN_POLLS: Final = 200
"""How many times, every KNOWN_POLL_S, to ask the brokers whether they know a topic that was created: for about 10 s."""

EVENTS_CONFIG: Final = {
    # The broker stamps each record by its clock. An event is then judged as too far ahead of that clock, or not, in
    # the same way whenever the log is read.
    "message.timestamp.type": "LogAppendTime",
    "retention.ms": str(7 * DAY_MS),
    # A switch.snapshot has up to 1 MiB, and its record has a key, headers and a frame.
    "max.message.bytes": str(MESSAGE_BYTES),
}

DLQ_CONFIG: Final = {
    "retention.ms": str(30 * DAY_MS),
    # A dead letter holds a message and headers; a message that is larger than this is truncated.
    "max.message.bytes": str(MESSAGE_BYTES),
}

CHANGELOG_CONFIG: Final = {
    "cleanup.policy": "compact",
    # By default Kafka compacts a log only once half of it was written since the last compaction. A restore reads all.
    "min.cleanable.dirty.ratio": "0.1",
    # Kafka never compacts the newest segment. By default a segment grows for a week or to 1 GiB. A restore reads 16 MiB
    # in less than 1 s.
    "segment.bytes": str(16 * MIB),
    "segment.ms": str(HOUR_MS),
    # Only the second compaction that comes upon a tombstone or a transaction marker removes it. This limit makes sure
    # that there is a second one.
    "max.compaction.lag.ms": str(HOUR_MS),
    # How long a tombstone stays at least. A restore that takes longer than this could miss one, and keep an entry that
    # was deleted. With Kafka's default, a day, a restore would have to read the tombstones of a day's ended calls.
    "delete.retention.ms": str(HOUR_MS),
    # The batches of a flush must fit (``streams.kafka.changelog_writer.BATCH_BYTES``).
    "max.message.bytes": str(MESSAGE_BYTES),
}

CHANGELOG_STALE_MS: Final = HOUR_MS // 2
"""What was read of a changelog so long before its end was reached may be wrong: Kafka takes tombstones away after an
hour (``delete.retention.ms``), and what they have removed would stay."""


@dataclass(frozen=True, slots=True)
class TopicsSpec:
    """The topics' names, and how many partitions and replicas a topic gets that is still to be created."""

    events: str
    dlq: str
    changelog: str
    partitions: int
    replication: int

    @property
    def names(self) -> Names:
        """The three names."""
        return Names(self.events, self.dlq, self.changelog)

    @classmethod
    def of(cls, settings: Settings) -> TopicsSpec:
        """The names and counts in the settings."""
        return cls(
            settings.topic,
            settings.dlq_topic,
            settings.changelog_topic,
            settings.partitions,
            settings.replication,
        )


async def count_partitions(kafka: Kafka, topic: str, needed: str) -> int:
    """How many partitions a topic has that this process is going to use. ``needed``: "Read" or "Write".

    Raises Stop if there is no such topic, AccessRefused if Kafka does not allow this, KafkaError if the broker cannot
    be reached.
    """
    with needing(needed, TOPIC, topic):
        facts = (await facts_of(kafka, [topic])).topics.get(topic)
    if facts is None:
        raise Stop(f"there is no topic {topic}: is ECOUNTERS_TOPIC right? `ecounters topics` makes what is missing")
    if is_missing(facts.rights, needed):
        raise missing_right(needed, TOPIC, topic)
    return facts.partitions


async def topic_configs(kafka: Kafka, topics: Sequence[str]) -> dict[str, dict[str, str]]:
    """topic -> {name of a setting: value}.

    Raises Stop if a topic is missing or its configuration cannot be read, KafkaError if the broker cannot be reached.
    """
    async with admin_client(kafka) as admin:
        # Ask about listed topics only: some brokers create a topic when they are asked about one that is missing.
        if missing := set(topics) - set(await admin.list_topics()):
            raise Stop(f"there is no topic {', '.join(sorted(missing))}; `ecounters topics` creates what is missing")
        return await topic_settings(admin, list(topics))


class Topics(NamedTuple):
    """The outcome of ``ensure_topics``."""

    partitions: int
    """How many partitions the topic of events has, and so the changelog."""
    lines: list[str]
    """What exists, what was created, and warnings, as lines for the user."""


async def ensure_topics(kafka: Kafka, spec: TopicsSpec) -> Topics:
    """Create the topics that are missing and check the others. Returns once the brokers report all of them.

    If the topic of events or the changelog exists, missing topics get as many partitions as it has.

    Raises Unfit for topics that no worker may use (see ``topic_checks.refusal``), Stop if a topic cannot be created or
    the configuration of an existing one cannot be read. Raises KafkaError if the broker cannot be reached, TimeoutError
    if a new topic is not known after KNOWN_POLLS requests.
    """
    async with admin_client(kafka) as admin:
        return await _ensure(admin, kafka, spec)


async def _ensure(admin: Any, kafka: Kafka, spec: TopicsSpec) -> Topics:
    found = await found_topics(admin, kafka, spec.names)
    if why := refusal(spec.names, found):
        raise Unfit(why)
    existing = {name: facts.partitions for name, facts in found.facts.items()}
    partitions = existing.get(spec.events) or existing.get(spec.changelog) or spec.partitions
    required = {
        spec.events: (partitions, EVENTS_CONFIG),
        spec.changelog: (partitions, CHANGELOG_CONFIG),
        spec.dlq: (partitions, DLQ_CONFIG),
    }
    lines = []
    if partitions != spec.partitions:
        lines.append(f"{partitions} partitions as there are already, not {spec.partitions}")
    lines.extend(f"{name}: there, {count} partitions" for name, count in existing.items())
    lines.extend(warnings(spec.names, found))
    missing = [
        NewTopic(name, count, spec.replication, topic_configs=config)
        for name, (count, config) in required.items()
        if name not in existing
    ]
    created, created_by_others = await _create(admin, missing) if missing else ([], [])
    names = [spec.events, spec.dlq, spec.changelog]
    await until_partitions(admin, names, lambda found: all(found.values()))
    if created_by_others:  # another process has created some in the meantime: check these like all existing topics
        return await _ensure(admin, kafka, spec)
    return Topics(partitions, lines + created)


async def found_topics(admin: Any, kafka: Kafka, names: Names) -> Found:
    """What there is of the three topics. ``admin``: a started admin client.

    Raises Stop if the configuration of one cannot be read, KafkaError if the broker cannot be reached.
    """
    cluster_id, facts = await facts_of(kafka, names)
    return Found(facts, await topic_settings(admin, list(facts)), cluster_id)


async def until_partitions(admin: Any, names: list[str], fit: Callable[[dict[str, int]], bool]) -> None:
    """Wait until the brokers report numbers of partitions that ``fit``: Kafka acknowledges a change before all brokers
    know of it. A topic that is not there has 0.

    Raises TimeoutError after KNOWN_POLLS requests.
    """
    for _ in range(KNOWN_POLLS):
        if fit(await partitions_of(admin, names)):
            return
        await asyncio.sleep(KNOWN_POLL_S)
    raise TimeoutError(f"the brokers do not know of what was done to {', '.join(names)} yet; try again")


async def largest_message(kafka: Kafka, topic: str) -> int:
    """``max.message.bytes`` of an existing topic: the largest batch that it takes. MESSAGE_BYTES if it says none.

    Raises Stop if the broker refuses to tell, KafkaError if it cannot be reached.
    """
    size = (await _config_of(kafka, topic)).get("max.message.bytes", "")
    return int(size) if size.isdecimal() else MESSAGE_BYTES


async def is_stamped_by_broker(kafka: Kafka, topic: str) -> bool:
    """Whether the broker stamps the records of an existing topic. Else their timestamps are their producers', and say
    nothing of when a record was written. Raises what ``largest_message`` raises."""
    return (await _config_of(kafka, topic)).get("message.timestamp.type") == "LogAppendTime"


async def _config_of(kafka: Kafka, topic: str) -> dict[str, str]:
    """The configuration of an existing topic: name of a setting -> value."""
    async with admin_client(kafka) as admin:
        return (await topic_settings(admin, [topic]))[topic]


async def partitions_of(admin: Any, names: list[str]) -> dict[str, int]:
    """topic -> how many partitions it has; 0 if there is none. Asks about listed ones only: some brokers create others.

    Raises KafkaError if the broker cannot be reached.
    """
    listed = set(await admin.list_topics())
    found = dict.fromkeys(names, 0)
    if there := [name for name in names if name in listed]:
        found |= {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics(there)}
    return found


async def topic_settings(admin: Any, names: list[str]) -> dict[str, dict[str, str]]:
    """topic -> {name of a setting: value}.

    A topic that another process has just created may be unknown yet to the broker that is asked: it is asked again, as
    in ``until_partitions``.

    Raises Stop if the broker does not tell those of a topic, AccessRefused for lack of the right, KafkaError if it
    cannot be reached.
    """
    if not names:
        return {}
    configs: dict[str, dict[str, str]] = {}
    for _ in range(KNOWN_POLLS):
        unknown = [name for name in names if name not in configs]
        configs |= await _known_settings(admin, unknown)
        if len(configs) == len(set(names)):
            return configs
        await asyncio.sleep(KNOWN_POLL_S)
    raise Stop(f"topic {', '.join(unknown)}: its configuration cannot be read: a broker says that there is none")


async def _known_settings(admin: Any, names: list[str]) -> dict[str, dict[str, str]]:
    """``topic_settings`` by one request, without the topics that the asked broker does not know. Raises the same."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    configs = {}
    for response in await admin.describe_configs(resources):
        for code, text, _, name, entries in response.resources:
            if code == TopicAuthorizationFailedError.errno:
                raise missing_right("DescribeConfigs", TOPIC, name)
            if code == UNKNOWN_TOPIC:
                continue
            if code:
                raise Stop(f"topic {name}: its configuration cannot be read: {text or for_code(code).__name__}")
            configs[name] = {entry[0]: entry[1] for entry in entries}
    return configs


async def _create(admin: Any, topics: list[NewTopic]) -> tuple[list[str], list[str]]:
    """Create topics: (lines about those that were created, names of those that another process has created before).

    Raises Stop if a topic cannot be created.
    """
    response = await admin.create_topics(topics)
    lines, existing = [], []
    for name, code, *text in response.topic_errors:
        if code == TOPIC_ALREADY_EXISTS:
            existing.append(name)
            continue
        if code in (TopicAuthorizationFailedError.errno, ClusterAuthorizationFailedError.errno):
            raise missing_right("Create", TOPIC, name)
        if code:
            reason = text[0] if text and text[0] else for_code(code).__name__
            raise Stop(f"topic {name} cannot be made: {reason}")
        topic = next(topic for topic in topics if topic.name == name)
        lines.append(f"{name}: made, {topic.num_partitions} partitions, {topic.replication_factor} copies")
    return lines, existing
