"""Reads partitions of the changelog from start to end, for restores: a few at a time, over a few connections."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CorruptRecordException, KafkaError

from ecounters.changelog.entries import Entry
from ecounters.errors import Stop
from streams.basics.slices import Slice, TimeSlices
from streams.kafka import internals
from streams.kafka.batches import Run, next_batch, next_result
from streams.kafka.clients import Kafka
from streams.kafka.fetched import prepare
from streams.kafka.log_reader import KeyedRow, Unreadable, keyed_reader
from streams.kafka.topics import CHANGELOG_STALE_MS

log = logging.getLogger(__name__)

LIMIT_S: Final = 15.0
"""How long connecting may take. aiokafka itself would try for ever."""


class Pace(NamedTuple):
    """How much one fetch returns at most, unless a single batch is larger, and how long it may take."""

    fetch_bytes: int
    limit_s: float


PACES: Final = (Pace(1_048_576, 15.0), Pace(262_144, 60.0))
"""Fetches begin with the first pace. After one that took too long the next is tried, for slow lines: it fetches a
quarter of the one before, and has more time. Batches of the changelog have 300 kB: 5 kB/s are enough for the last."""
READ_LIMIT_S: Final = CHANGELOG_STALE_MS / 1000
"""How long a partition may be read."""
FETCH_WAIT_MS: Final = 100
"""How long a broker may hold a fetch request while it has no records."""
READERS_MAX: Final = 8
"""How many partitions are read at the same time. While one is decoded, the next ones are fetched."""
DAMAGE_HELPS: Final = (
    "if another broker has a sound copy, let that one lead; else import a file of `ecounters state export`, or count "
    "anew from the topic of events (deploy/README.md, Damaged records)"
)
"""What helps against damaged records of a changelog. What they held is not known, so nothing can take them out."""


async def read_changelog(kafka: Kafka, tp: TopicPartition, slices: TimeSlices) -> AsyncGenerator[list[Entry]]:
    """Yield all committed entries of a partition, as ``ChangelogReaders.read`` does."""
    async with aclosing(ChangelogReaders(kafka).read(tp, slices)) as reading:
        async for entries in reading:
            yield entries


@dataclass(slots=True)
class _Reading:
    """How far a partition has been read: up to ``position`` of [``first``, ``end``). ``pace``: index in PACES.
    ``began_s``: when, as time.monotonic()."""

    tp: TopicPartition
    position: int
    pace: int
    first: int = 0
    end: int | None = None
    began_s: float = field(default_factory=time.monotonic)

    @property
    def is_done(self) -> bool:
        """Whether all was read."""
        return self.end is not None and self.position >= self.end

    def took(self, seconds: float) -> None:
        """Note how long a fetch took: the pace before is tried again if a fetch of four times as much would take half
        of its limit at most. Raises TimeoutError after READ_LIMIT_S."""
        if self.pace and 4 * seconds < PACES[self.pace - 1].limit_s / 2:
            self.pace -= 1
        if time.monotonic() - self.began_s > READ_LIMIT_S:
            raise TimeoutError(
                f"{self.tp.topic}, partition {self.tp.partition}, was not read to its end within {READ_LIMIT_S} s: "
                "Kafka may have removed tombstones of what was read first"
            )

    def timed_out(self) -> None:
        """Note that a fetch took too long. Raises TimeoutError if it was one of the last pace."""
        fetch_bytes, limit_s = PACES[self.pace]
        what = f"{fetch_bytes} bytes of {self.tp.topic}, partition {self.tp.partition}, did not come within {limit_s} s"
        self.pace += 1
        if self.pace == len(PACES):
            raise TimeoutError(what)
        log.warning("%s: it is read on with %s bytes at once", what, PACES[self.pace].fetch_bytes)


class _FetchTimedOut(Exception):
    """A fetch took longer than its pace allows."""


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
        self._pace = 0  # of the reader that has changed its own last: the next ones begin with it

    async def read(
        self,
        tp: TopicPartition,
        slices: TimeSlices,
        progress: Callable[[float], None] = lambda _: None,
        begin: int = 0,
    ) -> AsyncGenerator[list[Entry]]:
        """Yield the entries of all committed records of a partition in order, as lists of at most STEP_RECORDS, and
        after each fetch an empty list.

        ``begin``: the first offset to read.

        Call ``ChangelogTakeover.open`` first, so that no other worker writes to the partition while it is read. This
        generator holds a time slice of ``slices`` while it decodes, and still holds the slice while the caller handles
        a list. So the caller must not await anything between two lists, but at an empty one it may. It holds none while
        a thread unpacks record batches. ``progress`` is told after each fetch how much was read, 0 to 1.

        Waits for its turn without a limit. After a fetch that took too long the partition is read on over a new
        connection, by the next of PACES. Raises CorruptRecordException at a record batch that cannot be decoded, or
        at bytes that are none, another KafkaError if the partition cannot be read, TimeoutError if connecting takes
        LIMIT_S, the smallest fetch too long, or all of it READ_LIMIT_S.
        """
        self._reading += 1
        try:
            async with self._turns:
                reading, pace = _Reading(tp, begin, self._pace), self._pace
                while not reading.is_done:
                    consumer = self._idle.pop() if self._idle else self._new_consumer()
                    try:
                        if not consumer.assignment():  # a new one: those that have read keep their last partition
                            async with asyncio.timeout(LIMIT_S):
                                await consumer.start()
                            prepare(consumer, raise_broken=True)
                        async with aclosing(_entries(consumer, reading, slices, progress)) as lists:
                            async for entries in lists:
                                yield entries
                    except _FetchTimedOut:
                        await consumer.stop()  # what is still on its way would be in the way of the next fetch
                        reading.timed_out()
                    except BaseException:
                        await consumer.stop()
                        raise
                    else:
                        self._idle.append(consumer)
                    if reading.pace != pace:
                        self._pace = pace = reading.pace
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
            fetch_max_wait_ms=FETCH_WAIT_MS,
            request_timeout_ms=round(1000 * (PACES[-1].limit_s + LIMIT_S)),  # PACES limits fetches before
            check_crcs=False,
        )


async def _entries(
    consumer: AIOKafkaConsumer, reading: _Reading, slices: TimeSlices, progress: Callable[[float], None]
) -> AsyncGenerator[list[Entry]]:
    """Yield the entries of one partition as ``ChangelogReaders.read`` does. Raises _FetchTimedOut: then read on."""
    tp = reading.tp
    async with asyncio.timeout(LIMIT_S):
        consumer.assign([tp])
        consumer.pause(tp)  # the fetch of an empty partition would keep the next one waiting for FETCH_WAIT_MS
        if reading.end is None:
            begins, ends = await asyncio.gather(consumer.beginning_offsets([tp]), consumer.end_offsets([tp]))
            reading.first = reading.position = max(reading.position, begins[tp])
            reading.end = ends[tp]
    first, end = reading.first, reading.end
    if not reading.is_done:
        consumer.seek(tp, reading.position)
        internals.set_next_fetch_bytes(consumer, PACES[reading.pace].fetch_bytes)
        consumer.resume(tp)
    while not reading.is_done:
        began_s = time.monotonic()
        try:
            async with asyncio.timeout(PACES[reading.pace].limit_s):
                result = await next_result(consumer, tp)
        except TimeoutError:
            raise _FetchTimedOut from None
        reading.took(time.monotonic() - began_s)
        while result.has_more():
            batch = next_batch(result, None)
            async for run in batch.runs():
                async with Slice(slices) as time_slice:
                    for entries in entries_of(run, tp):
                        yield entries
                        await time_slice.yield_if_used_up()
            reading.position = batch.end  # behind transaction markers too: the last one is right before ``end``
        progress((reading.position - first) / (end - first))
        yield []
        if not reading.is_done:
            internals.set_next_fetch_bytes(consumer, PACES[reading.pace].fetch_bytes)
            internals.fetch_again(internals.open_fetcher(consumer), tp)


def entries_of(run: Run, tp: TopicPartition) -> Iterator[list[Entry]]:
    """Yield the entries of a run in order, as lists of at most STEP_RECORDS. To decode one takes well below 1 ms.

    Raises CorruptRecordException, which names the partition ``tp``, at a record batch that cannot be decoded: behind
    the entries before it. A value over PLAIN_VALUE_MAX may be cut short; whoever decodes such an entry finds that out.
    """
    while (records := run.take()) or run.faulty is not None:
        if records:
            yield [(record.key, record.value) for record in records]
        if run.faulty is not None:
            raise CorruptRecordException(f"{tp.topic}, partition {tp.partition}: {run.faulty.fault}")
