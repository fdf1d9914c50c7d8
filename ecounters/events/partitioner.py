"""The partition of a user's events: Kafka's default partitioner, murmur2 of the record's key, which is the userId.

Every producer and every worker must agree on this function: an event on another partition counts as misrouted.
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
    """The partition of a user's events in a topic of ``partitions`` partitions, from 0."""
    return (murmur2(user_id.encode()) & 0x7FFFFFFF) % partitions
