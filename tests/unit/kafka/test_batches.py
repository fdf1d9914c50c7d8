"""Batches are made of what was fetched, whole and in order, and without what is not committed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder

from streams.kafka.batches import RECORDS_MAX, STEP_RECORDS, Batch, next_batch
from streams.kafka.splitting import split
from tests.support.fetch_results import fetched
from tests.support.record_batches import ATTRIBUTES, BY_BROKER, CONTROL, STAMP_MS, TRANSACTIONAL, batch, with_crc

GZIP = 1
END = 10_000


async def read(handed: Batch) -> list[tuple[int, int, bytes | None]]:
    """(offset, timestamp, value) of its records, and (offset, -1, fault) of a record batch that cannot be read."""
    found: list[tuple[int, int, bytes | None]] = []
    async for run in handed.runs():
        while (taken := run.take()) or run.faulty is not None:
            found += [(record.offset, record.timestamp, record.value) for record in taken]
            if run.faulty is not None:
                found.append((run.faulty.base_offset, -1, run.faulty.fault.encode()))
                run.faulty = None
    return found


def rows(handed: Batch) -> list[tuple[int, int, bytes | None]]:
    """What ``read`` returns."""
    return asyncio.run(read(handed))


def offsets(handed: Batch) -> list[int]:
    """The offsets of its records."""
    return [offset for offset, _, _ in rows(handed)]


def values(count: int) -> list[bytes]:
    """The values of ``count`` messages."""
    return [b"%d" % at for at in range(count)]


def marker(offset: int, producer: int = 7) -> bytes:
    """A transaction marker."""
    return bytes(batch(offset, [b"marker"], attributes=CONTROL | TRANSACTIONAL, producer=producer))


def of_transaction(offset: int, count: int, producer: int = 7) -> bytes:
    """Records of a transaction."""
    return bytes(batch(offset, values(count), attributes=TRANSACTIONAL, producer=producer))


@pytest.mark.parametrize("compression", range(5))
def test_producers_batches_become_one(compression: int) -> None:
    """It has every record, in order, whatever it was packed with."""
    content = bytes(batch(5, [b"a" * 50] * 3, compression) + batch(8, [b"b" * 50] * 2, compression))
    got = next_batch(fetched(content, 5), None)
    assert got[:4] == (5, 10, 0, 0)
    assert offsets(got) == [5, 6, 7, 8, 9]


@pytest.mark.parametrize("compression", [0, GZIP])
def test_records_that_were_read_before_are_left_out(compression: int) -> None:
    """A broker sends a producer's batch whole, even if the fetch begins in the middle of it."""
    got = next_batch(fetched(bytes(batch(5, [b"a" * 50] * 4, compression)), 7), None)
    assert got[:4] == (7, 9, 0, 0)
    assert offsets(got) == [7, 8]


def test_transaction_markers_are_skipped_and_leave_no_gap() -> None:
    """A batch begins where the last one ended, so the markers are within one of them."""
    only = next_batch(fetched(marker(5), 5), None)
    assert (only[:4], offsets(only)) == ((5, 6, 1, 0), [])
    got = next_batch(fetched(marker(6) + bytes(batch(7, values(2))), 6), only.end)
    assert (got[:4], offsets(got)) == ((6, 9, 1, 0), [7, 8])


def test_records_of_aborted_transactions_are_left_out() -> None:
    """Those of the producer that aborted, from the offset that the broker names to its marker; all others are read."""
    parts = (
        *(of_transaction(0, 2, 7), marker(2, 7), of_transaction(3, 2, 7), of_transaction(5, 1, 8)),
        *(bytes(batch(6, values(1))), of_transaction(7, 1, 7), marker(8, 7)),
        *(of_transaction(9, 1, 7), marker(10, 8), marker(11, 7)),
    )
    content = b"".join(parts)
    got = next_batch(fetched(content, 0, aborted=[(7, 3)]), None)
    assert got[:4] == (0, 12, 7, 0)
    assert offsets(got) == [0, 1, 5, 6, 9]
    only_aborted = next_batch(fetched(of_transaction(4, 1, 7) + marker(5, 7), 4, aborted=[(7, 3)]), None)
    assert (only_aborted[:4], offsets(only_aborted)) == ((4, 6, 2, 0), [])


def test_offsets_that_no_record_batch_has_are_missing() -> None:
    """Kafka has deleted them, as opposed to those of markers."""
    got = next_batch(fetched(bytes(batch(5, values(1))) + marker(8) + bytes(batch(9, values(1))), 5), 3)
    assert (got[:4], offsets(got)) == ((3, 10, 5, 4), [5, 9])


def test_a_large_fetch_becomes_several_batches() -> None:
    """Each has about RECORDS_MAX records, and begins where the one before ended."""
    each = RECORDS_MAX // 2
    content = b"".join(bytes(batch(at * each, values(each))) for at in range(5))
    result: Any = fetched(content, 0)
    batches: list[Batch] = []
    while result.has_more():
        batches.append(next_batch(result, batches[-1].end if batches else None))
    assert [(handed.begin, handed.end) for handed in batches] == [(0, 4_000), (4_000, 8_000), (8_000, 10_000)]
    assert [at for handed in batches for at in offsets(handed)] == list(range(10_000))


def test_messages_of_old_formats_are_read() -> None:
    """Their batches have no base offset."""
    builder = LegacyRecordBatchBuilder(magic=1, compression_type=0, batch_size=100_000)
    for at in range(4):
        builder.append(at, timestamp=STAMP_MS, key=b"k", value=b"v")
    got = next_batch(fetched(bytes(builder.build()), 2), None)
    assert (got[:4], offsets(got)) == ((2, 4, 0, 0), [2, 3])


def test_producers_stamps_are_left_out_and_the_brokers_kept() -> None:
    """A topic may have records of both kinds; no run has."""
    content = b"".join(bytes(batch(at, [b"%d" % at], attributes=BY_BROKER * (at % 2))) for at in range(4))
    got = next_batch(fetched(content, 0), None)
    assert rows(got) == [(0, 0, b"0"), (1, STAMP_MS, b"1"), (2, 0, b"2"), (3, STAMP_MS, b"3")]


def test_a_faulty_record_batch_is_named_and_the_others_are_read() -> None:
    """A wrong checksum, a body that cannot be unpacked, records that cannot be decoded."""
    wrong_checksum, packed = batch(2, [b"a" * 50] * 2), batch(4, [b"a" * 50] * 2, GZIP)
    undecoded = batch(6, values(2))
    wrong_checksum[-1] ^= 1
    packed[70:] = b"\xff" * len(packed[70:])
    undecoded[-1] = 0xFF
    damaged = wrong_checksum, with_crc(packed), with_crc(undecoded)
    content = b"".join(map(bytes, (batch(0, values(2)), *damaged, batch(8, values(2)))))
    got = next_batch(fetched(content, 0), None)
    found = rows(got)
    assert got[:4] == (0, 10, 0, 0)
    assert [offset for offset, stamp, _ in found if stamp >= 0] == [0, 1, 6, 8, 9]
    assert [(offset, bytes(fault or b"")[:22]) for offset, stamp, fault in found if stamp < 0] == [
        (2, b"it is not what its che"),
        (4, b"it cannot be unpacked:"),
        (6, b"Found invalid number o"),
    ]


def test_an_offset_of_others_at_the_end_of_a_step_is_a_fault() -> None:
    """A producer writes the offsets of records. One behind its record batch would make others be taken for read."""
    foreign = batch(2, values(2))
    foreign[-7] = 100  # of the second record: how far its offset is behind the first
    found = rows(next_batch(fetched(bytes(batch(0, values(2)) + with_crc(foreign)), 0), None))
    assert found == [
        (0, 0, b"0"),
        (1, 0, b"1"),
        (2, 0, b"0"),
        (2, -1, b"its records have offsets that are not its own"),
    ]


def test_a_fault_in_many_joined_record_batches_costs_its_own_alone() -> None:
    """Record batches of few records are read as one; each fault is found again among them."""
    parts = [batch(at * 2, values(2)) for at in range(300)]
    parts[49][-7] = 100  # an offset of others in the last record of the first step
    parts[130][-1] = 0xFF
    for at in (49, 130):
        with_crc(parts[at])
    got = next_batch(fetched(bytes(b"".join(parts)), 0), None)
    assert [one.several for one in got.content] == [True]
    found = rows(got)
    assert [offset for offset, stamp, _ in found if stamp < 0] == [98, 260]
    assert [offset for offset, stamp, _ in found if stamp >= 0] == [at for at in range(600) if at not in (99, 261)]


def test_large_records_are_taken_a_few_at_a_time() -> None:
    """So that no step decodes and applies much more than half a megabyte."""

    async def steps(size: int, count: int, compression: int) -> list[int]:
        content = bytes(batch(0, [bytes(size)] * count, compression))
        (run,) = [run async for run in next_batch(fetched(content, 0), None).runs()]
        return [len(step) for step in iter(run.take, [])]

    for compression in (0, GZIP):
        assert asyncio.run(steps(100, STEP_RECORDS * 5, compression)) == [STEP_RECORDS] * 5
        assert asyncio.run(steps(40_000, 25, compression)) == [10, 10, 5]
        assert asyncio.run(steps(900_000, 3, compression)) == [1, 1, 1]


def test_a_header_whose_name_is_no_text_loses_no_record() -> None:
    """Wherever the record stands in its record batch and in a step."""
    count = STEP_RECORDS * 2 + 5
    content = batch(0, values(count), headers=[("trace", b"1")])
    at = -1
    for number in range(STEP_RECORDS + 3):
        at = content.index(b"trace", at + 1)
        if number in (0, STEP_RECORDS // 2, STEP_RECORDS, STEP_RECORDS + 2):
            damaged = content[:]
            damaged[at] = 0xFF
            got = next_batch(fetched(bytes(with_crc(damaged) + batch(count, values(2))), 0), None)
            assert rows(got) == [(row, 0, b"%d" % (row % count)) for row in range(count + 2)]


def test_a_marker_is_known_by_its_bit() -> None:
    """The helpers of this file make what Kafka makes."""
    assert split(marker(1), END).batches[0].is_marker
    assert marker(1)[ATTRIBUTES] & (CONTROL | TRANSACTIONAL) == CONTROL | TRANSACTIONAL
