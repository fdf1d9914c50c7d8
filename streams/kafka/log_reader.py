"""Reads a topic, each partition exactly up to an offset: that of events for ``ecounters audit`` and ``ecounters
explain``, and the changelog for ``ecounters state``."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from operator import itemgetter
from typing import Any, Final, Generic, NamedTuple, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition

from ecounters.errors import Stop
from streams.kafka import internals
from streams.kafka.batches import Batch, next_batch, next_result
from streams.kafka.clients import Kafka
from streams.kafka.fetched import prepare
from streams.kafka.record_batches import RecordBatch
from streams.kafka.topics import count_partitions, is_stamped_by_broker

NO_RECORDS_LIMIT_S: Final = 60.0
"""How long ``LogReader.up_to`` waits while no records come, though there must be some. Then it raises Stop."""

LogRow = tuple[int, int, bytes | None]
"""One record: (offset, Kafka's timestamp in ms since the Unix epoch, value). The timestamp is 0 if the broker has not
stamped the record, but its producer."""

KeyedRow = tuple[int, bytes | None, bytes | None]
"""One record: (offset, key, value)."""


def log_rows(offsets: Iterable[int], records: Iterable[Any]) -> list[LogRow]:
    """The LogRows of records."""
    return [(offset, record.timestamp, record.value) for offset, record in zip(offsets, records, strict=True)]


def keyed_rows(offsets: Iterable[int], records: Iterable[Any]) -> list[KeyedRow]:
    """The KeyedRows of records."""
    return [(offset, record.key, record.value) for offset, record in zip(offsets, records, strict=True)]


Row = TypeVar("Row", LogRow, KeyedRow)


class Unreadable(NamedTuple):
    """Records that cannot be read, also not the second time, and why. Workers make one dead letter of them."""

    partition: int
    first_offset: int
    last_offset: int
    why: str


class _ReadAgain(Exception):
    """A record batch cannot be read. The fault may have come about on the way from the broker."""


class LogReader(Generic[Row]):
    """Reads each partition of a topic up to any offset, and continues there in the next call. ``log_reader`` makes one.

    Records of aborted and of open transactions are left out, as workers leave them out.

    | field      | meaning                                                                             |
    |------------|-------------------------------------------------------------------------------------|
    | partitions | how many partitions the topic has                                                   |
    | begins     | partition -> the offset at which the reading began                                  |
    | ends       | partition -> its last stable offset when the reading began: behind it only open     |
    |            | transactions are, and what is behind these                                          |
    | missing    | partition -> its first offset: so many offsets Kafka has deleted. Only of           |
    |            | partitions where that is above 0, and only if ``begin`` got no time                 |
    | unreadable | what could not be read; ``up_to`` adds to it                                        |

    ``begin`` fills all but the first and the last, with the partitions that are to be read.
    """

    def __init__(
        self, consumer: Any, topic: str, partitions: int, rows: Callable[[Sequence[int], Sequence[Any]], list[Row]]
    ) -> None:
        """``rows``: makes rows of offsets and as many records."""
        self.partitions = partitions
        self.begins: dict[int, int] = {}
        self.missing: dict[int, int] = {}
        self.ends: dict[int, int] = {}
        self.unreadable: list[Unreadable] = []
        self._consumer = consumer
        self._rows_of: Callable[[Sequence[int], Sequence[Any]], list[Row]] = rows
        self._tps = {number: TopicPartition(topic, number) for number in range(partitions)}
        # partition -> rows that were read, but are not before the offset that ``up_to`` was called with
        self._buffered: dict[int, list[Row]] = {number: [] for number in range(partitions)}
        self._position: dict[int, int] = {}  # partition -> all records before this offset were read
        self._read_again: dict[int, int] = {}  # partition -> the offset that was read again last
        self._reading: dict[int, AsyncGenerator[list[Row]]] = {}

    async def begin(self, since_ms: int | None, only: Collection[int] | None) -> None:
        """Go to the start of all partitions, or to their first record with a timestamp of ``since_ms`` or later.

        ``only``: the partitions to read; None for all of them. Call this method once, before ``up_to``.
        """
        chosen = [tp for number, tp in self._tps.items() if only is None or number in only]
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
            self._position[tp.partition] = begin
            self._reading[tp.partition] = self._read(tp)
            self._consumer.seek(tp, begin)
            self._consumer.pause(tp)  # a partition is fetched only while it is read

    def skip_to(self, partition: int, offset: int) -> None:
        """Read a partition from ``offset`` on, if the reading began before that. Call it before ``up_to``."""
        if offset > self.begins[partition]:
            self.begins[partition] = self._position[partition] = offset
            self._consumer.seek(self._tps[partition], offset)

    async def up_to(self, partition: int, offset: int) -> AsyncGenerator[list[Row]]:
        """Yield the partition's rows with offsets below ``offset``, in order, as lists. Begins behind the rows that
        earlier calls have yielded.

        The log must reach to ``offset`` already. Raises Stop if no records come for NO_RECORDS_LIMIT_S, KafkaError if
        the partition cannot be fetched.
        """
        tp = self._tps[partition]
        self._consumer.resume(tp)
        try:
            while True:
                rows = self._buffered[partition]
                before = bisect_left(rows, offset, key=itemgetter(0))
                rows, self._buffered[partition] = rows[:before], rows[before:]
                if rows:
                    yield rows
                if self._buffered[partition] or self._position[partition] >= offset:
                    return
                self._buffered[partition] = await self._next_rows(partition, offset)
        finally:
            self._consumer.pause(tp)

    async def _next_rows(self, partition: int, offset: int) -> list[Row]:
        """The next rows of a partition. Raises Stop if none come in time."""
        try:
            async with asyncio.timeout(NO_RECORDS_LIMIT_S):
                return await anext(self._reading[partition])
        except TimeoutError:
            raise Stop(
                f"partition {partition} cannot be read up to offset {offset}: the broker sends nothing from offset "
                f"{self._position[partition]} on"
            ) from None

    async def _read(self, tp: TopicPartition) -> AsyncGenerator[list[Row]]:
        """Yield the rows of a partition for ever, as lists; an empty one where other records end."""
        begin: int | None = None
        while True:
            result = await next_result(self._consumer, tp)
            batch = next_batch(result, begin)
            if not result.has_more():
                internals.fetch_again(internals.open_fetcher(self._consumer), tp)
            begin = batch.end
            try:
                async for rows in self._rows(tp.partition, batch):
                    yield rows
            except _ReadAgain:
                self._consumer.seek(tp, self._position[tp.partition])
                begin = None

    async def _rows(self, partition: int, batch: Batch) -> AsyncGenerator[list[Row]]:
        """The rows of a batch. Raises _ReadAgain at a record batch that cannot be read, the first time."""
        async for run in batch.runs():
            while (records := run.take()) or run.faulty is not None:
                if records:
                    last = records[-1].offset
                    self._position[partition] = last + 1
                    offsets = [record.offset for record in records]
                    if offsets != sorted(offsets):  # a producer can write any; a recount needs them in order
                        offsets = list(range(last - len(records) + 1, last + 1))
                    yield self._rows_of(offsets, records)
                if run.faulty is not None:
                    self._pass_over(partition, run.faulty)
                    run.faulty = None
        self._position[partition] = batch.end
        yield []

    def _pass_over(self, partition: int, faulty: RecordBatch) -> None:
        """Note a record batch that cannot be read, or the rest of it. Raises _ReadAgain the first time."""
        begin, end = max(self._position[partition], faulty.base_offset), faulty.next_offset
        if begin >= end:  # all of its records were read
            return
        if self._read_again.get(partition) != begin:
            self._position[partition] = self._read_again[partition] = begin
            raise _ReadAgain
        self.unreadable.append(Unreadable(partition, begin, end - 1, faulty.fault))
        self._position[partition] = end


@asynccontextmanager
async def log_reader(
    kafka: Kafka, topic: str, since_ms: int | None = None, only: Callable[[int], int] | None = None
) -> AsyncIterator[LogReader[LogRow]]:
    """A context with a LogReader, which begins at the start of the topic, or at the time ``since_ms``.

    If producers stamp the records of the topic, it begins at the start: their times need not be those of the records.

    ``only``: a function from the count of partitions to the one partition to read; None to read all of them. Raises
    Stop if there is no such topic, AccessRefused if Kafka does not allow to read it, KafkaError if the broker cannot be
    reached.
    """
    partitions = await count_partitions(kafka, topic, "Read")
    async with _consumer(kafka) as consumer:
        if since_ms is not None and not await is_stamped_by_broker(kafka, topic):
            since_ms = None
        reader = LogReader(consumer, topic, partitions, log_rows)
        await reader.begin(since_ms, [only(reader.partitions)] if only is not None else None)
        yield reader


@asynccontextmanager
async def keyed_reader(
    kafka: Kafka, topic: str, only: Collection[int] | None = None
) -> AsyncIterator[LogReader[KeyedRow]]:
    """A context with a LogReader of KeyedRows, which begins at the start of the topic. ``only``: the partitions
    to read; None to read all of them. Raises what ``log_reader`` raises."""
    partitions = await count_partitions(kafka, topic, "Read")
    async with _consumer(kafka) as consumer:
        reader = LogReader(consumer, topic, partitions, keyed_rows)
        await reader.begin(None, only)
        yield reader


@asynccontextmanager
async def _consumer(kafka: Kafka) -> AsyncIterator[AIOKafkaConsumer]:
    """A context with a consumer for a LogReader. Raises KafkaError if the broker cannot be reached."""
    consumer = kafka.consumer(
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        check_crcs=False,
    )
    try:
        await consumer.start()
        prepare(consumer)
        yield consumer
    finally:
        await consumer.stop()
