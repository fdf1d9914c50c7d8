"""Records at the limits of Kafka: events, dead letters and changelog entries that a broker takes or does not take."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from ecounters.events.partitioner import partition_of
from streams.kafka.topic_checks import MESSAGE_BYTES
from streams.kafka.topics import CHANGELOG_CONFIG, DLQ_CONFIG, EVENTS_CONFIG
from tests.support.accounts import add_users
from tests.support.builders import encoded, event
from tests.support.published_calls import RecentCall, publish_values, wait_for_counter
from tests.support.recount_check import dead_letters
from tests.support.topics import make_topics, read_topic, wait_until_flushed
from tests.support.workers import Deployment, Worker

MIB = 1_048_576
CALLS = 50
BATCH_OVERHEAD = 61 + 30
"""The header of a record batch, and more than the frame of one record with a short key."""


@pytest.fixture
def bare(broker: str, redis_url: str, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment of two partitions without topics."""
    made = Deployment(broker, redis_url, tmp_path, partitions=2, settings={"FLUSH_INTERVAL_MS": 200})
    yield made
    made.end_all()


def snapshot(size: int) -> bytes:
    """A switch.snapshot of u1 of so many bytes."""
    given = event("switch.snapshot", 0, "u1", ts=int(time.time() * 1000), switchId="s", callIds=[""])
    room = size - len(encoded(given))
    ids = ["x" * 100] * (room // 103)
    value = encoded({**given, "callIds": ["x" * (room - 103 * len(ids)), *ids]})
    assert len(value) == size
    return value


def publish(deployment: Deployment, partition: int, value: bytes, codec: str | None = None) -> None:
    """Publish a message of u1 to a partition. Raises MessageSizeTooLargeError if the broker refuses it."""

    async def send() -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=deployment.broker, max_request_size=8 * MIB, compression_type=codec
        )
        await producer.start()
        try:
            await producer.send_and_wait(deployment.name, value, b"u1", partition)
        finally:
            await producer.stop()

    asyncio.run(send())


def test_events_are_taken_up_to_the_limits_and_counting_goes_on(bare: Deployment) -> None:
    """A snapshot of 1 MiB is an event; one byte more is a dead letter, whole, and so is the largest that the topic
    takes; what is larger never gets there. A misrouted one gets to its own partition."""
    bare.create_topics()
    add_users(bare, ["u1"])
    own = partition_of("u1", bare.partitions)
    largest = b"x" * (MESSAGE_BYTES - BATCH_OVERHEAD)
    with Worker(bare).wait_ready() as worker:
        publish(bare, own, snapshot(MIB))
        publish(bare, 1 - own, snapshot(MIB))
        publish(bare, own, snapshot(MIB + 1))
        publish(bare, own, largest)
        with pytest.raises(MessageSizeTooLargeError):
            publish(bare, own, largest + bytes(BATCH_OVERHEAD))
        publish_values(bare, "u1", *RecentCall("c1", "u1").started(0, "IBD").values())
        wait_for_counter(worker, "u1", "LCT", {"IBD": 1})
        wait_until_flushed(bare)
        assert worker.metric("ecounters_events_misrouted_total") == 1
        assert worker.metric("ecounters_events_accepted_total") == 3
        found = [(reason, len(value or b"")) for _, _, reason, _, value in dead_letters(bare)]
        assert found == [("too_large", MIB + 1), ("too_large", 1_900_000)]


def test_a_misrouted_event_that_the_topic_does_not_take_unpacked_is_a_dead_letter(bare: Deployment) -> None:
    """Its producer has packed it, so the topic took it once. The flush that sends it on is not repeated for ever."""
    make_topics(bare, {bare.name: {**EVENTS_CONFIG, "max.message.bytes": "500000"}})
    add_users(bare, ["u1"])
    own = partition_of("u1", bare.partitions)
    with Worker(bare).wait_ready() as worker:
        publish(bare, 1 - own, snapshot(MIB), codec="gzip")
        publish_values(bare, "u1", *RecentCall("c1", "u1").started(0, "IBD").values())
        wait_for_counter(worker, "u1", "LCT", {"IBD": 1})
        wait_until_flushed(bare)
        assert [(reason, len(value or b"")) for _, _, reason, _, value in dead_letters(bare)] == [("too_large", MIB)]
        assert "could not be flushed" not in worker.log_tail()


def test_a_changelog_entry_that_kafka_does_not_take_stops_no_partition(bare: Deployment) -> None:
    """All others of the flush are saved, it is reported without its key, and a metric counts it."""
    small = {**CHANGELOG_CONFIG, "max.message.bytes": "500"}
    small_dlq = {**DLQ_CONFIG, "max.message.bytes": "500"}
    make_topics(bare, {f"{bare.name}-state-changelog": small, f"{bare.name}.dlq": small_dlq})
    neighbours = [user for user in map("u{}".format, range(2, 50)) if is_neighbour(user, bare)][:2]
    add_users(bare, ["u1", *neighbours])
    long = "l" * 128
    large = RecentCall("c-large", "u1")
    large.started(0, "IBD", number="+4915550001", did=long, campaignId=long, switchId=long)
    with Worker(bare).wait_ready() as worker:
        publish_values(bare, "u1", *large.values(), b"no event" * 100)
        for user in neighbours:
            calls = [RecentCall(f"c{at}", user).started(0, "IBD") for at in range(CALLS)]
            publish_values(bare, user, *(value for one in calls for value in one.values()))
        for user in neighbours:
            wait_for_counter(worker, user, "LCT", {"IBD": CALLS})
        wait_for_counter(worker, "u1", "LCT", {"IBD": 1})
        wait_until_flushed(bare)
        assert worker.metric("ecounters_records_left_out_total") >= 1
        log = worker.log.read_text()
        assert "could not be flushed" not in log
        assert re.search(r"partition \d: 1 records of kind call, of up to 4\d\d bytes, are larger than max", log)
        assert "4915550001" not in log and "c-large" not in log
        letters = asyncio.run(read_topic(bare.broker, f"{bare.name}.dlq", "read_committed"))
        (letter,) = [record for records in letters.values() for record in records]
        headers = dict(letter.headers)
        assert (letter.value, headers["size"], headers["reason"]) == (None, b"800", b"not_json")
    with Worker(bare, replaces=worker).wait_ready() as worker:
        for user in neighbours:
            wait_for_counter(worker, user, "LCT", {"IBD": CALLS})
        wait_for_counter(worker, "u1", "LCT", {})
        publish_values(bare, "u1", *RecentCall("c2", "u1").started(0, "IBD").values())
        wait_for_counter(worker, "u1", "LCT", {"IBD": 1})


def is_neighbour(user: str, deployment: Deployment) -> bool:
    """Whether a user's events are in the partition of u1."""
    return partition_of(user, deployment.partitions) == partition_of("u1", deployment.partitions)
