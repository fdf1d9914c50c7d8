"""Reads the topic of events, each partition exactly up to an offset, for ``ecounters audit`` and ``ecounters
explain``."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from ecounters.errors import Stop
from streams.kafka.topics import count_partitions

FETCH_WAIT_MS: Final = 500
"""How long to wait for records before the next look at how long none have come."""
NO_RECORDS_LIMIT_S: Final = 60.0
"""How long ``LogReader.up_to`` waits while no records come, though there must be some. Then it raises Stop."""

LogRow = tuple[int, int, bytes | None]
"""One record: (offset, Kafka's timestamp in ms since the Unix epoch, value)."""


class LogReader:
    """Reads each partition of a topic up to any offset, and continues there in the next call. ``log_reader`` makes one.

    | field      | meaning                                                                             |
    |------------|-------------------------------------------------------------------------------------|
    | partitions | how many partitions the topic has                                                   |
    | begins     | partition -> the offset at which the reading began                                  |
    | ends       | partition -> its end offset when the reading began                                  |
    | missing    | partition -> its first offset: so many offsets Kafka has deleted. Only of           |
    |            | partitions where that is above 0, and only if ``begin`` got no time                 |

    ``begin`` fills the last three, with the partitions that are to be read.
    """

    def __init__(self, consumer: Any, topic: str, partitions: int) -> None:
        self.partitions = partitions
        self.begins: dict[int, int] = {}
        self.missing: dict[int, int] = {}
        self.ends: dict[int, int] = {}
        self._consumer = consumer
        self._tps = {number: TopicPartition(topic, number) for number in range(partitions)}
        # partition -> rows that were fetched, but are not before the offset that ``up_to`` was called with
        self._buffered: dict[int, deque[LogRow]] = {number: deque() for number in range(partitions)}

    async def begin(self, since_ms: int | None, only: int | None) -> None:
        """Go to the start of all partitions, or to their first record with a timestamp of ``since_ms`` or later.

        ``only``: the one partition to read; None for all of them. Call this method once, before ``up_to``.
        """
        chosen = [tp for number, tp in self._tps.items() if only is None or number == only]
        self._consumer.assign(chosen)
        starts = await self._consumer.beginning_offsets(chosen)
        ends = await self._consumer.end_offsets(chosen)
        times = await self._consumer.offsets_for_times(dict.fromkeys(chosen, since_ms)) if since_ms is not None else {}
        for tp in chosen:
            begin = starts[tp]
            if since_ms is not None:
                first = times.get(tp)  # None if all records are earlier
                begin = max(begin, first.offset) if first is not None else ends[tp]
            elif begin:
                self.missing[tp.partition] = begin
            self.begins[tp.partition], self.ends[tp.partition] = begin, ends[tp]
            self._consumer.seek(tp, begin)
            self._consumer.pause(tp)  # a partition is fetched only while it is read

    async def up_to(self, partition: int, offset: int) -> AsyncIterator[list[LogRow]]:
        """Yield the partition's rows with offsets below ``offset``, in order, as lists. Begins behind the rows that
        earlier calls have yielded.

        The log must reach to ``offset`` already. Raises Stop if no records come for NO_RECORDS_LIMIT_S, KafkaError if
        the partition cannot be fetched.
        """
        tp, buffered = self._tps[partition], self._buffered[partition]
        self._consumer.resume(tp)
        try:
            async for rows in self._rows(tp, buffered, offset):
                yield rows
        finally:
            self._consumer.pause(tp)

    async def _rows(self, tp: Any, buffered: deque[LogRow], offset: int) -> AsyncIterator[list[LogRow]]:
        deadline = time.monotonic() + NO_RECORDS_LIMIT_S
        while True:
            rows = []
            while buffered and buffered[0][0] < offset:
                rows.append(buffered.popleft())
            if rows:
                yield rows
                deadline = time.monotonic() + NO_RECORDS_LIMIT_S
            if buffered or await self._consumer.position(tp) >= offset:
                return
            if time.monotonic() > deadline:
                raise Stop(
                    f"partition {tp.partition} cannot be read up to offset {offset}: the broker sends nothing more"
                )
            for records in (await self._consumer.getmany(tp, timeout_ms=FETCH_WAIT_MS)).values():
                buffered.extend((record.offset, record.timestamp, record.value) for record in records)
            await asyncio.sleep(0)


@asynccontextmanager
async def log_reader(
    broker: str, topic: str, since_ms: int | None = None, only: Callable[[int], int] | None = None
) -> AsyncIterator[LogReader]:
    """A context with a LogReader, which begins at the start of the topic, or at the time ``since_ms``.

    ``only``: a function from the count of partitions to the one partition to read; None to read all of them. Raises
    Stop if there is no such topic, KafkaError if the broker cannot be reached.
    """
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, enable_auto_commit=False, auto_offset_reset="earliest")
    try:
        await consumer.start()
        # List all topics: some brokers create a topic when they are asked about one that is missing.
        if topic not in await consumer.topics():
            raise Stop(f"there is no topic {topic}; `ecounters topics` makes it")
        reader = LogReader(consumer, topic, await count_partitions(broker, topic))
        await reader.begin(since_ms, only(reader.partitions) if only is not None else None)
        yield reader
    finally:
        await consumer.stop()
