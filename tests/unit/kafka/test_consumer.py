"""The transport's own parts that need no broker."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from faust.types import TP

from streams.kafka.consumer import EMPTY_FETCH_S, RECORDS_MAX, Batch, ConsumerThread, paced
from tests.unit.kafka.test_checksums import batch

PARTITION = TP("events", 0)
CONTROL = 0x20
GZIP = 1


def fetched(content: bytes, position: int) -> Any:
    """What aiokafka keeps of a fetch from that position on."""
    source = SimpleNamespace(_records=MemoryRecords(content), next_fetch_offset=position, _records_iterator=object())
    return SimpleNamespace(_partition_records=source, _update_position=lambda: None)


def handed(result: Any, thread: Any = None) -> Batch:
    """The next batch of it."""
    given = thread if thread is not None else SimpleNamespace(_handed={})
    return ConsumerThread._batch(cast(ConsumerThread, given), PARTITION, result)


def offsets(given: Batch) -> list[int]:
    """Those of its records."""
    return [record.offset for record in given.records]


def values(count: int) -> list[bytes]:
    """So many messages."""
    return [b"%d" % at for at in range(count)]


def control(offset: int) -> bytes:
    """A transaction's mark."""
    made = batch(offset, [b"mark"])
    made[22] |= CONTROL
    return bytes(made)


@pytest.mark.parametrize("compression", [0, GZIP])
def test_batches_of_producers_become_one(compression: int) -> None:
    """With every record, in order, whatever it was packed in."""
    content = bytes(batch(5, values(3), compression) + batch(8, values(2), compression))
    got = handed(fetched(content, 5))
    assert (got.begin, got.end, got.first) == (5, 10, 5)
    assert offsets(got) == [5, 6, 7, 8, 9]


@pytest.mark.parametrize("compression", [0, GZIP])
def test_what_was_read_before_is_left_out(compression: int) -> None:
    """A broker sends a producer's batch whole, though it was asked for its end."""
    got = handed(fetched(bytes(batch(5, values(4), compression)), 7))
    assert (got.begin, got.end, got.first) == (7, 9, 7)
    assert offsets(got) == [7, 8]


def test_marks_of_transactions_are_passed_over_and_no_gap() -> None:
    """The batch after one begins where the last one ended."""
    thread = SimpleNamespace(_handed={})
    only = handed(fetched(control(5), 5), thread)
    assert (only.begin, only.end, only.first, offsets(only)) == (5, 6, None, [])
    got = handed(fetched(control(6) + bytes(batch(7, values(2))), 6), thread)
    assert (got.begin, got.end, got.first, offsets(got)) == (6, 9, 7, [7, 8])


def test_a_large_fetch_is_handed_over_in_parts() -> None:
    """About RECORDS_MAX in each; nothing is missing between two."""
    each = RECORDS_MAX // 2
    content = b"".join(bytes(batch(at * each, values(each))) for at in range(5))
    thread, result = SimpleNamespace(_handed={}), fetched(content, 0)
    parts = []
    while result._partition_records is not None:
        parts.append(handed(result, thread))
    assert [(part.begin, part.end) for part in parts] == [(0, 4_000), (4_000, 8_000), (8_000, 10_000)]
    assert [at for part in parts for at in offsets(part)] == list(range(10_000))


def test_messages_of_old_formats_are_read() -> None:
    """They do not say where they begin."""
    builder = LegacyRecordBatchBuilder(magic=1, compression_type=0, batch_size=100_000)
    for at in range(4):
        builder.append(at, timestamp=1_773_144_000_000, key=b"k", value=b"v")
    got = handed(fetched(bytes(builder.build()), 2))
    assert (got.begin, got.end, got.first, offsets(got)) == (2, 4, 2, [2, 3])


def test_a_broker_that_answers_at_once_is_not_asked_in_a_circle() -> None:
    """A fetch without records takes its time, and says what it is; so does one with records."""

    async def took(fetch_gets: bool) -> float:
        async def fetch(node: int) -> bool:
            return fetch_gets

        began = time.monotonic()
        assert await paced(fetch)(1) is fetch_gets
        return time.monotonic() - began

    assert asyncio.run(took(True)) >= 0
    assert asyncio.run(took(False)) >= EMPTY_FETCH_S - 0.001


@pytest.mark.parametrize("where", ["in aiokafka's own pause", "in ours"])
def test_a_fetch_that_is_cancelled_has_got_nothing(where: str) -> None:
    """aiokafka waits for that answer when it is closed, and would break off its end for anything else."""

    async def fetch() -> bool:
        if where == "in ours":
            return False
        await asyncio.sleep(10)
        return True

    async def cancelled() -> bool:
        task = asyncio.ensure_future(paced(fetch)())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        return await task

    assert asyncio.run(cancelled()) is False
