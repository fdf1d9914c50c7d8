"""``OwnedPartition``: one partition while this worker owns it, from its restore to its last flush."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from contextlib import closing
from itertools import islice
from typing import Final

from aiokafka.errors import KafkaError

from ecounters.partition.state import PartitionState
from streams.basics.slices import Slice
from streams.basics.tasks import end_tasks
from streams.basics.text import one_line
from streams.basics.times import now_ms
from streams.engine.context import WorkerContext
from streams.engine.dead_letters import UncountedBuffer
from streams.engine.feed import PartitionFeed
from streams.engine.flushing import PartitionFlusher
from streams.engine.restore import Changelog
from streams.engine.status import PartitionStatus
from streams.kafka.batches import Batch
from streams.kafka.changelog_writer import NotWritten

log = logging.getLogger(__name__)

EVENTS_PER_STEP: Final = 100
"""Events that are applied before the time slice is checked: about 0.5 ms of work. So many records are in memory."""
CALLS_PER_STEP: Final = 100
"""Calls whose time limits are handled before the time slice is checked."""
CREATE_TIME: Final = 0
"""``timestamp_type`` of a record that its producer has stamped; any other was stamped by the broker."""
NO_WALL_CLOCK_MS: Final = 2**62
"""In place of this worker's clock where it must not matter: no event is later than this."""
HEARTBEAT_REPLY_S: Final = 0.5
"""For the reply to a heartbeat to arrive."""
TRANSACTION_MARKERS_MAX: Final = 100
"""Offsets in a row without an event that can be transaction markers; more of them are logged as an error."""
RESTORE_PAUSES_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Pauses after failed restores: the first, the second, ...; the last one is used for all that follow."""


class OwnedPartition:
    """One partition of this worker: applies its events, and runs its restores and flushes in a task of its own.

        start()
           |
           v              restored               NotWritten or KafkaError in a flush
        RESTORING ------------------->  LIVE  ------------------------------------->  FAILED
           ^                                                                             |
           +---------------------------- after one heartbeat ---------------------------+

        RESTORING  not fed; replies are made from the old state, of which the first restore has none
        LIVE       fed, and flushed every flush interval
        FAILED     not fed; replies are made from the state, which is never flushed again
        release(), at any time: the task ends, ``status.state`` is None, the changelog is closed

    | collaborator | what it does                                                          |
    |--------------|-----------------------------------------------------------------------|
    | status       | the data that all of them share, and ``state_lock``                   |
    | feed         | from which offset events are read; lag and freshness                  |
    | changelog    | takes the changelog over and restores the state; holds the writer     |
    | flusher      | when a flush is due, and one flush at a time                          |
    | uncounted    | dead letters and misrouted events that wait for the next flush        |

    Two locks: ``status.state_lock`` guards the state, ``flush_lock`` in the flusher the transaction. A flush takes
    both, ``flush_lock`` first; nothing else takes more than one.
    """

    def __init__(self, partition: int, context: WorkerContext, changelog: Changelog) -> None:
        self.status = PartitionStatus(partition)
        self.feed = PartitionFeed(self.status, context.events, context.settings.feed.stale_after_ms)
        self._context = context
        self._changelog = changelog
        self._uncounted = UncountedBuffer(context.settings.feed.topic, partition, context.metrics)
        self._flusher = PartitionFlusher(self.status, changelog, self._uncounted, self.feed, context)
        self._task: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------------------------------- its life

    def start(self) -> None:
        """Begin to restore, and flush periodically after that, in a task. Returns at once."""
        self._task = asyncio.create_task(self._run(), name=f"partition {self.status.partition}")

    async def release(self) -> None:
        """Give the partition up: end the task, forget the state, close the changelog. Nothing is flushed any more."""
        self.status.forget()
        task, self._task = self._task, None
        if task is not None:
            await end_tasks(task)
        self.status.forget()  # again: the task may have finished a restore before it ended
        await self._changelog.close()

    async def _run(self) -> None:
        """Restore, then flush until a flush fails, then again. An unexpected error ends the worker."""
        try:
            while True:
                await self._restore_with_retries()
                await self._flush_periodically()
                # The flush may have failed because another worker owns the partition now. The reply to the next
                # heartbeat says so, and the partition is released. To restore at once would take the changelog away
                # from its new owner.
                await asyncio.sleep(self._context.settings.feed.heartbeat_s + HEARTBEAT_REPLY_S)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("partition %s: this must not happen", self.status.partition)
            await self._context.fail(error)

    async def _restore_with_retries(self) -> None:
        """Restore; while the broker is away or refuses, log a warning and try again after RESTORE_PAUSES_S."""
        for attempt in itertools.count():
            try:
                await self._restore()
                return
            except (NotWritten, OSError, KafkaError) as error:  # TimeoutError is an OSError
                pause = RESTORE_PAUSES_S[min(attempt, len(RESTORE_PAUSES_S) - 1)]
                log.warning(
                    "partition %s cannot be restored now, again in %s s: %s %s",
                    self.status.partition, pause, type(error).__name__, one_line(error),
                )  # fmt: skip
                await asyncio.sleep(pause)

    async def _restore(self) -> None:
        """Replace the state by what the changelog holds. Until that is done, replies are made from the old state."""
        began = time.perf_counter()
        state, entries = await self._changelog.restore()
        self._context.metrics.restored_entries.inc(entries)
        status = self.status
        status.state, status.flushed_offset, status.committed_offset = state, state.position, -1
        status.last_record_ms = state.arrival or now_ms()
        self._uncounted.drain()  # their events come after the restored position, and are read again
        status.live = True
        await self.feed.follow()
        log.info(
            "partition %s restored: %s entries in %.2f s, next offset %s",
            status.partition, entries, time.perf_counter() - began, state.position,
        )  # fmt: skip

    async def _flush_periodically(self) -> None:
        """Flush when it is due, advance the clock before each flush, until a flush fails."""
        while await self._flusher.wait_until_due():
            if not self.status.following:
                await self.feed.follow()
            async with self.status.state_lock:
                await self._advance_clock()
            await self.flush()

    async def flush(self, *, always: bool = False) -> bool:
        """Write all changes to the changelog: see ``PartitionFlusher.flush``."""
        return await self._flusher.flush(always=always)

    # ------------------------------------------------------------------------------------------ its events

    async def apply_batch(self, batch: Batch) -> None:
        """Apply a batch; where batches before it are missing, read again from the state's position instead.

        Does nothing while the partition is not live: the restored state reads the batch again. May flush, and wait for
        it. Adds to the metrics ``accepted`` and ``skipped``.
        """
        async with self.status.state_lock:
            state = self.status.state
            if state is None or not self.status.live:
                return
            missing = batch.begin > state.position
            if not missing:
                if batch.first is not None:
                    self._note_skipped(batch.first - state.position)
                await self._apply(state, batch)
        if missing:
            log.info(
                "partition %s: events before offset %s are missing, reading them again",
                self.status.partition, batch.begin,
            )  # fmt: skip
            await self.feed.follow()
        else:
            await self._flusher.flush_if_large(state)

    def _note_skipped(self, offsets: int) -> None:
        """Count the offsets that hold no event, between the state's position and the batch's first record."""
        if offsets > 0:
            self._context.metrics.skipped.inc(offsets)
        if offsets > TRANSACTION_MARKERS_MAX:
            log.error(
                "partition %s: %s offsets hold no event; has Kafka deleted what was not counted?",
                self.status.partition, offsets,
            )  # fmt: skip

    async def _apply(self, state: PartitionState, batch: Batch) -> None:
        """Apply a batch in steps of EVENTS_PER_STEP, then advance the clock. Stops if the partition is released."""
        status = self.status
        records = batch.records
        before = state.tally.accepted
        async with Slice(self._context.slices) as time_slice:
            while step := list(islice(records, EVENTS_PER_STEP)):
                # A producer's clock may be wrong, so events are held against this worker's clock too. The broker's
                # clock is trusted alone: otherwise a worker whose clock is wrong would refuse good events.
                wall_ms = now_ms() if step[0].timestamp_type == CREATE_TIME else NO_WALL_CLOCK_MS
                uncounted = state.apply(step, wall_ms)
                if uncounted:
                    self._uncounted.add(uncounted)
                status.last_record_ms = step[-1].timestamp
                await time_slice.yield_if_used_up()
                if status.state is not state:
                    return
        state.skip_to(batch.end)
        self._context.metrics.accepted.inc(state.tally.accepted - before)
        await self._advance_clock()

    async def _advance_clock(self) -> None:
        """Let time limits pass: of silent calls, ended calls and old counts. Hold ``state_lock``."""
        status = self.status
        state = status.state
        if state is None:
            return
        now, at_end = now_ms(), self.feed.at_end()
        if at_end:  # so that the next event's lag is its own, and not the silence before it
            status.last_record_ms = max(status.last_record_ms, now)
        async with Slice(self._context.slices) as time_slice:
            with closing(state.advancing(now, at_end=at_end)) as calls:
                for at, _ in enumerate(calls):
                    if at % CALLS_PER_STEP == CALLS_PER_STEP - 1:
                        await time_slice.yield_if_used_up()
