"""``BatchApplier``: applies batches of events to one partition's state, and lets time pass in it."""

from __future__ import annotations

import logging
from contextlib import aclosing, closing
from typing import Any, Final

from ecounters.changelog.holes import closed, is_open
from ecounters.partition.records import Uncounted
from ecounters.partition.state import PartitionState
from ecounters.windows.calendar import FOREVER_MS
from streams.basics.slices import Slice
from streams.basics.times import now_ms
from streams.engine.context import WorkerContext
from streams.engine.dead_letters import UncountedBuffer
from streams.engine.feed import PartitionFeed
from streams.engine.flushing import PartitionFlusher
from streams.engine.status import PartitionStatus
from streams.kafka.batches import Batch, Run
from streams.kafka.record_batches import RecordBatch

log = logging.getLogger(__name__)

CALLS_PER_STEP: Final = 5
"""So many calls and accounts are handled between two checks of the time slice, while the clock advances: some 0.01 ms
of work, but some 10 ms if each is dropped and has 1,000 DTMF inputs that are not counted yet."""
MISSING_MAX: Final = 100
"""More missing offsets than this, in one batch, are logged as an error."""


class _NotLive(Exception):
    """The partition is not live any more: the rest of the batch is read again by its next owner or after a restore."""


class _MustReadAgain(Exception):
    """The events from the state's position on must be read again. The text says why."""


class BatchApplier:
    """Applies batches to the state of one partition.

    The state lock is held while a part of a batch is applied, and let go in between, so that what is too much to keep
    in memory can be flushed: one record batch of 2 MiB can hold millions of bad events.
    """

    def __init__(
        self,
        status: PartitionStatus,
        feed: PartitionFeed,
        flusher: PartitionFlusher,
        uncounted: UncountedBuffer,
        context: WorkerContext,
    ) -> None:
        self._status = status
        self._feed = feed
        self._flusher = flusher
        self._uncounted = uncounted
        self._context = context
        self._read_again = -1  # the offset of the faulty record batch that was read again last

    async def apply(self, batch: Batch) -> None:
        """Apply a batch. If events before it were not applied, follow the partition from the state's position on
        instead; also if Kafka has deleted some of them while this worker read.

        Ignores the batch, or the rest of it, while the partition is not live or is frozen: its events are read again
        after the restore, or after the rebalance. Waits for a flush if very much is unsaved. Increments the metrics
        ``accepted`` and ``skipped``, and those of ``UncountedBuffer``.

        A record batch that cannot be read is read again once. If it still cannot, it becomes one dead letter.
        """
        reached = batch.begin
        try:
            self._state_at(reached)
            if batch.missing and await self._feed.has_lost_events():  # then ``follow`` notes a hole
                raise _MustReadAgain(f"{batch.missing} offsets are missing before {batch.end}")
            self._note_skipped(batch)
            async with aclosing(batch.runs()) as runs:
                async for run in runs:
                    while reached < run.end:
                        async with self._status.state_lock:
                            reached = await self._apply_some(self._state_at(reached), run)
                        await self._flusher.flush_if_large(self._state_at(reached))
                        if self._flusher.is_full():
                            self._status.following = False  # it is followed from here on again when there is room
                            return
            async with self._status.state_lock:
                self._state_at(reached).skip_to(batch.end)
                await self.advance_clock()
        except _NotLive:
            return
        except _MustReadAgain as why:
            if self._flusher.is_full():  # what is fetched meanwhile is dropped
                self._status.following = False
                return
            log.info("partition %s: %s, reading from the state's position on again", self._status.partition, why)
            await self._feed.follow()

    def _state_at(self, offset: int) -> PartitionState:
        """The state, if all events before ``offset`` are in it. Raises _NotLive or _MustReadAgain if not."""
        state = self._status.state
        status = self._status
        if state is None or not status.live or status.frozen or self._context.topics.stopped is not None:
            raise _NotLive
        if offset > state.position:
            raise _MustReadAgain(f"it was fetched from offset {offset} on, and its state ends at {state.position}")
        return state

    def _note_skipped(self, batch: Batch) -> None:
        """Count the offsets without an event in a metric; log an error if many of them are missing."""
        if batch.without_event:
            self._context.metrics.skipped.inc(batch.without_event)
        if batch.missing > MISSING_MAX:
            log.error(
                "partition %s: %s offsets hold no event; has Kafka deleted what was not counted?",
                self._status.partition, batch.missing,
            )  # fmt: skip

    async def _apply_some(self, state: PartitionState, run: Run) -> int:
        """Apply records of a run, to its end, until very much is unsaved, or until a revoke. Hold ``state_lock``.

        Returns the offset before which all of the run is applied. Raises _NotLive if the partition is released or
        restored meanwhile, _MustReadAgain at a record batch that cannot be read.
        """
        before = state.tally.accepted
        reached = state.position
        try:
            async with Slice(self._context.slices) as time_slice:
                while not self._flusher.is_overdue(state) and not self._status.frozen:
                    records = run.take()
                    if records:
                        await self._apply_step(state, run, records, time_slice)
                        reached = records[-1].offset + 1
                    elif run.faulty is None:
                        return run.end
                    if run.faulty is not None:
                        reached = self._pass_over(state, run.faulty)
                        run.faulty = None
                    await self._yield(state, time_slice)
            return reached
        except _NotLive:
            before = state.tally.accepted  # what was applied is applied again elsewhere, and counted there
            raise
        finally:
            self._context.metrics.accepted.inc(state.tally.accepted - before)

    async def _yield(self, state: PartitionState, time_slice: Slice) -> None:
        """Let others run if the time slice is used up. Raises _NotLive if the state was replaced meanwhile."""
        await time_slice.yield_if_used_up()
        if self._status.state is not state:
            raise _NotLive

    async def _apply_step(self, state: PartitionState, run: Run, records: list[Any], time_slice: Slice) -> None:
        """Apply some records. Where their producer has stamped them, this worker's clock judges whether they are ahead.

        A stamp of the broker is trusted: else a worker with a wrong clock would refuse good events. The stamp of a
        producer is not: it may be in seconds, or of another day. The lag is then that of the state's watermark.
        """
        uncounted: list[Uncounted] = []
        if is_open(state.holes) and run.by_broker:
            state.holes = closed(state.holes, records[0].timestamp)
        for _ in state.applying(records, FOREVER_MS if run.by_broker else now_ms(), uncounted):
            await self._yield(state, time_slice)
        if uncounted:
            self._uncounted.add(uncounted)
        if is_open(state.holes) and state.watermark > state.holes[-1].begin:  # its producers' times say nothing
            state.holes = closed(state.holes, state.watermark)
        if run.by_broker:
            self._context.metrics.platform.clock_difference.note((now_ms() - records[-1].timestamp) / 1000)
        self._status.last_record_ms = records[-1].timestamp if run.by_broker else state.watermark or now_ms()

    def _pass_over(self, state: PartitionState, faulty: RecordBatch) -> int:
        """Make a dead letter of a record batch that cannot be read, or of the rest of it, and return its end.

        Raises _MustReadAgain the first time: the fault may have come about on the way from the broker.
        """
        begin, end = max(state.position, faulty.base_offset), faulty.next_offset
        if begin >= end:  # all of its records were read, or are of before
            return state.position
        where = f"offsets {begin} to {end - 1} cannot be read: {faulty.fault}"
        if self._read_again != begin:
            self._read_again = begin
            raise _MustReadAgain(where)
        log.error("partition %s: %s; they are dead-lettered as they are", self._status.partition, where)
        self._uncounted.add_unreadable(begin, end - 1, faulty.sent)
        state.skip_to(end)
        return end

    async def advance_clock(self) -> None:
        """Let time pass in the state: suspect and reap silent calls, drop ended calls, forget old counts.

        At the log's end this also sets ``status.last_record_ms`` to now. Does nothing while the partition is frozen:
        the next owner would show fewer changes. Hold ``state_lock``.
        """
        status = self._status
        state = status.state
        if state is None or status.frozen:
            return
        now, at_end = now_ms(), self._feed.at_end()
        if at_end:  # so that the next event's lag is its own, and not the silence before it
            status.last_record_ms = max(status.last_record_ms, now)
        with closing(state.advancing(now, at_end=at_end)) as calls:
            if next(calls, False) is False:  # nothing is due, as mostly: a slice would cost more than this
                return
            async with Slice(self._context.slices) as time_slice:
                for index, _ in enumerate(calls):
                    if index % CALLS_PER_STEP == CALLS_PER_STEP - 1:
                        await time_slice.yield_if_used_up()
