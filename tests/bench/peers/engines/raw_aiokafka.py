"""aiokafka alone: ``getmany`` in a loop, and nothing is done with the records."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.bench.peers.job import Job, Marks, given_job

FETCH_BYTES = 1_048_576


async def read(job: Job) -> None:
    """Read as many records as the topic has."""
    marks, left = Marks(job), job.events
    consumer = AIOKafkaConsumer(bootstrap_servers=job.broker, max_partition_fetch_bytes=FETCH_BYTES)
    async with consumer:
        partitions = [TopicPartition(job.topic, at) for at in range(job.partitions)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        while left > 0:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                marks.see(len(records))
                left -= len(records)
        marks.end()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(read(given_job()))
