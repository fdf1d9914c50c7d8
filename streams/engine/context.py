"""``WorkerContext``: what all owned partitions of a worker share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from ecounters.changelog.binding import Binding
from ecounters.partition.records import Uncounted
from streams.basics.slices import TimeSlices
from streams.engine.refusals import RefusalLog
from streams.engine.topics_watch import TopicsWatch
from streams.kafka.changelog_reader import ChangelogReaders
from streams.kafka.shared_clients import SharedClients
from streams.metrics.catalogue import Metrics
from streams.settings.narrow import PartitionSettings


class Handover(Protocol):
    """Tells the workers that had a partition before that this one has it; ``streams.web.handover.Handover`` is one."""

    async def announce(self, partition: int, position: int) -> int:
        """Say that this worker has the partition's state up to ``position``. From now on it answers, and they do not.

        Returns 0, or how far the state is of one that has shown more: then it goes on answering. Takes a bounded time,
        and raises no error: who cannot be reached answers nobody.
        """


class EventsSource(Protocol):
    """The topic of events as owned partitions use it; ``streams.engine.events_topic.EventsTopic`` is one."""

    @property
    def rebalancing(self) -> bool:
        """Whether the group is being rebalanced now: nothing can be followed until that is over."""

    async def offsets(self, partition: int) -> tuple[int, int]:
        """(the first offset that Kafka still has, the offset after the last event), by a request to the broker.

        Raises KafkaError, IllegalStateError or TimeoutError if they are not available.
        """

    async def follow(self, partition: int, offset: int) -> None:
        """Read a partition's events from ``offset`` on. Raises IllegalStateError if the partition is not assigned."""

    def end_of(self, partition: int) -> tuple[int | None, float | None]:
        """(the last stable offset, seconds since a broker reported it), without a request.

        Events from this offset on belong to open transactions, or are behind some: nobody can read them yet.
        (None, None) if the partition is not assigned or was not fetched yet.
        """

    async def republish(self, misrouted: list[Uncounted]) -> list[Uncounted]:
        """Send events to the partitions of their users, and return when all are acknowledged.

        Returns those that are larger than the topic takes, with the reason too_large. Raises KafkaError if another one
        is not acknowledged.
        """


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """Settings and services for every owned partition. ``streams.app.build`` makes one per worker.

    ``binding``: what states of this worker are bound to: the topic of events as it was at the start, and this release.
    ``topics``: notices what becomes of the topics. ``events``: the topic of events. ``fail``: ends the worker because
    of an error that must never happen. ``slices``: all long computations of all partitions run in these time slices,
    one partition at a time. ``clients``, ``readers``: the connections over which changelogs are written and read.
    ``handover``: tells the workers that had a partition before.
    ``restore_lock``: held while a state is built from restored entries. So the first partitions are ready early;
    without the lock all of them would share the processor and be ready late. ``discards``: the tasks that free the
    memory of states, see ``discarding``. ``discard_lock``: held by the one of them that works.
    ``refusals``: says in the log that events are refused.
    """

    settings: PartitionSettings
    binding: Binding
    metrics: Metrics
    topics: TopicsWatch
    events: EventsSource
    fail: Callable[[BaseException], Awaitable[None]]
    slices: TimeSlices
    clients: SharedClients
    readers: ChangelogReaders
    handover: Handover
    restore_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    discard_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    refusals: RefusalLog = field(default_factory=RefusalLog)
    discards: set[asyncio.Task[None]] = field(default_factory=set)
