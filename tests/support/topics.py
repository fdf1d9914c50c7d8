"""Reading and filling topics of a test, and waiting until a worker has flushed its log."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.kafka.clients import Kafka
from streams.kafka.topics import count_partitions
from tests.support.workers import Deployment

CAUGHT_UP_LIMIT_S: Final = 90.0


async def read_topic(broker: str, topic: str, isolation: str = "read_uncommitted") -> dict[int, list[Any]]:
    """All records of a topic up to its present end, by partition."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=broker, enable_auto_commit=False, isolation_level=isolation, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, at) for at in range(await count_partitions(Kafka(broker), topic, "Read"))]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        found: dict[int, list[Any]] = {tp.partition: [] for tp in partitions}
        for tp in partitions:
            while await consumer.position(tp) < ends[tp]:
                for records in (await consumer.getmany(tp, timeout_ms=500)).values():
                    found[tp.partition] += [r for r in records if r.offset < ends[tp]]
        return found
    finally:
        await consumer.stop()


def make_topics(deployment: Deployment, configs: Mapping[str, Mapping[str, str]]) -> None:
    """Create topics of a deployment with other configurations than `ecounters topics` gives, and then the others.

    ``configs``: topic -> its whole configuration.
    """

    async def create() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=deployment.broker)
        await admin.start()
        await admin.create_topics(
            [NewTopic(name, deployment.partitions, 1, topic_configs=dict(config)) for name, config in configs.items()]
        )
        await admin.close()

    asyncio.run(create())
    deployment.create_topics()


async def filled_topic(broker: str, partitions: int, batches: Iterable[Sequence[bytes]]) -> str:
    """Create a topic, publish every value to each of its partitions, and return its name.

    Values of one sequence in ``batches`` share record batches with one another and with no others.
    """
    topic = f"filled-{uuid.uuid4().hex[:8]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    await admin.create_topics([NewTopic(topic, partitions, 1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=broker) as producer:
        for values in batches:
            for value in values:
                for partition in range(partitions):
                    await producer.send(topic, value, partition=partition)
            await producer.flush()
    return topic


def wait_until_flushed(deployment: Deployment, limit_s: float = CAUGHT_UP_LIMIT_S) -> None:
    """Wait until the group's committed offsets are at the ends of the events topic. AssertionError after ``limit_s``.

    Misrouted events count too: the worker publishes them again at the end of their own partition.
    """

    async def wait() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=deployment.broker)
        consumer = AIOKafkaConsumer(bootstrap_servers=deployment.broker)
        await admin.start()
        await consumer.start()
        try:
            partitions = [TopicPartition(deployment.name, at) for at in range(deployment.partitions)]
            deadline = time.monotonic() + limit_s
            while True:
                committed = await admin.list_consumer_group_offsets(deployment.name)
                ends = await consumer.end_offsets(partitions)
                left = {tp.partition: end - getattr(committed.get(tp), "offset", 0) for tp, end in ends.items() if end}
                if not any(left.values()):
                    return
                assert time.monotonic() < deadline, f"not flushed after {limit_s} s: {left}"
                await asyncio.sleep(0.1)
        finally:
            await consumer.stop()
            await admin.close()

    asyncio.run(wait())
