"""What ``ecounters state`` finds of a deployment: its topics, the binding of its state, whether workers run."""

from __future__ import annotations

from typing import NamedTuple

from aiokafka import TopicPartition

from ecounters.changelog.binding import EventsLog
from ecounters.changelog.entries import read_position
from ecounters.changelog.saved import Position
from ecounters.errors import Stop
from streams.kafka.clients import Kafka
from streams.kafka.group_facts import group_members
from streams.kafka.metadata import ClusterFacts, facts_of
from streams.kafka.positions import known_positions
from streams.settings.table import Settings


async def topics_of(settings: Settings, *more: str) -> ClusterFacts:
    """What the cluster says of the topics of a deployment, and of ``more``; one that is missing is not in it.

    Raises KafkaError.
    """
    return await facts_of(Kafka.of(settings), (settings.topic, settings.dlq_topic, settings.changelog_topic, *more))


def log_of(settings: Settings, facts: ClusterFacts) -> EventsLog | None:
    """The topic of events as a binding has it; None if it is missing."""
    found = facts.topics.get(settings.topic)
    return found and EventsLog(facts.cluster_id, settings.topic, found.topic_id, found.partitions)


def is_same_topic(one: EventsLog, other: EventsLog) -> bool:
    """Whether both are one topic, perhaps with another number of partitions. Ids decide, where brokers tell them."""
    return (one.cluster, one.topic, one.topic_id) == (other.cluster, other.topic, other.topic_id)


async def saved_positions(settings: Settings, partitions: int) -> dict[int, Position]:
    """partition -> its saved position. Raises Stop for one that cannot be read; KafkaError; OSError."""
    topic, found = settings.changelog_topic, {}
    known = await known_positions(Kafka.of(settings), topic, partitions, ())
    for at in sorted(known.damaged):
        raise Stop(f"{topic}, partition {at}: records are damaged; `ecounters state check` says which, and what helps")
    for at, value in known.saved.items():
        try:
            found[at] = read_position(value)
        except ValueError as error:
            raise Stop(f"{topic}, partition {at}: its position cannot be read: {error}") from None
    return found


async def refuse_if_running(settings: Settings) -> None:
    """Raise Stop if the group has members: what they write would be lost, or would spoil what is written here."""
    members = await group_members(Kafka.of(settings), settings.app_id)
    if members:
        raise Stop(
            f"workers of {settings.app_id} are running: {', '.join(members)}. Stop them first. One that was killed "
            f"counts as running for up to {settings.session_timeout_s:g} s"
        )


class Offsets(NamedTuple):
    """partition -> its first offset, and partition -> its last stable offset."""

    begins: dict[int, int]
    ends: dict[int, int]


async def offsets_of(kafka: Kafka, topic: str, partitions: int) -> Offsets:
    """The offsets that an existing topic has now. Raises KafkaError."""
    consumer = kafka.consumer(isolation_level="read_committed", enable_auto_commit=False)
    try:
        await consumer.start()
        tps = [TopicPartition(topic, at) for at in range(partitions)]
        consumer.assign(tps)
        begins, ends = await consumer.beginning_offsets(tps), await consumer.end_offsets(tps)
    finally:
        await consumer.stop()
    return Offsets({tp.partition: at for tp, at in begins.items()}, {tp.partition: at for tp, at in ends.items()})
