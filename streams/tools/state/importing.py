"""The work of ``ecounters state import``: a file of ``export`` into an empty changelog, of any number of partitions.

Each partition of the changelog is written in one transaction, which has its position last. So a partition has all or
nothing, and an import that was killed can be begun again: partitions that have its ``import_id`` are done.

The entries of an account move as they are; ``ecounters.partition.moving`` has the rules for watermarks and what is due.
All old partitions that exchange users with one another are in memory at the same time: the whole state where the two
numbers have no common divisor, and a quarter of it from 4 to 8.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Final, NamedTuple

from aiokafka import TopicPartition

from ecounters.changelog.binding import Binding, Counted, EventsLog
from ecounters.changelog.entries import FORMAT, FORMATS, POSITION, Entry, position_entry, user_of
from ecounters.changelog.holes import merged
from ecounters.changelog.saved import Position
from ecounters.errors import Stop
from ecounters.events.partitioner import partition_of
from ecounters.partition.moving import exchanging, position_in, settle_due, times_of
from ecounters.partition.policy import Policy
from streams.basics.terminal import Progress
from streams.kafka.clients import Kafka
from streams.kafka.log_reader import keyed_reader
from streams.kafka.state_writer import state_writer
from streams.settings.narrow import ChangelogSettings, policy_of
from streams.settings.table import Settings
from streams.tools.state.archive import Archive
from streams.tools.state.beginnings import AS_IS, beginnings
from streams.tools.state.contents import read_contents
from streams.tools.state.copying import copy_rest, spread_restarts
from streams.tools.state.target import (
    is_same_topic,
    log_of,
    offsets_of,
    refuse_if_running,
    saved_positions,
    topics_of,
)

ID_DIGITS: Final = 16
"""Of an import_id."""
BEGUN: Final = "-begun"
"""The end of the import_id in the first partition of an import that has not written it yet."""


class Imported(NamedTuple):
    """What was done. ``skipped``: partitions that an earlier try had written. ``copied``: events of the old topic."""

    binding: Binding
    entries: int
    written: int
    skipped: int
    copied: int


class _Outline(NamedTuple):
    """Of each partition of a file: its position; and how many accounts there are in all."""

    positions: list[Position]
    accounts: int


async def import_state(settings: Settings, archive: Archive, choice: str = "", copy_from: str = "") -> Imported:
    """Write the state in a file into the changelog of a deployment whose workers are stopped.

    ``choice``: from where on another topic is read, see ``beginnings``. ``copy_from``: the topic that the state has
    counted; what it has and was not counted is published to the topic of events first. Prints progress on stderr.

    Raises Stop, before anything is written, if the file or the deployment does not fit; KafkaError; OSError.
    """
    await refuse_if_running(settings)
    log = await _checked_log(settings)
    old = archive.header.binding
    if archive.header.format not in FORMATS:
        raise Stop(
            f"{archive.path} has format {archive.header.format} of the entries; this release reads 1 to {FORMAT}"
        )
    outline = _outline(archive)
    ends = tuple(position.position for position in outline.positions)
    import_id = _import_id(archive, log, settings, choice)
    done = await _done(settings, log.partitions, import_id)
    begins = _begins_of(done, log, old) or beginnings(
        old.log, ends, log, await offsets_of(Kafka.of(settings), log.topic, log.partitions), choice
    )
    if not done:
        await mark_begun(settings, archive, choice)
    copied = 0
    if copy_from:
        copied = await copy_rest(settings, old.log, ends, log, copy_from)
    elif is_same_topic(old.log, log) and log.partitions > old.log.partitions:
        await spread_restarts(settings, old.log, ends, log)
    counted = Counted(old.log, ends, () if choice == AS_IS else begins)
    history = old.history if old.log == log else (*old.history, counted)
    binding = Binding(log, version("ecounters"), history, import_id)
    entries = await _write_all(settings, archive, outline, binding, begins, set(done))
    return Imported(binding, entries, log.partitions - len(done), len(done), copied)


async def _checked_log(settings: Settings) -> EventsLog:
    """The topic of events. Raises Stop if it or the changelog is missing, or if their partitions differ."""
    facts = await topics_of(settings)
    log, changelog = log_of(settings, facts), facts.topics.get(settings.changelog_topic)
    if log is None or changelog is None:
        missing = settings.topic if log is None else settings.changelog_topic
        raise Stop(f"there is no topic {missing}; `ecounters topics` makes it")
    if log.partitions != changelog.partitions:
        raise Stop(
            f"{log.topic} has {log.partitions} partitions and {settings.changelog_topic} has {changelog.partitions}: "
            "delete the second, if its state is in the file, and let `ecounters topics` make it anew"
        )
    return log


def _outline(archive: Archive) -> _Outline:
    """Read the positions. Raises Stop if an account is in two partitions, or in one that is not its own."""
    partitions, positions, accounts = archive.header.partitions, [], 0
    for partition in range(partitions):
        users: set[str] = set()
        last: dict[bytes, bytes] = {}
        for keys, values in archive.entries(partition):
            users |= {user_of(key) for key in keys if key != POSITION}
            if POSITION in keys:
                last[POSITION] = values[keys.index(POSITION)]
        misplaced = sum(partition_of(user, partitions) != partition for user in users)
        if misplaced:
            raise Stop(
                f"{archive.path}: {misplaced:,} accounts of partition {partition} belong to another one of "
                f"{partitions}: the state was made for another number of partitions, and accounts may be in two of "
                "them; nothing was written"
            )
        positions.append(position_in(last))
        accounts += len(users)
    return _Outline(positions, accounts)


async def mark_begun(settings: Settings, archive: Archive, choice: str = "") -> None:
    """Write into an empty changelog that an import has begun: until it is whole, workers refuse the changelog.

    They know it by the first partition, which has an import_id that others have not. A changelog of one partition needs
    no mark, as one transaction writes all of it. Raises Stop and KafkaError.
    """
    log = await _checked_log(settings)
    if log.partitions == 1:
        return
    import_id = _import_id(archive, log, settings, choice)
    if await _done(settings, log.partitions, import_id):
        return
    changelog = ChangelogSettings.of(settings)
    mark = Position(FORMAT, 0, 0, 0, Binding(log, version("ecounters"), (), import_id + BEGUN))
    tp = TopicPartition(changelog.topic, 0)
    async with state_writer(Kafka.of(settings), changelog.transactional_id(0), tp) as writer:
        await writer.write([position_entry(mark)])


def _import_id(archive: Archive, log: EventsLog, settings: Settings, choice: str) -> str:
    """Names an import: a hash of the file, the target, and from where on the target is read."""
    target = f"{archive.sha256} {log} {settings.changelog_topic} {choice}"
    return hashlib.sha256(target.encode()).hexdigest()[:ID_DIGITS]


async def _done(settings: Settings, partitions: int, import_id: str) -> dict[int, Position]:
    """The partitions that this import has written already. Raises Stop if one has anything else in it."""
    positions = await saved_positions(settings, partitions)
    done = {at: one for at, one in positions.items() if one.binding is not None and one.binding.import_id == import_id}
    begun = {at for at, one in positions.items() if one.binding and one.binding.import_id == import_id + BEGUN}
    full = sorted(set(positions) - set(done) - begun)
    if not full:
        progress = Progress("looked at", what="entries of the target")
        async with keyed_reader(Kafka.of(settings), settings.changelog_topic) as reader:
            for at in set(range(partitions)) - set(done) - begun:
                if (await read_contents(reader, at, progress)).last:
                    full.append(at)
    if full:
        raise Stop(
            f"{settings.changelog_topic} is not empty: partition {full[0]} has a state. Import under another "
            "ECOUNTERS_APP_ID, or delete this topic and let `ecounters topics` make it anew; nothing was written"
        )
    return done


def _begins_of(done: dict[int, Position], log: EventsLog, old: Binding) -> tuple[int, ...] | None:
    """The beginnings that an earlier try of the same import has chosen; None if it has written nothing."""
    for position in done.values():
        assert position.binding is not None
        if log != old.log:
            counted = position.binding.history[-1]
            return counted.begins or counted.ends
    return None


async def _write_all(
    settings: Settings, archive: Archive, outline: _Outline, binding: Binding, begins: Sequence[int], done: set[int]
) -> int:
    """Write all partitions but those that are done. Returns how many entries were written."""
    old, new, policy = archive.header.partitions, binding.log.partitions, policy_of(settings)
    changelog, progress = ChangelogSettings.of(settings), Progress("imported", what="entries")
    for sources, targets in exchanging(old, new):
        left = [target for target in targets if target not in done]
        if not left:
            continue
        contents = _distributed(archive, sources, new, policy)
        holes = merged(outline.positions[source].holes for source in sources)
        times = times_of(outline.positions[source] for source in sources)
        for target in left:
            position = Position(FORMAT, begins[target], *times, binding, holes)
            tp = TopicPartition(changelog.topic, target)
            async with state_writer(Kafka.of(settings), changelog.transactional_id(target), tp) as writer:
                progress.add(await writer.write(_with_position(contents.pop(target, []), position)))
    progress.end()
    return progress.count


def _distributed(archive: Archive, sources: range, new: int, policy: Policy) -> dict[int, list[tuple[bytes, bytes]]]:
    """new partition -> the entries of its accounts in the old partitions ``sources``, without positions."""
    found: dict[int, list[tuple[bytes, bytes]]] = {}
    for source in sources:
        last: dict[bytes, bytes] = {}
        for keys, values in archive.entries(source):
            last.update(zip(keys, values, strict=True))
        settle_due(last, source, archive.header.partitions, policy)
        last.pop(POSITION, None)
        targets: dict[str, list[tuple[bytes, bytes]]] = {}
        for entry in last.items():
            user = user_of(entry[0])
            target = targets.get(user)
            if target is None:
                target = targets[user] = found.setdefault(partition_of(user, new), [])
            target.append(entry)
    return found


def _with_position(entries: list[tuple[bytes, bytes]], position: Position) -> Iterator[Entry]:
    """The entries, which are freed on the way, and the position last."""
    entries.reverse()
    while entries:
        yield entries.pop()
    yield position_entry(position)
