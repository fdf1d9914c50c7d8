"""``OwnedPartition``: one partition while this worker owns it, from its restore to its last flush."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from typing import Final

from aiokafka.errors import KafkaError

from ecounters.changelog.fitting import rebound
from ecounters.partition.state import PartitionState
from streams.basics.repeated import LogAgain
from streams.basics.tasks import end_tasks
from streams.basics.text import named
from streams.basics.times import now_ms
from streams.engine.applying import BatchApplier
from streams.engine.context import WorkerContext
from streams.engine.dead_letters import UncountedBuffer
from streams.engine.discarding import discard
from streams.engine.feed import PartitionFeed
from streams.engine.flushing import PartitionFlusher
from streams.engine.restore import Changelog
from streams.engine.status import MustWait, PartitionStatus, Waiting
from streams.kafka.batches import Batch
from streams.kafka.changelog_writer import NotWritten

log = logging.getLogger(__name__)

HEARTBEAT_REPLY_S: Final = 0.5
"""After a failed flush the restore waits for one heartbeat interval and this long for its reply.

The reply announces a rebalance if another worker owns the partition now. A shorter wait could let the restore take the
changelog away from that owner."""
WAIT_S: Final = 10.0
"""A partition that waits for an operator looks in such intervals whether it can go on."""
ANSWER_LIMIT_S: Final = 10.0
ANSWER_POLL_S: Final = 0.05
"""How long a restored partition may read, before it answers, what the owner before has shown and not flushed."""
RESTORE_PAUSES_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Pauses after the first, second, ... failed restore in a row. All further failures use the last pause."""


class OwnedPartition:
    """One partition of this worker: applies batches of events, and restores and flushes the state in its own task.

        start()
           |
           v              restored               NotWritten or KafkaError in a flush
        RESTORING ------------------->  LIVE  ------------------------------------->  FAILED
           ^                                                                             |
           +---------------------------- after one heartbeat ---------------------------+

        RESTORING  batches are ignored; replies are made from the old state, but there is none in the first restore
        LIVE       batches are applied, and changes are flushed when ``PartitionFlusher`` says so
        FAILED     batches are ignored; replies are made from the state, which is never flushed again
        release(), at any time: the task ends, ``status.state`` is None, the changelog is closed

    ``status.live`` is True in LIVE only. A restore that fails is tried again; an unexpected error ends the worker. A
    changelog that cannot be read ends nothing: ``status.waiting`` says why the partition waits for an operator, and the
    restore is tried again once somebody has written to the changelog.

    | collaborator | what it does                                                          |
    |--------------|-----------------------------------------------------------------------|
    | status       | the data that feed, flusher and this class share, and ``state_lock``  |
    | feed         | decides from which offset events are read; measures the lag           |
    | changelog    | takes the changelog over and restores the state; holds the writer     |
    | flusher      | decides when a flush is due, and flushes                              |
    | applier      | applies batches, and lets time pass in the state                      |
    | uncounted    | keeps dead letters and misrouted events until the next flush          |

    ``status.state_lock`` guards the state, ``flush_lock`` in the flusher guards the transaction. A flush takes both,
    ``flush_lock`` first. Everything else takes one of them at most.
    """

    def __init__(
        self, partition: int, context: WorkerContext, changelog: Changelog, state_lock: asyncio.Lock | None = None
    ) -> None:
        """``state_lock``: of those who read the state already, while it was followed; a new one without it."""
        self.status = PartitionStatus(partition)
        if state_lock is not None:
            self.status.state_lock = state_lock
        self.feed = PartitionFeed(self.status, context)
        self._context = context
        self._changelog = changelog
        self._uncounted = UncountedBuffer(context.settings.feed.topic, partition, context.metrics, context.refusals)
        self._flusher = PartitionFlusher(self.status, changelog, self._uncounted, self.feed, context)
        self._applier = BatchApplier(self.status, self.feed, self._flusher, self._uncounted, context)
        self._task: asyncio.Task[None] | None = None
        self._log_again = LogAgain()  # why the partition waits
        self._answering: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------------------- from start to release

    @property
    def restored_ratio(self) -> float:
        """How much of the changelog the restore has read, 0 to 1; 1 once the partition is live."""
        return 1.0 if self.status.live else self._changelog.read_ratio

    @property
    def commit_age_s(self) -> float:
        """For how long not all that is counted has been committed to the consumer group; 0 if all is."""
        status = self.status
        if status.state is None or status.state.position == max(status.committed_offset, 0):
            return 0.0
        return time.monotonic() - status.commit_due_s

    def start(self) -> None:
        """Start the task that restores the partition and then flushes it periodically. Returns at once."""
        self._task = asyncio.create_task(self._run(), name=f"partition {self.status.partition}")

    async def release(self) -> None:
        """Give the partition up without a flush: end the task, forget the state, close the changelog.

        Flush before, while the partition is still this worker's. Unsaved events are read again by the next owner.
        """
        self._forget_state()
        await self.end_tasks()
        self._forget_state()  # again: the task may have finished a restore before it ended
        await self._changelog.close()

    async def end_tasks(self) -> None:
        """End the tasks. A restore may still finish before, and set the state."""
        tasks = [task for task in (self._task, self._answering) if task is not None]
        self._task = self._answering = None
        await end_tasks(*tasks)

    def hand_out_state(self) -> PartitionState | None:
        """Return the state, for the use of the caller, and forget it here: nothing of it is flushed from now on."""
        state = self.status.state
        self.status.forget()
        return state

    def _forget_state(self) -> None:
        state = self.status.state
        self.status.forget()
        if state is not None:
            discard(state.discarding(), self._context, self.status.state_lock)

    async def _run(self) -> None:
        """Restore, flush periodically until a flush fails, wait for one heartbeat, and begin again.

        An unexpected error ends the worker.
        """
        try:
            while True:
                await self._restore_with_retries()
                await self._flush_periodically()
                # The flush may have failed because another worker owns the partition now. Then the reply to the next
                # heartbeat announces a rebalance, which releases the partition and cancels this task. To restore at
                # once would take the changelog away from its new owner.
                await asyncio.sleep(self._context.settings.feed.heartbeat_s + HEARTBEAT_REPLY_S)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("partition %s: this must not happen", self.status.partition)
            await self._context.fail(error)

    async def _restore_with_retries(self) -> None:
        """Restore. While the broker is away or refuses, log a warning and try again after RESTORE_PAUSES_S.

        While an entry of the changelog cannot be read, wait until somebody has written to the changelog.
        """
        for attempt in itertools.count():
            try:
                await self._restore()
                return
            except MustWait as error:
                await self._wait_for_operator(error.waiting)
            except (NotWritten, OSError, KafkaError) as error:  # TimeoutError is an OSError
                pause = RESTORE_PAUSES_S[min(attempt, len(RESTORE_PAUSES_S) - 1)]
                log.warning(
                    "partition %s cannot be restored now, again in %s s: %s",
                    self.status.partition, pause, named(error),
                )  # fmt: skip
                await asyncio.sleep(pause)

    async def _wait_for_operator(self, waiting: Waiting) -> None:
        """Say why the partition waits, and return once its changelog has changed: it may have been repaired.

        The log says it once, and again as ``LogAgain`` says. While the topics have changed, ``TopicsWatch`` has
        logged it for all partitions, and this waits until they are as before.
        """
        if self.status.waiting != waiting:
            self._log_again.reset()
        self.status.waiting = waiting
        while self._context.topics.stopped is not None:
            await asyncio.sleep(WAIT_S)
            if self._context.topics.stopped is None:
                return
        while True:
            if self._log_again.is_due():
                log.error("%s", waiting.detail)
            await asyncio.sleep(WAIT_S)
            try:
                if await self._changelog.has_changed():
                    return
            except (OSError, KafkaError) as error:
                log.info("partition %s: its changelog cannot be seen: %s", self.status.partition, named(error))

    async def _restore(self) -> None:
        """Replace the state by what the changelog holds, and follow the partition from the restored position on.

        Sets ``status`` and empties the buffer of uncounted records. Until the new state is complete, replies are made
        from the old one.

        Raises MustWait if the topics have changed so that nothing can be counted. The state is then as it was flushed
        last, without what may be of another topic; but the changelog is not read if it is another one itself.
        """
        began = time.perf_counter()
        topics = self._context.topics
        if topics.stopped is not None and not topics.stopped.keeps_changelog:
            raise MustWait(topics.stopped.why, topics.stopped.detail)
        state, entries = await self._changelog.restore()
        status = self.status
        status.unbound = state.binding is None
        if state.binding is not None:
            state.binding = rebound(state.binding, self._context.binding)
        if status.state is not None:
            discard(status.state.discarding(), self._context, status.state_lock)
        status.state, status.flushed_offset, status.committed_offset = state, state.position, -1
        status.flushed_s = status.commit_due_s = time.monotonic()
        status.entries = entries + self._changelog.followed_entries
        status.last_record_ms = state.arrival or now_ms()
        self._uncounted.drain()  # these records come after the restored position, and are read again
        if not status.answering and (self._answering is None or self._answering.done()):
            self._answering = asyncio.create_task(self._begin_to_answer(), name=f"partition {status.partition} answers")
        if topics.stopped is not None:
            raise MustWait(topics.stopped.why, topics.stopped.detail)
        status.waiting = None
        status.live = True
        await self.feed.follow()
        log.info(
            "partition %s restored: %s entries in %.2f s, next offset %s",
            status.partition, entries, time.perf_counter() - began, state.position,
        )  # fmt: skip
        if status.unbound:  # at once: a partition without events would never say of which topic it is
            await self.flush()

    async def _begin_to_answer(self) -> None:
        """Tell the workers that had the partition before that this one has it; then let replies be made from the state.

        One of them has shown more if it could not flush all before it gave the partition up. Its events are read again,
        and that worker goes on answering until the state here is as far, or until ANSWER_LIMIT_S have passed. Amid a
        rebalance nobody is told: this worker may lose the partition by it. An unexpected error ends the worker.
        """
        try:
            await self._take_over_answers()
        except Exception as error:
            log.exception("partition %s: this must not happen", self.status.partition)
            await self._context.fail(error)

    async def _take_over_answers(self) -> None:
        status, deadline = self.status, time.monotonic() + ANSWER_LIMIT_S
        shown = 0
        while (state := status.state) is not None:
            late = time.monotonic() >= deadline
            if not status.frozen and (state.position >= shown or late):
                shown = await self._context.handover.announce(status.partition, max(state.position, shown))
                if not shown or late:
                    status.answering = status.state is not None
                    return
            await asyncio.sleep(ANSWER_POLL_S)

    async def _flush_periodically(self) -> None:
        """Flush whenever it is due; return when the partition is not live any more.

        Before each flush, follow the partition again if it is not followed, and advance the clock.
        """
        while await self._flusher.wait_until_due():
            if self.status.frozen:
                continue
            if self._context.topics.stopped is not None:
                self.status.live = False
                return
            if not self.status.following and not self._flusher.is_full():
                await self.feed.follow()
            async with self.status.state_lock:
                await self._applier.advance_clock()
            await self.flush()

    async def flush(self, *, always: bool = False) -> bool:
        """Write all changes to the changelog: see ``PartitionFlusher.flush``."""
        return await self._flusher.flush(always=always)

    # ------------------------------------------------------------------------------------------ events

    async def apply_batch(self, batch: Batch) -> None:
        """Apply a batch to the state: see ``BatchApplier.apply``."""
        await self._applier.apply(batch)
