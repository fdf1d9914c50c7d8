"""Kafka's numbers of variable length, and what begins with one, read from bytes that may be damaged."""

from __future__ import annotations


def varint(content: bytes | memoryview, at: int) -> tuple[int, int]:
    """(the zigzag number at byte ``at``, where it ends). Raises IndexError behind the end, ValueError for a long one.

    aiokafka's ``decode_varint`` does not look for the end: it reads whatever memory lies behind, or the process ends.
    """
    if at < 0:
        raise IndexError("before the content")
    value = shift = 0
    while (byte := content[at]) >= 0x80:
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if shift > 63:
            raise ValueError("a number has more than 64 bits")
    value |= byte << shift
    return (value >> 1) ^ -(value & 1), at + 1


def bytes_at(content: bytes | memoryview, at: int, most: int) -> tuple[bytes | None, int]:
    """(the key or value that begins at byte ``at``, truncated to ``most`` bytes; where it ends)."""
    size, at = varint(content, at)
    return (None, at) if size < 0 else (bytes(content[at : at + min(size, most)]), at + size)
