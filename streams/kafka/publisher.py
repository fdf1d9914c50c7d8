"""Publishes messages to the topic of events: each to its user's partition, in order, in large batches."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from ecounters.events.partitioner import partition_of
from streams.kafka.clients import Kafka
from streams.kafka.topics import count_partitions

BATCH_BYTES: Final = 262_144
"""The largest size of a batch, unless a single message is larger. Large batches make a replay fast. Each partition has
one batch that is being filled, and may have another that is being sent."""
REQUEST_BYTES_MAX: Final = 4 * 1_048_576
"""The largest size of a request to a broker. The topic of events takes batches of 2 MiB."""
LOG_APPEND_TIME: Final = 1
"""Kafka's number for a timestamp that the broker made when it wrote the record."""
METADATA_MS: Final = 30_000
"""How often a producer asks how many partitions the topic has. aiokafka's default is 5 minutes."""
CACHED_USERS_MAX: Final = 100_000
"""For how many users the partition is remembered. To compute it, a murmur2 hash, costs more than everything else done
for an event."""


class Outgoing(NamedTuple):
    """A message to publish.

    ``user_id``: its key; None if it has none. ``everywhere``: publish it once to each partition, without a key.
    ``due_ms``: its time, in ms since the Unix epoch; None if it has none. Publisher ignores it.
    """

    value: bytes
    user_id: str | None
    everywhere: bool
    due_ms: int | None


class Published(NamedTuple):
    """Where a message was written. ``stamped_ms``: the broker's clock then; None if the topic has another timestamp."""

    partition: int
    offset: int
    stamped_ms: int | None


class Publisher:
    """Publishes messages, in order within each partition. ``publisher`` makes one.

    ``partitions``: how many the topic has, as far as is known.

    A message is appended to its partition's batch, and a full batch is sent in the background. If the partition's batch
    before that was not sent yet, ``put`` waits for it, so the caller cannot read its source faster than the broker
    takes messages.

    A topic that gets partitions meanwhile is followed METADATA_MS later at most, from the next batch on.

    Errors come late: if a batch could not be sent, ``finish`` raises its KafkaError, or an earlier ``put`` or ``send``
    that has to send a batch.
    """

    def __init__(self, producer: Any, topic: str, partitions: int) -> None:
        """``producer``: a started AIOKafkaProducer. ``partitions``: how many partitions the topic has."""
        self._producer = producer
        self._topic = topic
        self._use(partitions)
        self._batches: dict[int, Any] = {}  # partition -> the batch that is being filled
        self._in_flight: set[asyncio.Future[Any]] = set()
        self._failure: BaseException | None = None

    def _use(self, partitions: int) -> None:
        """Publish to so many partitions from now on."""
        self.partitions = partitions
        self._partition_by_user: dict[str, int] = {}
        self._keyless_partitions = itertools.cycle(range(partitions))

    async def put(self, message: Outgoing) -> int:
        """Append a message to its batch or batches. Returns how many records it becomes: 1, or one for each partition.

        Messages without a user go to the partitions in turn.
        """
        if message.everywhere:
            for partition in range(self.partitions):
                await self._append(partition, None, message.value)
            return self.partitions
        if message.user_id is None:
            await self._append(next(self._keyless_partitions), None, message.value)
        else:
            await self._append(self._partition_of(message.user_id), message.user_id.encode(), message.value)
        return 1

    async def put_to(self, partition: int, key: bytes | None, value: bytes | None) -> None:
        """Append a message to the batch of ``partition``, whatever its key is."""
        await self._append(partition, key, value)

    def _partition_of(self, user_id: str) -> int:
        """The partition of a user, from the cache if the user is in it. A full cache is emptied first."""
        partition = self._partition_by_user.get(user_id)
        if partition is None:
            if len(self._partition_by_user) >= CACHED_USERS_MAX:
                self._partition_by_user.clear()
            partition = self._partition_by_user[user_id] = partition_of(user_id, self.partitions)
        return partition

    async def _append(self, partition: int, key: bytes | None, value: bytes | None) -> None:
        """Append to the partition's batch. If the batch has no room, send it and begin a new one."""
        batch = self._batches.get(partition)
        if batch is None:
            batch = self._batches[partition] = self._producer.create_batch()
        if batch.append(key=key, value=value, timestamp=None) is None:
            await self._send(partition)
            batch = self._batches[partition] = self._producer.create_batch()
            batch.append(key=key, value=value, timestamp=None)  # an empty batch takes a message of any size

    async def _send(self, partition: int) -> None:
        """Hand the partition's batch to the producer, which may have to send an earlier batch first.

        Raises the first failure of an earlier batch, if there is one.
        """
        if self._failure is not None:
            raise self._failure
        batch = self._batches.pop(partition)
        batch.close()
        acknowledgement = await self._producer.send_batch(batch, self._topic, partition=partition)
        self._in_flight.add(acknowledgement)
        acknowledgement.add_done_callback(self._on_acknowledged)
        partitions = len(await self._producer.partitions_for(self._topic))  # as the producer has last heard
        if partitions > self.partitions:
            self._use(partitions)

    def _on_acknowledged(self, acknowledgement: asyncio.Future[Any]) -> None:
        """Remove a batch from ``_in_flight``, and keep the first failure of all batches."""
        self._in_flight.discard(acknowledgement)
        if not acknowledgement.cancelled() and acknowledgement.exception() is not None:
            self._failure = self._failure or acknowledgement.exception()

    async def send(self) -> None:
        """Hand all begun batches to the producer, without waiting for their acknowledgements.

        Raises the first failure of an earlier batch, if there is one.
        """
        for partition in list(self._batches):
            await self._send(partition)

    async def finish(self) -> None:
        """Send everything and wait until the broker has acknowledged or refused it. Raises the first failure."""
        await self.send()
        if self._in_flight:
            await asyncio.wait(list(self._in_flight))
        await asyncio.sleep(0)  # lets the callbacks of the last batches run
        if self._failure is not None:
            raise self._failure


@asynccontextmanager
async def publisher(kafka: Kafka, topic: str) -> AsyncIterator[Publisher]:
    """A context with a Publisher. If it ends without an error, the broker has acknowledged everything.

    On entry raises Stop if there is no such topic, AccessRefused if Kafka does not allow to write to it, KafkaError if
    the broker cannot be reached; on exit KafkaError if a batch could not be sent.
    """
    partitions = await count_partitions(kafka, topic, "Write")
    producer = kafka.producer(
        acks="all", max_batch_size=BATCH_BYTES, max_request_size=REQUEST_BYTES_MAX, metadata_max_age_ms=METADATA_MS
    )
    try:
        await producer.start()
        publishing = Publisher(producer, topic, partitions)
        yield publishing
        await publishing.finish()
    finally:
        await producer.stop()


async def publish_one(kafka: Kafka, topic: str, user_id: str, value: bytes) -> Published:
    """Publish one message to its user's partition, and return when all replicas have it.

    Raises what ``publisher`` raises.
    """
    partition = partition_of(user_id, await count_partitions(kafka, topic, "Write"))
    async with kafka.producer(acks="all") as producer:
        written = await producer.send_and_wait(topic, value, key=user_id.encode(), partition=partition)
    stamped_ms = written.timestamp if written.timestamp_type == LOG_APPEND_TIME else None
    return Published(partition, written.offset, stamped_ms)
