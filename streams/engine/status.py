"""``PartitionStatus``: the data of one owned partition, which its collaborators share. There is no behaviour here."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from ecounters.partition.state import PartitionState


@dataclass(slots=True)
class PartitionStatus:
    """One partition while this worker owns it. Nothing of it is saved but ``state``, in the changelog.

    | field            | meaning                                                              | written by             |
    |------------------|----------------------------------------------------------------------|------------------------|
    | partition        | the partition of the topic of events                                 | nobody, once made      |
    | state            | the counters; None before the first restore and after the release    | restore, release       |
    | live             | restored, fed and flushed; False while it is restored                | restore, release,      |
    |                  |                                                                      | a failed flush         |
    | following        | False: the consumer must still be told to read from state.position   | feed; the table when a |
    |                  |                                                                      | batch was dropped      |
    | flushed_offset   | the changelog holds the effect of all events before this offset      | restore, flush         |
    | committed_offset | the offset last committed to the consumer group; -1: none yet        | restore, table         |
    | last_record_ms   | Kafka's timestamp of the last record read; now, at the log's end     | restore, apply         |
    | state_lock       | held while several steps change or read ``state`` (see below)        | -                      |

    ``state_lock`` is held while a batch is applied, while the clock advances, while windows are rolled up, while
    changes are collected for a flush, and while ``state.position`` is set back. Other tasks run at each ``await`` of
    the holder: without the lock a flush could save half a batch. Replies read ``state`` without the lock, and do not
    wait while they do. The release sets ``state`` to None without the lock: the holder sees that and stops.
    """

    partition: int
    state: PartitionState | None = None
    live: bool = False
    following: bool = True
    flushed_offset: int = 0
    committed_offset: int = -1
    last_record_ms: int = 0
    state_lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def forget(self) -> None:
        """Give up the state: the partition is not this worker's any more."""
        self.live, self.state = False, None
