"""Record batches in the bytes that a broker sends and takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final, cast

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import for_code
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

STAMP_MS: Final = time.time_ns() // 1_000_000
"""The timestamp of all records: the present. A broker would remove older ones, by its retention, before they are read.
"""
BY_BROKER, TRANSACTIONAL, CONTROL = 0x08, 0x10, 0x20
"""Bits of a record batch's attributes."""
ATTRIBUTES = 22
"""The byte at which these bits stand."""


def batch(
    offset: int,
    values: Sequence[bytes | None],
    compression: int = 0,
    *,
    attributes: int = 0,
    producer: int = -1,
    headers: list[tuple[str, bytes | None]] | None = None,
) -> bytearray:
    """A record batch whose first offset is ``offset``. ``compression``: Kafka's number of the codec; 0: none.

    ``attributes``: bits to be set. Without BY_BROKER the producer has stamped the records.
    """
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=compression, is_transactional=0, producer_id=producer, producer_epoch=0,
        base_sequence=0, batch_size=100_000_000,
    )  # fmt: skip
    for at, value in enumerate(values):
        assert builder.append(at, timestamp=STAMP_MS, key=b"u1", value=value, headers=headers or []) is not None
    made = bytearray(cast(Any, builder).build())
    made[:8] = offset.to_bytes(8, "big")
    made[ATTRIBUTES] |= attributes
    return with_crc(made)


def with_crc(changed: bytearray) -> bytearray:
    """The record batch with the checksum that it should have."""
    changed[17:21] = calc_crc32c(changed[21:]).to_bytes(4, "big")
    return changed


async def produce_raw(broker: str, tp: TopicPartition, content: bytes) -> None:
    """Produce the bytes of a record batch to a partition. Raises the KafkaError with which the broker refuses it."""
    async with AIOKafkaProducer(bootstrap_servers=broker) as producer:
        await producer.partitions_for(tp.topic)
        leader = producer.client.cluster.leader_for_partition(tp)
        request = ProduceRequest(
            required_acks=-1, timeout=5_000, topics=[(tp.topic, [(tp.partition, content)])], transactional_id=None
        )
        response = await producer.client.send(leader, request)
        ((_, (reply,)),) = response.topics
        if reply[1]:
            raise for_code(reply[1])(tp)
