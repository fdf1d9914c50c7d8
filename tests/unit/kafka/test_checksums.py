"""A batch that is not what its checksum says is found, wherever it is spoilt."""

from __future__ import annotations

import random

import pytest
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder

from streams.kafka.checksums import Spoilt, first_spoilt
from tests.support.record_batches import batch

SUMMED_FROM = 21
"""Of a batch: what comes before it, the place in the log and the leader's epoch, the broker writes without a sum."""


@pytest.mark.parametrize("compression", [0, 1])
def test_batches_that_are_whole_are_well(compression: int) -> None:
    """One, several, none, and one that the fetch has cut off at any place."""
    one, other = batch(7, [b"a" * 100, b""], compression), batch(9, [b"b" * 3_000], compression)
    assert first_spoilt(bytes(one)) is None
    assert first_spoilt(bytes(one + other)) is None
    assert first_spoilt(b"") is None
    for end in range(len(one), len(one + other)):
        assert first_spoilt(bytes((one + other)[:end])) is None, end


def test_every_spoilt_bit_is_found_and_its_batch_named() -> None:
    """Checksum and what it is of; of the second batch as of the first."""
    one, other = batch(7, [b"a" * 20, b"b"]), batch(9, [b"c"])
    for first, begin, end in ((7, 0, len(one)), (9, len(one), len(one) + len(other))):
        for at in (*range(begin + 17, begin + SUMMED_FROM), *range(begin + SUMMED_FROM, end)):
            for bit in range(8):
                spoilt = one + other
                spoilt[at] ^= 1 << bit
                assert first_spoilt(bytes(spoilt)) == Spoilt(begin, first), (at, bit)


def test_a_length_that_cannot_be_is_spoilt_too() -> None:
    """Not gone through for ever."""
    for length in (-12, -1, 0, 8, 100_000):
        spoilt = batch(7, [b"a"])
        spoilt[8:12] = length.to_bytes(4, "big", signed=True)
        assert first_spoilt(bytes(spoilt)) == Spoilt(0, 7), length


@pytest.mark.parametrize("magic", [0, 1])
def test_messages_of_old_formats_are_checked_as_well(magic: int) -> None:
    """As brokers still keep them in topics of before 0.11."""
    builder = LegacyRecordBatchBuilder(magic=magic, compression_type=0, batch_size=1_000_000)
    for at in range(3):
        builder.append(5 + at, timestamp=1_773_144_000_000, key=b"k", value=b"v" * 50)
    whole = bytes(builder.build())
    assert first_spoilt(whole) is None
    size = len(whole) // 3
    for place in (0, 2):
        spoilt = bytearray(whole)
        spoilt[place * size + size - 1] ^= 1
        assert first_spoilt(bytes(spoilt)) == Spoilt(0, 5)


def test_bytes_that_are_no_batches_are_an_answer_and_no_error() -> None:
    """Whatever comes: something is said of it."""
    chance = random.Random(1)
    for size in (*range(80), *(chance.randrange(80, 300) for _ in range(300))):
        found = first_spoilt(bytes([*chance.randbytes(min(size, 16)), *[2][: size > 16], *chance.randbytes(size)]))
        assert found is None or isinstance(found, Spoilt)
