"""Record batches that cannot be read: their bytes are corrupted between broker and client, for a while or for good."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.kafka import internals
from streams.kafka.batches import next_batch, next_result
from streams.kafka.fetched import prepare
from streams.kafka.log_reader import LogReader, LogRow, Unreadable, log_rows
from tests.support.bad_wire import BadWire
from tests.support.topics import filled_topic

RECORDS = 50
HALF = 25
FIRST, LAST = 61, -1
"""A byte of the first batch's first record, and one of the last batch's last."""
LENGTH = 8
"""The byte at which the first batch's length begins."""
LIMIT_S = 30.0
WRONG = "it is not what its checksum says"


async def with_reader(broker: str, times: int, position: int, use: Callable[[LogReader[LogRow], BadWire], Any]) -> Any:
    """Publish to two partitions, two batches each, and call ``use`` with a LogReader behind a BadWire."""
    values = [b"%d" % at for at in range(RECORDS)]
    topic = await filled_topic(broker, 2, (values[:HALF], values[HALF:]))
    consumer: Any = AIOKafkaConsumer(
        bootstrap_servers=broker, auto_offset_reset="earliest", enable_auto_commit=False, check_crcs=False
    )
    await consumer.start()
    try:
        wire = consumer._fetcher._client = BadWire(consumer._fetcher._client, times, position)
        prepare(consumer)
        reader = LogReader(consumer, topic, 2, log_rows)
        await reader.begin(None, None)
        async with asyncio.timeout(LIMIT_S):
            return await use(reader, wire)
    finally:
        await consumer.stop()


async def values_of(reader: LogReader[LogRow], partition: int) -> list[bytes | None]:
    """The values of a partition's records."""
    return [value async for rows in reader.up_to(partition, RECORDS) for _, _, value in rows]


@pytest.mark.parametrize("position", [FIRST, LAST])
def test_a_record_batch_that_was_corrupt_once_is_read_again(broker: str, position: int) -> None:
    """All records are read, once each and in order, and nothing is called unreadable."""

    async def use(reader: LogReader[LogRow], wire: BadWire) -> None:
        for partition in (0, 1):
            assert await values_of(reader, partition) == [b"%d" % at for at in range(RECORDS)]
        assert (wire.left, reader.unreadable) == (0, [])

    asyncio.run(with_reader(broker, 1, position, use))


@pytest.mark.parametrize(
    ("position", "unreadable"),
    [(FIRST, Unreadable(0, 0, HALF - 1, WRONG)), (LAST, Unreadable(0, HALF, RECORDS - 1, WRONG))],
)
def test_a_record_batch_that_stays_corrupt_is_passed_over(broker: str, position: int, unreadable: Unreadable) -> None:
    """Its offsets and the reason are known, and what is before and behind it is read."""

    async def use(reader: LogReader[LogRow], _: BadWire) -> None:
        values = [b"%d" % at for at in range(RECORDS)]
        assert await values_of(reader, 1) == values
        assert await values_of(reader, 0) == (values[HALF:] if position == FIRST else values[:HALF])
        assert reader.unreadable == [unreadable]

    asyncio.run(with_reader(broker, 1_000_000, position, use))


def test_bytes_without_a_beginning_are_fetched_again_and_logged_once(
    broker: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong length leaves no way to find the next record batch, so nothing is taken for one."""

    async def use(reader: LogReader[LogRow], wire: BadWire) -> None:
        for partition in (0, 1):
            assert await values_of(reader, partition) == [b"%d" % at for at in range(RECORDS)]
        assert (wire.left, reader.unreadable) == (0, [])

    asyncio.run(with_reader(broker, 3, LENGTH, use))
    logged = [record.getMessage() for record in caplog.records if record.name == "streams.kafka.fetched"]
    assert len(logged) == 1 and "partition 0: what was fetched from offset 0 on" in logged[0], logged


def test_a_fetch_that_is_not_read_does_not_mix_with_the_next(broker: str) -> None:
    """After a seek the record batches are those of the new offset, though the old ones were fetched already."""

    async def use(reader: LogReader[LogRow], _: BadWire) -> None:
        consumer, tp = reader._consumer, TopicPartition(reader._tps[1].topic, 1)
        consumer.resume(tp)
        await next_result(consumer, tp)
        consumer.seek(tp, HALF + 3)
        batch = next_batch(await next_result(consumer, tp), None)
        assert (batch.begin, batch.end, batch.missing) == (HALF + 3, RECORDS, 0)
        internals.fetch_again(internals.open_fetcher(consumer), tp)

    asyncio.run(with_reader(broker, 0, FIRST, use))
