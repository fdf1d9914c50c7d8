"""``GroupDirectory``: finds the state with a user's counters on this worker, or the workers that may have it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple, cast

from ecounters.events.partitioner import partition_of
from ecounters.partition.state import PartitionState
from streams.basics.times import now_ms
from streams.engine.standbys import standbys_of
from streams.engine.table import StateTable
from streams.engine.topics_watch import TopicsWatch
from streams.kafka.group import Assignor

HERE: Final = ""
"""In a route: this worker, by a state that it keeps of a partition which it has given up."""


class PartitionView(NamedTuple):
    """One partition's state on this worker at this moment; ``GroupDirectory`` makes one for each reply.

    ``state``: the partition's own state, not a copy. Use it before the next ``await``. Or take ``state_lock``, and go
    on only if ``again()`` has the same state then: it may have been replaced and emptied. Without the lock, the calls
    of a user may be settled across awaits, if each step is preceded by this check, and by one of ``user.erased``.
    ``lag_ms``: how old the last event read is, in ms; see ``PartitionFeed.lag_ms``.
    ``fresh``: False if events may be missing in the reply, because the partition is not live, the group is being
    rebalanced, the broker has been silent for too long, or a topic was deleted, made anew or grown; and if the worker
    leaves the group, or has given the partition up, and answers until the next owner does.
    ``again``: the view of the user's partition when it is called; None if this worker has no state of it any more.
    """

    state: PartitionState
    lag_ms: int
    fresh: bool
    state_lock: asyncio.Lock
    again: Callable[[], PartitionView | None]


class GroupDirectory:
    """Finds a user's partition, here or on other workers of the group.

    ``table``: this worker's partitions. ``partitions``: how many the topic of events has. ``topics``: knows what has
    become of the topics.
    """

    def __init__(self, app: Any, table: StateTable, partitions: int, topics: TopicsWatch) -> None:
        self._app = app
        self._topics = topics
        self._table = table
        self._partitions = partitions

    @property
    def _assignor(self) -> Assignor:
        return cast(Assignor, self._app.assignor)

    @property
    def url(self) -> str:
        """The URL at which the other workers reach this one."""
        return str(self._app.conf.canonical_url)

    @property
    def generation(self) -> int:
        """The number of the group's last assignment that this worker has got."""
        return int(self._app.consumer_generation_id)

    def view_of(self, user_id: str) -> PartitionView | None:
        """The view of the user's partition; None if this worker does not own it, or does not answer for it yet."""
        number = partition_of(user_id, self._partitions)
        partition = self._table.owned.get(number)
        state = partition.status.state if partition is not None else None
        if partition is None or state is None or not partition.status.answering or self._table.successor_of(number):
            return None
        reads = not self._app.rebalancing and not self.has_left
        fresh = partition.feed.is_fresh() and reads and not self._topics.concerns(user_id)
        again = partial(self.view_of, user_id)
        return PartitionView(state, partition.feed.lag_ms(), fresh, partition.status.state_lock, again)

    def kept_view_of(self, user_id: str) -> PartitionView | None:
        """The view of the state that this worker keeps of the user's partition, which it has given up; None without."""
        kept = self._table.kept.get(partition_of(user_id, self._partitions))
        if kept is None:
            return None
        again = partial(self.kept_view_of, user_id)
        return PartitionView(kept.state, max(0, now_ms() - kept.since_ms), False, kept.lock, again)

    async def standby_view_of(self, user_id: str) -> PartitionView | None:
        """The view of the state that this worker follows of the user's partition; None without. Waits a moment if need
        be; use the view before the next ``await``.

        ``lag_ms``: how long ago the last flush was read.
        """
        number = partition_of(user_id, self._partitions)
        return self._standby_view(number) if await self._table.standbys.is_whole(number) else None

    def _standby_view(self, number: int) -> PartitionView | None:
        standby = self._table.standbys.get(number)
        state = standby.state if standby is not None else None
        if standby is None or state is None:
            return None
        again = partial(self._standby_view, number)
        return PartitionView(state, max(0, now_ms() - standby.flushed_ms), False, standby.lock, again)

    def standbys_for(self, user_id: str) -> list[str]:
        """Whom to ask for a user's counters if nobody answers who has the partition or had it: URLs, and HERE.

        Its standbys, and those that were its standbys before, and then its owner: that may be one who takes it over.
        Empty if there are no standbys.
        """
        number = partition_of(user_id, self._partitions)
        owner, count = self._assignor.addresses.get(number), self._table.standbys.count
        if not count:
            return []
        urls = standbys_of(number, owner, self._assignor.members, count)
        here = [HERE] if self._table.standbys.get(number) is not None else []
        others = dict.fromkeys([*urls, *self.holders_of(number), self.owner_of(number), owner])
        return [*here, *(url for url in others if url is not None and url != self.url)]

    def why_waiting(self, user_id: str) -> str:
        """Why the user's partition, which this worker owns, waits for an operator; "" if it does not wait."""
        partition = self._table.owned.get(partition_of(user_id, self._partitions))
        return partition.status.waiting.why if partition is not None and partition.status.waiting else ""

    def route_to(self, user_id: str) -> list[str]:
        """Whom to ask for a user's counters, one after the other: URLs of other workers, and HERE.

        First the owner, then those that had the partition before, the newest state first. Empty if nobody is known.
        """
        number = partition_of(user_id, self._partitions)
        owners = [self.owner_of(number), *self._assignor.holders.get(number, ())]
        urls = [HERE if url == self.url else url for url in owners if url is not None]
        kept = [HERE] if self._table.kept.get(number) is not None else []
        return [url for url in dict.fromkeys([*urls, *kept]) if url or kept]

    def successor_for(self, user_id: str) -> str | None:
        """URL of the other worker that owns the user's partition now; None if this worker knows of none."""
        return self.owner_of(partition_of(user_id, self._partitions))

    def has_successor(self, user_id: str) -> bool:
        """Whether another worker has said that it answers for the user's partition, so that this one must not."""
        return self._table.successor_of(partition_of(user_id, self._partitions)) is not None

    def owner_of(self, partition: int) -> str | None:
        """URL of the other worker that owns the partition, as it has said, or by the last assignment.

        None if this worker owns it, or if none is known.
        """
        url = self._table.successor_of(partition) or self._assignor.addresses.get(partition)
        return None if url == self.url else url

    def holders_of(self, partition: int) -> list[str]:
        """URLs of the other workers that may have a state of a partition that has moved to this worker."""
        return [url for url in self._assignor.holders.get(partition, ()) if url != self.url]

    @property
    def others(self) -> set[str]:
        """URLs of the other workers of the last assignment."""
        return self._assignor.members - {self.url}

    @property
    def has_left(self) -> bool:
        """Whether this worker has left the group, or is about to: it gets no assignments any more."""
        return bool(self._app.should_stop)
