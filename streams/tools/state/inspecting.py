"""The work of ``ecounters state show``, ``check`` and ``repair``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from aiokafka import TopicPartition

from ecounters.changelog.binding import Binding, EventsLog
from ecounters.changelog.entries import POSITION
from ecounters.changelog.saved import Position
from ecounters.errors import Stop
from streams.basics.terminal import Progress
from streams.basics.times import utc_text
from streams.kafka.changelog_reader import DAMAGE_HELPS
from streams.kafka.clients import Kafka
from streams.kafka.group_facts import group_members
from streams.kafka.log_reader import Unreadable, keyed_reader
from streams.kafka.state_writer import state_writer
from streams.settings.narrow import ChangelogSettings
from streams.settings.table import Settings
from streams.tools.state.contents import Fault, common_binding, read_contents


class Summary(NamedTuple):
    """One partition: how many entries and bytes a restore reads of it, and its position; None without one."""

    partition: int
    entries: int
    bytes: int
    position: Position | None

    def line(self) -> str:
        """The row of the table."""
        position, watermark = "-", "-"
        if self.position is not None:
            position = f"{self.position.position:,}"
            watermark = utc_text(self.position.watermark, "seconds") if self.position.watermark else "-"
        return f"{self.partition:>9}  {self.entries:>13,}  {self.bytes:>15,}  {position:>15}  {watermark}"


HEADING: Final = f"{'partition':>9}  {'entries':>13}  {'bytes':>15}  {'position':>15}  watermark"


@dataclass(slots=True)
class Survey:
    """What was found in a changelog.

    ``members``: of the group; the numbers move if there are any. ``why_unbound``: why the partitions have no common
    binding, or "". ``misplaced``: partition -> how many of its accounts belong to another partition.
    """

    changelog: str
    members: list[str]
    partitions: list[Summary] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    misplaced: dict[int, int] = field(default_factory=dict)
    binding: Binding | None = None
    why_unbound: str = ""

    @property
    def positions(self) -> dict[int, Position]:
        """partition -> its position, of those that have one."""
        return {row.partition: row.position for row in self.partitions if row.position is not None}

    @property
    def sound(self) -> bool:
        """Whether a restore can read everything, and finds each account where it belongs."""
        return not (self.faults or self.unreadable or self.misplaced or self.why_unbound)

    @property
    def repairable(self) -> list[Fault]:
        """The faults that ``repair`` can mend."""
        return [fault for fault in self.faults if fault.is_repairable]

    def moving_line(self) -> Iterator[str]:
        """The warning that workers are running, if they are."""
        if self.members:
            yield f"Workers are running ({', '.join(self.members)}), so the numbers move."

    def show_lines(self) -> Iterator[str]:
        """What ``show`` prints."""
        yield from self.moving_line()
        yield f"The state is in {self.changelog}."
        if self.why_unbound:
            yield self.why_unbound
        elif self.binding is None:
            yield "It is bound to no topic: an earlier release wrote it, or nothing was counted yet."
        else:
            for counted in self.binding.history:
                yield f"Counted before: {shown_log(counted.log)}, up to {', '.join(map(str, counted.ends))}"
            yield f"It is bound to {shown_log(self.binding.log)}."
        releases = sorted({one.binding.release for one in self.positions.values() if one.binding is not None} - {""})
        if releases:
            yield f"Saved last by release {', '.join(releases)}."
        yield HEADING
        yield from (row.line() for row in self.partitions)
        entries, size = sum(row.entries for row in self.partitions), sum(row.bytes for row in self.partitions)
        yield f"{'all':>9}  {entries:>13,}  {size:>15,}"
        if self.unreadable:
            yield f"{len(self.unreadable):,} record batches cannot be read and are left out: `ecounters state check`."

    def check_lines(self) -> Iterator[str]:
        """What ``check`` prints."""
        yield from self.moving_line()
        if self.why_unbound:
            yield self.why_unbound
        yield from (fault.line() for fault in self.faults)
        for partition, first, last, why in self.unreadable:
            yield f"partition {partition}, offsets {first} to {last}: a record batch cannot be read: {why}"
        for partition, count in sorted(self.misplaced.items()):
            yield (
                f"partition {partition}: {count:,} accounts belong to another partition: the state was made for "
                "another number of partitions"
            )
        entries = sum(row.entries for row in self.partitions)
        if self.sound:
            yield f"All {entries:,} entries of {len(self.partitions)} partitions can be read."
        if self.unreadable:
            yield f"What damaged records held is not known, so `ecounters state repair` leaves them: {DAMAGE_HELPS}."
        if any(fault.key == POSITION and not fault.is_repairable for fault in self.faults):
            yield (
                "A position cannot be taken out: without it all events would be counted again. Run the release that "
                "wrote it, or import a file of `ecounters state export`."
            )
        lost = sum(fault.value is not None for fault in self.faults)
        if count := len(self.repairable) - lost:
            yield f"{count:,} of {entries:,} entries cannot be read; `ecounters state repair` takes them out."
        if lost:
            yield f"{lost:,} positions are missing; `ecounters state repair` puts them back."


def shown_log(log: EventsLog) -> str:
    """A topic for people."""
    topic_id = f", id {log.topic_id}" if log.topic_id else ""
    return f"topic {log.topic} ({log.partitions} partitions{topic_id}) of cluster {log.cluster or '(no id)'}"


async def survey(settings: Settings, *, checks: bool) -> Survey:
    """Read the whole changelog. ``checks``: look at each entry too. Prints progress on stderr.

    Disturbs no worker. Raises KafkaError, and Stop if there is no changelog or it cannot be read on.
    """
    found = Survey(settings.changelog_topic, await group_members(Kafka.of(settings), settings.app_id))
    progress, unread = Progress("read", what="entries"), set[int]()
    async with keyed_reader(Kafka.of(settings), settings.changelog_topic) as reader:
        for partition in range(reader.partitions):
            contents = await read_contents(reader, partition, progress)
            position = contents.position()
            if contents.unreadable or (position is None and contents.last):
                unread.add(partition)
            if checks:
                bound_to = None if position is None or position.binding is None else position.binding.log.partitions
                contents.check(bound_to or reader.partitions)
                if contents.misplaced:
                    found.misplaced[partition] = len(contents.misplaced)
            found.faults += contents.faults
            found.unreadable += contents.unreadable
            found.partitions.append(Summary(partition, len(contents.last), contents.bytes, position))
    progress.end()
    try:
        found.binding = common_binding(found.positions, len(found.partitions), unread)
    except Stop as why:
        found.why_unbound = str(why)
    return found


async def repair(settings: Settings, faults: Iterable[Fault]) -> int:
    """Write what mends each repairable fault that is still there: a tombstone, or the position that was taken out.
    Returns how many were mended.

    Takes over the transactional id of each partition with a fault, and then reads the partition again: its worker
    cannot write any more, so no entry that it has written anew meanwhile is lost. The worker restores the partition.
    Raises KafkaError, and Stop if a partition cannot be read on.
    """
    changelog, written = ChangelogSettings.of(settings), 0
    for partition in sorted({fault.partition for fault in faults}):
        tp = TopicPartition(changelog.topic, partition)
        async with state_writer(Kafka.of(settings), changelog.transactional_id(partition), tp) as writer:
            async with keyed_reader(Kafka.of(settings), changelog.topic) as reader:
                contents = await read_contents(reader, partition, Progress("read again", what="entries"))
            contents.check(reader.partitions)
            entries = [
                (fault.key, fault.value) for fault in contents.faults if fault.key is not None and fault.is_repairable
            ]
            written += await writer.write(entries)
    return written
