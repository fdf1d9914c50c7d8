"""The work of ``ecounters state export``: a whole state into a file."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from ecounters.changelog.binding import Binding
from ecounters.changelog.entries import FORMAT
from ecounters.changelog.saved import Position
from ecounters.errors import Stop
from streams.basics.terminal import Progress
from streams.basics.times import now_ms, utc_text
from streams.kafka.changelog_reader import DAMAGE_HELPS
from streams.kafka.clients import Kafka
from streams.kafka.log_reader import KeyedRow, LogReader, Unreadable, keyed_reader
from streams.kafka.state_writer import state_writer
from streams.settings.narrow import ChangelogSettings
from streams.settings.table import Settings
from streams.tools.state.archive import VERSION, ArchiveWriter, Header, Size
from streams.tools.state.contents import Contents, common_binding, read_contents
from streams.tools.state.inspecting import survey
from streams.tools.state.target import log_of, refuse_if_running, saved_positions, topics_of


class Exported(NamedTuple):
    """A file that was written. ``was_bound``: whether the state named its topic; else it is taken for that of now."""

    binding: Binding
    was_bound: bool
    sizes: list[Size]

    @property
    def line(self) -> str:
        """The line for people."""
        entries, size = sum(one.entries for one in self.sizes), sum(one.bytes for one in self.sizes)
        return f"{entries:,} entries, {size:,} bytes before they were packed, of {len(self.sizes)} partitions"


async def export(settings: Settings, path: Path) -> Exported:
    """Write the state of a deployment whose workers are stopped into a file. Prints progress on stderr.

    Takes over the transactional ids of all partitions first, so that a worker that still runs cannot write any more and
    open transactions are decided. Raises Stop, before it writes the file, if the group has members, if an import of the
    state is unfinished or if the state cannot be read; KafkaError; OSError.
    """
    await refuse_if_running(settings)
    facts = await topics_of(settings)
    if settings.changelog_topic not in facts.topics:
        raise Stop(f"there is no changelog {settings.changelog_topic}: nothing was counted under this app id")
    partitions = facts.topics[settings.changelog_topic].partitions
    changelog = ChangelogSettings.of(settings)
    for partition in range(partitions):
        tp = TopicPartition(changelog.topic, partition)
        async with state_writer(Kafka.of(settings), changelog.transactional_id(partition), tp):
            pass
    positions = await _positions(settings, partitions)
    binding = common_binding(positions, partitions)
    was_bound = binding is not None
    if binding is None:
        log = log_of(settings, facts)
        if log is None:
            raise Stop(f"the state says not of which topic it is, and there is no topic {settings.topic}")
        binding = Binding(log, "")
    if binding.log.partitions > partitions:
        raise Stop(
            f"the state is of {binding.log.partitions} partitions, and {changelog.topic} has {partitions}: not whole"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    header = Header(VERSION, _format(positions), version("ecounters"), utc_text(now_ms(), "seconds"), binding)
    with ArchiveWriter(path, header) as writer:
        async with keyed_reader(Kafka.of(settings), changelog.topic) as reader:
            await _copy(reader, header, writer)
        return Exported(binding, was_bound, writer.finish())


async def _positions(settings: Settings, partitions: int) -> dict[int, Position]:
    """partition -> its saved position. Raises Stop for the first thing that cannot be read, if there is one."""
    try:
        return await saved_positions(settings, partitions)
    except (KafkaError, OSError, Stop):
        found = await survey(settings, checks=True)
        if found.unreadable:
            raise _cannot_be_read(found.unreadable[0]) from None
        if found.faults:
            raise Stop(f"{found.faults[0].line()}; no file was written") from None
        raise


async def _copy(reader: LogReader[KeyedRow], header: Header, writer: ArchiveWriter) -> None:
    """Copy all partitions into the file. Raises Stop if something cannot be read, or has no place in the state."""
    progress = Progress("exported", what="entries")
    for partition in range(reader.partitions):
        contents = await read_contents(reader, partition, progress)
        contents.check(header.partitions)
        _refuse_faults(contents, header)
        if partition < header.partitions:
            writer.add(partition, list(contents.last), [value for _, value in contents.last.values()])
    progress.end()


def _refuse_faults(contents: Contents, header: Header) -> None:
    if contents.unreadable:
        raise _cannot_be_read(contents.unreadable[0])
    if contents.faults:
        raise Stop(f"{contents.faults[0].line()}; `ecounters state check` lists all, and no file was written")
    if contents.partition >= header.partitions and contents.last:
        raise Stop(
            f"partition {contents.partition} has entries, though the state is of {header.partitions} partitions: "
            "workers have counted after partitions were added; no file was written"
        )


def _cannot_be_read(what: Unreadable) -> Stop:
    partition, first, last, why = what
    return Stop(
        f"partition {partition} cannot be read at offsets {first} to {last}: {why}; no file was written; {DAMAGE_HELPS}"
    )


def _format(positions: dict[int, Position]) -> int:
    return max((one.format for one in positions.values()), default=FORMAT)
