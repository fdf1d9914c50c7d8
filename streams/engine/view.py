"""``PartitionView``: what a reply needs of one of this worker's partitions."""

from __future__ import annotations

from typing import NamedTuple

from ecounters.partition.state import PartitionState


class PartitionView(NamedTuple):
    """One partition as this worker sees it now; ``StateTable.view_of`` makes one for each reply.

    ``state``: the live object, not a copy; use it before the next ``await``.
    ``lag_ms``: ms between now and the last event read, by Kafka's timestamp; 0 when all events have been read.
    ``fresh``: False while the partition is restored or reassigned, or the broker is silent: the reply is incomplete.
    """

    state: PartitionState
    lag_ms: int
    fresh: bool
