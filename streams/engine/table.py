"""The worker's side of Faust: which partitions are owned, and what happens to them in a rebalance and at the end.

A Faust table is keyed storage with a changelog. Faust writes a changelog record by record, which is not exact after a
crash, and processes events only when it has recovered all tables, which is slow. So ``StateTable`` uses none of Faust's
storage: it holds one ``OwnedPartition`` per partition, which restores and flushes itself. ``StateManager``
(``table_manager``) replaces Faust's recovery.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, cast

from aiokafka.errors import KafkaError
from faust.tables import Table
from faust.types import TP

from streams.engine.context import WorkerContext
from streams.engine.discarding import discard
from streams.engine.kept import KeptStates
from streams.engine.partition import OwnedPartition
from streams.engine.restore import PartitionChangelog
from streams.engine.roll_up import ZoneOf, roll_up_periodically
from streams.engine.standbys import Standbys
from streams.engine.status import PartitionStatus
from streams.kafka.batches import Batch
from streams.kafka.group import Assignor

log = logging.getLogger(__name__)

REVOKE_FLUSH_S: Final = 5.0
"""How long the flushes before a rebalance may take. The whole group waits for this worker meanwhile."""


class StateTable(Table[Any, Any]):
    """This worker's partitions: ``owned`` maps partition -> OwnedPartition. Only ``on_rebalance`` changes ``owned``.

    ``joined``: set once this worker has got an assignment. ``kept``: states of partitions that it has given up, to
    answer from. ``standbys``: partitions of others that it follows. ``app.Table`` makes the table with Faust's
    arguments; call ``configure`` before the app is started. The callers:

    | caller                     | methods                                                       |
    |----------------------------|---------------------------------------------------------------|
    | the agent                  | apply_batch                                                   |
    | StateManager               | on_rebalance, prove_ownership, follow_live, start and stop    |
    | streams.kafka: Positions   | to_commit, committed, lost, states, followed, flush_before_revoke |
    | streams.web.handover       | hand_over                                                     |
    | health, GroupDirectory     | read ``owned`` and ``kept``, successor_of                     |
    """

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(app, **options)
        self.owned: dict[int, OwnedPartition] = {}
        self.joined = asyncio.Event()
        self._successors: dict[int, tuple[int, str]] = {}
        self.kept: KeptStates
        self.standbys: Standbys
        self._generation = 0
        self._context: WorkerContext
        self._zone_of: ZoneOf
        self._topic = ""
        self._roll_up: asyncio.Task[None] | None = None
        self._rebalance_s: float | None = None  # when the one that is going on began, in monotonic s
        self._late: set[asyncio.Task[None]] = set()  # flushes that go on after a revoke

    def configure(self, context: WorkerContext, zone_of: ZoneOf) -> None:
        """Set what Faust's constructor does not pass. Call it once, before the app is started."""
        self._context = context
        self.kept, self.standbys = KeptStates(context), Standbys(context)
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

        They stay in ``owned``, so that their offsets are committed. Their states are kept to answer from.
        """
        if self._roll_up is not None:
            self._roll_up.cancel()
        await self.flush_before_revoke()
        for partition in self.owned.values():
            self._keep(partition)
        await asyncio.gather(self.standbys.stop(), *(self._release(partition) for partition in self.owned.values()))
        await self._context.topics.stop()
        with suppress(KafkaError):
            await self._context.clients.close()

    # ------------------------------------------------------------------------------------------- rebalance

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Release the partitions that are not assigned any more, and start to restore the new ones.

        Only ``assigned`` decides. Kafka revokes all partitions in a rebalance; those that come back keep their state.
        The states of those that are gone are kept, to answer from until their next owners have restored them.
        """
        self.joined.set()
        self._generation = generation_id
        self._context.metrics.platform.rebalances.inc()
        began_s = time.monotonic() if self._rebalance_s is None else self._rebalance_s
        self._rebalance_s = None
        mine = {tp.partition for tp in assigned if tp.topic == self._topic}
        gone = [self.owned.pop(partition) for partition in list(self.owned) if partition not in mine]
        assignor = cast(Assignor, cast(Any, self.app).assignor)
        for owned in gone:
            self._keep(owned)
        # Where the next owner has a state already, or another worker a newer one, nobody asks for this one. But if this
        # worker is the owner, and has not restored the partition yet, it answers from what it has kept until then.
        url = str(cast(Any, self.app).conf.canonical_url)
        for partition in self.kept.positions():
            restoring = partition in self.owned and not self.owned[partition].status.answering
            if not restoring and url not in assignor.holders.get(partition, ()):
                self.kept.drop(partition)
        for partition, (generation, _) in list(self._successors.items()):
            if generation < generation_id:  # the assignment is newer
                del self._successors[partition]
                self.kept.drop(partition)
            else:
                self.kept.drop_later(partition)
        for owned in self.owned.values():
            owned.status.frozen = False
        held = {partition for partition, urls in assignor.holders.items() if url in urls}
        await asyncio.gather(*(self._release(owned, is_held=owned.status.partition in held) for owned in gone))
        for partition in (owned.status.partition for owned in gone):
            self.standbys.give_up(partition, self.kept if partition in held else None)
        for partition in sorted(mine - set(self.owned)):
            standby = self.standbys.take(partition)
            changelog = PartitionChangelog(partition, self._context, standby)
            owned = OwnedPartition(partition, self._context, changelog, standby.lock if standby else None)
            self.owned[partition] = owned
            owned.status.unowned_s = began_s
            owned.start()
        self.standbys.follow(assignor.addresses, assignor.members, url, held)
        log.info("generation %s: partitions %s", generation_id, sorted(mine) or "none")

    async def _release(self, owned: OwnedPartition, *, is_held: bool = True) -> None:
        """Release a partition that this worker gives up, after ``_keep``: its restore may have ended since then."""
        await owned.end_tasks()
        self._keep(owned, is_held=is_held)
        await owned.release()

    def _keep(self, owned: OwnedPartition, *, is_held: bool = True) -> None:
        """Keep the state of a partition that this worker gives up, if it has answered from it, also as a standby.

        ``is_held``: whether others may ask for it.
        """
        answering = owned.status.answering
        state = owned.hand_out_state()
        if state is None:
            return
        has_followed = self.standbys.forget(state)
        if is_held and (answering or has_followed):
            self.kept.keep(state, owned.status.state_lock)
        else:
            discard(state.discarding(), self._context, owned.status.state_lock)

    def successor_of(self, partition: int) -> str | None:
        """URL of the worker that has said that it has the partition now: this worker must not answer for it. None if
        none has, since the last assignment."""
        successor = self._successors.get(partition)
        return successor and successor[1]

    def hand_over(self, partition: int, position: int, generation: int, successor: str) -> int:
        """Note that the worker at the URL ``successor`` has the partition's state up to ``position``, and answers.

        Returns 0. Returns the position of the state here if it is further: then nothing is noted, and this worker goes
        on answering until the other one says that it is as far. Ignores what is older than this worker's assignment.
        """
        owned = self.owned.get(partition)
        if generation < self._generation or (generation == self._generation and owned is not None):
            return 0
        if position < self.held().get(partition, 0):
            return self.held()[partition]
        self._successors[partition] = generation, successor
        self.kept.drop_later(partition)
        self.standbys.answered(partition)
        return 0

    def held(self) -> Mapping[int, int]:
        """partition -> the offset up to which this worker has a state from which it can answer. From any thread."""
        owned = {
            partition: state.position
            for partition, one in list(self.owned.items())
            if (state := one.status.state) is not None and one.status.answering
        }
        found = self.kept.positions() | owned
        return {partition: position for partition, position in found.items() if partition not in self._successors}

    def states(self) -> Mapping[int, int]:
        """As ``held``, and as a standby."""
        return {**self.standbys.positions(), **self.held()}

    def followed(self) -> list[int]:
        """The partitions of others of which this worker has a state, as a standby. From any thread."""
        return self.standbys.whole()

    async def flush_before_revoke(self) -> None:
        """Freeze all partitions and flush the live ones, for REVOKE_FLUSH_S at most. Called before every rebalance and
        at the worker's end.

        Nothing is applied from here on: what this worker shows until the next owner has the partition is what that
        owner restores. Flushes that take longer go on; if one fails, the next owner reads its events again. An
        unexpected error of a flush ends the worker, whenever it comes.
        """
        if self._rebalance_s is None:
            self._rebalance_s = time.monotonic()
        for partition in self.owned.values():  # also those whose restore ends before the rebalance does
            partition.status.frozen = True
            if partition.status.unowned_s is None:
                partition.status.unowned_s = self._rebalance_s
        flushes = [asyncio.create_task(partition.flush()) for partition in self._live()]
        if not flushes:
            return
        done, late = await asyncio.wait(flushes, timeout=REVOKE_FLUSH_S)
        for flush in done:
            await self._report(flush)
        for flush in late:
            log.warning("a flush before a rebalance takes more than %s s; the rebalance goes on", REVOKE_FLUSH_S)
            watching = asyncio.create_task(self._report_later(flush), name="late flush")
            self._late.add(watching)
            watching.add_done_callback(self._late.discard)

    async def _report_later(self, flush: asyncio.Task[bool]) -> None:
        await asyncio.wait([flush])
        await self._report(flush)

    async def _report(self, flush: asyncio.Task[bool]) -> None:
        """End the worker if a flush has ended by an unexpected error."""
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
        """The flushed offset of each partition, where it differs from the offset that this worker committed last. 0 is
        left out if it has committed nothing since the restore: the partition has no event yet."""
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
                status = partition.status
                status.committed_offset = offset
                if offset == status.flushed_offset:
                    status.commit_due_s = status.flushed_s

    def _statuses(self) -> list[PartitionStatus]:
        return [partition.status for partition in self.owned.values()]

    def _live(self) -> list[OwnedPartition]:
        return [partition for partition in self.owned.values() if partition.status.live]
