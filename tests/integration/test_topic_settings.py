"""Topics of events with other settings than `ecounters topics` gives: producers' timestamps, and each codec."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from ecounters.events.partitioner import partition_of
from streams.kafka.batches import next_batch, next_result
from streams.kafka.fetched import prepare
from tests.support.accounts import TOKEN, add_users
from tests.support.audits import audited
from tests.support.builders import encoded, event
from tests.support.published_calls import RecentCall, publish_values, wait_for_counter
from tests.support.recount_check import dead_letters
from tests.support.topics import make_topics, wait_until_flushed
from tests.support.workers import Deployment, Worker

CODECS = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
MINUTE_MS = 60_000
CREATE_TIME = {
    "message.timestamp.type": "CreateTime",
    "retention.ms": "-1",  # or the broker would delete records whose timestamps are of 1970
}

pytestmark = pytest.mark.usefixtures("no_users")


@pytest.fixture
def with_topic(broker: str, redis_url: str, tmp_path: Path) -> Iterator[Callable[[dict[str, str]], Deployment]]:
    """A function that makes a deployment whose topic of events has the given configuration, and the user u1."""
    made: list[Deployment] = []

    def make(config: dict[str, str]) -> Deployment:
        deployment = Deployment(broker, redis_url, tmp_path, settings={"FLUSH_INTERVAL_MS": 200})
        made.append(deployment)
        make_topics(deployment, {deployment.name: config})
        add_users(deployment, ["u1"])
        return deployment

    yield make
    for deployment in made:
        deployment.end_all()


def publish_stamped(deployment: Deployment, *rows: tuple[int, bytes]) -> None:
    """Publish (the record's timestamp, value) of u1."""

    async def send() -> None:
        async with AIOKafkaProducer(bootstrap_servers=deployment.broker) as producer:
            for stamp, value in rows:
                where = partition_of("u1", deployment.partitions)
                await producer.send_and_wait(deployment.name, value, b"u1", where, stamp)

    asyncio.run(send())


def test_producers_timestamps_decide_nothing(with_topic: Callable[[dict[str, str]], Deployment]) -> None:
    """Record times in seconds, an hour old and of 1970: each event is counted or refused by the worker's clock."""
    deployment = with_topic(CREATE_TIME)
    now_ms = int(time.time() * 1000)
    stamps = (now_ms // 1000, now_ms - 60 * MINUTE_MS, now_ms, 1, 0)
    ages = (2 * MINUTE_MS, 0, -4 * MINUTE_MS)
    rows = []
    for at, (stamp, age) in enumerate((stamp, age) for stamp in stamps for age in ages):
        started = event("call.started", at, "u1", ts=now_ms - age, callId=f"c{at}", callType="IBD")
        rows.append((stamp, encoded(started)))
    ahead = encoded(event("call.started", 99, "u1", ts=now_ms + 10 * MINUTE_MS, callId="ahead", callType="IBD"))
    with Worker(deployment).wait_ready() as worker:
        publish_stamped(deployment, *rows, (now_ms // 1000, ahead))
        wait_for_counter(worker, "u1", "LCT", {"IBD": len(rows)})
        wait_until_flushed(deployment)
        reply = worker.ask({"userId": "u1", "token": TOKEN})
        assert (reply.headers["X-Ecounters-Complete"], reply.headers["X-Ecounters-Lag-Ms"]) == ("true", "0")
        assert worker.metric("ecounters_partition_lag_seconds") == 0
        assert [(reason, field, value) for *_, reason, field, value in dead_letters(deployment)] == [
            ("clock_ahead", "ts", ahead)
        ]
    with Worker(deployment, replaces=worker).wait_ready() as worker:
        wait_for_counter(worker, "u1", "LCT", {"IBD": len(rows)})


def test_an_audit_of_a_topic_with_producers_timestamps_is_equal(
    with_topic: Callable[[dict[str, str]], Deployment],
) -> None:
    """The recount leaves the timestamps out as well, and a part of the log is not sought by them."""
    deployment = with_topic(CREATE_TIME)
    now_ms = int(time.time() * 1000)
    with Worker(deployment).wait_ready() as worker:
        values = RecentCall("c1", "u1").started(0, "IBD").ringing(1).answered(2).ended(9, 3).values()
        publish_stamped(deployment, *((now_ms // 1000, value) for value in values))
        wait_for_counter(worker, "u1", "TC", 1)
        an_hour_ago = datetime.fromtimestamp(now_ms // 1000 - 3_600, UTC).isoformat()
        for options in ((), ("--from", an_hour_ago)):
            exit_code, lines, err = audited(deployment, worker, options=options)
            assert (exit_code, lines[0].split(":")[0]) == (0, "equal"), (options, lines, err)


@pytest.mark.parametrize("codec", CODECS)
def test_a_topic_of_each_codec_is_counted(with_topic: Callable[[dict[str, str]], Deployment], codec: str) -> None:
    """Whatever the producers use, the broker packs the records of such a topic itself."""
    deployment = with_topic({"compression.type": codec, "message.timestamp.type": "LogAppendTime"})
    values = [
        value
        for at in range(20)
        for value in RecentCall(f"c{at}", "u1").started(0, "IBD").ringing(1).answered(2).ended(9, 3).values()
    ]
    with Worker(deployment).wait_ready() as worker:
        publish_values(deployment, "u1", *values)
        wait_for_counter(worker, "u1", "TC", 20)
        exit_code, lines, err = audited(deployment, worker)
        assert (exit_code, lines[0].split(":")[0]) == (0, "equal"), (lines, err)
    if os.environ.get("ECOUNTERS_TEST_BROKER"):  # the embedded broker stores what it gets
        assert asyncio.run(codecs_of(deployment)) == {CODECS[codec]}


async def codecs_of(deployment: Deployment) -> set[int]:
    """Kafka's numbers of the codecs of the first record batches of u1's partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=deployment.broker, check_crcs=False)
    await consumer.start()
    try:
        prepare(consumer)
        tp = TopicPartition(deployment.name, partition_of("u1", deployment.partitions))
        consumer.assign([tp])
        consumer.seek(tp, 0)
        batch = next_batch(await next_result(consumer, tp), None)
        return {record_batch.attributes & 0x07 for record_batch in batch.content}
    finally:
        await consumer.stop()
