"""The memory of fetched batches, and of waiting for them."""

from __future__ import annotations

import asyncio
import gc
import weakref
from types import SimpleNamespace
from typing import Any, cast

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.kafka.batches import next_batch
from streams.kafka.consumer_thread import ConsumerThread
from streams.kafka.fetched import prepare
from tests.support.topics import filled_topic

RECORDS = 2_000
LIMIT_S = 30.0


async def handed_over(broker: str) -> tuple[int, list[weakref.ref[Any]]]:
    """Read a topic with events; returns the number of records, and weak references to the fetches that held them."""
    topic = await filled_topic(broker, 1, [[b"%d" % at * 20 for at in range(RECORDS)]])
    tp = TopicPartition(topic, 0)
    consumer: Any = AIOKafkaConsumer(bootstrap_servers=broker, auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    prepare(consumer)
    try:
        consumer.assign([tp])
        count, sources = 0, []
        async with asyncio.timeout(LIMIT_S):
            while count < RECORDS:
                result = consumer._fetcher._records.get(tp)
                if result is None:
                    await consumer._fetcher._create_fetch_waiter()
                    continue
                if result.check_assignment(tp):
                    sources.append(weakref.ref(result._partition_records))
                    batch = next_batch(result, None)
                    async for run in batch.runs():
                        while records := run.take():
                            count += len(records)
                if not result.has_more():
                    del consumer._fetcher._records[tp], result
                    consumer._fetcher._notify(consumer._fetcher._wait_consume_future)
        return count, sources
    finally:
        await consumer.stop()


def test_read_batches_are_freed_without_the_garbage_collector(broker: str) -> None:
    """Fetched bytes are freed as soon as their events are read: the garbage collector runs rarely."""
    gc.collect()
    gc.disable()
    try:
        count, sources = asyncio.run(handed_over(broker))
        assert count == RECORDS and sources
        assert [source() for source in sources if source() is not None] == []
    finally:
        gc.enable()


def test_a_worker_without_events_does_not_gather_waiters(broker: str) -> None:
    """Each wait that ends without records takes its waiter back: an idle worker makes one every second."""

    async def waiters_left() -> int:
        topic = await filled_topic(broker, 1, [])
        consumer: Any = AIOKafkaConsumer(bootstrap_servers=broker, enable_auto_commit=False)
        await consumer.start()
        try:
            consumer.assign([TopicPartition(topic, 0)])
            nothing_fetched = cast(Any, SimpleNamespace(_take_batches=lambda fetcher, active: {}))
            for _ in range(3):
                assert await ConsumerThread._fetch_records(nothing_fetched, consumer, set(), timeout=0.01) == {}
            await asyncio.sleep(0)  # cancelled waiters leave the fetcher in the loop's next iteration
            return len(consumer._fetcher._fetch_waiters)
        finally:
            await consumer.stop()

    assert asyncio.run(waiters_left()) == 0
