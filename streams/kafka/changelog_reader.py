"""Reads one partition's changelog from its start to its end, for a restore."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from itertools import islice
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import FetchResult

from ecounters.changelog.entries import Entry
from streams.basics.slices import Slice, TimeSlices
from streams.kafka import internals

LIMIT_S: Final = 15.0
"""For the connection, and for each fetch. aiokafka itself would try for ever."""
FETCH_BYTES: Final = 4 * 1_048_576
FETCH_WAIT_MS: Final = 100
READ_STEP: Final = 1_000
"""Entries in one list: well below 1 ms of work."""


async def read_changelog(broker: str, tp: TopicPartition, slices: TimeSlices) -> AsyncGenerator[list[Entry]]:
    """Yield all committed entries of a partition in order, as lists of at most READ_STEP (key, value).

    Take the changelog over first (``ChangelogTakeover``), so that its end stands still. Entries are decoded within
    ``slices``, and the caller runs inside the same slice: it may not await between two lists.

    Raises KafkaError or TimeoutError if a broker is away for LIMIT_S.
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
                result = await _next_result(consumer, tp)
            source, entries_of_result = internals.converted(result, _to_entry)
            async with Slice(slices) as time_slice:
                while entries := list(islice(entries_of_result, READ_STEP)):
                    yield entries
                    await time_slice.yield_if_used_up()
            # Behind the last entry comes the marker of its transaction. It is no record, but it counts for the end.
            position = source.next_fetch_offset
            internals.set_position(result)
            internals.fetch_again(internals.open_fetcher(consumer), tp)
    finally:
        await consumer.stop()


async def _next_result(consumer: Any, tp: TopicPartition) -> FetchResult:
    """Wait for the next FetchResult. It stays the partition's current one until ``internals.fetch_again``.

    Raises the KafkaError of a partition that cannot be fetched. Replaces ``getmany``, which makes an object of 11
    fields of every record; that costs as much as to restore the record.
    """
    fetcher = internals.open_fetcher(consumer)
    while True:
        result = internals.fetched_of(fetcher, tp)
        if result is None:
            await internals.until_fetched(fetcher)
        elif not isinstance(result, FetchResult):
            internals.fetch_again(fetcher, tp)
            result.check_raise()
        elif not result.check_assignment(tp):  # it was fetched before the seek
            internals.fetch_again(fetcher, tp)
        else:
            return result


def _to_entry(_: TopicPartition, record: Any) -> Entry:
    """An entry of aiokafka's undecoded record."""
    return record.key, record.value
