"""A process that restores all partitions as a worker does, and nothing else.

    python -m tests.bench.restore_reader BROKER CHANGELOG PARTITIONS

The output is JSON: entries, keys, and the CPU seconds of reading and of making the states.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from aiokafka import TopicPartition

from ecounters.changelog.entries import keep_last
from ecounters.partition.policy import Policy
from ecounters.partition.restoring import restore
from ecounters.partition.state import PartitionState
from streams.basics.collector import collect_seldom
from streams.basics.slices import TimeSlices
from streams.kafka.changelog_reader import read_changelog
from streams.kafka.clients import Kafka


async def _read(broker: str, topic: str, partitions: int) -> dict[str, float]:
    entries = keys = 0
    states = []  # all states are kept, as in a worker
    read_s = made_s = 0.0
    for partition in range(partitions):
        state, last = PartitionState(partition, partitions, Policy()), dict[bytes, bytes]()
        began = time.process_time()
        async for some in read_changelog(Kafka(broker), TopicPartition(topic, partition), TimeSlices(1_000)):
            keep_last(last, some)
            entries += len(some)
        read = time.process_time()
        keys += len(last)
        for _ in restore(state, last):
            pass
        read_s, made_s = read_s + read - began, made_s + time.process_time() - read
        states.append(state)
    return {"entries": entries, "keys": keys, "read_s": read_s, "made_s": made_s}


if __name__ == "__main__":
    collect_seldom()
    print(json.dumps(asyncio.run(_read(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
