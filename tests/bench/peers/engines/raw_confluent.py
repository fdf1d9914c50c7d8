"""confluent-kafka alone: ``consume`` of 1,000 messages in a loop, and nothing is done with them."""

from __future__ import annotations

import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from tests.bench.peers.job import Job, Marks, given_job

AT_ONCE = 1_000


def read(job: Job) -> None:
    """Read as many messages as the topic has."""
    marks, left = Marks(job), job.events
    consumer = Consumer({"bootstrap.servers": job.broker, "group.id": job.group, "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(job.topic, at, OFFSET_BEGINNING) for at in range(job.partitions)])
    while left > 0:
        got = sum(message.error() is None for message in consumer.consume(AT_ONCE, 0.5))
        marks.see(got)
        left -= got
    marks.end()
    while True:  # until it is killed, so that its memory can be read
        time.sleep(1)


if __name__ == "__main__":
    read(given_job())
