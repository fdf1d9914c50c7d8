"""Which partition a user's events belong to. This is Kafka's default for records with a key: murmur2 of the key.

The key of an event's record is its userId. Every producer and every worker must use this function: a worker does not
count a user's event in another partition, but publishes it again to the right one.
"""

from __future__ import annotations

from typing import Final

_MASK: Final = 0xFFFFFFFF
_M: Final = 0x5BD1E995
_SEED: Final = 0x9747B28C


def murmur2(key: bytes) -> int:
    """MurmurHash2 of the key with Kafka's seed, as an unsigned 32-bit integer (Kafka's own is the same, signed)."""
    h = _SEED ^ len(key)
    whole_length = len(key) & ~3
    for at in range(0, whole_length, 4):
        k = int.from_bytes(key[at : at + 4], "little") * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if whole_length < len(key):
        h = (h ^ int.from_bytes(key[whole_length:], "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


def partition_of(user_id: str, partitions: int) -> int:
    """The number, from 0, of the partition that holds a user's events, in a topic of ``partitions`` partitions."""
    return (murmur2(user_id.encode()) & 0x7FFFFFFF) % partitions
