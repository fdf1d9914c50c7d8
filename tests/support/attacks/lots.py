"""Publishing what was made beforehand: lots of messages, each at its time."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaProducer

from tests.support.attacks.worker_clock import WorkerClock
from tests.support.record_batches import batch, with_crc

BATCH_BYTES: Final = 1_040_000
"""The largest record, and just below what a broker takes by default."""
SENT_AT_ONCE: Final = 20
BODY: Final = 61
"""Where the records of a batch begin."""


DAMAGED: Final = "damaged"
"""As a codec: a batch that says that it is of lz4, and is not."""
CODECS: Final = ("gzip", "snappy", "lz4", "zstd")


class Message(NamedTuple):
    """A message. ``due_s``: when it is published, in seconds after the begin. ``codec``: of its batch.

    ``stamp_ms``: the producer's timestamp of it, which a topic may keep; None: now.
    """

    due_s: float
    partition: int
    key: bytes | None
    value: bytes | None
    codec: str | None = None
    stamp_ms: int | None = None


class Lot(NamedTuple):
    """A batch that is ready to be sent. ``producer``: the one that has its codec."""

    due_s: float
    partition: int
    producer: AIOKafkaProducer
    batch: Any


Producers = Mapping[str | None, AIOKafkaProducer]
"""A producer for each codec, one for none, and one for DAMAGED."""


async def started_producers(broker: str) -> Producers:
    """Producers, which must be stopped by ``stopped``."""
    by: dict[str | None, AIOKafkaProducer] = {
        codec: AIOKafkaProducer(
            bootstrap_servers=broker, compression_type=codec, max_batch_size=BATCH_BYTES,
            max_request_size=2 * BATCH_BYTES,
        )
        for codec in (None, *CODECS)
    }  # fmt: skip
    await asyncio.gather(*(producer.start() for producer in by.values()))
    return {**by, DAMAGED: by[None]}


async def stopped(by: Producers) -> None:
    """Stop all."""
    await asyncio.gather(*(producer.stop() for producer in set(by.values())))


def publish(broker: str, topic: str, messages: Iterable[Message]) -> None:
    """Publish messages as fast as possible."""

    async def go() -> None:
        by = await started_producers(broker)
        try:
            await send(topic, made(by, messages, 1.0))
        finally:
            await stopped(by)

    asyncio.run(go())


def made(by: Producers, messages: Iterable[Message], every_s: float) -> Iterator[Lot]:
    """The messages, which are sorted by time, as batches for every ``every_s``."""
    open_: dict[tuple[int, str | None], Any] = {}
    begin = 0.0
    for message in messages:
        if message.due_s >= begin + every_s:
            yield from _closed(by, begin, open_)
            begin = message.due_s
        at = message.partition, message.codec
        if at not in open_:
            open_[at] = by[message.codec].create_batch()
        if open_[at].append(key=message.key, value=message.value, timestamp=message.stamp_ms) is None:
            yield from _closed(by, begin, {at: open_.pop(at)})
            open_[at] = by[message.codec].create_batch()
            assert open_[at].append(key=message.key, value=message.value, timestamp=message.stamp_ms) is not None
    yield from _closed(by, begin, open_)


def _closed(by: Producers, due_s: float, batches: dict[tuple[int, str | None], Any]) -> Iterator[Lot]:
    for (partition, codec), closed in batches.items():
        closed.close()
        if codec == DAMAGED:
            closed._buffer = bytes(with_crc(packed_in_noise()))
        yield Lot(due_s, partition, by[codec], closed)
    batches.clear()


def packed_in_noise() -> bytearray:
    """A batch of one record whose checksum is right, and whose body is of no codec."""
    noise = batch(0, [b"n" * 1_000], 3)
    noise[BODY:] = b"\xff" * len(noise[BODY:])
    return noise


async def send(topic: str, lots: Iterable[Lot], clock: WorkerClock | None = None) -> float:
    """Send lots in their order, each at its time by the clock, or at once without one.

    Returns the seconds that the latest one was late.
    """
    late = 0.0
    sent: dict[int, list[asyncio.Future[Any]]] = defaultdict(list)
    for lot in lots:
        if clock is not None:
            await clock.sleep_until(lot.due_s)
            late = max(late, clock.now() - lot.due_s)
        sent[lot.partition].append(await lot.producer.send_batch(lot.batch, topic, partition=lot.partition))
        if len(sent[lot.partition]) > SENT_AT_ONCE:
            await asyncio.gather(*sent.pop(lot.partition))
    for left in sent.values():
        await asyncio.gather(*left)
    return late
