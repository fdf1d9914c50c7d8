"""What an audit counts before the topic of today, or with another number of partitions.

A state that was moved (``ecounters state import``) says in its binding which topics were counted before, and up to what
offsets. A recount goes the same way, segment by segment::

    segment    topic events, 4 partitions    from 0 up to 100, 90, 120, 80         as 4 recounts
    move                                                                           of 4 recounts to 8
    segment    topic events, 8 partitions    from 100, 90, 120, 80, 0, 0, 0, 0     as 8 recounts, up to today

A topic that was imported as a mirror with the same offsets has the events of the topic before as well: it is read from
its start, and both are one segment.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final, NamedTuple

from ecounters.changelog.binding import Binding, EventsLog
from ecounters.errors import Stop
from ecounters.recount.call import Limits
from ecounters.recount.moving import moved
from ecounters.recount.recount import Recount
from streams.basics.terminal import Progress
from streams.basics.times import utc_text
from streams.kafka.clients import Kafka
from streams.kafka.log_reader import LogReader, LogRow, log_reader
from streams.kafka.metadata import ClusterFacts
from streams.settings.table import Settings
from streams.tools.state.contents import common_binding
from streams.tools.state.target import is_same_topic, log_of, saved_positions, topics_of

EARLIER_MS: Final = 900_000
"""With ``--from``, reading starts so much, and ``clock_ahead_ms``, before that time. An event's ``ts`` may be ahead of
the broker's clock, and the events of a call may stand in the log out of order."""

Read = Callable[[Recount, list[LogRow]], None]
"""Lets a recount read rows."""


class Segment(NamedTuple):
    """A topic that was counted before. ``ends``: up to where. ``begins``: where counting began in the next one."""

    log: EventsLog
    ends: tuple[int, ...]
    begins: tuple[int, ...]


class Lineage(NamedTuple):
    """What was counted before the topic of today, oldest first."""

    segments: list[Segment]

    @property
    def begins(self) -> tuple[int, ...]:
        """Where counting began in the topic of today; () if nothing was counted before."""
        return self.segments[-1].begins if self.segments else ()


async def lineage_of(settings: Settings) -> Lineage:
    """What the saved state says that it has counted.

    Raises Stop if the state is not of the topic of events as it is now: then no comparison can be right. KafkaError.
    """
    facts = await topics_of(settings)
    changelog, log = facts.topics.get(settings.changelog_topic), log_of(settings, facts)
    if changelog is None or log is None:
        return Lineage([])
    positions = await saved_positions(settings, changelog.partitions)
    binding = common_binding(positions, changelog.partitions)
    if binding is None:
        return Lineage([])
    if binding.log != log:
        raise Stop(_unlike(binding.log, log))
    return Lineage(segments_of(binding))


def _unlike(bound: EventsLog, now: EventsLog) -> str:
    if is_same_topic(bound, now):
        return (
            f"the state was made for {bound.partitions} partitions of {now.topic}, which has {now.partitions} now: "
            f"`ecounters topics --grow {now.partitions}` moves it"
        )
    return (
        f"the state is of topic {bound.topic} (id {bound.topic_id or '-'}) of cluster {bound.cluster or '-'}, and "
        f"{now.topic} is another one (id {now.topic_id or '-'}, cluster {now.cluster or '-'})"
    )


def segments_of(binding: Binding) -> list[Segment]:
    """The history of a binding, without topics of which a later one is a mirror: they are read there."""
    found: list[Segment] = []
    mirrors: dict[tuple[str, str, str], EventsLog] = {}  # topic -> the one that is read for it
    after = binding.log
    for counted in reversed(binding.history):
        log, begins = counted.log, counted.begins
        if not begins:
            mirrors[_name(log)] = mirrors.get(_name(after), after)
        else:
            read = mirrors.get(_name(log), log)
            found.append(
                Segment(EventsLog(read.cluster, read.topic, read.topic_id, log.partitions), counted.ends, begins)
            )
        after = log
    return found[::-1]


def _name(log: EventsLog) -> tuple[str, str, str]:
    return log.cluster, log.topic, log.topic_id


async def recount_segments(
    settings: Settings, lineage: Lineage, reader: LogReader[LogRow], limits: Limits, since_ms: int | None, read: Read
) -> list[Recount]:
    """Recount what was counted before, and return the recounts of today's partitions, which go on in ``reader``.

    ``reader``: of the topic of today, all partitions; it is read on behind what was counted before. ``since_ms``: None
    for the whole log. ``read``: called once with each row that was counted before, in order; the recount must
    read them.

    Raises Stop if a topic of before cannot be read any more. With ``since_ms`` it is left out, with a line on stderr.
    """
    if not lineage.segments:
        return [Recount(at, reader.partitions, limits) for at in range(reader.partitions)]
    today = await topics_of(settings, *{segment.log.topic for segment in lineage.segments})
    recounts = [
        Recount(at, lineage.segments[0].log.partitions, limits) for at in range(lineage.segments[0].log.partitions)
    ]
    begins: tuple[int, ...] = ()
    for segment in lineage.segments:
        if segment.log.topic == settings.topic and _is_there(segment.log, today):
            await _read(reader, recounts, segment, read)
        elif _is_there(segment.log, today):
            async with log_reader(Kafka.of(settings), segment.log.topic, since_ms) as earlier:
                for partition, begin in enumerate(begins):  # one segment before may be of this topic too
                    earlier.skip_to(partition, begin)
                await _read(earlier, recounts, segment, read)
        elif since_ms is None:
            raise Stop(f"{_away(segment.log)}; {await _what_can_be_compared(settings, lineage.begins, limits)}")
        else:
            sys.stderr.write(f"{_away(segment.log)}, and is left out\n")
        recounts, begins = moved(recounts, segment.begins), segment.begins
    for partition, begin in enumerate(lineage.begins):
        reader.skip_to(partition, begin)
    return recounts


def reading(progress: Progress) -> Read:
    """A ``read`` for ``recount_segments`` that counts the rows in ``progress``."""

    def read(recount: Recount, rows: list[LogRow]) -> None:
        recount.read(rows)
        progress.add(len(rows))

    return read


def _is_there(log: EventsLog, facts: ClusterFacts) -> bool:
    found = facts.topics.get(log.topic)
    return found is not None and (facts.cluster_id, found.topic_id) == (log.cluster, log.topic_id)


async def _read(reader: LogReader[LogRow], recounts: list[Recount], segment: Segment, read: Read) -> None:
    """Read all partitions of a segment up to where they were counted."""
    for partition, end in enumerate(segment.ends):
        async for rows in reader.up_to(partition, end):
            read(recounts[partition], rows)


def _away(log: EventsLog) -> str:
    return (
        f"the state has counted topic {log.topic} (id {log.topic_id or '-'}, {log.partitions} partitions) of cluster "
        f"{log.cluster or '-'} before, which cannot be read here any more"
    )


async def _what_can_be_compared(settings: Settings, begins: tuple[int, ...], limits: Limits) -> str:
    """From which time on a recount of the topic of today alone has everything."""
    first_ms = 0
    async with log_reader(Kafka.of(settings), settings.topic) as reader:
        for partition, begin in enumerate(begins):
            reader.skip_to(partition, begin)
            async for rows in reader.up_to(partition, min(reader.begins[partition] + 1, reader.ends[partition])):
                first_ms = max(first_ms, *(row[1] for row in rows))
    if not first_ms:
        return "--from TIME compares what begins from now on"
    at = utc_text(first_ms + limits.clock_ahead + EARLIER_MS, "seconds")
    return f"`ecounters audit --from {at}` compares what began since then"
