"""Reads the partitions of a changelog for ``ecounters state``: what a restore would read, and what it could not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ecounters.changelog.binding import Binding
from ecounters.changelog.checking import UNREADABLE, account_read, shown_key, why, why_unreadable
from ecounters.changelog.entries import NO_POSITION, POSITION, read_position
from ecounters.changelog.fitting import not_imported
from ecounters.changelog.saved import Position
from ecounters.errors import Stop
from ecounters.events.partitioner import partition_of
from streams.basics.terminal import Progress
from streams.kafka.log_reader import KeyedRow, LogReader, Unreadable


class Fault(NamedTuple):
    """An entry that a restore cannot read, or a position that it lacks: where it is, and why.

    ``key``: None if the record has none. ``value``: what ``repair`` writes in its place; None takes it out.
    """

    partition: int
    offset: int
    key: bytes | None
    why: str
    value: bytes | None = None

    @property
    def is_repairable(self) -> bool:
        """Whether ``repair`` may take it out, or can put it back. Kafka removes by keys. Without its position a state
        would be counted onto from the start of the topic, so all that it has would be counted twice."""
        return self.key is not None and (self.key != POSITION or self.value is not None)

    def line(self) -> str:
        """The line for people."""
        return f"partition {self.partition}, offset {self.offset}: {shown_key(self.key)}: {self.why}"


@dataclass(slots=True)
class Contents:
    """What the changelog of one partition holds, read to its end.

    ``last``: key -> (offset, value) of its last entry, without tombstones. ``records``: how many were read.
    ``unreadable``: record batches that cannot be read. ``saved``: (offset, value) of the last position, also of one
    that was taken out. ``faults`` and ``misplaced``: filled by ``check``; the second are accounts that belong to
    another partition.
    """

    partition: int
    last: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)
    records: int = 0
    unreadable: list[Unreadable] = field(default_factory=list)
    saved: tuple[int, bytes] | None = None
    faults: list[Fault] = field(default_factory=list)
    misplaced: set[str] = field(default_factory=set)

    @property
    def bytes(self) -> int:
        """Of the keys and values of ``last``."""
        return sum(map(len, self.last)) + sum(len(value) for _, value in self.last.values())

    def position(self) -> Position | None:
        """The saved position; None without one, or if it cannot be read."""
        found = self.last.get(POSITION)
        try:
            return None if found is None else read_position(found[1])
        except ValueError:
            return None

    def check(self, partitions: int) -> None:
        """Look at each entry: can a restore read it, and is its account one of this partition, of so many?"""
        here: dict[str, bool] = {"": True}
        for key, (offset, value) in self.last.items():
            try:
                user = account_read(key, value)
            except UNREADABLE as error:
                self.faults.append(Fault(self.partition, offset, key, why(error)))
                continue
            is_here = here.get(user)
            if is_here is None:
                is_here = here[user] = partition_of(user, partitions) == self.partition
            if not is_here:
                self.misplaced.add(user)
        if POSITION not in self.last:
            unreadable = {fault.key for fault in self.faults}
            ours = [offset for key, (offset, _) in self.last.items() if key not in unreadable]
            if ours:
                self.faults.append(self._without_position(max(ours)))

    def _without_position(self, end: int) -> Fault:
        """The fault that the position is missing. ``end``: the offset of the last entry.

        Each flush writes the position last. So one behind all entries, in records of which none is damaged, is theirs.
        """
        if self.saved is None or self.saved[0] < end or self.unreadable or why_unreadable(POSITION, self.saved[1]):
            return Fault(self.partition, end, POSITION, NO_POSITION)
        return Fault(self.partition, self.saved[0], POSITION, f"{NO_POSITION}: it was taken out", self.saved[1])


async def read_contents(reader: LogReader[KeyedRow], partition: int, progress: Progress) -> Contents:
    """Read a partition up to the end that it had when the reader was made. Raises KafkaError, and Stop."""
    contents, before = Contents(partition), len(reader.unreadable)
    last: dict[Any, tuple[int, bytes]] = contents.last
    async for rows in _rows(reader, partition):
        for offset, key, value in rows:
            if key is None:
                contents.faults.append(Fault(partition, offset, None, "it has no key"))
            elif value is not None:
                last[key] = offset, value
            elif key == POSITION:  # it was taken out
                contents.saved = last.pop(key, contents.saved)
            else:
                last.pop(key, None)
        contents.records += len(rows)
        progress.add(len(rows))
    contents.saved = last.get(POSITION, contents.saved)
    contents.unreadable = reader.unreadable[before:]
    return contents


async def _rows(reader: LogReader[KeyedRow], partition: int) -> AsyncIterator[list[KeyedRow]]:
    async for rows in reader.up_to(partition, reader.ends[partition]):
        yield rows


def common_binding(positions: dict[int, Position], partitions: int, unread: Collection[int] = ()) -> Binding | None:
    """What all partitions are bound to; None if a release saved them that did not bind states. Its release is "".

    ``partitions``: how many the changelog has. ``unread``: those that have entries, and a position that is missing or
    cannot be read. Raises Stop if they are bound to different topics, or if an import of
    them did not come to its end.
    """
    bindings = {at: position.binding for at, position in positions.items()}
    if not_imported(bindings, partitions, unread):
        raise Stop(
            "an import of this state did not come to its end: begin the same `ecounters state import` (or "
            "`ecounters topics --grow`) again"
        )
    distinct = {Binding(one.log, "", one.history, one.import_id) for one in bindings.values() if one is not None}
    if len(distinct) > 1:
        of = "; ".join(
            sorted(f"{one.log.topic} ({one.log.topic_id}), {one.log.partitions} partitions" for one in distinct)
        )
        raise Stop(f"the partitions of this state are bound to different topics: {of}")
    return next(iter(distinct), None)
