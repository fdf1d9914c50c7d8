"""Reading the log of events from its start (or a time), each partition exactly as far as it is asked for."""

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
NOTHING_LIMIT_S: Final = 60.0
"""A broker that sends nothing for so long, of what it says is there, is not waited for any longer."""

LogRow = tuple[int, int, bytes | None]
"""(offset, Kafka's timestamp in ms, value)."""


class LogReader:
    """A topic's partitions, each read up to any offset, and on from there. Made by ``log_reader``."""

    def __init__(self, consumer: Any, topic: str, partitions: int) -> None:
        self.partitions = partitions
        self.begins: dict[int, int] = {}
        """Where the reading began."""
        self.missing: dict[int, int] = {}
        """partition -> how many records the broker has deleted from its start, where it has."""
        self.ends: dict[int, int] = {}
        """Where the partitions ended when the reading began."""
        self._consumer = consumer
        self._topics = {at: TopicPartition(topic, at) for at in range(partitions)}
        self._held: dict[int, deque[LogRow]] = {at: deque() for at in range(partitions)}

    async def begin(self, since_ms: int | None, only: int | None) -> None:
        """Go to the start, or to the first record of that time or later; ``only``: of one partition."""
        chosen = [tp for at, tp in self._topics.items() if only is None or at == only]
        self._consumer.assign(chosen)
        starts = await self._consumer.beginning_offsets(chosen)
        ends = await self._consumer.end_offsets(chosen)
        times = await self._consumer.offsets_for_times(dict.fromkeys(chosen, since_ms)) if since_ms is not None else {}
        for tp in chosen:
            begin = starts[tp]
            if since_ms is not None:
                found = times.get(tp)
                begin = max(begin, found.offset) if found is not None else ends[tp]
            elif begin:
                self.missing[tp.partition] = begin
            self.begins[tp.partition], self.ends[tp.partition] = begin, ends[tp]
            self._consumer.seek(tp, begin)
            self._consumer.pause(tp)  # what nobody reads need not be fetched

    async def up_to(self, partition: int, offset: int) -> AsyncIterator[list[LogRow]]:
        """The records from where it was to before ``offset``, in order, some at a time; it must be there already."""
        tp, held = self._topics[partition], self._held[partition]
        self._consumer.resume(tp)
        try:
            async for rows in self._rows(tp, held, offset):
                yield rows
        finally:
            self._consumer.pause(tp)

    async def _rows(self, tp: Any, held: deque[LogRow], offset: int) -> AsyncIterator[list[LogRow]]:
        deadline = time.monotonic() + NOTHING_LIMIT_S
        while True:
            rows = []
            while held and held[0][0] < offset:
                rows.append(held.popleft())
            if rows:
                yield rows
                deadline = time.monotonic() + NOTHING_LIMIT_S
            if held or await self._consumer.position(tp) >= offset:
                return
            if time.monotonic() > deadline:
                raise Stop(
                    f"partition {tp.partition} cannot be read up to offset {offset}: the broker sends nothing more"
                )
            for records in (await self._consumer.getmany(tp, timeout_ms=FETCH_WAIT_MS)).values():
                held.extend((record.offset, record.timestamp, record.value) for record in records)
            await asyncio.sleep(0)


@asynccontextmanager
async def log_reader(
    broker: str, topic: str, since_ms: int | None = None, only: Callable[[int], int] | None = None
) -> AsyncIterator[LogReader]:
    """A reader at the start, or at that time. ``only``: which of so many partitions. KafkaError if Kafka is away."""
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, enable_auto_commit=False, auto_offset_reset="earliest")
    try:
        await consumer.start()
        # All topics: to be asked about one that is missing makes some brokers create it.
        if topic not in await consumer.topics():
            raise Stop(f"there is no topic {topic}; `ecounters topics` makes it")
        reader = LogReader(consumer, topic, await count_partitions(broker, topic))
        await reader.begin(since_ms, only(reader.partitions) if only is not None else None)
        yield reader
    finally:
        await consumer.stop()
