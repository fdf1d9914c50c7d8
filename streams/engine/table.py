"""The Faust table: the states of this worker's partitions, and what becomes of them when partitions come and go.

It is keyed storage with a changelog, as any Faust table, but of whole partitions: ``OwnedPartition``. Faust's own ways
to write and to recover a changelog each lose exactness or speed. So ``streams.engine.partition`` has ours, and
``StateManager`` puts it in the place of Faust's recovery.
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
from streams.engine.roll_up import ZoneOf, roll_up_periodically
from streams.engine.status import PartitionStatus
from streams.kafka import internals
from streams.kafka.batches import Batch

log = logging.getLogger(__name__)

LET_GO_S: Final = 5.0
"""For the last flush before a rebalance. The others wait meanwhile."""
ROLL_UP_S: Final = 300.0
"""How often it is looked whether windows have become old enough to be days."""


class StateTable(Table[Any, Any]):
    """``parts``: what this worker has. Built by ``app.Table``; ``configure`` gives it what Faust knows nothing of."""

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(app, **options)
        self.owned: dict[int, OwnedPartition] = {}
        self._context: WorkerContext
        self._zone_of: ZoneOf
        self._topic = ""
        self._roll_up: asyncio.Task[None] | None = None

    def configure(self, context: WorkerContext, zone_of: ZoneOf) -> None:
        """Before the app is started."""
        self._context = context
        self._zone_of = zone_of
        self._topic = context.settings.feed.topic

    async def on_start(self) -> None:
        """In place of Faust's, which starts a store and makes the topic: here both are there already."""
        periodically = roll_up_periodically(self._statuses, self._zone_of, self._context)
        self._roll_up = asyncio.create_task(periodically, name="roll-up")

    async def on_stop(self) -> None:
        """Save everything; the positions are committed by the consumer after this."""
        if self._roll_up is not None:
            self._roll_up.cancel()
        await self.flush_before_revoke()
        await asyncio.gather(*(part.drop() for part in self.owned.values()))

    # ------------------------------------------------------------------------------- partitions come and go

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Forget what is no longer this worker's, and begin to restore what is now."""
        mine = {tp.partition for tp in assigned if tp.topic == self._topic}
        lost = [self.owned.pop(partition) for partition in list(self.owned) if partition not in mine]
        await asyncio.gather(*(part.drop() for part in lost))
        for partition in sorted(mine - set(self.owned)):
            part = self.owned[partition] = OwnedPartition(partition, self._context)
            part.start()
        log.info("generation %s: partitions %s", generation_id, sorted(mine) or "none")

    async def flush_before_revoke(self) -> None:
        """Save all, but do not wait for ever. What is not saved in time is read again, by whoever comes next."""
        flushes = [asyncio.create_task(part.flush()) for part in self._live()]
        if not flushes:
            return
        done, _ = await asyncio.wait(flushes, timeout=LET_GO_S)
        for flush in done:
            if not flush.cancelled() and (error := flush.exception()) is not None:
                await self._context.fail(error)

    async def prove_ownership(self) -> None:
        """Write to every changelog: a part that another worker had meanwhile finds out, and restores itself."""
        await asyncio.gather(*(part.flush(anyway=True) for part in self._live()))

    # ------------------------------------------------------------------------------------------- positions

    def to_commit(self) -> Mapping[TP, int]:
        """Up to where each partition has been flushed, if that moved since the last commit."""
        return {
            TP(self._topic, at): part.status.flushed_offset
            for at, part in self.owned.items()
            if part.status.flushed_offset != part.status.committed_offset
            and (part.status.flushed_offset or part.status.committed_offset >= 0)
        }

    def committed(self, offsets: Mapping[TP, int]) -> None:
        """These have been committed."""
        for tp, offset in offsets.items():
            part = self.owned.get(tp.partition)
            if part is not None:
                part.status.committed_offset = offset

    def lost(self, tp: TP) -> None:
        """A batch of this partition was dropped: the partition has it read again, with its next flush at the latest."""
        partition = self.owned.get(tp.partition)
        if partition is not None:
            partition.status.following = False

    # -------------------------------------------------------------------------------------------- the feed

    async def apply_batch(self, partition: int, batch: Batch) -> None:
        """Apply a batch to its partition; nothing, if that is not this worker's any more."""
        owned = self.owned.get(partition)
        if owned is not None:
            await owned.apply_batch(batch)

    async def follow_live(self) -> None:
        """Read the events of all live partitions, each from its state's position on."""
        await asyncio.gather(*(partition.feed.follow() for partition in self._live()))

    def _statuses(self) -> list[PartitionStatus]:
        return [partition.status for partition in self.owned.values()]

    def _live(self) -> list[OwnedPartition]:
        return [partition for partition in self.owned.values() if partition.status.live]


class StateManager(TableManager):
    """Faust's manager of tables, whose only one restores itself, partition by partition, while others go on."""

    @property
    def _table(self) -> StateTable:
        (table,) = self.values()
        return cast(StateTable, table)

    async def on_start(self) -> None:
        """In place of Faust's: there is no changelog to subscribe to."""
        self._tables_finalized.set()
        await self._table.maybe_start()
        self._tables_registered.set()

    async def on_stop(self) -> None:
        """In place of Faust's: nothing is fetched any more, then everything is saved."""
        await internals.fetcher_service(self.app).stop()
        await self._table.stop()

    def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Nothing is buffered here."""

    async def wait_until_recovery_completed(self) -> bool:
        """Nobody waits: answers are given as soon as a user's partition is there."""
        return False

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Partitions came or went: see to the parts, then let events flow again."""
        await self._table.on_rebalance(assigned, revoked, newly_assigned, generation_id)
        # Not here: the consumer's thread waits for this call to return, and is asked for seeks then.
        self.add_future(self._resume(generation_id))

    async def _resume(self, generation_id: int) -> None:
        app = cast(Any, self.app)
        await self._table.prove_ownership()
        if generation_id != app.consumer_generation_id:
            return  # another rebalance began, and ends likewise
        app.flow_control.resume()
        app.consumer.resume_flow()
        await internals.fetcher_service(app).maybe_start()
        self.on_actives_ready()
        self.on_standbys_ready()
        app.on_rebalance_end()
        await self._table.follow_live()
