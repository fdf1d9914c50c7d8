"""Where a user's counters are: in a partition of this worker (``PartitionView``) or on another worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from ecounters.events.partitioner import partition_of
from ecounters.partition.state import PartitionState
from streams.engine.partition import OwnedPartition
from streams.kafka.group import Assignor


class PartitionView(NamedTuple):
    """One partition as this worker sees it now; ``GroupDirectory.view_of`` makes one for each reply.

    ``state``: the live object, not a copy; use it before the next ``await``.
    ``lag_ms``: ms between now and the last event read, by Kafka's timestamp; 0 when all events have been read.
    ``fresh``: False while the partition is restored or reassigned, or the broker is silent: the reply is incomplete.
    """

    state: PartitionState
    lag_ms: int
    fresh: bool


class GroupDirectory:
    """Finds the partition of a user in the group of workers. ``partitions``: how many the topic of events has."""

    def __init__(self, app: Any, owned: Mapping[int, OwnedPartition], partitions: int) -> None:
        self._app = app
        self._owned = owned
        self._partitions = partitions

    def view_of(self, user_id: str) -> PartitionView | None:
        """The user's partition; None if this worker does not own it, or has not restored it yet."""
        partition = self._owned.get(partition_of(user_id, self._partitions))
        if partition is None or partition.status.state is None:
            return None
        fresh = partition.feed.is_fresh() and not self._app.rebalancing
        return PartitionView(partition.status.state, partition.feed.lag_ms(), fresh)

    def address_of(self, user_id: str) -> str | None:
        """URL of the other worker that owns the user's partition, by the last assignment.

        None if this worker owns the partition, or no worker does.
        """
        url = cast(Assignor, self._app.assignor).addresses.get(partition_of(user_id, self._partitions))
        return None if url == str(self._app.conf.canonical_url) else url
