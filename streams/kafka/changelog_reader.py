"""A partition's changelog, read back whole."""

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
"""For the start, and for each fetch. aiokafka itself would go on trying for ever."""
FETCH_BYTES: Final = 4 * 1_048_576
READ_STEP: Final = 1_000
"""Entries that are handed over at once: well below 1 ms."""


async def read_changelog(broker: str, tp: TopicPartition, turns: TimeSlices) -> AsyncGenerator[list[Entry]]:
    """All that has been committed to one partition until now, some entries at a time, in order.

    They are read in turns, and handed over in them: nothing may be waited for before the next ones are asked for.

    To be called after the writer is open, so that nothing can be added meanwhile. KafkaError or TimeoutError if it
    cannot be read.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=broker,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=FETCH_BYTES,
        fetch_max_wait_ms=100,
    )
    try:
        async with asyncio.timeout(LIMIT_S):
            await consumer.start()
            consumer.assign([tp])
            await consumer.seek_to_beginning(tp)
            end = (await consumer.end_offsets([tp]))[tp]
            position = await consumer.position(tp)
        while position < end:
            async with asyncio.timeout(LIMIT_S):  # aiokafka says nothing of a broker that is away
                fetched = await _next_fetched(consumer, tp)
            source, its_entries = internals.converted(fetched, _entry)
            async with Slice(turns) as turn:
                while entries := list(islice(its_entries, READ_STEP)):
                    yield entries
                    await turn.yield_if_used_up()
            # Behind the last record comes the mark of its transaction, which nobody is handed.
            position = source.next_fetch_offset
            internals.set_position(fetched)
            internals.fetch_again(internals.open_fetcher(consumer), tp)
    finally:
        await consumer.stop()


async def _next_fetched(consumer: Any, tp: TopicPartition) -> Any:
    """What the broker sent next, to be read entry by entry; nothing more is fetched before ``internals.fetch_again``.

    In place of ``getmany``, which makes an object of 11 fields of every record: that costs as much as to restore it.
    """
    fetcher = internals.open_fetcher(consumer)
    while True:
        fetched = internals.fetched_of(fetcher, tp)
        if fetched is None:
            await internals.until_fetched(fetcher)
        elif not isinstance(fetched, FetchResult):
            internals.fetch_again(fetcher, tp)
            fetched.check_raise()
        elif not fetched.check_assignment(tp):  # it was asked for before the seek
            internals.fetch_again(fetcher, tp)
        else:
            return fetched


def _entry(_: TopicPartition, record: Any) -> Entry:
    return record.key, record.value
