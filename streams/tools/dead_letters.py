"""The work of ``ecounters dlq`` with the dead-letter topic: read it, select dead letters, and publish them again.

How counts and samples are printed is in ``dead_letter_report``.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final, NamedTuple

from aiokafka import TopicPartition

from ecounters.errors import Stop
from ecounters.events.partitioner import partition_of
from streams.basics.terminal import Progress
from streams.basics.text import printable
from streams.kafka.clients import Kafka
from streams.kafka.publisher import publisher
from streams.kafka.topics import count_partitions, largest_message
from streams.settings.table import Settings
from streams.tools.dead_letter_report import Group, Groups, StoredDeadLetter

Span = dict[Any, tuple[int, int]]
"""aiokafka's TopicPartition -> (first offset, offset after the last one)."""

READ_WAIT_MS: Final = 500
"""How long one call of aiokafka waits for records."""
STALLED_S: Final = 30.0
"""Reading gives up after this time without progress: aiokafka itself raises nothing while a broker is unreachable."""
FRAME_BYTES: Final = 200
"""How much smaller than the topic's ``max.message.bytes`` key and value must be together to be published again."""


class Selection(NamedTuple):
    """Which dead letters to read. A field that is None selects all.

    ``user``: the account that the event names, or its key if no account can be read. ``event_id``: the event's ``id``.
    ``partition``: the event's own partition. A worker writes a dead letter into the partition of the same number of the
    dead-letter topic. ``since_ms``: the dead letter was written at this time or later.
    """

    reason: str | None = None
    partition: int | None = None
    since_ms: int | None = None
    user: str | None = None
    event_id: str | None = None

    def includes(self, dead_letter: StoredDeadLetter) -> bool:
        """Whether a dead letter matches every field that is not None."""
        return (
            (self.reason is None or dead_letter.reason == self.reason)
            and (self.partition is None or dead_letter.partition == self.partition)
            and (self.since_ms is None or dead_letter.at_ms >= self.since_ms)
            and (self.user is None or dead_letter.user == self.user)
            and (self.event_id is None or dead_letter.event_id == self.event_id)
        )


# ---------------------------------------------------------------------------------------------- reading


@asynccontextmanager
async def _consumer(settings: Settings) -> AsyncIterator[Any]:
    """Yield a started consumer without a group that reads committed dead letters only. It is stopped at the end."""
    consumer = Kafka.of(settings).consumer(
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()


async def find_span(settings: Settings, selection: Selection) -> Span:
    """The offsets of the dead-letter topic to read, up to its present end, without partitions that have none to read.

    Dead letters that come later, also those that a replay causes, are not in the span. Raises Stop if there is no such
    topic or partition, KafkaError if Kafka cannot be reached.
    """
    topic = settings.dlq_topic
    async with _consumer(settings) as consumer:
        count = await count_partitions(Kafka.of(settings), topic, "Read")
        if selection.partition is not None and selection.partition >= count:
            raise Stop(f"there is no partition {selection.partition}: {topic} has 0 to {count - 1}")
        # See Selection: the dead letters of a partition of events are in the partition of the same number.
        numbers = range(count) if selection.partition is None else [selection.partition]
        partitions = [TopicPartition(topic, number) for number in numbers]
        consumer.assign(partitions)
        begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        if selection.since_ms is not None:
            times = await consumer.offsets_for_times(dict.fromkeys(partitions, selection.since_ms))
            begins = {tp: ends[tp] if times.get(tp) is None else times[tp].offset for tp in partitions}
        return {tp: (begins[tp], ends[tp]) for tp in partitions if begins[tp] < ends[tp]}


async def read(
    settings: Settings, span: Span, selection: Selection, progress: Progress
) -> AsyncIterator[StoredDeadLetter]:
    """The selected dead letters of a span, in the order of each partition.

    ``progress`` counts all dead letters that are read, selected or not. Raises KafkaError, and Stop if there is no
    progress for STALLED_S.
    """
    if not span:
        return
    async with _consumer(settings) as consumer:
        consumer.assign(list(span))
        for tp, (begin, _) in span.items():
            consumer.seek(tp, begin)
        left, moved_at = dict(span), time.monotonic()
        while left:
            for tp, records in (await consumer.getmany(*left, timeout_ms=READ_WAIT_MS)).items():
                progress.add(len(records))
                for record in records:
                    if record.offset < span[tp][1] and selection.includes(dead_letter := StoredDeadLetter.of(record)):
                        yield dead_letter
            # A partition is read when the consumer's position has reached its end. Records do not tell: the last offset
            # may be a transaction marker, of which no record comes.
            now = {tp: (await consumer.position(tp), end) for tp, (_, end) in left.items()}
            if now != left:
                left = {tp: (position, end) for tp, (position, end) in now.items() if position < end}
                moved_at = time.monotonic()
            elif time.monotonic() - moved_at > STALLED_S:
                raise Stop(
                    f"Kafka at {settings.broker}: nothing more has come of {settings.dlq_topic} for {STALLED_S:g} s"
                )


@dataclass(slots=True)
class Survey:
    """The result of ``survey``.

    ``span``: the offsets that were read. ``groups``: the selected dead letters, by reason and field. ``reasons``: all
    reasons in the selected partition and time, also those that are not selected. ``unwritten``: how many messages were
    left out of the file.
    """

    span: Span
    groups: Groups = field(default_factory=dict)
    reasons: set[str] = field(default_factory=set)
    unwritten: int = 0

    @property
    def count(self) -> int:
        """The number of selected dead letters."""
        return sum(group.count for group in self.groups.values())

    def write(self, dead_letter: StoredDeadLetter, out: BinaryIO) -> None:
        """Write a message as a line. One that is empty, not whole or has line breaks is counted in ``unwritten``."""
        value = dead_letter.value
        if value and dead_letter.is_whole and b"\n" not in value and b"\r" not in value:
            out.write(value + b"\n")
        else:
            self.unwritten += 1


async def survey(settings: Settings, selection: Selection, samples_max: int, out: BinaryIO | None) -> Survey:
    """Read the dead-letter topic up to its present end, and group the selected dead letters by reason and field.

    Reads those of other reasons too, for ``Survey.reasons``. Keeps the newest ``samples_max`` of each group as samples.
    Writes the messages of the selected ones to ``out`` too (see ``Survey.write``), unless it is None. Prints progress
    on stderr. Raises what ``find_span`` and ``read`` raise.
    """
    result = Survey(await find_span(settings, selection))
    progress = Progress("read", what="dead letters")
    async for dead_letter in read(settings, result.span, selection._replace(reason=None), progress):
        result.reasons.add(dead_letter.reason)
        if selection.includes(dead_letter):
            result.groups.setdefault((dead_letter.reason, dead_letter.field), Group()).add(dead_letter, samples_max)
            if out is not None:
                result.write(dead_letter, out)
    progress.end()
    return result


def nothing_selected(topic: str, result: Survey, selection: Selection) -> str:
    """The line to print if no dead letter is selected. If a reason was selected, it names that and others."""
    narrowed = "" if selection._replace(reason=None) == Selection() else " of that user, event, time or place"
    if selection.reason is None:
        return f"Nothing{narrowed} in {topic}."
    others = f"; there is: {', '.join(sorted(map(printable, result.reasons)))}" if result.reasons else ""
    return f"Nothing{narrowed} in {topic} was refused as {selection.reason}{others}."


# ---------------------------------------------------------------------------------------------- replaying


def destination(dead_letter: StoredDeadLetter, partitions: int) -> int:
    """The partition of the topic of events that a dead letter is published to again.

    It is the partition of the event's user. If no user can be read from the message, it is the partition that the
    message came from, modulo ``partitions``.
    """
    if user_id := dead_letter.named("userId"):
        return partition_of(user_id, partitions)
    return dead_letter.partition % partitions


class Replayed(NamedTuple):
    """How many dead letters ``replay`` has published, and how many it has left out: as larger than the topic of events
    takes without compression, and as not whole."""

    published: int
    too_large: int
    not_whole: int


async def replay(settings: Settings, span: Span, selection: Selection) -> Replayed:
    """Publish the selected dead letters of a span to the topic of events again, with their keys.

    Leaves out those that are truncated, or a record batch that cannot be read: the event would be another one, or none.
    Removes nothing from the dead-letter topic. Prints progress on stderr. Raises KafkaError, and Stop as ``read`` does.
    """
    most = await largest_message(Kafka.of(settings), settings.topic) - FRAME_BYTES
    published = too_large = not_whole = 0
    progress = Progress("published", what="messages")
    async with publisher(Kafka.of(settings), settings.topic) as publishing:
        async for dead_letter in read(settings, span, selection, Progress("read", what="dead letters")):
            if not dead_letter.is_whole:
                not_whole += 1
                continue
            if len(dead_letter.value or b"") + len(dead_letter.key or b"") > most:
                too_large += 1
                continue
            partition = destination(dead_letter, publishing.partitions)
            await publishing.put_to(partition, dead_letter.key, dead_letter.value)
            published += 1
            progress.add(1)
    progress.end()
    return Replayed(published, too_large, not_whole)
