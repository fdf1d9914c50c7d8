"""Fetched bytes are divided into record batches, and one with a fault is found, whichever of its bits is wrong."""

from __future__ import annotations

import random
import struct
from contextlib import suppress
from typing import Any

import pytest
from aiokafka.errors import CorruptRecordException
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder

from streams.kafka.record_batches import RecordBatch
from streams.kafka.splitting import split
from tests.support.record_batches import BY_BROKER, STAMP_MS, TRANSACTIONAL, batch, with_crc

CRC, CRC_FROM = 17, 21
"""The bytes of a batch at which its CRC stands, and from which on the CRC covers it."""
END = 100
"""The partition's end offset."""
CODECS = range(5)


def found(content: bytes | bytearray) -> list[tuple[int, int, str]]:
    """(first offset, offset behind the last, fault) of each record batch in these bytes."""
    batches = split(bytes(content), END, join=False).batches
    return [(one.base_offset, one.next_offset, one.fault) for one in batches]


def only(content: bytes | bytearray) -> RecordBatch:
    """The record batch that these bytes are."""
    (made,) = split(bytes(content), END).batches
    return made


def values(made: RecordBatch) -> list[tuple[int, bytes | None]]:
    """(offset, value) of its records."""
    return [(record.offset, record.value) for record in made.unpacked().records(0)]


@pytest.mark.parametrize("compression", CODECS)
def test_batches_that_are_whole_have_no_fault(compression: int) -> None:
    """One batch, several, none, and a last one that the broker has cut off at any byte."""
    one, other = batch(7, [b"a" * 100, b""], compression), batch(9, [b"b" * 3_000], compression)
    assert found(one) == [(7, 9, "")]
    assert found(one + other) == [(7, 9, ""), (9, 10, "")]
    assert split(b"", END) == ([], 0, False)
    for end in range(len(one), len(one + other)):
        made = split(bytes((one + other)[:end]), END)
        assert (made.sound_bytes, made.broken, len(made.batches)) == (len(one), False, 1), end
    assert values(only(one)) == [(7, b"a" * 100), (8, b"")]


@pytest.mark.parametrize("attributes", [0, BY_BROKER])
def test_record_batches_of_small_records_are_joined(attributes: int) -> None:
    """As long as they are alike and no offset is missing; their records are the same."""
    parts = [batch(at, [b"%d" % at], attributes=attributes) for at in range(5)]
    joined = split(bytes(b"".join(parts)), END).batches
    assert [(one.base_offset, one.next_offset, one.several) for one in joined] == [(0, 5, True)]
    rows = [(at, attributes and STAMP_MS, b"%d" % at) for at in range(5)]
    assert [(record.offset, record.timestamp, record.value) for record in joined[0].records(0)] == rows
    assert [record.offset for record in joined[0].records(3)] == [3, 4]
    assert [one.base_offset for one in split(bytes(joined[0].content), END, join=False).batches] == [0, 1, 2, 3, 4]
    others = (
        batch(5, [b"a"], attributes=attributes ^ BY_BROKER),
        batch(6, [b"a"], attributes=attributes),
        batch(5, [b"a" * 50], 1, attributes=attributes),
        batch(5, [b"a"], attributes=attributes | TRANSACTIONAL),
        batch(5, [bytes(6_000)], attributes=attributes),
    )
    for other in others:
        made = split(bytes(b"".join(parts) + other), END).batches
        assert [one.several for one in made] == [True, False]


def test_every_wrong_bit_is_found_and_its_batch_named() -> None:
    """In the CRC and in what it covers, of the first batch and of the second: its offsets end where the next begins."""
    one, other = batch(7, [b"a" * 20, b"b"]), batch(9, [b"c"])
    for index, begin, end in ((0, 0, len(one)), (1, len(one), len(one) + len(other))):
        for at in range(begin + CRC, end):
            for bit in range(8):
                corrupt = one + other
                corrupt[at] ^= 1 << bit
                faults = [fault for _, _, fault in found(corrupt)]
                assert faults[index] == "it is not what its checksum says", (at, bit)
                assert faults[1 - index] == "", (at, bit)
                assert found(corrupt)[0][:2] == (7, 9), (at, bit)


def test_where_a_batch_with_a_fault_ends() -> None:
    """Where the next one begins; the last one where it says, but behind its own offset and not behind the log's end."""
    for said, end in ((1, 9), (1_000, END), (-5, 8), (2**31 - 1, END)):
        corrupt = batch(7, [b"a"])
        corrupt[23:27] = struct.pack(">i", said)
        assert found(corrupt) == [(7, end, "it is not what its checksum says")], said
        assert found(corrupt + batch(20, [b"b"])) == [(7, 20, "it is not what its checksum says"), (20, 21, "")], said
    negative = batch(7, [b"a"])
    negative[23:27] = struct.pack(">i", -1)
    assert found(with_crc(negative)) == [(7, 8, "its last offset is before its first")]


def test_an_impossible_length_is_broken() -> None:
    """What is behind it cannot be found; what is before it is kept."""
    for length in (-12, -1, 0, 8, 48):
        corrupt = batch(7, [b"a"])
        corrupt[8:12] = length.to_bytes(4, "big", signed=True)
        assert split(bytes(corrupt), END) == ([], 0, True), length
        made = split(bytes(batch(6, [b"b"]) + corrupt), END)
        assert (len(made.batches), made.broken, made.sound_bytes) == (1, True, len(batch(6, [b"b"]))), length
    half = bytes(batch(7, [b"a"])[:-1])
    assert split(half, END).broken


def test_a_length_that_ends_within_the_next_batch_is_a_wrong_checksum() -> None:
    """The offsets are those of the header, so the next fetch begins behind them, and finds what is there."""
    long, others = batch(7, [b"a", b"b"]), bytes(batch(9, [b"c"] * 3) + batch(12, [b"d"]))
    for more in (1, 20, len(others) - 1):
        long[8:12] = (len(long) - 12 + more).to_bytes(4, "big")
        first = split(bytes(long) + others, END).batches[0]
        assert (first.base_offset, first.next_offset) == (7, 9), more
        assert first.fault == "it is not what its checksum says", more


@pytest.mark.parametrize("magic", [0, 1])
def test_messages_of_old_formats_are_checked_as_well(magic: int) -> None:
    """Brokers keep them in topics that are older than Kafka 0.11."""
    builder = LegacyRecordBatchBuilder(magic=magic, compression_type=0, batch_size=1_000_000)
    for at in range(3):
        builder.append(5 + at, timestamp=STAMP_MS, key=b"k", value=b"v" * 50)
    whole = bytes(builder.build())
    assert found(whole) == [(5, 6, ""), (6, 7, ""), (7, 8, "")]
    size = len(whole) // 3
    for index in (0, 2):
        corrupt = bytearray(whole)
        corrupt[index * size + size - 1] ^= 1
        assert [bool(fault) for _, _, fault in found(corrupt)] == [at == index for at in range(3)]


@pytest.mark.parametrize("codec", [1, 2, 3])
def test_packed_messages_of_old_formats_are_read(codec: int) -> None:
    """One message holds all of them; its offset is that of the last."""
    builder = LegacyRecordBatchBuilder(magic=1, compression_type=codec, batch_size=1_000_000)
    for at in range(3):
        builder.append(at, timestamp=STAMP_MS, key=b"k", value=b"v" * 50)
    made = only(builder.build())
    assert made.is_packed
    assert len(values(made)) == 3


def test_bytes_that_are_no_batches_raise_no_error() -> None:
    """Random bytes are broken, have a fault, or are too short to tell."""
    chance = random.Random(1)
    for size in (*range(80), *(chance.randrange(80, 300) for _ in range(300))):
        content = bytes([*chance.randbytes(min(size, 16)), *[2][: size > 16], *chance.randbytes(size)])
        made = split(content, END)
        assert made.broken or not content or all(one.fault for one in made.batches)


@pytest.mark.parametrize("compression", CODECS)
def test_a_record_that_its_producer_has_stamped_has_no_timestamp(compression: int) -> None:
    """The broker's stamp is kept."""
    content = [b"a" * 50, b"b" * 50]
    stamps = [
        [record.timestamp for record in only(batch(7, content, compression, attributes=bits)).unpacked().records(0)]
        for bits in (0, BY_BROKER)
    ]
    assert stamps == [[0, 0], [STAMP_MS, STAMP_MS]]


@pytest.mark.parametrize("compression", CODECS)
def test_records_before_the_position_are_left_out(compression: int) -> None:
    """A broker sends record batches whole, even if the fetch begins in the middle of one."""
    made = only(batch(7, [b"a" * 50, b"b" * 50, b"c" * 50], compression)).unpacked()
    assert [record.offset for record in made.records(8)] == [8, 9]


def test_a_record_that_cannot_be_decoded_raises_one_error_behind_those_before_it() -> None:
    """Whatever is wrong with it, the error is the same; but for the name of a header, without which it can be read."""
    chance = random.Random(2)
    whole = batch(7, [b"a" * 20, b"b" * 20, b"c" * 20], headers=[("trace", b"1")])
    for _ in range(20_000):
        damaged = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            damaged[chance.randrange(57, len(damaged))] = chance.randrange(256)
        made = only(with_crc(damaged))
        decoded: list[Any] = []
        with suppress(CorruptRecordException):
            try:
                decoded += made.records(0)
            except UnicodeDecodeError:
                decoded += made.plain_records(0)
        assert all(record.value is None or type(record.value) is bytes for record in decoded)


@pytest.mark.parametrize(
    "size", [b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\xff" * 11, b"\xfe\xff\xff\xff\x0f", b"\x80"]
)
def test_a_size_beyond_the_record_reads_no_memory_behind_it(size: bytes) -> None:
    """In the place of the key's size; the process ended by a segmentation fault, now and then."""
    whole = batch(7, [b"a" * 20], headers=[("trace", b"1")])
    at = whole.index(b"u1") - 1
    damaged = whole[:at] + size + whole[at + len(size) :]
    with pytest.raises(CorruptRecordException):
        list(only(with_crc(bytearray(damaged))).plain_records(0))


def test_what_is_very_large_is_decoded_without_copying_all_of_it() -> None:
    """A value is truncated to more than any event has; its size is known."""
    sizes = [10, 30 * 2**20, 20]
    made = only(batch(7, [bytes(size) for size in sizes], 4, attributes=BY_BROKER)).unpacked()
    found = [(record.offset, len(record.value), record.value_size, record.timestamp) for record in made.records(0)]
    assert found == [(7, 10, None, STAMP_MS), (8, 2 * 2**20, 30 * 2**20, STAMP_MS), (9, 20, None, STAMP_MS)]
    assert [record.offset for record in made.records(9)] == [9]


def test_a_header_whose_name_is_no_text_costs_nothing_but_itself() -> None:
    """Brokers and other clients allow any bytes."""
    content = batch(7, [b"a", None, b"c"], headers=[("trace", b"1")], attributes=BY_BROKER)
    at = content.rindex(b"trace")
    content[at] = 0xFF
    made = only(with_crc(content))
    with pytest.raises(UnicodeDecodeError):
        list(made.records(0))
    assert [(record.offset, record.timestamp, record.key, record.value) for record in made.plain_records(8)] == [
        (8, STAMP_MS, b"u1", None),
        (9, STAMP_MS, b"u1", b"c"),
    ]
