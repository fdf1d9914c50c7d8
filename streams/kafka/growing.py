"""Adds partitions to topics, and makes the changelog anew, for ``ecounters topics --grow``."""

from __future__ import annotations

import asyncio

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import for_code

from ecounters.errors import Stop
from streams.kafka.admin import admin_client
from streams.kafka.clients import Kafka
from streams.kafka.metadata import UNKNOWN_TOPIC
from streams.kafka.topics import CHANGELOG_CONFIG, KNOWN_POLL_S, KNOWN_POLLS, TOPIC_ALREADY_EXISTS


async def add_partitions(kafka: Kafka, topic: str, partitions: int) -> None:
    """Let an existing topic have so many partitions; returns once the brokers report them. Raises KafkaError, and
    TimeoutError after KNOWN_POLLS requests."""
    async with admin_client(kafka) as admin:
        if await _count(admin, topic) < partitions:
            await admin.create_partitions({topic: NewPartitions(partitions)})
        await _until(admin, topic, partitions)


async def make_changelog_anew(kafka: Kafka, topic: str, partitions: int, copies: int) -> None:
    """Delete the changelog, if it is there, and create it with so many partitions and copies.

    Raises KafkaError, Stop if the brokers refuse, TimeoutError if they do not report it after KNOWN_POLLS requests.
    """
    async with admin_client(kafka) as admin:
        for _, code in (await admin.delete_topics([topic])).topic_error_codes:
            if code not in (0, UNKNOWN_TOPIC):
                raise Stop(f"topic {topic} cannot be deleted: {for_code(code).__name__}")
        await _until(admin, topic, 0)
        for _ in range(KNOWN_POLLS):
            new = NewTopic(topic, partitions, copies, topic_configs=CHANGELOG_CONFIG)
            ((_, code, *text),) = (await admin.create_topics([new])).topic_errors
            if code != TOPIC_ALREADY_EXISTS:  # a broker that has not taken in the deletion yet says so
                break
            await asyncio.sleep(KNOWN_POLL_S)
        if code:
            raise Stop(f"topic {topic} cannot be made: {text[0] if text and text[0] else for_code(code).__name__}")
        await _until(admin, topic, partitions)


async def _until(admin: AIOKafkaAdminClient, topic: str, partitions: int) -> None:
    """Wait until the brokers report so many partitions; 0: until they do not know the topic any more."""
    for _ in range(KNOWN_POLLS):
        if await _count(admin, topic) == partitions:
            return
        await asyncio.sleep(KNOWN_POLL_S)
    raise TimeoutError(f"the brokers do not report {partitions} partitions of {topic} yet; try again")


async def _count(admin: AIOKafkaAdminClient, topic: str) -> int:
    """How many partitions a topic has; 0 if there is none. Asks about listed ones only: some brokers create others."""
    if topic not in await admin.list_topics():
        return 0
    (found,) = await admin.describe_topics([topic])
    return len(found["partitions"])
