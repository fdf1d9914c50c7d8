"""Part: one partition while this worker has it, from the restore to the last flush."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing, closing
from itertools import islice
from typing import Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from ecounters.changelog.entries import POSITION
from ecounters.partition.records import Uncounted
from ecounters.partition.restoring import Restoring
from ecounters.partition.state import PartitionState
from streams.basics.slices import Slice
from streams.basics.tasks import end_tasks
from streams.basics.text import one_line
from streams.basics.times import now_ms
from streams.engine.context import WorkerContext
from streams.engine.dead_letters import UncountedBuffer
from streams.engine.feed import PartitionFeed
from streams.engine.status import PartitionStatus
from streams.kafka.batches import Batch
from streams.kafka.changelog_reader import read_changelog
from streams.kafka.changelog_writer import ChangelogWriter, NotWritten
from streams.kafka.outbox import Outbox

log = logging.getLogger(__name__)

STEP: Final = 100
"""Events between two looks at the clock: about 0.5 ms. So many are in memory at once."""
CUT_STEP: Final = 100
"""Entries between two looks at the clock, likewise."""
CREATE_TIME: Final = 0
"""A record's timestamp is its producer's, by the topic's ``message.timestamp.type``; else it is the broker's."""
FAR_FUTURE_MS: Final = 2**62
FAR_BEHIND_INTERVALS: Final = 5
BEHIND_FLUSHES_MAX: Final = 4
"""When so many flushes' worth is unsaved, reading waits: what is unsaved is bounded."""
HEAR_S: Final = 0.5
MARKS_MAX: Final = 100
"""Offsets without an event that are no cause for alarm: marks of transactions."""
RETRY_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Pauses between tries to restore; the last one goes on."""


class OwnedPartition:
    """One partition. ``state`` is what answers come from, None until the first restore; ``live``: fed and flushed."""

    def __init__(self, partition: int, context: WorkerContext) -> None:
        self.status = PartitionStatus(partition)
        self.feed = PartitionFeed(self.status, context.events, context.settings.feed.stale_after_ms)
        self._context = context
        self._settings = context.settings
        self._writer: ChangelogWriter | None = None
        self._letters = UncountedBuffer(context.settings.feed.topic, partition, context.metrics)
        self._flush_lock = asyncio.Lock()
        self._wanted = asyncio.Event()  # a flush, before its time
        self._task: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------------------------------- its life

    def start(self) -> None:
        """Restore, then keep: in a task of its own."""
        self._task = asyncio.create_task(self._live(), name=f"partition {self.status.partition}")

    async def drop(self) -> None:
        """The partition is no longer this worker's: forget it."""
        self.status.forget()
        task, self._task = self._task, None
        if task is not None:
            await end_tasks(task)
        self.status.forget()
        if self._writer is not None:
            await self._writer.close()

    async def _live(self) -> None:
        try:
            while True:
                await self._restore_patiently()
                await self._keep()
                # Whoever was refused may have lost the partition without knowing: let it hear of that first, or it
                # would take the changelog away from its rightful owner.
                await asyncio.sleep(self._settings.feed.heartbeat_s + HEAR_S)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("partition %s: this must not happen", self.status.partition)
            await self._context.fail(error)

    async def _restore_patiently(self) -> None:
        for attempt in range(1_000_000):
            try:
                await self._restore()
                return
            except (NotWritten, OSError, KafkaError) as error:  # TimeoutError is an OSError
                pause = RETRY_S[min(attempt, len(RETRY_S) - 1)]
                log.warning(
                    "partition %s cannot be restored now, again in %s s: %s %s",
                    self.status.partition, pause, type(error).__name__, one_line(error),
                )  # fmt: skip
                await asyncio.sleep(pause)

    async def _restore(self) -> None:
        """Take the changelog over and read it; the state as it was stays in use for answers until that is done."""
        began = time.perf_counter()
        settings = self._settings.changelog
        if self._writer is not None:
            await self._writer.close()
        self._writer = ChangelogWriter(
            settings.broker,
            settings.transactional_id(self.status.partition),
            TopicPartition(settings.topic, self.status.partition),
            TopicPartition(settings.dlq_topic, self.status.partition),
        )
        await self._writer.open()
        state, entries = await self._read(self._writer.changelog)
        await self._settle_letters(self._writer, state.position)
        self._context.metrics.restored_entries.inc(entries)
        status = self.status
        status.state, status.flushed_offset, status.committed_offset = state, state.position, -1
        status.last_record_ms = state.arrival or now_ms()
        self._letters.take()  # read again, for the position is that of the changelog
        self.status.live = True
        await self.feed.follow()
        log.info(
            "partition %s restored: %s entries in %.2f s, next offset %s",
            self.status.partition, entries, time.perf_counter() - began, state.position,
        )  # fmt: skip

    async def _read(self, changelog: TopicPartition) -> tuple[PartitionState, int]:
        """(the state that the changelog holds, how many entries that took)."""
        restoring = Restoring(PartitionState(self.status.partition, self._settings.partitions, self._settings.policy))
        count = 0
        turns = self._context.slices
        reading = read_changelog(self._settings.changelog.broker, changelog, turns)
        async with aclosing(reading):
            async for entries in reading:
                restoring.take(entries)
                count += len(entries)
        async with self._context.build_lock, Slice(turns) as turn:
            for _ in restoring.making():
                await turn.yield_if_used_up()
        return restoring.state, count

    async def _settle_letters(self, writer: ChangelogWriter, position: int) -> None:
        try:
            await writer.settle_letters(position)
        except (OSError, KafkaError) as error:  # counting can go on without that topic
            log.warning(
                "partition %s: if dead letters were left undecided is looked at when the next ones are written: %s %s",
                self.status.partition, type(error).__name__, one_line(error),
            )  # fmt: skip

    async def _keep(self) -> None:
        """Flush now and then, and let time pass where no event comes, until a flush fails."""
        interval_s = self._settings.flush.interval_ms / 1000
        passed = 0
        while self.status.live:
            try:
                async with asyncio.timeout(interval_s):
                    await self._wanted.wait()
            except TimeoutError:
                passed += 1
                # What is far behind changes the same calls again soon: fewer, larger flushes let it catch up sooner.
                if self.status.following and passed < FAR_BEHIND_INTERVALS and self.feed.is_far_behind():
                    continue
            passed = 0
            self._wanted.clear()
            if not self.status.following:
                await self.feed.follow()
            async with self.status.state_lock:
                await self._pass_time()
            await self.flush()

    # ------------------------------------------------------------------------------------------ its events

    async def apply_batch(self, batch: Batch) -> None:
        """Apply a batch. If the one before it is missing, the events are read again, from the state's position on."""
        async with self.status.state_lock:
            state = self.status.state
            if state is None or not self.status.live:
                return  # whoever has the partition next reads it
            missing = batch.begin > state.position
            if not missing:
                if batch.first is not None:
                    self._note_gap(batch.first - state.position)
                await self._apply(state, batch)
        if missing:
            log.info("partition %s: events before offset %s are missing, reading them again",
                     self.status.partition, batch.begin)  # fmt: skip
            await self.feed.follow()
            return
        unsaved = state.dirty_bytes + self._letters.bytes
        if unsaved > self._settings.flush.bytes_max * BEHIND_FLUSHES_MAX:
            await self.flush()
        elif unsaved > self._settings.flush.bytes_max:
            self._wanted.set()

    def _note_gap(self, missing: int) -> None:
        if missing > 0:
            self._context.metrics.skipped.inc(missing)
        if missing > MARKS_MAX:
            log.error("partition %s: %s offsets hold no event; has Kafka deleted what was not counted?",
                      self.status.partition, missing)  # fmt: skip

    async def _apply(self, state: PartitionState, batch: Batch) -> None:
        records = batch.records
        before = state.tally.accepted
        async with Slice(self._context.slices) as turn:
            while step := list(islice(records, STEP)):
                # Beside the broker's own clock another, which may be wrong, would make the counts depend on it.
                wall_ms = now_ms() if step[0].timestamp_type == CREATE_TIME else FAR_FUTURE_MS
                refused = state.apply(step, wall_ms)
                if refused:
                    self._letters.add(refused)
                self.status.last_record_ms = step[-1].timestamp
                await turn.yield_if_used_up()
                if self.status.state is not state:
                    return
        state.skip_to(batch.end)
        self._context.metrics.accepted.inc(state.tally.accepted - before)
        await self._pass_time()

    async def _pass_time(self) -> None:
        state = self.status.state
        if state is None:
            return
        now, at_end = now_ms(), self.feed.at_end()
        if at_end:  # nothing is behind: where no event comes for long, the next one is not late for that
            self.status.last_record_ms = max(self.status.last_record_ms, now)
        async with Slice(self._context.slices) as turn:
            with closing(state.advancing(now, at_end=at_end)) as steps:
                for at, _ in enumerate(steps):
                    if at % CUT_STEP == CUT_STEP - 1:
                        await turn.yield_if_used_up()

    # ------------------------------------------------------------------------------------------ its flushes

    async def flush(self, *, anyway: bool = False) -> bool:
        """Save what has changed; False if that failed, whereupon the part restores itself.

        ``anyway``: even if nothing has, to learn whether another worker has taken the partition.
        """
        async with self._flush_lock:
            state, writer = self.status.state, self._writer
            if state is None or writer is None or not self.status.live:
                return False
            try:
                return await self._flush(state, writer, anyway=anyway)
            except (NotWritten, KafkaError) as error:
                if self.status.live:
                    log.warning("partition %s could not be flushed, restoring it: %s", self.status.partition, error)
                self.status.live = False
                self._wanted.set()
                return False
            except BaseException:
                self.status.live = (
                    False  # what was cut is neither written nor marked any more: this state must not be saved
                )
                raise

    async def _flush(self, state: PartitionState, writer: ChangelogWriter, *, anyway: bool) -> bool:
        async with self.status.state_lock:
            if (
                not anyway
                and not state.changed
                and state.position == self.status.flushed_offset
                and not self._letters.dead
            ):
                return True
            outbox = writer.outbox()
            misrouted = await self._cut(state, outbox)
            position = state.position
        began = time.perf_counter()
        await self._context.events.republish(misrouted)
        await writer.write(outbox)
        self.status.flushed_offset = position
        self._context.metrics.flushes.observe(time.perf_counter() - began)
        self._context.metrics.flushed_entries.inc(outbox.entries)
        return True

    async def _cut(self, state: PartitionState, outbox: Outbox) -> list[Uncounted]:
        """Put what has changed and the dead letters into the outbox; the misrouted events."""
        letters, misrouted = self._letters.take()
        entries = state.take_changes()
        async with Slice(self._context.slices) as turn:
            while outbox.take(entries, CUT_STEP):
                await turn.yield_if_used_up()
            for letter in letters:
                outbox.take_letter(letter)
                await turn.yield_if_used_up()
        assert outbox.last == POSITION  # what a position stands for must be in the log before it
        return misrouted
