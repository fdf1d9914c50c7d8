"""The size of the changelog follows the state and not the number of events."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.memory_records import MemoryRecords

from ecounters.changelog.entries import POSITION
from ecounters.windows.calendar import HOUR_MS, window_of
from streams.basics.slices import TimeSlices
from streams.basics.terminal import Progress
from streams.kafka.changelog_reader import read_changelog
from streams.kafka.publisher import Outgoing
from streams.kafka.topics import CHANGELOG_CONFIG
from streams.tools.publish import at_speed, publish
from tests.bench.events import Rounds, Switch
from tests.support.topics import wait_until_flushed
from tests.support.workers import Deployment, Worker

COMPACTED_LIMIT_S: Final = 60.0
ROUND_MS: Final = 1_000
ROUND_CALLS: Final = 10
LIVE: Final = 1_000
ROUNDS: Final = 180
"""Rounds before the first measurement, and after it ten times as many.

100 rounds pass until the first calls end, and 70 until the first of these are dropped. The later rounds are whole
minutes, so that as many calls wait to be dropped at both measurements.
"""

SOON: Final = {
    # Compaction within seconds instead of an hour. 1 MiB is the smallest segment that Kafka accepts.
    "segment.ms": "1000",
    "segment.bytes": str(1_048_576),
    "max.compaction.lag.ms": "1000",
    "delete.retention.ms": "500",
}


class Size(NamedTuple):
    """The size of a changelog. ``keys``: without removed ones; ``written``: entries and transaction markers, ever."""

    sent: int
    entries: int
    keys: int
    written: int


@pytest.mark.skipif(
    "ECOUNTERS_TEST_BROKER" not in os.environ, reason="the embedded broker does not compact transactions"
)
def test_the_compacted_changelog_follows_the_live_calls_not_the_events(
    broker: str, redis_url: str, tmp_path: Path
) -> None:
    """Ten times the events of as many live calls leave at most 1.5 times the bytes for a new worker to restore."""
    deployment = Deployment(
        broker, redis_url, tmp_path, partitions=1, settings={"FLUSH_INTERVAL_MS": 200, "LINGER_MS": 10_000}
    )
    asyncio.run(_make_changelog(deployment))
    deployment.create_topics()
    rounds = Rounds(Switch(users=2, numbers=LIVE), ROUND_CALLS, LIVE // ROUND_CALLS)
    times = itertools.count(window_of(int(time.time() * 1000) - HOUR_MS), ROUND_MS)
    try:
        with Worker(deployment).wait_ready() as worker:
            few = _feed(deployment, rounds, times, ROUNDS)
            before = _compacted(deployment, next(times))
            many = sum(_feed(deployment, rounds, times, ROUNDS) for _ in range(10))
            after = _compacted(deployment, next(times))
            assert many >= 10 * few
            assert worker.metric("ecounters_live_calls") == LIVE
            worker.kill()
        assert after.written > 5 * before.written
        assert abs(after.keys - before.keys) < 0.1 * before.keys
        assert after.sent <= 1.5 * before.sent, (before, after)
        with Worker(deployment).wait_ready() as worker:
            assert worker.metric("ecounters_live_calls") == LIVE
            assert worker.metric("ecounters_restore_entries_total") <= 1.5 * before.entries
    finally:
        deployment.end_all()


async def _make_changelog(deployment: Deployment) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=deployment.broker)
    await admin.start()
    try:
        config = CHANGELOG_CONFIG | SOON
        await admin.create_topics([NewTopic(_changelog(deployment), deployment.partitions, 1, topic_configs=config)])
    finally:
        await admin.close()


def _feed(deployment: Deployment, rounds: Rounds, times: itertools.count[int], count: int) -> int:
    """Publish rounds of calls that come and go, and wait until they are flushed; returns the number of events."""
    messages = [message for ts in itertools.islice(times, count) for message in rounds.next(ts)]
    asyncio.run(publish(messages, deployment.kafka, deployment.name, at_speed(0), Progress("published")))
    wait_until_flushed(deployment)
    return len(messages)


def _compacted(deployment: Deployment, ts: int) -> Size:
    """Wait until little but the last entry of each key is left; returns the size then.

    Kafka never compacts the active segment, and rolls it only when something is written after its time.
    """
    deadline = time.monotonic() + COMPACTED_LIMIT_S
    for beat in itertools.count():
        value = f'{{"id":"b{ts}-{beat}","type":"balance.updated","ts":{ts},"userId":"u1","balance":1}}'
        message = Outgoing(value.encode(), "u1", False, None)
        asyncio.run(publish([message], deployment.kafka, deployment.name, at_speed(0), Progress("published")))
        wait_until_flushed(deployment)
        size = asyncio.run(_size(deployment))
        if size.entries < 1.05 * size.keys:
            return size
        assert time.monotonic() < deadline, f"not compacted after {COMPACTED_LIMIT_S} s: {size}"
    raise AssertionError


async def _size(deployment: Deployment) -> Size:
    sent, written = await _sent(deployment)
    count = 0
    last: dict[bytes, bytes | None] = {}
    async for entries in read_changelog(deployment.kafka, TopicPartition(_changelog(deployment), 0), TimeSlices(1_000)):
        count += len(entries)
        last.update(entries)
    assert POSITION in last
    return Size(sent, count, sum(value is not None for value in last.values()), written)


async def _sent(deployment: Deployment) -> tuple[int, int]:
    """(bytes of record batches that the broker sends for the whole changelog, the offset at its end)."""
    topic, partition = TopicPartition(_changelog(deployment), 0)
    client = AIOKafkaClient(bootstrap_servers=deployment.broker)
    await client.bootstrap()
    try:
        await client.set_topics([topic])
        sent = offset = 0
        while True:
            request = FetchRequest(0, 0, 2**25, 0, [(topic, [(partition, offset, 2**25)])])
            response = await client.send(client.cluster.leader_for_partition(TopicPartition(topic, partition)), request)
            _, ((_, error, end, *_, batches),) = response.topics[0]
            assert not error
            sent += len(batches)
            records = MemoryRecords(batches)
            while records.has_next():
                offset = records.next_batch().next_offset
            if offset >= end:
                return sent, offset
    finally:
        await client.close()


def _changelog(deployment: Deployment) -> str:
    return f"{deployment.name}-state-changelog"
