"""aiokafka's FetchResults without a broker, as ``streams.kafka.fetched`` leaves them."""

from __future__ import annotations

from collections import deque
from functools import partial
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
    """A FetchResult: ``content``, fetched from offset ``position`` on. ``aborted``: (producer, first offset).

    ``position_of`` tells how far it was read.
    """
    source = PartitionRecords(TP, MemoryRecords(content), aborted, position, None, None, False, READ_COMMITTED)
    state = SimpleNamespace(paused=False, position=position)
    state.consumed_to = partial(setattr, state, "position")
    assignment = SimpleNamespace(state_value=lambda _: state, active=True)
    result = FetchResult(TP, assignment=assignment, partition_records=source, backoff=0)
    internals.set_undecoded(result, deque(split(content, END).batches))
    return result


def position_of(result: FetchResult) -> int:
    """The position of the consumer that has read from a FetchResult of ``fetched``: what it fetches next."""
    return int(result._assignment.state_value(TP).position)
