"""A topic of a test's own, with what the test wants in it."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic


async def filled_topic(broker: str, partitions: int, batches: Iterable[Sequence[bytes]]) -> str:
    """Its name; each of its partitions has all of that. What is in one of ``batches`` is in no batch with others."""
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
