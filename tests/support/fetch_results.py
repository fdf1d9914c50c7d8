"""aiokafka's FetchResults without a broker, as ``streams.kafka.fetched`` leaves them."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import Final

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.record.memory_records import MemoryRecords

from streams.kafka import internals
from streams.kafka.splitting import split

END: Final = 10_000
"""The partition's end offset."""
TP: Final = TopicPartition("events", 0)


def fetched(content: bytes, position: int, aborted: list[tuple[int, int]] | None = None) -> FetchResult:
    """A FetchResult: ``content``, fetched from offset ``position`` on. ``aborted``: (producer, first offset)."""
    source = PartitionRecords(TP, MemoryRecords(content), aborted, position, None, None, False, READ_COMMITTED)
    state = SimpleNamespace(paused=False, position=position, consumed_to=lambda _: None)
    assignment = SimpleNamespace(state_value=lambda _: state, active=True)
    result = FetchResult(TP, assignment=assignment, partition_records=source, backoff=0)
    internals.set_undecoded(result, deque(split(content, END).batches))
    return result
