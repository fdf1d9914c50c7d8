"""Reads the saved positions of all partitions of a changelog, without the rest of it.

The position is the last entry of each flush. So it is among the last records of a partition, before the transaction
markers, and compaction never removes the newest one. Only records of others can stand behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from typing import Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from ecounters.changelog.entries import POSITION
from streams.kafka.clients import Kafka
from streams.kafka.log_reader import KeyedRow, LogReader, keyed_reader
from streams.kafka.record_batches import DAMAGE

FIRST_REACH: Final = 16
"""How many offsets before the end of a partition to read first."""
REACH_FACTOR: Final = 64
"""By how much to reach further back if no position was there."""
LIMIT_S: Final = 15.0
"""How long connecting may take, and each fetch. aiokafka itself would try for ever."""
FETCH_BYTES: Final = 1_048_576
"""How much one fetch returns at most of one partition, unless a single batch is larger."""


async def read_positions(kafka: Kafka, topic: str, partitions: int, away: Collection[int] = ()) -> dict[int, bytes]:
    """partition -> the encoded ``Position`` that was committed last. Partitions that have none are left out.

    ``away``: partitions that cannot be read now, and are left out too.

    Takes no transactional id and joins no group, so it disturbs nobody. The topic must exist. Raises KafkaError if the
    broker cannot be reached or refuses, TimeoutError if connecting or a fetch takes LIMIT_S. Damaged records raise one
    of DAMAGE.
    """
    consumer = kafka.consumer(
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=FETCH_BYTES,
    )
    found: dict[int, bytes] = {}
    try:
        async with asyncio.timeout(LIMIT_S):
            await consumer.start()
            tps = [TopicPartition(topic, partition) for partition in range(partitions) if partition not in away]
            consumer.assign(tps)
            begins = await consumer.beginning_offsets(tps)
            ends = await consumer.end_offsets(tps)
        unread = {tp: ends[tp] for tp in tps if begins[tp] < ends[tp]}
        reach = FIRST_REACH
        while unread:
            starts = {tp: max(begins[tp], end - reach) for tp, end in unread.items()}
            found |= await _last_positions(consumer, {tp: range(starts[tp], end) for tp, end in unread.items()})
            unread = {tp: start for tp, start in starts.items() if tp.partition not in found and start > begins[tp]}
            reach *= REACH_FACTOR
    finally:
        await consumer.stop()
    return found


class KnownPositions(NamedTuple):
    """``saved``: as ``read_positions`` returns it. ``unknown``: the partitions whose position nobody can tell.
    ``damaged``: those of them with damaged records, one of which may be the position."""

    saved: dict[int, bytes]
    unknown: set[int]
    damaged: set[int]


async def known_positions(kafka: Kafka, topic: str, partitions: int, away: Collection[int]) -> KnownPositions:
    """As ``read_positions``, but damaged records, or entries without a position, concern their own partition alone.

    Only where there are any, whole partitions are read. Raises KafkaError or OSError if they cannot be, and any other
    error: it is a fault of this program.
    """
    there = set(range(partitions)) - set(away)
    saved: dict[int, bytes] = {}
    with suppress(*DAMAGE):  # it is not known of which partition, so all are looked at
        saved = await read_positions(kafka, topic, partitions, away)
    known = KnownPositions(saved, set(), set())
    if left := sorted(there - saved.keys()):
        async with keyed_reader(kafka, topic, left) as reader:
            for partition in left:
                await _look(reader, partition, known)
    return known


async def _look(reader: LogReader[KeyedRow], partition: int, known: KnownPositions) -> None:
    """Read a partition, and add its position, or why it is not known, to ``known``."""
    held: set[bytes | None] = set()
    at, before = -1, len(reader.unreadable)
    async for rows in reader.up_to(partition, reader.ends[partition]):
        for offset, key, value in rows:
            if value is None:
                held.discard(key)
                continue
            held.add(key)
            if key == POSITION:
                at, known.saved[partition] = offset, value
    if any(damage.last_offset > at for damage in reader.unreadable[before:]):
        known.saved.pop(partition, None)
        known.damaged.add(partition)
        known.unknown.add(partition)
    elif held and at < 0:
        known.unknown.add(partition)


async def _last_positions(consumer: AIOKafkaConsumer, ranges: dict[TopicPartition, range]) -> dict[int, bytes]:
    """Read these offsets of partitions that are assigned: partition -> the last value of a position."""
    found: dict[int, bytes] = {}
    consumer.pause(*consumer.assignment())
    for tp, offsets in ranges.items():
        consumer.seek(tp, offsets.start)
        consumer.resume(tp)
    left = set(ranges)
    while left:
        async with asyncio.timeout(LIMIT_S):
            fetched = await consumer.getmany(*left, timeout_ms=100)
        for tp, records in fetched.items():
            for record in records:
                if record.key == POSITION and record.value is not None and record.offset in ranges[tp]:
                    found[tp.partition] = record.value
        for tp in tuple(left):
            if await consumer.position(tp) >= ranges[tp].stop:
                left.discard(tp)
                consumer.pause(tp)
    return found
