"""The work of ``ecounters dlq``: what was refused, how often and why; samples of it; and publishing it again."""

from __future__ import annotations

import codecs
import heapq
import re
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final, NamedTuple

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from ecounters.errors import Stop
from ecounters.events.partitioner import partition_of
from streams.basics.terminal import Progress
from streams.basics.times import utc_text
from streams.kafka.publisher import publisher
from streams.kafka.topics import count_partitions
from streams.settings.table import Settings

Span = dict[Any, tuple[int, int]]
"""For each partition (aiokafka's TopicPartition) the first offset and the one after the last."""

SHOWN_BYTES: Final = 200
"""Of a message in a sample."""
READ_WAIT_MS: Final = 500
STALLED_S: Final = 30.0
"""When nothing has come for so long, nothing will: aiokafka itself says nothing of a broker that is away."""
REPLAY_BYTES_MAX: Final = 1_000_000
"""The events' topic takes 1 MiB; something larger was compressed when it came."""


class StoredLetter(NamedTuple):
    """A dead letter: what was refused, why, and where it stood. ``at_ms``: when it was refused."""

    reason: str
    field: str
    topic: str
    partition: int
    offset: str
    at_ms: int
    key: bytes | None
    value: bytes | None

    @classmethod
    def of(cls, record: Any) -> StoredLetter:
        """What a record of the topic says. Others may have written to it too, so nothing is taken for granted."""
        told = {name: value.decode("utf-8", "replace") for name, value in record.headers if value is not None}
        partition = told.get("partition", "")
        came_from = int(partition) if re.fullmatch(r"[0-9]{1,9}", partition) else record.partition
        return cls(
            told.get("reason", "?"), told.get("field", ""), told.get("topic", "?"), came_from,
            told.get("offset", "?"), record.timestamp, record.key, record.value,
        )  # fmt: skip


class Wanted(NamedTuple):
    """Which letters are asked for; None: any."""

    reason: str | None = None
    partition: int | None = None
    since_ms: int | None = None

    def takes(self, letter: StoredLetter) -> bool:
        """Whether it is one of them."""
        return (
            (self.reason is None or letter.reason == self.reason)
            and (self.partition is None or letter.partition == self.partition)
            and (self.since_ms is None or letter.at_ms >= self.since_ms)
        )


# ---------------------------------------------------------------------------------------------- reading


@asynccontextmanager
async def _consumer(settings: Settings) -> AsyncIterator[Any]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.broker,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()


async def find_span(settings: Settings, wanted: Wanted) -> Span:
    """What there is to read now. What comes later (so also what a replay brings back) is not in it."""
    topic = settings.dlq_topic
    async with _consumer(settings) as consumer:
        # Asked about a topic that is missing, some brokers would make it.
        if topic not in await consumer.topics():
            raise Stop(f"there is no topic {topic}: is ECOUNTERS_TOPIC right? `ecounters topics` makes what is missing")
        count = await count_partitions(settings.broker, topic)
        if wanted.partition is not None and wanted.partition >= count:
            raise Stop(f"there is no partition {wanted.partition}: {topic} has 0 to {count - 1}")
        # A worker writes what it refuses into the partition of the same number.
        numbers = range(count) if wanted.partition is None else [wanted.partition]
        partitions = [TopicPartition(topic, at) for at in numbers]
        consumer.assign(partitions)
        begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        if wanted.since_ms is not None:
            found = await consumer.offsets_for_times(dict.fromkeys(partitions, wanted.since_ms))
            begins = {tp: ends[tp] if found.get(tp) is None else found[tp].offset for tp in partitions}
        return {tp: (begins[tp], ends[tp]) for tp in partitions if begins[tp] < ends[tp]}


async def read(settings: Settings, span: Span, wanted: Wanted, progress: Progress) -> AsyncIterator[StoredLetter]:
    """The letters of a span that are wanted, in the order of each partition. ``progress`` is of all that is read."""
    if not span:
        return
    async with _consumer(settings) as consumer:
        consumer.assign(list(span))
        for tp, (begin, _) in span.items():
            consumer.seek(tp, begin)
        left, moved = dict(span), time.monotonic()
        while left:
            for tp, records in (await consumer.getmany(*left, timeout_ms=READ_WAIT_MS)).items():
                progress.add(len(records))
                for record in records:
                    if record.offset < span[tp][1] and wanted.takes(letter := StoredLetter.of(record)):
                        yield letter
            # Behind the last letter comes the mark of its transaction, which nobody is handed.
            now = {tp: (await consumer.position(tp), end) for tp, (_, end) in left.items()}
            if now != left:
                left, moved = {tp: at for tp, at in now.items() if at[0] < at[1]}, time.monotonic()
            elif time.monotonic() - moved > STALLED_S:
                raise Stop(
                    f"Kafka at {settings.broker}: nothing more has come of {settings.dlq_topic} for {STALLED_S:g} s"
                )


# ---------------------------------------------------------------------------------------------- the table


@dataclass(slots=True)
class Group:
    """The letters of one reason and field. ``samples``: the newest ones, as a heap."""

    count: int = 0
    first_ms: int = 0
    last_ms: int = 0
    samples: list[tuple[int, int, StoredLetter, int]] = field(default_factory=list)

    def add(self, letter: StoredLetter, samples: int) -> None:
        """One more; of so many the message is kept, as far as it is shown."""
        self.first_ms = min(self.first_ms, letter.at_ms) if self.count else letter.at_ms
        self.last_ms = max(self.last_ms, letter.at_ms)
        self.count += 1
        if not samples or (len(self.samples) == samples and self.samples[0][0] > letter.at_ms):
            return
        value = letter.value
        shown = letter._replace(value=None if value is None else value[: SHOWN_BYTES + 1])
        put = heapq.heappush if len(self.samples) < samples else heapq.heappushpop
        put(self.samples, (letter.at_ms, self.count, shown, len(value or b"")))


Groups = dict[tuple[str, str], Group]


def table(groups: Groups) -> Iterator[str]:
    """The counts as lines, the largest first; none if there is nothing."""
    if not groups:
        return
    rows = [("REASON", "FIELD", "COUNT", "FIRST SEEN", "LAST SEEN")]
    for (reason, name), group in _sorted(groups):
        times = utc_text(group.first_ms, "seconds"), utc_text(group.last_ms, "seconds")
        rows.append((printable(reason.encode()), printable(name.encode()) or "-", f"{group.count:,}", *times))
    widths = [max(len(row[at]) for row in rows) for at in range(5)]
    for reason, name, count, first, last in rows:
        yield (
            f"{reason:<{widths[0]}}  {name:<{widths[1]}}  {count:>{widths[2]}}  {first:<{widths[3]}}  {last}"
        ).rstrip()


def samples(groups: Groups) -> Iterator[str]:
    """The samples as lines: where each stood, when it was refused, and how it begins."""
    for (reason, name), group in _sorted(groups):
        if group.samples:
            what = f"{reason}: {name}" if name else reason
            yield ""
            yield f"{printable(what.encode())}, the last {len(group.samples)} of {group.count:,}"
        for _, _, letter, size in sorted(group.samples, reverse=True):
            where = f"{letter.topic}/{letter.partition}/{letter.offset}"
            at = utc_text(letter.at_ms, "milliseconds")
            yield f"  {printable(where.encode())}  {at}  {_begin(letter.value, size)}"


def _sorted(groups: Groups) -> list[tuple[tuple[str, str], Group]]:
    return sorted(groups.items(), key=lambda item: (-item[1].count, item[0]))


def _begin(value: bytes | None, size: int) -> str:
    if not value:
        return "(no message)" if value is None else "(empty)"
    return printable(value[:SHOWN_BYTES], cut=size > SHOWN_BYTES) + (f"… ({size:,} bytes)" * (size > SHOWN_BYTES))


def printable(data: bytes, *, cut: bool = False) -> str:
    """Bytes from anybody as one line that does nothing to a terminal; ``cut``: the last character may be incomplete."""
    text = codecs.getincrementaldecoder("utf-8")("backslashreplace").decode(data, final=not cut)
    shown = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
    encoding = sys.stdout.encoding or "utf-8"
    return shown.encode(encoding, "backslashreplace").decode(encoding)


# ---------------------------------------------------------------------------------------------- again


def destination(letter: StoredLetter, partitions: int) -> int:
    """Where a letter is published to again: its user's partition or, if no user can be read, where it came from."""
    try:
        event = orjson.loads(letter.value or b"")
    except orjson.JSONDecodeError:
        event = None
    user_id = event.get("userId") if isinstance(event, dict) else None
    if isinstance(user_id, str) and user_id:
        return partition_of(user_id, partitions)
    return letter.partition % partitions


async def replay(settings: Settings, span: Span, wanted: Wanted) -> tuple[int, int]:
    """Publish the letters of a span again; how many were, and how many are too large for it."""
    partitions = await count_partitions(settings.broker, settings.topic)
    published = too_large = 0
    progress = Progress("published", what="messages")
    async with publisher(settings.broker, settings.topic) as publishing:
        async for letter in read(settings, span, wanted, Progress("read", what="letters")):
            if len(letter.value or b"") + len(letter.key or b"") > REPLAY_BYTES_MAX:
                too_large += 1
                continue
            await publishing.put_to(destination(letter, partitions), letter.key, letter.value)
            published += 1
            progress.add(1)
    progress.end()
    return published, too_large


# ---------------------------------------------------------------------------------------------- all of it


@dataclass(slots=True)
class Found:
    """What was read. ``reasons``: of what was not wanted too; ``unwritten``: messages that are no line of a file."""

    span: Span
    groups: Groups = field(default_factory=dict)
    reasons: set[str] = field(default_factory=set)
    unwritten: int = 0

    @property
    def count(self) -> int:
        """How many were wanted."""
        return sum(group.count for group in self.groups.values())

    def write(self, value: bytes | None, out: BinaryIO) -> None:
        """A message as a line, if it is one."""
        if value and b"\n" not in value and b"\r" not in value:
            out.write(value + b"\n")
        else:
            self.unwritten += 1


async def look(settings: Settings, wanted: Wanted, kept: int, out: BinaryIO | None) -> Found:
    """Read all letters that there are; ``kept`` samples of each kind; messages go to ``out`` as well."""
    found, progress = Found(await find_span(settings, wanted)), Progress("read", what="letters")
    async for letter in read(settings, found.span, wanted._replace(reason=None), progress):
        found.reasons.add(letter.reason)
        if wanted.takes(letter):
            found.groups.setdefault((letter.reason, letter.field), Group()).add(letter, kept)
            if out is not None:
                found.write(letter.value, out)
    progress.end()
    return found


def nothing(topic: str, found: Found, wanted: Wanted) -> str:
    """What is said where no letter is wanted."""
    if wanted.reason is not None and found.reasons:
        reasons = ", ".join(sorted(printable(reason.encode()) for reason in found.reasons))
        return f"Nothing in {topic} was refused as {wanted.reason}; there is: {reasons}."
    return f"Nothing{' of that time or place' if wanted != Wanted() else ''} in {topic}."
