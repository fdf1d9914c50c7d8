"""``EventsTopic``: the topic of events as the engine uses it, through the consumer and producer of Faust's app."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final, cast

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError
from faust.exceptions import ProducerSendError
from faust.types import TP
from msgspec.structs import replace

from ecounters.events.partitioner import partition_of
from ecounters.partition.records import Uncounted
from streams.basics.repeated import LogAgain
from streams.kafka.batch_sender import TOO_LARGE
from streams.kafka.consumer import Consumer
from streams.kafka.open_transactions import READ_UNCOMMITTED, end_offset, first_offset
from streams.kafka.shared_clients import SharedClients

log = logging.getLogger(__name__)

OFFSETS_LIMIT_S: Final = 10.0
OFFSETS_PAUSE_S: Final = 0.1
"""How long ``EventsTopic.offsets`` tries, and its pause while a partition has no leader."""
SENT_AT_ONCE: Final = 500
"""How many misrouted events are sent before their acknowledgements are awaited: sending them takes some ms, and the
garbage collector visits what waits for an acknowledgement."""


class EventsTopic:
    """The ``EventsSource`` of the owned partitions. ``partitions``: how many the topic has."""

    def __init__(self, app: Any, topic: str, partitions: int, clients: SharedClients) -> None:
        self._app = app
        self._clients = clients
        self._log_again = LogAgain()  # that a right is missing
        self._topic = topic
        self._partitions = partitions

    @property
    def _consumer(self) -> Consumer:
        return cast(Consumer, self._app.consumer)

    @property
    def rebalancing(self) -> bool:
        """Whether the group is being rebalanced now."""
        return bool(self._app.rebalancing)

    async def offsets(self, partition: int) -> tuple[int, int]:
        """(the first offset that Kafka still has, the offset after the last event), by requests to the broker.

        Events of open transactions are among these: they have offsets, and a state may have counted some before it
        was restored by this version.

        The requests do not go over the consumer's connection: there they would wait behind a fetch that the broker
        holds, and each partition behind all others.

        Raises KafkaError, or TimeoutError after OFFSETS_LIMIT_S, if they are not available.
        """
        tp = TopicPartition(self._topic, partition)
        async with asyncio.timeout(OFFSETS_LIMIT_S):
            while True:
                try:
                    client = await self._clients.of(partition)
                    earliest, end = await asyncio.gather(
                        first_offset(client, tp), end_offset(client, tp, READ_UNCOMMITTED)
                    )
                    return earliest, end
                except KafkaError as error:
                    if not error.retriable:
                        raise
                    await asyncio.sleep(OFFSETS_PAUSE_S)

    async def follow(self, partition: int, offset: int) -> None:
        """Read a partition's events from ``offset`` on. Raises IllegalStateError if the partition is not assigned."""
        await self._consumer.follow(TP(self._topic, partition), offset)

    def end_of(self, partition: int) -> tuple[int | None, float | None]:
        """(the last stable offset, seconds since a broker reported it), without a request; None: not known."""
        return self._consumer.fetch_state(TP(self._topic, partition))

    async def republish(self, misrouted: list[Uncounted]) -> list[Uncounted]:
        """Send misrouted events to their users' partitions, and return when all are acknowledged.

        Returns those that are larger than the topic takes, with the reason too_large: their producer has packed them,
        and this one does not; and those that this worker may not publish, with the reason not_forwarded.
        Raises KafkaError if another one is not acknowledged. The events may be sent again then,
        or if the flush fails later. Duplicates are harmless: applying an event twice changes nothing.
        """
        refused = []
        try:
            for first in range(0, len(misrouted), SENT_AT_ONCE):
                refused += await self._send_on(misrouted[first : first + SENT_AT_ONCE])
        except (ProducerSendError, AssertionError) as error:  # AssertionError: aiokafka does not know the partition
            raise KafkaError(str(error)) from error
        return refused

    async def _send_on(self, misrouted: list[Uncounted]) -> list[Uncounted]:
        """``republish`` some events. Raises ProducerSendError and AssertionError in place of some errors of Kafka."""
        acknowledgements = []
        refused = []
        for uncounted in misrouted:
            partition = partition_of(uncounted.user_id, self._partitions)
            producer = await self._app.maybe_start_producer()
            key, value = uncounted.user_id.encode(), uncounted.record.value
            acknowledgements.append(await producer.send(self._topic, key, value, partition, None, None))
        for uncounted, acknowledgement in zip(misrouted, acknowledgements, strict=True):
            try:
                await acknowledgement
            except TOO_LARGE:
                refused.append(replace(uncounted, reason="too_large"))
            except TopicAuthorizationFailedError:
                self._log_missing_right()
                refused.append(replace(uncounted, reason="not_forwarded"))
        return refused

    def _log_missing_right(self) -> None:
        """Say that this worker may not write to the topic of events, as often as ``LogAgain`` says."""
        if self._log_again.is_due():
            log.error(
                "topic %s refuses misrouted events, which become dead letters (not_forwarded): this worker needs the "
                "right Write on it; then `ecounters dlq --replay` counts them",
                self._topic,
            )
