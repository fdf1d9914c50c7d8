"""The worker's side of Faust: which partitions are owned, and what happens to them in a rebalance and at the end.

A Faust table is keyed storage with a changelog. Faust writes the changelog record by record and recovers all of it
before it processes events; both lose exactness after a crash, or speed. So the key of this table is a partition, the
value an ``OwnedPartition`` that restores and flushes itself, and ``StateManager`` replaces Faust's recovery.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final, cast

from faust.tables import Table
from faust.tables.manager import TableManager
from faust.types import TP

from streams.engine.context import WorkerContext
from streams.engine.partition import OwnedPartition
from streams.engine.restore import PartitionChangelog
from streams.engine.roll_up import ZoneOf, roll_up_periodically
from streams.engine.status import PartitionStatus
from streams.kafka import internals
from streams.kafka.batches import Batch

log = logging.getLogger(__name__)

REVOKE_FLUSH_S: Final = 5.0
"""For the last flushes before partitions are revoked. The whole group waits for this worker meanwhile."""


class StateTable(Table[Any, Any]):
    """The owned partitions of this worker, by number, in ``owned``. Only ``on_rebalance`` adds and removes them.

    ``app.Table`` makes it with Faust's arguments; ``configure`` must follow before the app is started. Called by Faust
    (``on_...``), by the agent (``apply_batch``), by ``StateManager``, and by the consumer for offsets: it is the
    ``Positions`` of ``streams.kafka.consumer``.
    """

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(app, **options)
        self.owned: dict[int, OwnedPartition] = {}
        self._context: WorkerContext
        self._zone_of: ZoneOf
        self._topic = ""
        self._roll_up: asyncio.Task[None] | None = None

    def configure(self, context: WorkerContext, zone_of: ZoneOf) -> None:
        """Give the table what Faust's constructor cannot pass on. Call it once, before the app is started."""
        self._context = context
        self._zone_of = zone_of
        self._topic = context.settings.feed.topic

    async def on_start(self) -> None:
        """Start the periodic roll-up. Faust's own would open a store and create the changelog's topic: not needed."""
        periodically = roll_up_periodically(self._statuses, self._zone_of, self._context)
        self._roll_up = asyncio.create_task(periodically, name="roll-up")

    async def on_stop(self) -> None:
        """Flush all partitions, then release them. The consumer commits the flushed offsets after this."""
        if self._roll_up is not None:
            self._roll_up.cancel()
        await self.flush_before_revoke()
        await asyncio.gather(*(partition.release() for partition in self.owned.values()))

    # ------------------------------------------------------------------------------------------- rebalance

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Release the partitions that are not assigned any more, and start to restore the new ones.

        Partitions that stay are kept as they are; Kafka revokes and assigns them all the same.
        """
        mine = {tp.partition for tp in assigned if tp.topic == self._topic}
        gone = [self.owned.pop(number) for number in list(self.owned) if number not in mine]
        await asyncio.gather(*(partition.release() for partition in gone))
        for number in sorted(mine - set(self.owned)):
            changelog = PartitionChangelog(number, self._context)
            partition = self.owned[number] = OwnedPartition(number, self._context, changelog)
            partition.start()
        log.info("generation %s: partitions %s", generation_id, sorted(mine) or "none")

    async def flush_before_revoke(self) -> None:
        """Flush all live partitions; returns after REVOKE_FLUSH_S at the latest.

        Flushes that take longer go on; if they fail, the next owner reads their events again. An unexpected error in a
        flush ends the worker.
        """
        flushes = [asyncio.create_task(partition.flush()) for partition in self._live()]
        if not flushes:
            return
        done, _ = await asyncio.wait(flushes, timeout=REVOKE_FLUSH_S)
        for flush in done:
            if not flush.cancelled() and (error := flush.exception()) is not None:
                await self._context.fail(error)

    async def prove_ownership(self) -> None:
        """Write to the changelog of every live partition, even if nothing has changed.

        If another worker owned a partition for a while, it has fenced this worker's writer and gone on with the state:
        then the write fails, and the partition restores itself.
        """
        await asyncio.gather(*(partition.flush(always=True) for partition in self._live()))

    async def follow_live(self) -> None:
        """Let the consumer read all live partitions, each from its state's position on."""
        await asyncio.gather(*(partition.feed.follow() for partition in self._live()))

    # --------------------------------------------------------------------------------------------- events

    async def apply_batch(self, number: int, batch: Batch) -> None:
        """Apply a batch to partition ``number``; a batch of a partition that is not owned any more is ignored."""
        partition = self.owned.get(number)
        if partition is not None:
            await partition.apply_batch(batch)

    def lost(self, tp: TP) -> None:
        """The consumer has dropped a batch of this partition: its next flush lets it be read again."""
        partition = self.owned.get(tp.partition)
        if partition is not None:
            partition.status.following = False

    # -------------------------------------------------------------------------------------------- offsets

    def to_commit(self) -> Mapping[TP, int]:
        """The flushed offset of each partition where it differs from the committed one.

        Offset 0 is left out as long as nothing was committed: the group has no offset to correct then.
        """
        return {
            TP(self._topic, status.partition): status.flushed_offset
            for status in self._statuses()
            if status.flushed_offset != status.committed_offset
            and (status.flushed_offset or status.committed_offset >= 0)
        }

    def committed(self, offsets: Mapping[TP, int]) -> None:
        """Note offsets that have been committed to the consumer group."""
        for tp, offset in offsets.items():
            partition = self.owned.get(tp.partition)
            if partition is not None:
                partition.status.committed_offset = offset

    def _statuses(self) -> list[PartitionStatus]:
        return [partition.status for partition in self.owned.values()]

    def _live(self) -> list[OwnedPartition]:
        return [partition for partition in self.owned.values() if partition.status.live]


class StateManager(TableManager):
    """Faust's manager of tables, without its recovery: the only table restores its partitions one by one.

    So a worker does not wait for the slowest partition: users of restored partitions are answered, and their events
    counted, while others are still read.
    """

    @property
    def _table(self) -> StateTable:
        (table,) = self.values()
        return cast(StateTable, table)

    async def on_start(self) -> None:
        """Start the table. Faust's own would subscribe to the changelog, which partitions read by themselves."""
        self._tables_finalized.set()
        await self._table.maybe_start()
        self._tables_registered.set()

    async def on_stop(self) -> None:
        """Stop fetching, then stop the table, which flushes everything."""
        await internals.fetcher_service(self.app).stop()
        await self._table.stop()

    def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Nothing. Faust's own applies the buffered changelog events of its recovery, which never runs here."""

    async def wait_until_recovery_completed(self) -> bool:
        """Returns at once, with False for "the app is not stopping": events reach restored partitions only."""
        return False

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Hand the new assignment to the table, and resume the flow of events in the background.

        The background task is needed: the consumer's thread waits for this method, and the task calls that thread.
        """
        await self._table.on_rebalance(assigned, revoked, newly_assigned, generation_id)
        self.add_future(self._resume(generation_id))

    async def _resume(self, generation_id: int) -> None:
        """End a rebalance: prove that kept partitions are still owned, start the fetcher, follow the live ones."""
        app = cast(Any, self.app)
        await self._table.prove_ownership()
        if generation_id != app.consumer_generation_id:
            return  # another rebalance has begun; its end comes here again
        app.flow_control.resume()
        app.consumer.resume_flow()
        await internals.fetcher_service(app).maybe_start()
        self.on_actives_ready()
        self.on_standbys_ready()
        app.on_rebalance_end()
        await self._table.follow_live()
