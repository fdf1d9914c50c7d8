"""Batches are made of what was fetched, whole and in order."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from streams.kafka.batches import RECORDS_MAX, Batch, next_batch
from tests.support.record_batches import batch

CONTROL = 0x20
GZIP = 1


def fetched(content: bytes, position: int) -> Any:
    """A fake of aiokafka's FetchResult: ``content``, fetched from offset ``position`` on."""
    source = SimpleNamespace(_records=MemoryRecords(content), next_fetch_offset=position, _records_iterator=object())
    return SimpleNamespace(_partition_records=source, _update_position=lambda: None)


def offsets(handed: Batch) -> list[int]:
    """The offsets of its records."""
    return [record.offset for record in handed.records]


def values(count: int) -> list[bytes]:
    """The values of ``count`` messages."""
    return [b"%d" % at for at in range(count)]


def control(offset: int) -> bytes:
    """A transaction marker."""
    made = batch(offset, [b"marker"])
    made[22] |= CONTROL
    return bytes(made)


@pytest.mark.parametrize("compression", [0, GZIP])
def test_producers_batches_become_one(compression: int) -> None:
    """It has every record, in order, compressed or not."""
    content = bytes(batch(5, values(3), compression) + batch(8, values(2), compression))
    got = next_batch(fetched(content, 5), None)
    assert (got.begin, got.end, got.first) == (5, 10, 5)
    assert offsets(got) == [5, 6, 7, 8, 9]


@pytest.mark.parametrize("compression", [0, GZIP])
def test_records_that_were_read_before_are_left_out(compression: int) -> None:
    """A broker sends a producer's batch whole, even if the fetch begins in the middle of it."""
    got = next_batch(fetched(bytes(batch(5, values(4), compression)), 7), None)
    assert (got.begin, got.end, got.first) == (7, 9, 7)
    assert offsets(got) == [7, 8]


def test_transaction_markers_are_skipped_and_leave_no_gap() -> None:
    """A batch begins where the last one ended, so the markers are within one of them."""
    only = next_batch(fetched(control(5), 5), None)
    assert (only.begin, only.end, only.first, offsets(only)) == (5, 6, None, [])
    got = next_batch(fetched(control(6) + bytes(batch(7, values(2))), 6), only.end)
    assert (got.begin, got.end, got.first, offsets(got)) == (6, 9, 7, [7, 8])


def test_a_large_fetch_becomes_several_batches() -> None:
    """Each has about RECORDS_MAX records, and begins where the one before ended."""
    each = RECORDS_MAX // 2
    content = b"".join(bytes(batch(at * each, values(each))) for at in range(5))
    result = fetched(content, 0)
    batches: list[Batch] = []
    while result._partition_records is not None:
        batches.append(next_batch(result, batches[-1].end if batches else None))
    assert [(handed.begin, handed.end) for handed in batches] == [(0, 4_000), (4_000, 8_000), (8_000, 10_000)]
    assert [at for handed in batches for at in offsets(handed)] == list(range(10_000))


def test_messages_of_old_formats_are_read() -> None:
    """Their batches have no base offset."""
    builder = LegacyRecordBatchBuilder(magic=1, compression_type=0, batch_size=100_000)
    for at in range(4):
        builder.append(at, timestamp=1_773_144_000_000, key=b"k", value=b"v")
    got = next_batch(fetched(bytes(builder.build()), 2), None)
    assert (got.begin, got.end, got.first, offsets(got)) == (2, 4, 2, [2, 3])
