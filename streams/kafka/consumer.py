"""A Faust transport that hands over whole fetched batches: one Faust message for each, whose value is a ``Batch``.

Faust's cost is per message, not per byte, so this is what makes a worker fast. The transport is registered as an entry
point of ``faust.transports``; its brokers are written ``ecounters://host:port``.

The way of a batch::

    consumer's thread                              event loop of the worker
    ConsumerThread._fetch_records  ──► batches ──► Consumer._drain_messages ──► Faust's stream ──► the agent
      takes them from aiokafka's fetcher             makes a message of each      a queue            applies them

Faust's own consumer commits what agents have acknowledged, and seeks to the group's committed offsets. Both could count
an event twice or never. So this module replaces just these:

- Only positions that were flushed are committed (``Positions.to_commit``).
- A partition is read from the position of its state (``follow``), never from the group's committed offset.
- A batch tells from which offset on it is complete (``Batch.begin``), so that the state can see a missing one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any, ClassVar, Final, cast

from aiokafka.errors import ConsumerStoppedError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage, Message

from streams.kafka.batches import Batch
from streams.kafka.consumer_thread import ConsumerThread
from streams.kafka.transport_app import TransportApp

NO_PARTITIONS_PAUSE_S: Final = 0.05
"""How often to look whether there are partitions to read, while there are none."""
FETCH_LIMIT_S: Final = 1.0
"""How long to wait for a batch before looking whether the consumer is to stop."""


class Consumer(driver.Consumer):
    """Faust's consumer, as it is seen from the worker's event loop. It hands on batches in place of records.

    What Faust keeps per record (gaps between offsets, acknowledgements, a livelock detector) is switched off: it would
    be wrong for batches, and nothing depends on it.
    """

    app: TransportApp
    _thread: ConsumerThread

    def _new_consumer_thread(self) -> ConsumerThread:
        """Let Faust use our thread."""
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # --------------------------------------------------------------------------------------------- reading

    async def _drain_messages(self, fetcher: Any) -> None:
        """Hand on batches, one message each, until ``fetcher`` (Faust's service that runs this) is to stop.

        A message waits until Faust's queues have room. A batch that was fetched before a rebalance and returned after
        it is dropped, and reported by ``positions.lost``: if no batch follows it, no state would notice the gap.
        """
        while not any((self.should_stop, fetcher.should_stop)):
            if not self.flow_active:
                await self.wait_first(self.can_resume_flow.wait(), fetcher.wait_until_stopped())
                continue
            active = self._get_active_partitions()
            if not active:
                await asyncio.sleep(NO_PARTITIONS_PAUSE_S)
                continue
            generation = self.app.consumer_generation_id
            try:
                batches = cast(dict[TP, Batch], await self._getmany(active, timeout=FETCH_LIMIT_S))
            except ConsumerStoppedError:
                return
            for tp, batch in batches.items():
                is_stale = self.app.consumer_generation_id != generation
                if is_stale or not self.flow_active:
                    self.app.positions.lost(tp)
                    continue
                message = self._batch_message(tp, batch, generation)
                await self.wait_first(self.callback(message), self.suspend_flow.wait())

    def _batch_message(self, tp: TP, batch: Batch, generation: int) -> ConsumerMessage:
        """A Faust message whose value is a batch; its offset is the last one of the batch."""
        return ConsumerMessage(
            tp.topic, tp.partition, batch.end - 1, time.time(), 0, [], None,
            cast(Any, batch), None, None, None, tp, generation_id=generation,
        )  # fmt: skip

    def on_buffer_full(self, tp: TP) -> None:
        """Do nothing. Faust would pause the partition; here ``_drain_messages`` waits while a queue is full."""

    def on_buffer_drop(self, tp: TP) -> None:
        """Do nothing. Faust would resume the partition that ``on_buffer_full`` has paused."""

    async def perform_seek(self) -> None:
        """Do nothing. Faust would seek to the group's committed offsets; here ``follow`` seeks to the states'."""

    async def follow(self, tp: TP, offset: int) -> None:
        """Read a partition from ``offset`` on. Raises IllegalStateError if it is not assigned to this worker."""
        await self._thread.follow(tp, offset)
        self.resume_partitions({tp})

    def fetch_state(self, tp: TP) -> tuple[int | None, float | None]:
        """(the partition's end offset, how many s ago a broker reported it); None for what is not known."""
        end, reported_s = self._thread.fetch_state(tp)
        return end, None if reported_s is None else max(0.0, time.time() - reported_s)

    # ------------------------------------------------------------------------------------------ committing

    def ack(self, message: Message) -> bool:
        """An agent is done with a batch. Commits nothing: only a flush makes events safe."""
        self._unacked_messages.discard(message)
        return True

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit the flushed offsets of the assigned partitions. True if there were any, and the broker took them.

        Faust calls it every ``broker_commit_interval``, before a rebalance and at the end, with arguments that do not
        matter here.
        """
        assigned = self.assignment()
        offsets = {tp: offset for tp, offset in self.app.positions.to_commit().items() if tp in assigned}
        if not offsets or not await self._commit(offsets):
            return False
        self.app.positions.committed(offsets)
        return True

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """The start of a rebalance: stop the flow, flush, commit, then go on as Faust does.

        Kafka revokes all partitions of the worker in every rebalance, also those that it gets again.
        """
        self.stop_flow()
        self.app.flow_control.suspend()
        await self.app.positions.flush_before_revoke()
        await self.commit()
        await super().on_partitions_revoked(revoked)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Do nothing. Faust's livelock detector compares two different clocks; /readyz and the lag show a stall."""


class Transport(driver.Transport):
    """The transport behind ``ecounters://``. Faust finds it by its entry point."""

    Consumer: ClassVar[type[Consumer]] = Consumer
    driver_version = f"{driver.Transport.driver_version} in batches"


def broker_urls(brokers: str) -> Iterable[str]:
    """``host:port,host:port`` -> the URL of each broker, for Faust's setting ``broker``."""
    return [f"ecounters://{broker}" for broker in brokers.split(",")]
