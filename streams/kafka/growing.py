"""Adds partitions to topics, and makes the changelog anew, for ``ecounters topics --grow``."""

from __future__ import annotations

import asyncio

from aiokafka.admin import NewPartitions, NewTopic
from aiokafka.errors import TopicAuthorizationFailedError, for_code

from ecounters.errors import Stop
from streams.kafka.admin import admin_client
from streams.kafka.clients import Kafka
from streams.kafka.metadata import UNKNOWN_TOPIC
from streams.kafka.rights import TOPIC, missing_right, needing
from streams.kafka.topics import (
    CHANGELOG_CONFIG,
    KNOWN_POLL_S,
    KNOWN_POLLS,
    TOPIC_ALREADY_EXISTS,
    partitions_of,
    until_partitions,
)


async def add_partitions(kafka: Kafka, topic: str, partitions: int) -> None:
    """Let an existing topic have so many partitions; returns once the brokers report them. Raises KafkaError, and
    TimeoutError after KNOWN_POLLS requests."""
    async with admin_client(kafka) as admin:
        if (await partitions_of(admin, [topic]))[topic] < partitions:
            with needing("Alter", TOPIC, topic):
                await admin.create_partitions({topic: NewPartitions(partitions)})
        await until_partitions(admin, [topic], lambda found: found[topic] == partitions)


async def make_changelog_anew(kafka: Kafka, topic: str, partitions: int, copies: int) -> None:
    """Delete the changelog, if it is there, and create it with so many partitions and copies.

    Raises KafkaError, Stop if the brokers refuse, TimeoutError if they do not report it after KNOWN_POLLS requests.
    """
    async with admin_client(kafka) as admin:
        for _, code in (await admin.delete_topics([topic])).topic_error_codes:
            if code == TopicAuthorizationFailedError.errno:
                raise missing_right("Delete", TOPIC, topic)
            if code not in (0, UNKNOWN_TOPIC):
                raise Stop(f"topic {topic} cannot be deleted: {for_code(code).__name__}")
        await until_partitions(admin, [topic], lambda found: found[topic] == 0)
        for _ in range(KNOWN_POLLS):
            new = NewTopic(topic, partitions, copies, topic_configs=CHANGELOG_CONFIG)
            ((_, code, *text),) = (await admin.create_topics([new])).topic_errors
            if code != TOPIC_ALREADY_EXISTS:  # a broker that has not taken in the deletion yet says so
                break
            await asyncio.sleep(KNOWN_POLL_S)
        if code:
            raise Stop(f"topic {topic} cannot be made: {text[0] if text and text[0] else for_code(code).__name__}")
        await until_partitions(admin, [topic], lambda found: found[topic] == partitions)
