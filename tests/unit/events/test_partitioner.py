"""murmur2 as Kafka has it: an event must be looked for where every producer puts it."""

from __future__ import annotations

import random

import pytest
from aiokafka.partitioner import murmur2 as aiokafka_murmur2

from ecounters.events.partitioner import murmur2, partition_of


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_known_vectors(key: bytes, expected: int) -> None:
    """The hash gives the vectors of Apache Kafka's own test, whose numbers are signed."""
    assert murmur2(key) == expected & 0xFFFFFFFF


def test_it_is_the_client_librarys() -> None:
    """Keys of every length and of any bytes have the same hash as by the client library."""
    draw = random.Random(7)
    for length in [*range(40), 128, 512]:
        for _ in range(8):
            key = draw.randbytes(length)
            assert murmur2(key) == aiokafka_murmur2(key) & 0xFFFFFFFF


@pytest.mark.parametrize("partitions", [1, 3, 8, 64])
def test_partitions(partitions: int) -> None:
    """The sign is masked off, not negated; a user's key is its UTF-8."""
    for user in ("u1", "foobar", "21", "मीरा", "\N{GRINNING FACE}", "x" * 128):
        expected = (aiokafka_murmur2(user.encode()) & 0x7FFFFFFF) % partitions
        assert partition_of(user, partitions) == expected


def test_users_spread_over_the_partitions() -> None:
    """Each of 8 partitions gets its share of 8,000 users, within 10 per cent."""
    counts = [0] * 8
    for at in range(8_000):
        counts[partition_of(f"user{at}", 8)] += 1
    assert min(counts) > 900 and max(counts) < 1_100
