"""Publisher: puts events into their partitions, in order, with as much under way as the broker takes."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaProducer

from ecounters.events.partitioner import partition_of

BATCH_BYTES: Final = 262_144
"""Large batches are what makes a replay quick; one for each partition is being filled while another is under way."""

REQUEST_BYTES_MAX: Final = 1_048_576
ROUTES_KEPT_MAX: Final = 100_000
"""Users whose partition is remembered; murmur2 costs more than all else that is done for an event."""


class Outgoing(NamedTuple):
    """A message to publish. ``user_id``: its key, or None; ``everywhere``: once to each partition. ``due_ms``: its
    time, or None if it has none."""

    value: bytes
    user_id: str | None
    everywhere: bool
    due_ms: int | None


class Publisher:
    """Publishes in order within each partition, with as much under way as the broker takes."""

    def __init__(self, producer: Any, topic: str, partitions: int) -> None:
        self._producer = producer
        self._topic = topic
        self._partitions = partitions
        self._batches: dict[int, Any] = {}
        self._under_way: set[asyncio.Future[Any]] = set()
        self._failure: BaseException | None = None
        self._routes: dict[str, int] = {}
        self._keyless = itertools.cycle(range(partitions))

    async def put(self, message: Outgoing) -> int:
        """Take over a message; how many were made of it. Raises aiokafka's KafkaError, also for earlier ones."""
        if message.everywhere:
            for partition in range(self._partitions):
                await self._append(partition, None, message.value)
            return self._partitions
        if message.user_id is None:
            await self._append(next(self._keyless), None, message.value)
        else:
            await self._append(self._route(message.user_id), message.user_id.encode(), message.value)
        return 1

    async def put_to(self, partition: int, key: bytes | None, value: bytes | None) -> None:
        """Take over a message for that partition, with that key. Raises as ``put``."""
        await self._append(partition, key, value)

    def _route(self, user_id: str) -> int:
        partition = self._routes.get(user_id)
        if partition is None:
            if len(self._routes) >= ROUTES_KEPT_MAX:
                self._routes.clear()
            partition = self._routes[user_id] = partition_of(user_id, self._partitions)
        return partition

    async def _append(self, partition: int, key: bytes | None, value: bytes | None) -> None:
        batch = self._batches.get(partition)
        if batch is None:
            batch = self._batches[partition] = self._producer.create_batch()
        if batch.append(key=key, value=value, timestamp=None) is None:
            await self._send(partition)
            batch = self._batches[partition] = self._producer.create_batch()
            batch.append(key=key, value=value, timestamp=None)  # the first always fits

    async def _send(self, partition: int) -> None:
        if self._failure is not None:
            raise self._failure
        batch = self._batches.pop(partition)
        batch.close()
        # Waits while the one before it has not gone out: that is what holds back the reading.
        future = await self._producer.send_batch(batch, self._topic, partition=partition)
        self._under_way.add(future)
        future.add_done_callback(self._done)

    def _done(self, future: asyncio.Future[Any]) -> None:
        self._under_way.discard(future)
        if not future.cancelled() and future.exception() is not None:
            self._failure = self._failure or future.exception()

    async def send(self) -> None:
        """Let everything that was taken over go out."""
        for partition in list(self._batches):
            await self._send(partition)

    async def finish(self) -> None:
        """Wait until everything is acknowledged, or raise the first failure."""
        await self.send()
        if self._under_way:
            await asyncio.wait(list(self._under_way))
        await asyncio.sleep(0)  # the callbacks of what has just ended
        if self._failure is not None:
            raise self._failure


@asynccontextmanager
async def publisher(broker: str, topic: str) -> AsyncIterator[Publisher]:
    """A Publisher; when the block ends well, everything has been acknowledged."""
    producer = AIOKafkaProducer(
        bootstrap_servers=broker, acks="all", max_batch_size=BATCH_BYTES, max_request_size=REQUEST_BYTES_MAX
    )
    try:
        await producer.start()
        publishing = Publisher(producer, topic, len(await producer.partitions_for(topic)))
        yield publishing
        await publishing.finish()
    finally:
        await producer.stop()
