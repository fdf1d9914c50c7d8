"""Reads partitions of the changelog from start to end, for restores: a few at a time, over a few connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from itertools import islice
from typing import Any, Final, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CorruptRecordException, KafkaError

from ecounters.changelog.entries import Entry
from ecounters.errors import Stop
from streams.basics.slices import Slice, TimeSlices
from streams.basics.text import named
from streams.kafka import internals
from streams.kafka.batches import next_result
from streams.kafka.clients import Kafka
from streams.kafka.log_reader import KeyedRow, Unreadable, keyed_reader

LIMIT_S: Final = 15.0
"""How long connecting may take, and each fetch. aiokafka itself would try for ever."""
FETCH_BYTES: Final = 4 * 1_048_576
"""How much one fetch returns at most, unless a single batch is larger."""
FETCH_WAIT_MS: Final = 100
"""How long a broker may hold a fetch request while it has no records."""
READERS_MAX: Final = 8
"""How many partitions are read at the same time. While one is decoded, the next ones are fetched."""
DAMAGE_HELPS: Final = (
    "if another broker has a sound copy, let that one lead; else import a file of `ecounters state export`, or count "
    "anew from the topic of events (deploy/README.md, Damaged records)"
)
"""What helps against damaged records of a changelog. What they held is not known, so nothing can take them out."""
READ_STEP: Final = 1_000
"""How many entries a list has at most. To decode them takes well below 1 ms."""


T = TypeVar("T")


def entry_of(_: TopicPartition, record: Any) -> Entry:
    """(key, value) of a record as aiokafka has decoded it from a batch, before it makes a ConsumerRecord."""
    return record.key, record.value


async def read_changelog(kafka: Kafka, tp: TopicPartition, slices: TimeSlices) -> AsyncGenerator[list[Entry]]:
    """Yield all committed entries of a partition, as ``ChangelogReaders.read`` does."""
    async with aclosing(ChangelogReaders(kafka).read(tp, slices, entry_of)) as reading:
        async for entries in reading:
            yield entries


class ChangelogReaders:
    """Reads changelogs, READERS_MAX at a time, with so many connections at most.

    At a start all partitions of a worker are restored. To read more of them at a time would not be faster, because one
    processor decodes them all. A consumer that has read one partition reads the next that waits. When none waits, the
    consumers are stopped.
    """

    def __init__(self, kafka: Kafka) -> None:
        self.kafka = kafka
        self._turns = asyncio.Semaphore(READERS_MAX)
        self._reading = 0  # those that read, and those that wait for their turn
        self._idle: list[AIOKafkaConsumer] = []

    async def read(
        self,
        tp: TopicPartition,
        slices: TimeSlices,
        convert: Callable[[TopicPartition, Any], T],
        progress: Callable[[float], None] = lambda _: None,
        begin: int = 0,
    ) -> AsyncGenerator[list[T]]:
        """Yield ``convert`` of all committed records of a partition in order, as lists of at most READ_STEP, and after
        each fetch an empty list.

        ``begin``: the first offset to read.

        Call ``ChangelogTakeover.open`` first, so that no other worker writes to the partition while it is read. This
        generator holds a time slice of ``slices`` while it decodes, and still holds the slice while the caller handles
        a list. So the caller must not await anything between two lists, but at an empty one it may. ``progress`` is
        told after each fetch how much was read, 0 to 1.

        Waits for its turn without a limit. Raises CorruptRecordException at a record batch that cannot be decoded,
        another KafkaError if the partition cannot be read, TimeoutError if connecting or a fetch takes LIMIT_S.
        """
        self._reading += 1
        try:
            async with self._turns:
                consumer = self._idle.pop() if self._idle else self._new_consumer()
                try:
                    if not consumer.assignment():  # a new one: those that have read keep their last partition
                        async with asyncio.timeout(LIMIT_S):
                            await consumer.start()
                    async with aclosing(_records(consumer, tp, slices, convert, progress, begin)) as reading:
                        async for records in reading:
                            yield records
                except BaseException:
                    await consumer.stop()
                    raise
                self._idle.append(consumer)
        finally:
            self._reading -= 1
            while self._idle and not self._reading:
                await self._idle.pop().stop()

    async def read_again(
        self, tp: TopicPartition, slices: TimeSlices, damage: list[Unreadable], offsets: range | None = None
    ) -> AsyncGenerator[list[KeyedRow]]:
        """Yield what can be read of a partition as rows, and add to ``damage`` what cannot.

        Slower than ``read``, and over a connection of its own: each record batch is checked by itself, and fetched a
        second time before it counts as damaged. Records that only aiokafka cannot decode are read. ``offsets``: those
        to read; all without it. Holds a time slice as ``read`` does.

        Raises KafkaError or OSError if the partition cannot be read on.
        """
        try:
            async with keyed_reader(self.kafka, tp.topic, [tp.partition]) as reader:
                end = reader.ends[tp.partition]
                if offsets is not None:
                    reader.skip_to(tp.partition, offsets.start)
                    end = min(end, offsets.stop)
                async with aclosing(reader.up_to(tp.partition, end)) as reading:
                    async for rows in reading:
                        async with Slice(slices):
                            yield rows
                damage += reader.unreadable
        except Stop as error:  # the broker sends nothing more
            raise KafkaError(str(error)) from error

    def _new_consumer(self) -> AIOKafkaConsumer:
        return self.kafka.consumer(
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )


async def _records(
    consumer: AIOKafkaConsumer,
    tp: TopicPartition,
    slices: TimeSlices,
    convert: Callable[[TopicPartition, Any], T],
    progress: Callable[[float], None],
    begin: int,
) -> AsyncGenerator[list[T]]:
    """Yield the records of one partition as ``ChangelogReaders.read`` does."""
    async with asyncio.timeout(LIMIT_S):
        consumer.assign([tp])
        consumer.pause(tp)  # the fetch of an empty partition would keep the next one waiting for FETCH_WAIT_MS
        begins, ends = await asyncio.gather(consumer.beginning_offsets([tp]), consumer.end_offsets([tp]))
    first, end = max(begin, begins[tp]), ends[tp]
    position = first
    if position < end:
        consumer.seek(tp, position)
        consumer.resume(tp)
    while position < end:
        async with asyncio.timeout(LIMIT_S):
            result = await next_result(consumer, tp)
        source, records = internals.converted(result, convert)
        async with Slice(slices) as time_slice:
            while some := decoded(records, tp):
                yield some
                await time_slice.yield_if_used_up()
        # ``next_fetch_offset`` counts transaction markers too. The last one is right before ``end``.
        position = source.next_fetch_offset
        progress((position - first) / (end - first))
        internals.set_position(result)
        yield []
        if position < end:
            internals.fetch_again(internals.open_fetcher(consumer), tp)


def decoded(records: Iterator[T], tp: TopicPartition) -> list[T]:
    """The next records, at most READ_STEP. Raises CorruptRecordException: codecs raise errors of many kinds."""
    try:
        return list(islice(records, READ_STEP))
    except Exception as error:
        raise CorruptRecordException(f"{tp.topic}, partition {tp.partition}: {named(error)}") from error
