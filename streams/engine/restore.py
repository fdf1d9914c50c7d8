"""``PartitionChangelog``: takes a partition's changelog over from its previous owner, and builds the state from it."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, closing
from itertools import chain
from typing import Final, Protocol, cast

from aiokafka import TopicPartition
from aiokafka.errors import CorruptRecordException, KafkaError

from ecounters.changelog.entries import NO_POSITION, POSITION, Entry, UnreadableEntries, keep_last, shown_entry
from ecounters.changelog.fitting import misfit_of
from ecounters.large_dict import LargeDict
from ecounters.partition.emptying import emptying
from ecounters.partition.restoring import restore
from ecounters.partition.state import PartitionState
from streams.basics.slices import Slice
from streams.basics.text import named
from streams.engine.context import WorkerContext
from streams.engine.discarding import discard
from streams.engine.standby import Standby
from streams.engine.status import MustWait
from streams.kafka.changelog_reader import DAMAGE_HELPS
from streams.kafka.changelog_writer import ChangelogTakeover, ChangelogWriter, LeftOut
from streams.kafka.log_reader import Unreadable
from streams.kafka.outbox import Outbox

log = logging.getLogger(__name__)

REPAIR: Final = "the operator of this service has to repair it"
ENTRY_HELPS: Final = "`ecounters state check` names all of them, `ecounters state repair` takes them out"
FORMAT_HELPS: Final = "run the release that wrote it; `ecounters state check` shows what there is"
"""What helps against an entry that cannot be read. The position must stay: without it all events are counted again."""
POSITION_HELPS: Final = (
    "`ecounters state repair` puts it back where Kafka still has it; else `ecounters state import FILE` brings a state "
    "back that was exported"
)


class Writer(Protocol):
    """Writes one partition's changelog in transactions; ``streams.kafka.changelog_writer.ChangelogWriter`` is one."""

    async def begin_with_dead_letters(self) -> str:
        """Begin the next transaction, which may have dead letters. Returns "", or why their topic refuses them and
        what helps.

        Raises NotWritten as ``write`` does.
        """

    def outbox(self) -> Outbox:
        """An empty outbox, to be filled and given to ``write``."""

    async def write(self, outbox: Outbox) -> Sequence[LeftOut]:
        """Write the outbox in one transaction, which is committed on return. Returns what was too large and left out.

        Raises NotWritten if that is not certain; then this writer must not be used again.
        """


class Changelog(Protocol):
    """One partition's changelog; ``PartitionChangelog`` is one."""

    @property
    def writer(self) -> Writer | None:
        """The writer of the last restore that succeeded, even if it is closed by now; None before that."""

    @property
    def read_ratio(self) -> float:
        """How much of the changelog the restore that is going on has read, or the last one: 0 to 1."""

    @property
    def followed_entries(self) -> int:
        """How many entries the last restore had not to read, because this worker has followed them before."""

    async def restore(self) -> tuple[PartitionState, int]:
        """Take the changelog over and read it. Returns (the state, how many entries were read).

        Raises MustWait if it has records or entries that cannot be read, or a state of another topic.
        """

    async def has_changed(self) -> bool:
        """Whether somebody has written to the changelog since ``restore`` raised MustWait."""

    async def close(self) -> None:
        """Close the writer. Raises no error of the broker."""


class PartitionChangelog:
    """The changelog of one partition of this worker. ``restore`` it first; then write to it with ``writer``.

    ``standby``: what this worker has followed of it, with which the first restore begins.
    """

    def __init__(self, partition: int, context: WorkerContext, standby: Standby | None = None) -> None:
        self._partition = partition
        self._context = context
        self._standby = standby
        self._taken: Standby | None = None  # whose state the last restore has made go on
        self.followed_entries = 0
        self._takeover: ChangelogTakeover | None = None
        self._writer: ChangelogWriter | None = None
        self._end = 0  # the end of the changelog before the last restore read it
        self._is_doubtful = False  # the last restore has met a record batch that could not be decoded
        self._damage: list[Unreadable] = []  # what the last restore could not read
        self.read_ratio = 0.0

    @property
    def writer(self) -> ChangelogWriter | None:
        """The writer of the last restore that succeeded; None before that.

        ``close`` and a failed restore leave it here, closed: check ``status.live`` before you use it.
        """
        return self._writer

    async def restore(self) -> tuple[PartitionState, int]:
        """Take the changelog over and read it. Returns (the state, how many entries were read).

        0. Close this worker's own writer of an earlier restore.
        1. Take the changelog over: the previous owner can no longer write to it, so its end stands still.
        2. Read all committed entries, and build the state from the last entry of each key. The first time, if this
           worker was a standby: read what came since, and go on with the state that it has followed.
        3. Commit or abort dead letters that the previous owner left in an open transaction. A failure is only logged.

        Raises KafkaError or OSError (TimeoutError is one) if the broker is away or refuses, and the first time that a
        record batch cannot be decoded, which may have come about on the way: try again. Raises MustWait if record
        batches are damaged, if entries are damaged, of an unknown kind, or of a format that this version does not know,
        and if the state is bound to another topic than this worker's.
        """
        await self._close_writer()
        if self._taken is not None:
            self._taken.forget()  # its state is about to be replaced
        self.read_ratio, self.followed_entries = 0.0, 0
        settings = self._context.settings
        topics, changelog = settings.changelog, self._changelog
        self._takeover = ChangelogTakeover(
            self._context.clients,
            topics.transactional_id(self._partition),
            changelog,
            TopicPartition(topics.dlq_topic, self._partition),
        )
        writer = await self._takeover.open()
        self._end = await self._takeover.end_of_changelog()  # before it is read: a repair may come at any time
        if self._standby is not None and (taken := await self._take_over(self._standby, writer)) is not None:
            return taken
        state = PartitionState(self._partition, settings.partitions, settings.policy)
        last: LargeDict[bytes, bytes] = LargeDict()
        try:
            entries = await self._read(changelog, state, last)
            self._check_binding(state)
            await self._settle_dead_letters(writer, state.position)
        except BaseException as error:
            discard(chain(state.discarding(), emptying(last)), self._context)
            self._is_doubtful = isinstance(error, CorruptRecordException)
            if isinstance(error, UnreadableEntries):
                raise await self._must_wait(error.keys) from error
            raise
        self._writer, self._is_doubtful = writer, False
        return state, entries

    def _check_binding(self, state: PartitionState) -> None:
        """Raise MustWait if the state is bound to another topic than this worker's."""
        if state.binding is not None and (why := misfit_of(state.binding, self._context.binding.log)):
            # It fitted, or was not there, when this worker began: another one, or an import, has bound it since.
            what = f"partition {self._partition} has a saved state of another topic; {REPAIR}"
            raise MustWait(what, f"partition {self._partition} waits: {why}")

    async def _take_over(self, standby: Standby, writer: ChangelogWriter) -> tuple[PartitionState, int] | None:
        """Go on with what was followed: read what came since. Returns (the state, how many entries were read).

        None if that cannot be done: then all is read. Replies are made of the state meanwhile. Raises KafkaError or
        OSError if the changelog cannot be read: replies are made on, and the next restore reads on as this one. If this
        is cancelled, the standby is left as it is: see ``Standbys.give_up``.
        """
        async with standby.lock:  # a fetch may be applied still
            self._standby, followed = None, standby.hand_out()
        if followed is None or standby.next_offset is None or standby.next_offset > self._end:
            standby.close()
            return None
        try:
            read = await self._read_rest(standby, standby.next_offset)
            state = followed.state
            self._check_binding(state)
            async with self._context.restore_lock, Slice(self._context.slices) as time_slice:
                for _ in followed.finishing():
                    await time_slice.yield_if_used_up()
            await self._settle_dead_letters(writer, state.position)
        except UnreadableEntries as error:  # the restore of all says which, and what helps
            log.warning("partition %s is read anew: %s", self._partition, error)
            standby.close()
            return None
        except Exception as error:
            if isinstance(error, KafkaError | OSError) and not isinstance(error, CorruptRecordException):
                self._standby = standby
            else:
                standby.close()
            raise
        log.info(
            "partition %s was followed here: %s entries were known, %s are read",
            self._partition, followed.entries - read, read,
        )  # fmt: skip
        self.followed_entries = followed.entries - read
        standby.go_on()
        self._writer, self._is_doubtful, self._taken = writer, False, standby
        return state, read

    async def _read_rest(self, standby: Standby, begin: int) -> int:
        """Let the standby take in what the changelog has from the offset ``begin`` on, one fetch after the other: all
        may not fit in memory. Replies are made of it meanwhile. Returns how many entries the changelog has there.
        """
        readers, slices, fetched, read = self._context.readers, self._context.slices, list[Entry](), 0
        async with aclosing(readers.read(self._changelog, slices, self._note_read, begin)) as reading:
            async for entries in reading:
                read += len(entries)
                self._context.metrics.restored_entries.inc(len(entries))
                fetched += entries
                if not entries:  # the end of a fetch
                    await standby.take_in(fetched)
                    fetched = []
        await standby.take_in(fetched)
        await standby.end()
        return read

    async def has_changed(self) -> bool:
        """Whether the changelog has grown since the ``restore`` that raised MustWait began to read it; of damaged
        records, whether they can be read now, as another broker leads the partition.

        Only then it is worth to read all of it again. This also leaves the transactional id alone: to take it over
        again would fence whoever repairs the changelog. Raises KafkaError or OSError if the broker does not say.
        """
        assert self._takeover is not None, "restore comes first"
        if self._damage:
            first, damage = self._damage[0], list[Unreadable]()
            offsets = range(first.first_offset, first.last_offset + 1)
            async with aclosing(
                self._context.readers.read_again(self._changelog, self._context.slices, damage, offsets)
            ) as reading:
                async for _ in reading:
                    pass
            return not damage
        return await self._takeover.end_of_changelog() != self._end

    async def close(self) -> None:
        """Close the writer; the next owner aborts a transaction that is still open. Raises no error of the broker."""
        await self._close_writer()

    async def _close_writer(self) -> None:
        if self._takeover is not None:
            await self._takeover.close()

    @property
    def _changelog(self) -> TopicPartition:
        return TopicPartition(self._context.settings.changelog.topic, self._partition)

    async def _must_wait(self, keys: Mapping[bytes | None, str]) -> MustWait:
        """The error for entries that cannot be read: it names the first of them and what helps. Reads the log again."""
        offsets: dict[bytes | None, int] = {}
        changelog = self._changelog
        async with aclosing(self._context.readers.read_again(changelog, self._context.slices, [])) as reading:
            async for rows in reading:
                offsets.update((key, offset) for offset, key, _ in rows if key in keys)
        first = min(keys, key=lambda key: offsets.get(key, -1))
        more = f", and {len(keys) - 1} more" if len(keys) > 1 else ""
        if keys.get(POSITION) == NO_POSITION:
            taken_out = f"; it was taken out at offset {offsets[POSITION]}" if POSITION in offsets else ""
            detail = (
                f"partition {self._partition} waits: in {changelog.topic} {NO_POSITION}{taken_out}; {POSITION_HELPS}"
            )
            return MustWait(f"partition {self._partition} lacks its saved position; {REPAIR}", detail)
        helps = FORMAT_HELPS if first == POSITION else ENTRY_HELPS
        detail = (
            f"partition {self._partition} waits: {changelog.topic} has at offset {offsets.get(first)} an entry that "
            f"cannot be read: {shown_entry(first, keys[first])}{more}; {helps}"
        )
        return MustWait(f"partition {self._partition} has a saved entry that cannot be read; {REPAIR}", detail)

    async def _read(self, changelog: TopicPartition, state: PartitionState, last: LargeDict[bytes, bytes]) -> int:
        """Read the changelog to its end, and put all that it holds into ``state``. Returns how many entries were read.

        ``last`` is empty, and is used up on the way: key -> last value. Takes ``restore_lock`` only while it builds the
        state, so several changelogs are read at the same time.
        """
        slices = self._context.slices
        count, self._damage = 0, []
        async with aclosing(self._entries(changelog)) as reading:
            async for entries in reading:
                keep_last(last.room(len(entries)) or last, entries)  # into the dict itself, while it has room
                count += len(entries)
                self._context.metrics.restored_entries.inc(len(entries))
        if self._damage:
            raise self._damaged(changelog)
        lacks_position = bool(last) and POSITION not in last
        async with self._context.restore_lock, Slice(slices) as time_slice:
            with closing(restore(state, last)) as steps:
                for _ in steps:
                    await time_slice.yield_if_used_up()
        if lacks_position:  # from the topic's start all events would be counted again, onto what there is
            raise UnreadableEntries({POSITION: NO_POSITION})
        return count

    async def _entries(self, changelog: TopicPartition) -> AsyncGenerator[list[Entry]]:
        """Yield the entries of the changelog. After CorruptRecordException: those that can be read;
        ``_damage`` gets what cannot be.

        Holds a time slice as ``ChangelogReaders.read`` does, and raises what that raises.
        """
        readers, slices = self._context.readers, self._context.slices
        if not self._is_doubtful:
            async with aclosing(readers.read(changelog, slices, self._note_read)) as reading:
                async for entries in reading:
                    yield entries
            return
        async with aclosing(readers.read_again(changelog, slices, self._damage)) as reading_again:
            async for rows in reading_again:
                yield [(cast(bytes, key), value) for _, key, value in rows]

    def _note_read(self, ratio: float) -> None:
        self.read_ratio = ratio

    def _damaged(self, changelog: TopicPartition) -> MustWait:
        """The error for ``_damage``: it names the first of the record batches and what helps."""
        first = self._damage[0]
        more = f", and {len(self._damage) - 1} more" if len(self._damage) > 1 else ""
        detail = (
            f"partition {self._partition} waits: {changelog.topic} has at offsets {first.first_offset} to "
            f"{first.last_offset} damaged records{more}: {first.why}; {DAMAGE_HELPS}"
        )
        return MustWait(f"partition {self._partition} has saved records that are damaged; {REPAIR}", detail)

    async def _settle_dead_letters(self, writer: ChangelogWriter, position: int) -> None:
        """Commit or abort the dead letters that a crash left in an open transaction.

        A failure is only logged. The writer then tries again before it writes other dead letters.
        """
        try:
            await writer.settle_dead_letters(position)
        except (OSError, KafkaError) as error:  # a partition can count without them
            log.warning(
                "partition %s: open transactions of dead letters are settled when the next ones are written: %s",
                self._partition, named(error),
            )  # fmt: skip
