"""Publishing at a rate at which no process could make events: the batches are made beforehand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaProducer

from ecounters.errors import Stop
from ecounters.events.partitioner import partition_of
from streams.kafka.publisher import Outgoing

EVERY_S: Final = 0.02
"""Time between two lots; a lot is a batch for every partition."""
BATCH_BYTES: Final = 1_000_000


@asynccontextmanager
async def paced(
    broker: str, topic: str, partitions: int, messages: Iterable[Outgoing], rate: float
) -> AsyncIterator[None]:
    """Publish the messages at ``rate`` a second while the block runs, or until none is left."""
    async with AIOKafkaProducer(bootstrap_servers=broker, max_batch_size=BATCH_BYTES) as producer:
        lots = await asyncio.to_thread(_lots, producer, partitions, messages, round(rate * EVERY_S))
        going = asyncio.create_task(_send(producer, topic, lots))
        try:
            yield
            if going.done():
                going.result()
        finally:
            going.cancel()
            await asyncio.gather(going, return_exceptions=True)


def _lots(
    producer: AIOKafkaProducer, partitions: int, messages: Iterable[Outgoing], each: int
) -> list[list[tuple[int, Any]]]:
    lots: list[list[tuple[int, Any]]] = []
    batches: dict[int, Any] = {}
    for at, message in enumerate(messages):
        for partition in range(partitions) if message.user_id is None else [partition_of(message.user_id, partitions)]:
            if partition not in batches:
                batches[partition] = producer.create_batch()
            key = message.user_id and message.user_id.encode()
            if batches[partition].append(key=key, value=message.value, timestamp=None) is None:
                raise Stop(f"a lot of {each} events does not fit into batches of {BATCH_BYTES} bytes")
        if at % each == each - 1:
            lots.append(sorted(batches.items()))
            batches = {}
    lots.append(sorted(batches.items()))
    for lot in lots:
        for _, batch in lot:
            batch.close()
    return lots


async def _send(producer: AIOKafkaProducer, topic: str, lots: list[list[tuple[int, Any]]]) -> None:
    due = time.monotonic()
    for lot in lots:
        for partition, batch in lot:
            await producer.send_batch(batch, topic, partition=partition)
        due += EVERY_S
        await asyncio.sleep(max(0.0, due - time.monotonic()))
