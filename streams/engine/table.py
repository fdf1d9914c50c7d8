"""The Faust table: the states of this worker's partitions, and what becomes of them when partitions come and go.

It is keyed storage with a changelog, as any Faust table, but of whole partitions: ``OwnedPartition``. Faust's own ways
to write and to recover a changelog each lose exactness or speed. So ``streams.engine.partition`` has ours, and
``StateManager`` puts it in the place of Faust's recovery.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from aiokafka.errors import IllegalStateError, KafkaError
from faust.exceptions import ProducerSendError
from faust.tables import Table
from faust.tables.manager import TableManager
from faust.types import TP

from ecounters.events.partitioner import partition_of
from ecounters.partition.records import Uncounted
from streams.basics.text import one_line
from streams.engine.partition import OwnedPartition, WorkerContext, ZoneOf
from streams.engine.view import PartitionView
from streams.kafka import internals
from streams.kafka.batches import Batch
from streams.kafka.consumer import Consumer
from streams.kafka.group import Assignor

log = logging.getLogger(__name__)

LET_GO_S: Final = 5.0
"""For the last flush before a rebalance. The others wait meanwhile."""
ROLL_UP_S: Final = 300.0
"""How often it is looked whether windows have become old enough to be days."""


class StateTable(Table[Any, Any]):
    """``parts``: what this worker has. Built by ``app.Table``; ``configure`` gives it what Faust knows nothing of."""

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(app, **options)
        self.parts: dict[int, OwnedPartition] = {}
        self._context: WorkerContext
        self._zone_of: ZoneOf
        self._topic = ""
        self._roller: asyncio.Task[None] | None = None

    def configure(self, context: WorkerContext, zone_of: ZoneOf) -> None:
        """Before the app is started."""
        self._context = context
        self._zone_of = zone_of
        self._topic = context.settings.feed.topic

    async def on_start(self) -> None:
        """In place of Faust's, which starts a store and makes the topic: here both are there already."""
        self._roller = asyncio.create_task(self._roll_up_now_and_then(), name="roll-up")

    async def on_stop(self) -> None:
        """Save everything; the positions are committed by the consumer after this."""
        if self._roller is not None:
            self._roller.cancel()
        await self.flush_before_revoke()
        await asyncio.gather(*(part.drop() for part in self.parts.values()))

    # ------------------------------------------------------------------------------- partitions come and go

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Forget what is no longer this worker's, and begin to restore what is now."""
        mine = {tp.partition for tp in assigned if tp.topic == self._topic}
        lost = [self.parts.pop(partition) for partition in list(self.parts) if partition not in mine]
        await asyncio.gather(*(part.drop() for part in lost))
        for partition in sorted(mine - set(self.parts)):
            part = self.parts[partition] = OwnedPartition(partition, self._context)
            part.start()
        log.info("generation %s: partitions %s", generation_id, sorted(mine) or "none")

    async def flush_before_revoke(self) -> None:
        """Save all, but do not wait for ever. What is not saved in time is read again, by whoever comes next."""
        flushes = [asyncio.create_task(part.flush()) for part in self.parts.values() if part.live]
        if not flushes:
            return
        done, _ = await asyncio.wait(flushes, timeout=LET_GO_S)
        for flush in done:
            if not flush.cancelled() and (error := flush.exception()) is not None:
                await self._context.fail(error)

    async def prove_ownership(self) -> None:
        """Write to every changelog: a part that another worker had meanwhile finds out, and restores itself."""
        await asyncio.gather(*(part.flush(anyway=True) for part in self.parts.values() if part.live))

    # ------------------------------------------------------------------------------------------- positions

    def to_commit(self) -> Mapping[TP, int]:
        """Up to where each partition has been flushed, if that moved since the last commit."""
        return {
            TP(self._topic, at): part.flushed
            for at, part in self.parts.items()
            if part.flushed != part.committed and (part.flushed or part.committed >= 0)
        }

    def committed(self, offsets: Mapping[TP, int]) -> None:
        """These have been committed."""
        for tp, offset in offsets.items():
            part = self.parts.get(tp.partition)
            if part is not None:
                part.committed = offset

    # -------------------------------------------------------------------------------------------- the feed

    async def take(self, partition: int, batch: Batch) -> None:
        """Apply a batch to its partition; one that leaves a hole is not, but read again from where it should be."""
        part = self.parts.get(partition)
        if part is not None and not await part.take(batch):
            log.info("partition %s: events before offset %s are missing, reading them again", partition, batch.begin)
            await self.follow(part)

    def lost(self, tp: TP) -> None:
        """A batch of this partition was dropped: the part has it read again, with its next flush at the latest."""
        part = self.parts.get(tp.partition)
        if part is not None:
            part.followed = False

    async def follow(self, part: OwnedPartition) -> None:
        """Read a part's events from its state's position on. During a rebalance nothing: its end sees to all parts."""
        consumer = cast(Consumer, self.app.consumer)
        tp = TP(self._topic, part.partition)
        state = part.state
        if self.app.rebalancing or state is None:
            return
        counted = state.position  # as it is before the ends are asked for: it may go on meanwhile
        try:
            earliest = (await consumer.earliest_offsets(tp))[tp]
            end = (await consumer.highwaters(tp))[tp]
            if end < counted:
                log.error(
                    "partition %s: the topic ends at offset %s, though events up to %s were counted: it was made anew, "
                    "or cut off; reading from %s on",
                    part.partition, end, counted - 1, end if earliest else 0,
                )  # fmt: skip
                await part.go_back(state, end if earliest else 0)
            if earliest > state.position:
                if state.position:
                    log.error(
                        "partition %s: events from offset %s to %s were deleted by Kafka before they were counted",
                        part.partition, state.position, earliest - 1,
                    )  # fmt: skip
                state.skip_to(earliest)
            if part.state is not state:
                return  # it was dropped, or restored anew: whoever did that has it followed
            part.followed = True  # before, not after: a batch that is lost meanwhile is none of those read from here
            await consumer.follow(tp, state.position)
        except (IllegalStateError, KafkaError, TimeoutError) as error:
            # A rebalance has begun meanwhile, or the broker is away: the part asks again.
            part.followed = False
            log.info("partition %s is not read yet: %s", part.partition, one_line(error))

    def end_of(self, partition: int) -> tuple[int | None, float | None]:
        """(the partition's end, age of that knowledge in seconds); None: not known."""
        return cast(Consumer, self.app.consumer).fetch_state(TP(self._topic, partition))

    async def republish(self, refused: list[Uncounted]) -> None:
        """Send misrouted events to their partitions; KafkaError if they were not acknowledged."""
        sent = []
        try:
            for one in refused:
                where = partition_of(one.user_id, self._context.settings.partitions)
                producer = await self.app.maybe_start_producer()
                key = one.user_id.encode()
                sent.append(await producer.send(self._topic, key, one.record.value, where, None, None))
            for acknowledged in sent:
                await acknowledged
        except (ProducerSendError, AssertionError) as error:  # the second is aiokafka's, of partitions unknown to it
            raise KafkaError(str(error)) from error

    # ------------------------------------------------------------------------------------------- its states

    def view_of(self, user_id: str) -> PartitionView | None:
        """A user's partition for answers; None while this worker has not got it."""
        part = self.parts.get(partition_of(user_id, self._context.settings.partitions))
        if part is None or part.state is None:
            return None
        return PartitionView(part.state, part.lag_ms(), part.fresh() and not self.app.rebalancing)

    def address_of(self, user_id: str) -> str | None:
        """URL of the other worker that has a user's partition, as of the last assignment; None: there is none."""
        assignor = cast(Assignor, self.app.assignor)
        url = assignor.addresses.get(partition_of(user_id, self._context.settings.partitions))
        return None if url == str(self.app.conf.canonical_url) else url

    async def _roll_up_now_and_then(self) -> None:
        try:
            while True:
                await asyncio.sleep(ROLL_UP_S)
                for part in list(self.parts.values()):
                    await part.roll_up(self._zone_of)
        except Exception as error:
            log.exception("windows could not be made days: this must not happen")
            await self._context.fail(error)


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
        await asyncio.gather(*(self._table.follow(part) for part in self._live_parts()))

    def _live_parts(self) -> Iterable[OwnedPartition]:
        return [part for part in self._table.parts.values() if part.live]
