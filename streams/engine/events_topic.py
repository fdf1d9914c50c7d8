"""The topic of events, through Faust's app: where a partition ends, from where it is read, and sending events on."""

from __future__ import annotations

from typing import Any, cast

from aiokafka.errors import KafkaError
from faust.exceptions import ProducerSendError
from faust.types import TP

from ecounters.events.partitioner import partition_of
from ecounters.partition.records import Uncounted
from streams.kafka.consumer import Consumer


class EventsTopic:
    """Faust's consumer and producer as the owned partitions need them. ``partitions``: how many the topic has."""

    def __init__(self, app: Any, topic: str, partitions: int) -> None:
        self._app = app
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
        """(offset of the oldest event that Kafka still has, offset after the newest), asked of the broker.

        Raises KafkaError, IllegalStateError or TimeoutError if they are not available.
        """
        tp = TP(self._topic, partition)
        consumer = self._consumer
        earliest = (await consumer.earliest_offsets(tp))[tp]
        end = (await consumer.highwaters(tp))[tp]
        return earliest, end

    async def follow(self, partition: int, offset: int) -> None:
        """Seek to ``offset`` and read on from there. Raises IllegalStateError if the partition is not assigned."""
        await self._consumer.follow(TP(self._topic, partition), offset)

    def end_of(self, partition: int) -> tuple[int | None, float | None]:
        """(offset after the newest event, seconds since the broker said so), without asking; None: not known."""
        return self._consumer.fetch_state(TP(self._topic, partition))

    async def republish(self, misrouted: list[Uncounted]) -> None:
        """Send misrouted events to their users' partitions. Returns when all are acknowledged; else KafkaError.

        An event that is sent twice, because a flush failed after this, is counted once: it is the same event.
        """
        acknowledgements = []
        try:
            for uncounted in misrouted:
                partition = partition_of(uncounted.user_id, self._partitions)
                producer = await self._app.maybe_start_producer()
                key, value = uncounted.user_id.encode(), uncounted.record.value
                acknowledgements.append(await producer.send(self._topic, key, value, partition, None, None))
            for acknowledgement in acknowledgements:
                await acknowledgement
        except (ProducerSendError, AssertionError) as error:  # AssertionError: aiokafka does not know the partition
            raise KafkaError(str(error)) from error
