"""The feed of one owned partition: from which offset its events are read, and how far behind the reading is."""

from __future__ import annotations

import logging
from typing import Final, Protocol

from aiokafka.errors import IllegalStateError, KafkaError

from ecounters.partition.records import Uncounted
from ecounters.partition.state import PartitionState
from streams.basics.text import one_line
from streams.basics.times import now_ms
from streams.engine.status import PartitionStatus

log = logging.getLogger(__name__)

FAR_BEHIND_MS: Final = 10_000
FAR_BEHIND_EVENTS: Final = 20_000
"""Beyond either, a partition is far behind: it catches up, and is flushed less often meanwhile."""


class EventsSource(Protocol):
    """The topic of events as owned partitions use it; ``streams.engine.events_topic.EventsTopic`` is one."""

    @property
    def rebalancing(self) -> bool:
        """Whether the group is being rebalanced now: nothing can be followed until that is over."""

    async def offsets(self, partition: int) -> tuple[int, int]:
        """(offset of the oldest event that Kafka still has, offset after the newest). KafkaError: not available."""

    async def follow(self, partition: int, offset: int) -> None:
        """Read a partition's events from ``offset`` on. IllegalStateError: the partition is not assigned any more."""

    def end_of(self, partition: int) -> tuple[int | None, float | None]:
        """(offset after the newest event, seconds since the broker said so); (None, None): not known yet."""

    async def republish(self, misrouted: list[Uncounted]) -> None:
        """Send events to the partitions of their users; they are acknowledged on return. KafkaError: some were not."""


class PartitionFeed:
    """Decides from which offset one partition is read, and measures how far behind its end the state is.

    The state's position alone says where to read: events before it are counted, the event at it is the next. The
    consumer group's committed offset is never read. ``follow`` sets ``status.following``, and changes
    ``state.position`` if the topic has no event at that offset.
    """

    def __init__(self, status: PartitionStatus, events: EventsSource, stale_after_ms: int) -> None:
        self._status = status
        self._events = events
        self._stale_after_ms = stale_after_ms

    # --------------------------------------------------------------------------------- from where to read

    async def follow(self) -> None:
        """Let the consumer read from the state's position on.

        Does nothing during a rebalance, whose end follows all live partitions, and nothing before the first restore.
        If the broker is away or a rebalance begins meanwhile, ``following`` becomes False: the next flush tries again.
        """
        status = self._status
        state = status.state
        if self._events.rebalancing or state is None:
            return
        counted = state.position  # read before the offsets are asked for: batches may be applied while they come
        try:
            earliest, end = await self._events.offsets(status.partition)
            if end < counted:
                await self._go_back(state, counted, end, end if earliest else 0)
            if earliest > state.position:
                self._skip_to(state, earliest)
            if status.state is not state:
                return  # released, or restored: the restore follows the new state itself
            status.following = True  # set before the seek: a batch that is dropped from now on sets it to False again
            await self._events.follow(status.partition, state.position)
        except (IllegalStateError, KafkaError, TimeoutError) as error:
            status.following = False
            log.info("partition %s is not read yet: %s", status.partition, one_line(error))

    async def _go_back(self, state: PartitionState, counted: int, end: int, offset: int) -> None:
        """The topic is not the one that was counted: it ends before the state's position. Read from ``offset`` on."""
        log.error(
            "partition %s: the topic ends at offset %s, though events up to %s were counted: it was made anew, "
            "or cut off; reading from %s on",
            self._status.partition, end, counted - 1, offset,
        )  # fmt: skip
        async with self._status.state_lock:
            if self._status.state is state:
                state.position = offset

    def _skip_to(self, state: PartitionState, earliest: int) -> None:
        """Kafka has deleted the events from the state's position to ``earliest``: they are lost."""
        if state.position:
            log.error(
                "partition %s: events from offset %s to %s were deleted by Kafka before they were counted",
                self._status.partition, state.position, earliest - 1,
            )  # fmt: skip
        state.skip_to(earliest)

    # ------------------------------------------------------------------------------------ how far behind

    def at_end(self) -> bool:
        """Whether all events have been counted, by an end that the broker has confirmed lately."""
        end, age_s = self._events.end_of(self._status.partition)
        state = self._status.state
        return state is not None and end is not None and self._is_recent(age_s) and state.position >= end

    def lag_ms(self) -> int:
        """ms from the last event read until now; 0 at the end, and before the first restore.

        While the broker is silent for longer than ``stale_after_ms``, at least the length of that silence.
        """
        state = self._status.state
        if state is None:
            return 0
        end, age_s = self._events.end_of(self._status.partition)
        behind_ms = 0 if end is None or state.position >= end else max(0, now_ms() - self._status.last_record_ms)
        silent_ms = int(age_s * 1000) if age_s is not None and not self._is_recent(age_s) else 0
        return max(behind_ms, silent_ms)

    def is_far_behind(self) -> bool:
        """Whether the state is FAR_BEHIND_EVENTS offsets or FAR_BEHIND_MS behind the end."""
        end, _ = self._events.end_of(self._status.partition)
        state = self._status.state
        left = 0 if end is None or state is None else end - state.position
        return left > FAR_BEHIND_EVENTS or self.lag_ms() > FAR_BEHIND_MS

    def is_fresh(self) -> bool:
        """Whether the partition is live and the broker has been heard of within ``stale_after_ms``."""
        _, age_s = self._events.end_of(self._status.partition)
        return self._status.live and self._is_recent(age_s)

    def _is_recent(self, age_s: float | None) -> bool:
        return age_s is not None and age_s * 1000 < self._stale_after_ms
