"""``PartitionFeed``: decides from which offset a partition's events are read, and measures how far behind it is."""

from __future__ import annotations

import logging
import time
from typing import Final

from aiokafka.errors import IllegalStateError, KafkaError

from ecounters.partition.lost import losing_to
from ecounters.partition.state import PartitionState
from streams.basics.slices import Slice
from streams.basics.text import one_line
from streams.basics.times import now_ms
from streams.engine.context import WorkerContext
from streams.engine.status import PartitionStatus

log = logging.getLogger(__name__)

FAR_BEHIND_MS: Final = 10_000
FAR_BEHIND_EVENTS: Final = 20_000
"""With a lag above FAR_BEHIND_MS, or more than FAR_BEHIND_EVENTS offsets before the log's end, a partition is far
behind. It is flushed less often until it has caught up."""


class PartitionFeed:
    """Decides from which offset one partition is read, and measures how far the state is behind the log's end.

    The partition is read from ``state.position``: events before this offset are counted, the event at it is the next.
    The consumer group's committed offset is not used. ``follow`` sets ``status.following``, and changes
    ``state.position`` if it lies outside the offsets that the topic has. A state that is of no topic yet is bound to
    the worker's topic the first time: where that begins is where the state begins. From then on, what is missing is a
    hole.
    """

    def __init__(self, status: PartitionStatus, context: WorkerContext) -> None:
        self._status = status
        self._context = context
        self._events = context.events
        self._stale_after_ms = context.settings.feed.stale_after_ms

    # --------------------------------------------------------------------------------- from where to read

    async def follow(self) -> None:
        """Let the consumer read from the state's position on.

        Does nothing before the first restore and during a rebalance, because all live partitions are followed when the
        rebalance ends. If the broker is away or the partition is not assigned, ``status.following`` becomes False, and
        ``OwnedPartition`` tries again before its next flush.
        """
        status = self._status
        state = status.state
        if self._events.rebalancing or state is None:
            return
        counted = state.position  # as of now: a batch that is applied during the request may exceed its `end`
        try:
            earliest, end = await self._events.offsets(status.partition)
            if status.frozen:
                return  # a rebalance has begun
            if end < counted:
                await self._go_back(state, counted, end, end if earliest else 0)
            if earliest > state.position:
                await self._skip_to(state, earliest)
            if status.state is not state or status.frozen:
                return  # released, or restored: then the restore follows the new state
            status.following = True  # set before the seek: a batch that is dropped from now on sets it to False again
            await self._events.follow(status.partition, state.position)
            if status.unowned_s is not None:
                self._context.metrics.platform.unowned.observe(time.monotonic() - status.unowned_s)
                status.unowned_s = None
            if state.binding is None:
                state.binding = self._context.binding
                log.info("partition %s is bound to %s", status.partition, state.binding.log)
        except (IllegalStateError, KafkaError, TimeoutError) as error:
            status.following = False
            log.info("partition %s is not read yet: %s", status.partition, one_line(error))

    async def has_lost_events(self) -> bool:
        """Whether Kafka has deleted events from the state's position on. Asks a broker.

        The consumer goes on at the first event that is left, and says nothing. True as well if no broker replies: then
        it is not known.
        """
        try:
            earliest, _ = await self._events.offsets(self._status.partition)
        except (KafkaError, TimeoutError):
            return True
        state = self._status.state
        return state is not None and earliest > state.position

    async def _go_back(self, state: PartitionState, counted: int, end: int, offset: int) -> None:
        """Set the position back to ``offset``, because the topic ends before ``counted``. Logs an error.

        ``offset`` is 0 if the topic still has its first event: then it was made anew, and all of it is new. Else it is
        the topic's end: then the topic was cut off there, and what is left of it was counted.
        """
        log.error(
            "partition %s: the topic ends at offset %s, though events up to %s were counted: it was made anew, "
            "or cut off; reading from %s on",
            self._status.partition, end, counted - 1, offset,
        )  # fmt: skip
        async with self._status.state_lock:
            if self._status.state is state and not self._status.frozen:
                state.position = offset

    async def _skip_to(self, state: PartitionState, earliest: int) -> None:
        """Raise the position to ``earliest``, because Kafka has deleted the events before that.

        Logs an error, counts them in the metric ``skipped`` and notes a hole, except for a new state: a topic may have
        begun long before its first worker.
        """
        if not state.position and state.binding is None:
            state.skip_to(earliest)
            return
        async with self._status.state_lock, Slice(self._context.slices) as time_slice:
            if self._status.state is not state or self._status.frozen or earliest <= state.position:
                return
            log.error(
                "partition %s: events from offset %s to %s were deleted by Kafka before they were counted; replies for "
                "that time are incomplete",
                self._status.partition, state.position, earliest - 1,
            )  # fmt: skip
            self._context.metrics.skipped.inc(earliest - state.position)
            for _ in losing_to(state, earliest):
                await time_slice.yield_if_used_up()

    # ------------------------------------------------------------------------------------ how far behind

    def at_end(self) -> bool:
        """Whether the state has reached the last stable offset, which a broker has reported within ``stale_after_ms``.

        Whoever waits for an open transaction is at the end: nobody can read further.
        """
        end, age_s = self._events.end_of(self._status.partition)
        state = self._status.state
        return state is not None and end is not None and self._is_recent(age_s) and state.position >= end

    def lag_events(self) -> int:
        """How many offsets there are between the state's position and the log's end; 0 if one of them is not known."""
        end, _ = self._events.end_of(self._status.partition)
        state = self._status.state
        return 0 if end is None or state is None else max(0, end - state.position)

    def lag_ms(self) -> int:
        """The lag: ms between Kafka's timestamp of the last event read and now.

        The lag is 0 at the log's end, while the end is not known, and without a state. If the broker has been silent
        for ``stale_after_ms`` or longer, the lag is at least the length of that silence.
        """
        state = self._status.state
        if state is None:
            return 0
        end, age_s = self._events.end_of(self._status.partition)
        behind_ms = 0 if end is None or state.position >= end else max(0, now_ms() - self._status.last_record_ms)
        silent_ms = int(age_s * 1000) if age_s is not None and not self._is_recent(age_s) else 0
        return max(behind_ms, silent_ms)

    def is_far_behind(self) -> bool:
        """Whether the partition is far behind: by its lag, or by the offsets between the state and the log's end."""
        _, age_s = self._events.end_of(self._status.partition)
        left = self.lag_events()
        if not left and self._is_recent(age_s):
            return False  # as of most partitions, once a second
        return left > FAR_BEHIND_EVENTS or self.lag_ms() > FAR_BEHIND_MS

    def is_fresh(self) -> bool:
        """Whether the partition is live, does not wait for an operator, and a broker has replied to its fetches within
        ``stale_after_ms``."""
        _, age_s = self._events.end_of(self._status.partition)
        return self._status.live and self._status.waiting is None and self._is_recent(age_s)

    def _is_recent(self, age_s: float | None) -> bool:
        return age_s is not None and age_s * 1000 < self._stale_after_ms
