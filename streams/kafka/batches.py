"""Batch: some records of one partition, which the consumer hands on in place of single records. ``next_batch`` makes
batches of what aiokafka has fetched; ``Batch.runs`` reads them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from itertools import chain, islice
from typing import Any, Final, NamedTuple

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import CorruptRecordException

from streams.kafka import internals
from streams.kafka.record_batches import RecordBatch
from streams.kafka.splitting import SMALL_RECORD_BYTES, split

RECORDS_MAX: Final = 4_000
"""A Batch takes in record batches until it has at least this many offsets. The limit lets partitions take turns, as
some brokers send more bytes of one partition than a fetch request allows."""
STEP_RECORDS: Final = 100
STEP_BYTES: Final = 524_288
"""So many records, or so many bytes of records, are decoded and applied between two looks at the time slice: below 1 ms
of work for usual events, a few ms for the largest."""
UNPACK_BYTES: Final = 1_048_576
"""Packed record batches are unpacked one after the other in one go, until they are so many bytes: a thread for each
would take longer than most of them take to unpack."""


class Run:
    """Record batches in a row that are read alike.

    | field     | meaning                                                                                      |
    |-----------|----------------------------------------------------------------------------------------------|
    | by_broker | whether the broker has stamped the records; else their timestamp is 0                        |
    | end       | the offset behind them                                                                       |
    | faulty    | the record batch at which ``take`` has stopped, as it cannot be read on; see its ``fault``.  |
    |           | None if there is none. The caller sets it to None again                                      |
    """

    __slots__ = ("_batches", "_begin", "_current", "_reached", "_records", "_step", "by_broker", "end", "faulty")

    def __init__(self, batches: Sequence[RecordBatch], begin: int, step: int) -> None:
        """``begin``: records before this offset are left out. ``step``: how many records ``take`` returns."""
        self.by_broker = batches[0].by_broker
        self.end = batches[-1].next_offset
        self.faulty: RecordBatch | None = None
        self._begin = begin
        self._reached = max(begin, batches[0].base_offset)
        self._step = step
        self._current = batches[0]
        self._batches = iter(batches)
        self._records = chain.from_iterable(self._iterators())

    def _iterators(self) -> Iterator[Iterator[Any]]:
        """An iterator over the records of each batch. ``_current`` is the batch whose records come now."""
        for batch in self._batches:
            self._current = batch
            if batch.fault:
                raise CorruptRecordException(batch.fault)
            yield batch.records(self._begin)

    def take(self) -> list[Any]:
        """Decode and return the next records, at most ``step``; none at the end.

        If a record cannot be decoded, returns those before it and sets ``faulty``. The next call goes on with the
        record batch behind.
        """
        taken: list[Any] = []
        try:
            taken.extend(islice(self._records, self._step))  # keeps those that came before an exception
        except (CorruptRecordException, UnicodeDecodeError) as error:
            if self._current.several:
                return self._take_one_by_one()
            self._note(error, taken[-1].offset + 1 if taken else self._reached)
            if not taken and self.faulty is None:
                return self.take()
        if taken:
            last = taken[-1].offset
            if self._current.several and last - self._reached != len(taken) - 1:
                return self._take_one_by_one()
            if last >= self._current.next_offset:
                self._stop_at_current("its records have offsets that are not its own")
                while taken and taken[-1].offset >= self._current.next_offset:
                    taken.pop()
        if taken:
            self._reached = taken[-1].offset + 1
        return taken

    def _take_one_by_one(self) -> list[Any]:
        """Take the records from ``_reached`` on of ``several`` record batches, one of which has a fault."""
        parts = split(bytes(self._current.content), self._current.next_offset, join=False)
        self._batches = iter(parts.batches)  # no others: they are a run of their own
        self._begin = self._reached
        self._records = chain.from_iterable(self._iterators())
        return self.take()

    def _note(self, error: Exception, offset: int) -> None:
        """Go on behind the current record batch, or without its headers from ``offset`` on if only a header is odd."""
        if isinstance(error, CorruptRecordException):
            self._stop_at_current(" ".join(map(str, error.args)))
        else:
            without_headers = self._current.plain_records(offset)
            self._records = chain(without_headers, chain.from_iterable(self._iterators()))

    def _stop_at_current(self, fault: str) -> None:
        self.faulty = self._current._replace(fault=fault)
        self._records = chain.from_iterable(self._iterators())


class Batch(NamedTuple):
    """The records of one partition at the offsets from ``begin`` to before ``end``::

        offset      5   6   7   8   9   10  11  12
        log         C   r   r   r   C   a   A           begin = 5, end = 12
                    C, A: transaction markers           content = the record batches with those at 6, 7 and 8
                    a: a record of an aborted transaction
                                                        without_event = 4, missing = 0

    ``begin`` is the ``end`` of the batch before. So a lost batch shows as a gap between two batches, and transaction
    markers show as none. ``without_event`` counts the offsets without an event that is to be counted; ``missing``
    counts those of them that no record batch has: Kafka has deleted them.
    """

    begin: int
    end: int
    without_event: int
    missing: int
    content: Sequence[RecordBatch]

    async def runs(self) -> AsyncGenerator[Run]:
        """Read the batch, run by run. Packed record batches are unpacked when it is their turn, in a thread.

        So no more than one large one is unpacked at a time, and the event loop goes on meanwhile.
        """
        left = deque(self.content)
        while left:
            kind, batches = _kind(left[0]), [left.popleft()]
            while left and not kind.several and _kind(left[0]) == kind:
                batches.append(left.popleft())
            if kind.packed:
                left.extendleft(reversed(await asyncio.to_thread(_unpacked, batches)))
            else:
                yield Run(batches, self.begin, kind.step)


class _Kind(NamedTuple):
    """What must be equal for record batches to be in one run. Those that are ``several`` are a run of their own."""

    packed: bool
    by_broker: bool
    step: int
    several: bool


def _kind(batch: RecordBatch) -> _Kind:
    size = len(batch.content) // max(1, batch.record_count)
    step = STEP_RECORDS if size <= SMALL_RECORD_BYTES else 10 if size * 10 <= STEP_BYTES else 1
    return _Kind(batch.is_packed and not batch.fault, batch.by_broker, step, batch.several)


def _unpacked(batches: Sequence[RecordBatch]) -> list[RecordBatch]:
    """Unpack record batches until they are UNPACK_BYTES; those behind stay packed."""
    done: list[RecordBatch] = []
    size = 0
    for batch in batches:
        if size < UNPACK_BYTES:
            done.append(batch.unpacked())
            size += len(done[-1].content)
        else:
            done.append(batch)
    return done


def next_batch(result: Any, begin: int | None) -> Batch:
    """Take the next records out of aiokafka's FetchResult: all of the record batches up to the one that reaches
    RECORDS_MAX, or to the last one. Leaves out transaction markers and records of aborted transactions.

    ``begin``: the ``end`` of the partition's last batch, or None after a seek; then the batch begins at the offset of
    the fetch. Side effects: the consumer's position moves to the batch's ``end``, and ``result.has_more()`` is False
    once everything is taken.

    Reads the record batches directly, because what aiokafka does for each record costs as much as to count it. The
    consumer must have been prepared by ``streams.kafka.fetched.prepare``.
    """
    source, record_batches = internals.undecoded(result)
    if begin is None:
        begin = source.next_fetch_offset
    position, events, missing = begin, 0, 0
    content: list[RecordBatch] = []
    while record_batches and events < RECORDS_MAX:
        sent: RecordBatch = record_batches.popleft()
        left_out = internals.is_left_out(source, sent) and not sent.fault
        if sent.next_offset <= position:
            continue
        missing += max(0, sent.base_offset - position)
        if not left_out:
            content.append(sent)
            events += sent.next_offset - max(position, sent.base_offset)
        position = sent.next_offset
    source.next_fetch_offset = max(source.next_fetch_offset, position)
    internals.set_position(result)
    if not record_batches:
        internals.set_read(result)
    return Batch(begin, position, position - begin - events, missing, content)


async def next_result(consumer: Any, tp: TopicPartition) -> FetchResult:
    """Wait for the partition's next FetchResult. Call ``internals.fetch_again`` once it is read: the partition is not
    fetched again before that.

    Raises KafkaError if the partition cannot be fetched, ConsumerStoppedError if the consumer is stopped. Replaces
    ``getmany``, which makes an object of 11 fields of every record; that costs as much as to restore the record.
    """
    fetcher = internals.open_fetcher(consumer)
    while True:
        result = internals.fetched_of(fetcher, tp)
        if result is None:
            await internals.until_fetched(fetcher)
        elif not isinstance(result, FetchResult):
            internals.fetch_again(fetcher, tp)
            result.check_raise()
        elif not result.check_assignment(tp):  # it was fetched from another offset, before the seek
            internals.fetch_again(fetcher, tp)
        else:
            return result
