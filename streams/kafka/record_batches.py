"""Kafka's record batches, as a broker sends them: divides the fetched bytes, checks checksums, unpacks.

Producers write record batches, and the broker stores and sends them as they are, so what is in them comes from outside.
A record batch that cannot be read has a ``fault``, and whoever reads it goes on behind it::

    fetched bytes    [ok] [wrong checksum] [packed] [ok] [the beginning of ano    the broker cuts off the last one
    split         ->  RecordBatch  .fault   RecordBatch RecordBatch

The record formats before Kafka 0.11 (2017) are read by aiokafka's code, which unpacks without a bound.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, Final, NamedTuple

import google_crc32c
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c

from streams.kafka.unpacking import NotUnpacked, unpack_behind
from streams.kafka.varint import bytes_at, varint

_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
"""Base offset, length, leader epoch, magic (the record format), CRC, attributes, last offset - base offset, first
timestamp, largest timestamp, producer id, producer epoch, base sequence, count of records."""
_OLD_HEADER: Final = struct.Struct(">qiib")
"""What all formats begin with: offset, length, 4 bytes of other meaning, magic."""
_START: Final = struct.Struct(">qi")
"""Offset and length."""
_LENGTH_END: Final = 12
"""Where the length field ends. Its value is the count of bytes from here to the end of the batch."""
_CRC_FROM: Final = 21
"""Where the CRC field ends. The CRC covers the bytes from here to the end of the batch. The broker may change the ones
before."""
_ATTRIBUTES_AT: Final = 21
_LARGEST_TIMESTAMP_AT: Final = 35
_OLD_ATTRIBUTES_AT: Final = 17
_MAGIC: Final = 2
"""The record format of Kafka 0.11 and later. Older formats have another kind of checksum, at another position."""

SMALL_RECORD_BYTES: Final = 5_000
JOINED_RECORDS_MAX: Final = 1_000
"""Record batches whose records have this size on average, or less, are joined to several of so many records."""

_WRONG_CHECKSUM: Final = "it is not what its checksum says"

_CODEC_MASK: Final = 0x07
_BY_BROKER: Final = 0x08
"""Set: the broker has stamped the records. Not set: their producer has."""
_TRANSACTIONAL: Final = 0x10
_CONTROL: Final = 0x20

_crc32c: Final[Callable[[bytes], int]] = google_crc32c.value if google_crc32c.implementation == "c" else calc_crc32c
"""Computes a CRC. Without its C extension, google-crc32c is written in Python and slower than aiokafka's table."""


class PlainRecord(NamedTuple):
    """A record that aiokafka's compiled code has not decoded, with the same attributes; its headers are left out."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[()] = ()


class RecordBatch(NamedTuple):
    """A record batch, several in a row, or a message of an old format.

    | field         | meaning                                                                                 |
    |---------------|-----------------------------------------------------------------------------------------|
    | content       | its bytes; of an unpacked one, those that it has unpacked                               |
    | sent          | its bytes as the broker has sent them                                                   |
    | base_offset   | the offset of its first record                                                          |
    | next_offset   | the offset behind its last record                                                       |
    | attributes    | Kafka's bits: codec, who has stamped it, whether it is transactional, whether it is a   |
    |               | transaction marker                                                                      |
    | producer_id   | whose transactions it belongs to                                                        |
    | record_count  | how many records it says it has                                                         |
    | fault         | why it cannot be read; "" if nothing is known against it                                |
    | old           | aiokafka's batch of an old format; None for today's                                     |
    | several       | whether these are several record batches without a gap: neither packed nor of           |
    |               | transactions, and of small records. To read one by one would take as long as to count   |
    |               | its records, if they are few                                                            |
    """

    content: memoryview
    sent: memoryview
    base_offset: int
    next_offset: int
    attributes: int
    producer_id: int
    record_count: int
    fault: str = ""
    old: Any = None
    several: bool = False

    @property
    def is_marker(self) -> bool:
        """Whether it is a transaction marker, and holds no record for readers."""
        return bool(self.attributes & _CONTROL)

    @property
    def is_transactional(self) -> bool:
        """Whether its records belong to a transaction."""
        return bool(self.attributes & _TRANSACTIONAL)

    @property
    def is_packed(self) -> bool:
        """Whether ``unpacked`` must be called before ``records``."""
        return bool(self.attributes & _CODEC_MASK)

    @property
    def by_broker(self) -> bool:
        """Whether the broker has stamped the records. Else ``records`` gives all of them the timestamp 0."""
        return bool(self.attributes & _BY_BROKER)

    def records(self, position: int) -> Iterator[Any]:
        """Its records from the offset ``position`` on, each decoded when it is yielded.

        A record has ``offset``, ``timestamp``, ``key``, ``value`` and ``headers``. The timestamp is 0 if the broker has
        not stamped the record. Raises CorruptRecordException at a record that cannot be decoded, UnicodeDecodeError at
        one that ``records_without_headers`` can decode.
        """
        if self.old is not None:
            records: Iterable[Any] = _old_records(self.old, by_broker=self.by_broker)
        else:
            content: Any = self.content if self.by_broker else _unstamped(self.content)
            if self.several:
                records = chain.from_iterable(iter(MemoryRecords(bytes(content)).next_batch, None))
            else:
                records = DefaultRecordBatch(content)
        if position > self.base_offset:
            return (record for record in records if record.offset >= position)
        return iter(records)

    def records_without_headers(self, position: int) -> Iterator[PlainRecord]:
        """Its records from the offset ``position`` on, without their headers. Raises CorruptRecordException.

        aiokafka raises UnicodeDecodeError at a header whose name is not UTF-8, which brokers and other clients allow.
        """
        content, at = bytes(self.content), _HEADER.size
        timestamp = struct.unpack_from(">q", content, _LARGEST_TIMESTAMP_AT)[0] if self.by_broker else 0
        try:
            for _ in range(self.record_count):
                size, at = varint(content, at)
                end = at + size
                _, at = varint(content, at + 1)  # behind the record's attributes: the difference of its time
                offset_delta, at = varint(content, at)
                key, at = bytes_at(content, at)
                value, at = bytes_at(content, at)
                if not at <= end <= len(content):
                    raise CorruptRecordException("a record is longer than it says")
                at = end
                if self.base_offset + offset_delta >= position:
                    yield PlainRecord(self.base_offset + offset_delta, timestamp, key, value)
        except (IndexError, ValueError) as error:
            raise CorruptRecordException(f"a record cannot be decoded: {error}") from error

    def one_by_one(self) -> list[RecordBatch]:
        """The record batches that ``several`` are."""
        return split(bytes(self.content), self.next_offset, join=False).batches

    def unpacked(self) -> RecordBatch:
        """The same record batch, unpacked; or with a ``fault``, if that is not possible. Takes up to 100 ms."""
        if self.old is not None:
            return self._replace(attributes=self.attributes & ~_CODEC_MASK)
        head = bytearray(self.content[: _HEADER.size])
        attributes = self.attributes & ~_CODEC_MASK
        struct.pack_into(">h", head, _ATTRIBUTES_AT, attributes)
        try:
            content = unpack_behind(bytes(head), self.attributes & _CODEC_MASK, self.content[_HEADER.size :])
        except NotUnpacked as error:
            return self._replace(fault=str(error))
        struct.pack_into(">i", content, _LENGTH_END - 4, len(content) - _LENGTH_END)
        return self._replace(content=content, attributes=attributes)


def _unstamped(content: memoryview) -> bytes:
    """A copy of record batches which says that the broker has stamped all records with 0.

    So a record of a producer's time costs no more than others.
    """
    copy, begin = bytearray(content), 0
    while begin < len(copy):
        _, length = _START.unpack_from(copy, begin)
        copy[begin + _ATTRIBUTES_AT + 1] |= _BY_BROKER
        copy[begin + _LARGEST_TIMESTAMP_AT : begin + _LARGEST_TIMESTAMP_AT + 8] = bytes(8)
        begin += _LENGTH_END + length
    return bytes(copy)


def _old_records(batch: Any, *, by_broker: bool) -> Iterator[PlainRecord]:
    try:
        for record in batch:
            yield PlainRecord(record.offset, record.timestamp if by_broker else 0, record.key, record.value)
    except CorruptRecordException:
        raise
    except (UnsupportedCodecError, ValueError, RuntimeError, EOFError, OSError) as error:  # of the codecs
        raise CorruptRecordException(str(error)) from error


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
        end = begin + _LENGTH_END + length
        if magic < _MAGIC:
            joined.close()
            return _split_old(batches, fetched, begin, end_offset)
        if end > size and end >= begin + _HEADER.size:
            break
        if end < begin + _HEADER.size:
            joined.close()
            return _closed(batches, begin, end_offset, broken=True)
        (_, _, _, _, crc, attributes, last, _, _, producer_id, _, _, count) = _HEADER.unpack_from(fetched, begin)
        if _crc32c(fetched[begin + _CRC_FROM : end]) != crc:
            fault = _WRONG_CHECKSUM
        elif last < 0:
            fault = "its last offset is before its first"
        else:
            fault = ""
        is_plain = not fault and attributes & ~_BY_BROKER == 0 and count == last + 1
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
            (length,) = struct.unpack_from(">i", fetched, begin + _LENGTH_END - 4)
            content = view[begin : begin + _LENGTH_END + length]
            attributes = content[_OLD_ATTRIBUTES_AT] & (_CODEC_MASK | _BY_BROKER)
            base_offset = batch.next_offset - 1
            if attributes & _CODEC_MASK:
                base_offset = min(base_offset, batches[-1].next_offset if batches else 0)
            fault = "" if batch.validate_crc() else _WRONG_CHECKSUM
            batches.append(
                RecordBatch(content, content, base_offset, batch.next_offset, attributes, -1, 1, fault, batch)
            )
            begin += len(content)
    except CorruptRecordException:
        return _closed(batches, begin, end_offset, broken=True)
    return _closed(batches, begin, end_offset, broken=not batches)
