"""A Faust transport that hands over whole fetched batches: one Faust message for each, whose value is a ``Batch``.

Faust's cost is per message, not per byte, so this is what makes a worker fast. The transport is registered as an entry
point of ``faust.transports``; its brokers are written ``ecounters://host:port``.

The way of a batch::

    consumer's thread                              event loop of the worker
    ConsumerThread._fetch_records  ──► batches ──► Consumer._drain_messages ──► Faust's stream ──► the agent
      takes them from aiokafka's fetcher             makes a message of each      a queue            applies them

Faust's own consumer commits what agents have acknowledged, and seeks to the group's committed offsets. Either could
count an event twice or never. So this module does three things in another way:

- It commits only offsets that were flushed (``Positions.to_commit``).
- It reads a partition from the position of the partition's state (``follow``), never from the group's committed offset.
- A batch says from which offset on it is complete (``Batch.begin``), so that the state notices a missing batch.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, ClassVar, Final, cast

from aiokafka.errors import ConsumerStoppedError
from faust.auth import Credentials, OAuthCredentials, SASLCredentials, SSLCredentials
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage, Message

from streams.kafka.batches import Batch
from streams.kafka.clients import Kafka
from streams.kafka.consumer_thread import ConsumerThread
from streams.kafka.transport_app import TransportApp

NO_PARTITIONS_PAUSE_S: Final = 0.05
"""The pause between two looks at whether there are partitions to read, while there are none."""
FETCH_LIMIT_S: Final = 1.0
"""How long to wait for a batch before the next look at whether the consumer is to stop."""


class Consumer(driver.Consumer):
    """Faust's consumer on the worker's event loop. Hands batches on to Faust's streams in place of records.

    Faust's records of gaps between offsets and of acknowledged offsets, and its livelock detector, are switched off.
    They would be wrong for batches, and nothing depends on them.
    """

    app: TransportApp
    _thread: ConsumerThread

    def _new_consumer_thread(self) -> ConsumerThread:
        """Make our ConsumerThread, in place of Faust's."""
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # --------------------------------------------------------------------------------------------- reading

    async def _drain_messages(self, fetcher: Any) -> None:
        """Hand batches on, one message each, until the consumer or ``fetcher``, Faust's service that runs this, is to
        stop.

        Waits while Faust's queue is full. If a rebalance has begun since a batch was requested, the batch is dropped
        and reported by ``positions.lost``: if no other batch followed, the state would not notice the gap. A batch that
        waits for the queue when a rebalance begins may be dropped without a report: at the end of the rebalance all
        live partitions are followed anew.
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
        """Do nothing. Faust would pause the partition; ``_drain_messages`` waits while the queue is full instead."""

    def on_buffer_drop(self, tp: TP) -> None:
        """Do nothing. Faust would resume the partition that ``on_buffer_full`` has paused."""

    async def perform_seek(self) -> None:
        """Do nothing. Faust would seek to the group's committed offsets; ``follow`` seeks to the states' positions."""

    async def follow(self, tp: TP, offset: int) -> None:
        """Read a partition from ``offset`` on. Raises IllegalStateError if this worker has not been assigned it."""
        await self._thread.follow(tp, offset)
        self.resume_partitions({tp})

    def fetch_state(self, tp: TP) -> tuple[int | None, float | None]:
        """(the last stable offset of a partition, how many s ago a broker last reported it); None: not known."""
        end, reported_s = self._thread.fetch_state(tp)
        return end, None if reported_s is None else max(0.0, time.time() - reported_s)

    # ------------------------------------------------------------------------------------------ committing

    def ack(self, message: Message) -> bool:
        """Note that an agent is done with a batch, so that Faust does not wait for it. Returns True.

        Commits nothing: the events of a batch are safe only after a flush.
        """
        self._unacked_messages.discard(message)
        return True

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit the flushed offsets that changed, of the assigned partitions, and report them to ``positions``.

        Returns False if there are none, or the commit failed. Faust calls this method every
        ``broker_commit_interval``, in a rebalance and at the end. It ignores the arguments.
        """
        assigned = self.assignment()
        offsets = {tp: offset for tp, offset in self.app.positions.to_commit().items() if tp in assigned}
        if not offsets or not await self._commit(offsets):
            return False
        self.app.positions.committed(offsets)
        return True

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """At the start of a rebalance: stop the flow of batches, flush, commit, then go on as Faust does.

        Every rebalance revokes all partitions of the worker, even those that the worker keeps.
        """
        self.stop_flow()
        self.app.flow_control.suspend()
        await self.app.positions.flush_before_revoke()
        await self.commit()
        await super().on_partitions_revoked(revoked)

    async def verify_all_partitions_active(self) -> None:
        """Do nothing, for the same reason as ``verify_event_path``, which this method would call of each partition."""

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Do nothing. Faust's livelock detector compares two different clocks; /readyz and the lag show a stall."""


class Transport(driver.Transport):
    """Faust's transport for broker URLs ``ecounters://host:port``. Faust finds it by its entry point."""

    Consumer: ClassVar[type[Consumer]] = Consumer
    driver_version = f"{driver.Transport.driver_version} in batches"


def faust_options(kafka: Kafka) -> dict[str, Any]:
    """Faust's settings about how it reaches Kafka, by this module's transport."""
    security = kafka.security()
    context = security.get("ssl_context")
    credentials: Credentials | None = None
    if "sasl_oauth_token_provider" in security:
        credentials = OAuthCredentials(oauth_cb=security["sasl_oauth_token_provider"], ssl_context=context)
    elif kafka.has_sasl:
        credentials = SASLCredentials(
            username=kafka.user, password=kafka.password, mechanism=kafka.mechanism, ssl_context=context
        )
    elif context is not None:
        credentials = SSLCredentials(context)
    return {
        "broker": [f"ecounters://{broker}" for broker in kafka.brokers.split(",")],
        "broker_client_id": kafka.client_id,
        "broker_credentials": credentials,
    }
