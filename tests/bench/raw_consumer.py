"""A process that reads a topic and drops it: the cost of the consumer alone.

    python -m tests.bench.raw_consumer BROKER TOPIC [gc]

``gc``: with the worker's thresholds of the garbage collector, which otherwise traverses all fetched records. The output
is one JSON object: events, seconds and cpu_s.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.basics.collector import collect_seldom
from streams.kafka.clients import Kafka
from streams.kafka.topics import count_partitions
from streams.settings.table import Settings
from tests.bench.measure import cpu_s


async def read_all(broker: str, topic: str) -> dict[str, float]:
    """Read from the beginning to the present end. Measures from the seek until the last records are returned."""
    settings = Settings()
    partitions = [TopicPartition(topic, at) for at in range(await count_partitions(Kafka(broker), topic, "Read"))]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=broker,
        enable_auto_commit=False,
        max_partition_fetch_bytes=settings.fetch_bytes,
        fetch_max_wait_ms=settings.fetch_wait_ms,
    )
    await consumer.start()
    try:
        ends = await consumer.end_offsets(partitions)
        left = sum(ends.values())
        consumer.assign(partitions)
        began, used = time.perf_counter(), cpu_s(os.getpid())
        await consumer.seek_to_beginning(*partitions)
        events = 0
        while events < left:
            for records in (await consumer.getmany(timeout_ms=1_000)).values():
                events += len(records)
        return {"events": events, "seconds": time.perf_counter() - began, "cpu_s": cpu_s(os.getpid()) - used}
    finally:
        await consumer.stop()


if __name__ == "__main__":
    if "gc" in sys.argv[3:]:
        collect_seldom()
    print(json.dumps(asyncio.run(read_all(*sys.argv[1:3]))))
