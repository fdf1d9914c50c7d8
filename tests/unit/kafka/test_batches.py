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
    """What aiokafka keeps of a fetch from that position on."""
    source = SimpleNamespace(_records=MemoryRecords(content), next_fetch_offset=position, _records_iterator=object())
    return SimpleNamespace(_partition_records=source, _update_position=lambda: None)


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
    got = next_batch(fetched(content, 5), None)
    assert (got.begin, got.end, got.first) == (5, 10, 5)
    assert offsets(got) == [5, 6, 7, 8, 9]


@pytest.mark.parametrize("compression", [0, GZIP])
def test_what_was_read_before_is_left_out(compression: int) -> None:
    """A broker sends a producer's batch whole, though it was asked for its end."""
    got = next_batch(fetched(bytes(batch(5, values(4), compression)), 7), None)
    assert (got.begin, got.end, got.first) == (7, 9, 7)
    assert offsets(got) == [7, 8]


def test_marks_of_transactions_are_passed_over_and_no_gap() -> None:
    """The batch after one begins where the last one ended."""
    only = next_batch(fetched(control(5), 5), None)
    assert (only.begin, only.end, only.first, offsets(only)) == (5, 6, None, [])
    got = next_batch(fetched(control(6) + bytes(batch(7, values(2))), 6), only.end)
    assert (got.begin, got.end, got.first, offsets(got)) == (6, 9, 7, [7, 8])


def test_a_large_fetch_is_handed_over_in_parts() -> None:
    """About RECORDS_MAX in each; nothing is missing between two."""
    each = RECORDS_MAX // 2
    content = b"".join(bytes(batch(at * each, values(each))) for at in range(5))
    result = fetched(content, 0)
    parts: list[Batch] = []
    while result._partition_records is not None:
        parts.append(next_batch(result, parts[-1].end if parts else None))
    assert [(part.begin, part.end) for part in parts] == [(0, 4_000), (4_000, 8_000), (8_000, 10_000)]
    assert [at for part in parts for at in offsets(part)] == list(range(10_000))


def test_messages_of_old_formats_are_read() -> None:
    """They do not say where they begin."""
    builder = LegacyRecordBatchBuilder(magic=1, compression_type=0, batch_size=100_000)
    for at in range(4):
        builder.append(at, timestamp=1_773_144_000_000, key=b"k", value=b"v")
    got = next_batch(fetched(bytes(builder.build()), 2), None)
    assert (got.begin, got.end, got.first, offsets(got)) == (2, 4, 2, [2, 3])
