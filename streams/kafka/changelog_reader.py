"""Reads one partition's changelog from its start to its end, for a restore."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from itertools import islice
from typing import Any, Final, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition

from ecounters.changelog.entries import Entry
from streams.basics.slices import Slice, TimeSlices
from streams.kafka import internals
from streams.kafka.batches import next_result

LIMIT_S: Final = 15.0
"""How long connecting may take, and each fetch. aiokafka itself would try for ever."""
FETCH_BYTES: Final = 4 * 1_048_576
"""How much one fetch returns at most, unless a single batch is larger."""
FETCH_WAIT_MS: Final = 100
"""How long a broker may hold a fetch request while it has no records."""
READ_STEP: Final = 1_000
"""How many entries a list has at most. To decode them takes well below 1 ms."""


T = TypeVar("T")


def entry_of(_: TopicPartition, record: Any) -> Entry:
    """(key, value) of a record as aiokafka has decoded it from a batch, before it makes a ConsumerRecord."""
    return record.key, record.value


def key_and_offset_of(_: TopicPartition, record: Any) -> tuple[bytes | None, int]:
    """(key, offset) of such a record."""
    return record.key, record.offset


def read_changelog(broker: str, tp: TopicPartition, slices: TimeSlices) -> AsyncGenerator[list[Entry]]:
    """Yield all committed entries of a partition in order, as ``read_records`` does."""
    return read_records(broker, tp, slices, entry_of)


async def read_records(
    broker: str, tp: TopicPartition, slices: TimeSlices, convert: Callable[[TopicPartition, Any], T]
) -> AsyncGenerator[list[T]]:
    """Yield ``convert`` of all committed records of a partition in order, as lists of at most READ_STEP.

    Call ``ChangelogTakeover.open`` first, so that no other worker writes to the partition while it is read. This
    generator holds a time slice of ``slices`` while it decodes, and still holds the slice while the caller handles a
    list. So the caller must not await anything between two lists.

    Raises KafkaError if the partition cannot be read, TimeoutError if connecting or a fetch takes LIMIT_S.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=broker,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=FETCH_BYTES,
        fetch_max_wait_ms=FETCH_WAIT_MS,
    )
    try:
        async with asyncio.timeout(LIMIT_S):
            await consumer.start()
            consumer.assign([tp])
            await consumer.seek_to_beginning(tp)
            end = (await consumer.end_offsets([tp]))[tp]
            position = await consumer.position(tp)
        while position < end:
            async with asyncio.timeout(LIMIT_S):
                result = await next_result(consumer, tp)
            source, entries_of_result = internals.converted(result, convert)
            async with Slice(slices) as time_slice:
                while entries := list(islice(entries_of_result, READ_STEP)):
                    yield entries
                    await time_slice.yield_if_used_up()
            # ``next_fetch_offset`` counts transaction markers too. The last one is right before ``end``.
            position = source.next_fetch_offset
            internals.set_position(result)
            internals.fetch_again(internals.open_fetcher(consumer), tp)
    finally:
        await consumer.stop()
