"""The worker's side of Faust: which partitions are owned, and what happens to them in a rebalance and at the end.

A Faust table is keyed storage with a changelog. Faust writes a changelog record by record, which is not exact after a
crash, and processes events only when it has recovered all tables, which is slow. So ``StateTable`` uses none of Faust's
storage: it holds one ``OwnedPartition`` per partition, which restores and flushes itself. ``StateManager`` replaces
Faust's recovery.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, cast

from aiokafka.errors import KafkaError
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
"""How long the flushes before a rebalance may take. The whole group waits for this worker meanwhile."""


class StateTable(Table[Any, Any]):
    """This worker's partitions: ``owned`` maps partition -> OwnedPartition. Only ``on_rebalance`` changes ``owned``.

    ``joined``: whether this worker has ever got an assignment.

    ``app.Table`` makes the table with Faust's arguments; call ``configure`` before the app is started. The callers:

    | caller                     | methods                                                       |
    |----------------------------|---------------------------------------------------------------|
    | the agent                  | apply_batch                                                   |
    | StateManager               | on_rebalance, prove_ownership, follow_live, start and stop    |
    | streams.kafka.consumer, as | to_commit, committed, lost, flush_before_revoke               |
    | ``Positions``              |                                                               |
    | health, GroupDirectory     | read ``owned``                                                |
    """

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(app, **options)
        self.owned: dict[int, OwnedPartition] = {}
        self.joined = False
        self._context: WorkerContext
        self._zone_of: ZoneOf
        self._topic = ""
        self._roll_up: asyncio.Task[None] | None = None

    def configure(self, context: WorkerContext, zone_of: ZoneOf) -> None:
        """Set what Faust's constructor does not pass. Call it once, before the app is started."""
        self._context = context
        self._zone_of = zone_of
        self._topic = context.settings.feed.topic

    async def on_start(self) -> None:
        """Start the periodic roll-up, and the watch over the topics.

        Faust's method would open a store and create the changelog's topic.
        """
        periodically = roll_up_periodically(self._statuses, self._zone_of, self._context)
        self._roll_up = asyncio.create_task(periodically, name="roll-up")
        self._context.topics.start()

    async def on_stop(self) -> None:
        """Flush all live partitions, then release all, and close the connections to their changelogs.

        They stay in ``owned``, so that their offsets are committed.
        """
        if self._roll_up is not None:
            self._roll_up.cancel()
        await self.flush_before_revoke()
        await asyncio.gather(*(partition.release() for partition in self.owned.values()))
        await self._context.topics.stop()
        with suppress(KafkaError):
            await self._context.clients.close()

    # ------------------------------------------------------------------------------------------- rebalance

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Release the partitions that are not assigned any more, and start to restore the new ones.

        Only ``assigned`` decides. Kafka revokes all partitions in a rebalance; those that come back keep their state.
        """
        self.joined = True
        mine = {tp.partition for tp in assigned if tp.topic == self._topic}
        gone = [self.owned.pop(partition) for partition in list(self.owned) if partition not in mine]
        await asyncio.gather(*(owned.release() for owned in gone))
        for partition in sorted(mine - set(self.owned)):
            changelog = PartitionChangelog(partition, self._context)
            owned = self.owned[partition] = OwnedPartition(partition, self._context, changelog)
            owned.start()
        log.info("generation %s: partitions %s", generation_id, sorted(mine) or "none")

    async def flush_before_revoke(self) -> None:
        """Flush all live partitions, for REVOKE_FLUSH_S at most. Called before every rebalance and at the worker's end.

        Flushes that take longer go on unobserved; if one fails, the next owner reads its events again. An unexpected
        error of a flush that has ended in time ends the worker.
        """
        flushes = [asyncio.create_task(partition.flush()) for partition in self._live()]
        if not flushes:
            return
        done, _ = await asyncio.wait(flushes, timeout=REVOKE_FLUSH_S)
        for flush in done:
            if not flush.cancelled() and (error := flush.exception()) is not None:
                await self._context.fail(error)

    async def prove_ownership(self) -> None:
        """Flush every live partition, even if nothing has changed.

        If another worker owned a partition for a while, it has fenced this worker's writer, and the state here is out
        of date. Then the flush fails, and the partition restores itself.
        """
        await asyncio.gather(*(partition.flush(always=True) for partition in self._live()))

    async def follow_live(self) -> None:
        """Let the consumer read all live partitions, each from its state's position on."""
        await asyncio.gather(*(partition.feed.follow() for partition in self._live()))

    # --------------------------------------------------------------------------------------------- events

    async def apply_batch(self, partition: int, batch: Batch) -> None:
        """Apply a batch to its partition; ignore it if the partition is not owned any more."""
        owned = self.owned.get(partition)
        if owned is not None:
            await owned.apply_batch(batch)

    def lost(self, tp: TP) -> None:
        """Note that the consumer has dropped a batch of this partition.

        Before its next flush the partition is followed again from the state's position on, so the batch is read again.
        """
        partition = self.owned.get(tp.partition)
        if partition is not None:
            partition.status.following = False

    # -------------------------------------------------------------------------------------------- offsets

    def to_commit(self) -> Mapping[TP, int]:
        """The flushed offset of each partition, where it differs from the offset that this worker committed last.

        Offset 0 is left out if this worker has committed nothing since the restore: the partition has no event yet.
        """
        return {
            TP(self._topic, status.partition): status.flushed_offset
            for status in self._statuses()
            if status.flushed_offset != status.committed_offset
            and (status.flushed_offset or status.committed_offset >= 0)
        }

    def committed(self, offsets: Mapping[TP, int]) -> None:
        """Note that these offsets were committed to the consumer group, so that ``to_commit`` leaves them out."""
        for tp, offset in offsets.items():
            partition = self.owned.get(tp.partition)
            if partition is not None:
                partition.status.committed_offset = offset

    def _statuses(self) -> list[PartitionStatus]:
        return [partition.status for partition in self.owned.values()]

    def _live(self) -> list[OwnedPartition]:
        return [partition for partition in self.owned.values() if partition.status.live]


class StateManager(TableManager):
    """Faust's manager of tables, without Faust's recovery: each partition of the only table restores itself.

    So a worker does not wait for the slowest partition. It counts the events of restored partitions, and replies for
    their users, while other partitions are still being restored.
    """

    @property
    def _table(self) -> StateTable:
        (table,) = self.values()
        return cast(StateTable, table)

    async def on_start(self) -> None:
        """Start the table. Replaces Faust's method, which prepares the recovery from the changelog.

        Faust's start waits for the two events that are set here.
        """
        self._tables_finalized.set()
        await self._table.maybe_start()
        self._tables_registered.set()

    async def on_stop(self) -> None:
        """Stop fetching, then stop the table, which flushes all live partitions."""
        await internals.fetcher_service(self.app).stop()
        await self._table.stop()

    def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Do nothing. Faust's method applies buffered changelog events of its recovery, which never runs here."""

    async def wait_until_recovery_completed(self) -> bool:
        """Return False at once, which means that the app is not stopping.

        There is nothing to wait for: a partition that is not restored yet ignores its events, and reads them later.
        """
        return False

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Pass the new assignment to the table, and resume the flow of events in a background task.

        It must be a background task: it waits for the consumer's thread, and that thread waits for this method.
        """
        await self._table.on_rebalance(assigned, revoked, newly_assigned, generation_id)
        self.add_future(self._resume(generation_id))

    async def _resume(self, generation_id: int) -> None:
        """End a rebalance: prove that the live partitions are still owned, resume fetching, and follow them.

        Stops after the proof if another rebalance has begun meanwhile.
        """
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
