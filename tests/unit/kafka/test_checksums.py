"""A batch with a wrong checksum is found, whichever of its bits is wrong."""

from __future__ import annotations

import random

import pytest
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder

from streams.kafka.checksums import CorruptBatch, first_corrupt_batch
from tests.support.record_batches import batch

CRC, CRC_FROM = 17, 21
"""The bytes of a batch at which its CRC stands, and from which on the CRC covers it."""


@pytest.mark.parametrize("compression", [0, 1])
def test_batches_that_are_whole_are_not_corrupt(compression: int) -> None:
    """One batch, several, none, and a last one that the broker has cut off at any byte."""
    one, other = batch(7, [b"a" * 100, b""], compression), batch(9, [b"b" * 3_000], compression)
    assert first_corrupt_batch(bytes(one)) is None
    assert first_corrupt_batch(bytes(one + other)) is None
    assert first_corrupt_batch(b"") is None
    for end in range(len(one), len(one + other)):
        assert first_corrupt_batch(bytes((one + other)[:end])) is None, end


def test_every_wrong_bit_is_found_and_its_batch_named() -> None:
    """In the CRC and in what it covers, of the first batch and of the second."""
    one, other = batch(7, [b"a" * 20, b"b"]), batch(9, [b"c"])
    for first, begin, end in ((7, 0, len(one)), (9, len(one), len(one) + len(other))):
        for at in (*range(begin + CRC, begin + CRC_FROM), *range(begin + CRC_FROM, end)):
            for bit in range(8):
                corrupt = one + other
                corrupt[at] ^= 1 << bit
                assert first_corrupt_batch(bytes(corrupt)) == CorruptBatch(begin, first), (at, bit)


def test_an_impossible_length_is_corrupt_too() -> None:
    """The search ends, whatever the length says."""
    for length in (-12, -1, 0, 8, 100_000):
        corrupt = batch(7, [b"a"])
        corrupt[8:12] = length.to_bytes(4, "big", signed=True)
        assert first_corrupt_batch(bytes(corrupt)) == CorruptBatch(0, 7), length


@pytest.mark.parametrize("magic", [0, 1])
def test_messages_of_old_formats_are_checked_as_well(magic: int) -> None:
    """Brokers keep them in topics that are older than Kafka 0.11."""
    builder = LegacyRecordBatchBuilder(magic=magic, compression_type=0, batch_size=1_000_000)
    for at in range(3):
        builder.append(5 + at, timestamp=1_773_144_000_000, key=b"k", value=b"v" * 50)
    whole = bytes(builder.build())
    assert first_corrupt_batch(whole) is None
    size = len(whole) // 3
    for index in (0, 2):
        corrupt = bytearray(whole)
        corrupt[index * size + size - 1] ^= 1
        assert first_corrupt_batch(bytes(corrupt)) == CorruptBatch(0, 5)


def test_bytes_that_are_no_batches_raise_no_error() -> None:
    """Random bytes are corrupt, or too short to tell."""
    chance = random.Random(1)
    for size in (*range(80), *(chance.randrange(80, 300) for _ in range(300))):
        found = first_corrupt_batch(
            bytes([*chance.randbytes(min(size, 16)), *[2][: size > 16], *chance.randbytes(size)])
        )
        assert found is None or isinstance(found, CorruptBatch)
