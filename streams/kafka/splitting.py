"""Divides the bytes that were fetched of a partition into record batches, and checks their checksums::

    fetched bytes    [ok] [wrong checksum] [packed] [ok] [the beginning of ano    the broker cuts off the last one
    split         ->  RecordBatch  .fault   RecordBatch RecordBatch

Whoever reads record batches goes on behind one with a ``fault``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import google_crc32c
from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c

from streams.kafka.record_batches import BY_BROKER, CODEC_MASK, HEADER, LENGTH_END, RecordBatch

_OLD_HEADER: Final = struct.Struct(">qiib")
"""What all formats begin with: offset, length, 4 bytes of other meaning, magic."""
_CRC_FROM: Final = 21
"""Where the CRC field ends. The CRC covers the bytes from here to the end of the batch. The broker may change the ones
before."""
_OLD_ATTRIBUTES_AT: Final = 17
_MAGIC: Final = 2
"""The record format of Kafka 0.11 and later. Older formats have another kind of checksum, at another position."""
SMALL_RECORD_BYTES: Final = 5_000
JOINED_RECORDS_MAX: Final = 1_000
"""Record batches whose records have this size on average, or less, are joined to several of so many records."""

_WRONG_CHECKSUM: Final = "it is not what its checksum says"

_crc32c: Final[Callable[[bytes], int]] = google_crc32c.value if google_crc32c.implementation == "c" else calc_crc32c
"""Computes a CRC. Without its C extension, google-crc32c is written in Python and slower than aiokafka's table."""


class Split(NamedTuple):
    """What ``split`` has made of fetched bytes.

    ``batches``: the record batches, in order. ``sound_bytes``: how many bytes they are. ``broken``: whether the bytes
    behind those cannot be the beginning of a record batch, so that they must be fetched again.
    """

    batches: list[RecordBatch]
    sound_bytes: int
    broken: bool


def split(fetched: bytes, end_offset: int, *, join: bool = True) -> Split:
    """Divide the bytes that were fetched of a partition into record batches, and check their CRCs.

    ``end_offset``: of the partition. The broker may have cut off the last of several record batches; that one is left
    out. Bytes that begin with half a record batch are broken. ``join``: whether ``several`` may be made.
    """
    batches: list[RecordBatch] = []
    view, begin, size = memoryview(fetched), 0, len(fetched)
    joined = _Joined(view, batches)
    while begin + _OLD_HEADER.size <= size:
        offset, length, _, magic = _OLD_HEADER.unpack_from(fetched, begin)
        end = begin + LENGTH_END + length
        if magic < _MAGIC:
            joined.close()
            return _split_old(batches, fetched, begin, end_offset)
        if end > size and end >= begin + HEADER.size:
            break
        if end < begin + HEADER.size:
            joined.close()
            return _closed(batches, begin, end_offset, broken=True)
        (_, _, _, _, crc, attributes, last, _, _, producer_id, _, _, count) = HEADER.unpack_from(fetched, begin)
        if _crc32c(fetched[begin + _CRC_FROM : end]) != crc:
            fault = _WRONG_CHECKSUM
        elif last < 0:
            fault = "its last offset is before its first"
        else:
            fault = ""
        is_plain = not fault and attributes & ~BY_BROKER == 0 and count == last + 1
        if join and is_plain and length < SMALL_RECORD_BYTES * count:
            joined.add(begin, end, offset, count, attributes)
        else:
            joined.close()
            content = view[begin:end]
            batches.append(
                RecordBatch(content, content, offset, offset + last + 1, attributes, producer_id, count, fault)
            )
        begin = end
    joined.close()
    return _closed(batches, begin, end_offset, broken=not batches and size > 0)


class _Joined:
    """Joins record batches in a row to one RecordBatch, which ``close`` appends to ``batches``."""

    __slots__ = ("_attributes", "_batches", "_begin", "_end", "_next_offset", "_number", "_offset", "_view")

    def __init__(self, view: memoryview, batches: list[RecordBatch]) -> None:
        self._view = view
        self._batches = batches
        self._number = 0  # of the record batches that are joined
        self._begin = self._end = 0  # their bytes
        self._offset = self._next_offset = 0
        self._attributes = 0

    def add(self, begin: int, end: int, offset: int, count: int, attributes: int) -> None:
        """Join the record batch in the bytes from ``begin`` to ``end``, if it follows on the last one and is alike."""
        if (
            not self._number
            or offset != self._next_offset
            or attributes != self._attributes
            or offset - self._offset >= JOINED_RECORDS_MAX
        ):
            self.close()
            self._begin, self._offset, self._attributes = begin, offset, attributes
        self._number += 1
        self._end, self._next_offset = end, offset + count

    def close(self) -> None:
        """Make a RecordBatch of all that were joined, if there are any."""
        if self._number:
            content = self._view[self._begin : self._end]
            offsets = self._offset, self._next_offset
            made = RecordBatch(content, content, *offsets, self._attributes, -1, offsets[1] - offsets[0])
            self._batches.append(made if self._number == 1 else made._replace(several=True))
            self._number = 0


def _closed(batches: list[RecordBatch], sound_bytes: int, end_offset: int, *, broken: bool) -> Split:
    """A Split in which the ``next_offset`` of each faulty batch can be relied on.

    It is the offset of the batch behind, as far as that is known; else what the faulty header says, but at most the
    partition's end.
    """
    for index, batch in enumerate(batches):
        if batch.fault:
            said = batches[index + 1].base_offset if index + 1 < len(batches) else min(batch.next_offset, end_offset)
            batches[index] = batch._replace(next_offset=max(said, batch.base_offset + 1))
    return Split(batches, sound_bytes, broken)


def _split_old(batches: list[RecordBatch], fetched: bytes, begin: int, end_offset: int) -> Split:
    """Divide the bytes from ``begin`` on with aiokafka's own code; the first of them has an old format.

    A packed message of an old format has the offset of its last record. Its first one is not known, so ``base_offset``
    is where the message before ends.
    """
    view, records = memoryview(fetched), MemoryRecords(fetched[begin:])
    try:
        while records.has_next():
            batch: Any = records.next_batch()
            (length,) = struct.unpack_from(">i", fetched, begin + LENGTH_END - 4)
            content = view[begin : begin + LENGTH_END + length]
            attributes = content[_OLD_ATTRIBUTES_AT] & (CODEC_MASK | BY_BROKER)
            base_offset = batch.next_offset - 1
            if attributes & CODEC_MASK:
                base_offset = min(base_offset, batches[-1].next_offset if batches else 0)
            fault = "" if batch.validate_crc() else _WRONG_CHECKSUM
            batches.append(
                RecordBatch(content, content, base_offset, batch.next_offset, attributes, -1, 1, fault, batch)
            )
            begin += len(content)
    except CorruptRecordException:
        return _closed(batches, begin, end_offset, broken=True)
    return _closed(batches, begin, end_offset, broken=not batches)
