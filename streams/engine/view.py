"""``GroupDirectory``: finds the state with a user's counters on this worker, or the worker that has it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, cast

from ecounters.events.partitioner import partition_of
from ecounters.partition.state import PartitionState
from streams.engine.partition import OwnedPartition
from streams.engine.topics_watch import TopicsWatch
from streams.kafka.group import Assignor


class PartitionView(NamedTuple):
    """One owned partition at this moment; ``GroupDirectory.view_of`` makes one for each reply.

    ``state``: the partition's own state, not a copy. Use it before the next ``await``. Or take ``state_lock``, and go
    on only if ``again()`` has the same state then: it may have been replaced and emptied.
    ``lag_ms``: how old the last event read is, in ms; see ``PartitionFeed.lag_ms``.
    ``fresh``: False if events may be missing in the reply, because the partition is not live, the group is being
    rebalanced, the broker has been silent for too long, or a topic was deleted, made anew or grown.
    ``again``: the view of the user's partition when it is called; None if this worker has no state of it any more.
    """

    state: PartitionState
    lag_ms: int
    fresh: bool
    state_lock: asyncio.Lock
    again: Callable[[], PartitionView | None]


class GroupDirectory:
    """Finds a user's partition, here or on another worker of the group.

    ``owned``: partition -> this worker's ``OwnedPartition``. ``partitions``: how many the topic of events has.
    ``topics``: knows what has become of the topics.
    """

    def __init__(self, app: Any, owned: Mapping[int, OwnedPartition], partitions: int, topics: TopicsWatch) -> None:
        self._app = app
        self._topics = topics
        self._owned = owned
        self._partitions = partitions

    def view_of(self, user_id: str) -> PartitionView | None:
        """The view of the user's partition; None if this worker does not own it, or has not restored it yet."""
        partition = self._owned.get(partition_of(user_id, self._partitions))
        state = partition.status.state if partition is not None else None
        if partition is None or state is None:
            return None
        fresh = partition.feed.is_fresh() and not self._app.rebalancing and not self._topics.concerns(user_id)
        again = partial(self.view_of, user_id)
        return PartitionView(state, partition.feed.lag_ms(), fresh, partition.status.state_lock, again)

    def why_waiting(self, user_id: str) -> str:
        """Why the user's partition, which this worker owns, waits for an operator; "" if it does not wait."""
        partition = self._owned.get(partition_of(user_id, self._partitions))
        return partition.status.waiting.why if partition is not None and partition.status.waiting else ""

    def address_of(self, user_id: str) -> str | None:
        """The URL of the other worker that owns the user's partition, by the group's last assignment.

        None if this worker owns the partition, or if the last assignment names no owner.
        """
        url = cast(Assignor, self._app.assignor).addresses.get(partition_of(user_id, self._partitions))
        return None if url == str(self._app.conf.canonical_url) else url
