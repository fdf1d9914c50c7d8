"""``RecordBatch``: a record batch of Kafka: unpacks it, and decodes its records.

Producers write record batches, and the broker stores and sends them as they are, so what is in them comes from outside.
One that cannot be read has a ``fault``. ``streams.kafka.splitting`` makes them of what was fetched.

The record formats before Kafka 0.11 (2017) are read by aiokafka's code, which unpacks without a bound.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from gzip import BadGzipFile
from itertools import chain
from typing import Any, Final, NamedTuple

import cramjam
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.memory_records import MemoryRecords

from streams.kafka.unpacking import NotUnpacked, unpack_behind
from streams.kafka.varint import bytes_at, varint

HEADER: Final = struct.Struct(">qiibIhiqqqhii")
"""Base offset, length, leader epoch, magic (the record format), CRC, attributes, last offset - base offset, first
timestamp, largest timestamp, producer id, producer epoch, base sequence, count of records."""
_START: Final = struct.Struct(">qi")
"""Offset and length."""
LENGTH_END: Final = 12
"""Where the length field ends. Its value is the count of bytes from here to the end of the batch."""
_ATTRIBUTES_AT: Final = 21
_LARGEST_TIMESTAMP_AT: Final = 35
COMPILED_BYTES_MAX: Final = 16 * 1_048_576
"""Record batches that unpack to more are decoded by ``plain_records``, at 2 µs for each record. aiokafka's compiled
code needs a tenth of that, but it copies one record of all the bytes in one go."""
PLAIN_VALUE_MAX: Final = 2 * 1_048_576
"""To so many bytes ``plain_records`` truncates values: no event is as large, and a dead letter keeps less."""

CODEC_MASK: Final = 0x07
BY_BROKER: Final = 0x08
"""Set: the broker has stamped the records. Not set: their producer has."""
_TRANSACTIONAL: Final = 0x10
_CONTROL: Final = 0x20


DAMAGE: Final = (
    CorruptRecordException,  # its checksum or its lengths
    UnsupportedCodecError,
    UnicodeDecodeError,  # the name of a header
    cramjam.DecompressionError,  # lz4, snappy, zstd
    BadGzipFile,
    EOFError,  # gzip
    zlib.error,  # gzip
    struct.error,  # snappy
)
"""What aiokafka raises while it decodes a damaged record batch."""


class PlainRecord(NamedTuple):
    """A record that aiokafka's compiled code has not decoded, with the same attributes. Its headers are left out, and a
    value of more than PLAIN_VALUE_MAX bytes is truncated."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[()] = ()
    value_size: int | None = None
    """How many bytes the value has, if it is truncated."""


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
        return bool(self.attributes & CODEC_MASK)

    @property
    def by_broker(self) -> bool:
        """Whether the broker has stamped the records. Else ``records`` gives all of them the timestamp 0."""
        return bool(self.attributes & BY_BROKER)

    def records(self, position: int) -> Iterator[Any]:
        """Its records from the offset ``position`` on, each decoded when it is yielded.

        A record has ``offset``, ``timestamp``, ``key``, ``value`` and ``headers``. The timestamp is 0 if the broker has
        not stamped the record. Raises CorruptRecordException at a record that cannot be decoded, UnicodeDecodeError at
        one that ``plain_records`` can decode.
        """
        if self.old is None and len(self.content) > COMPILED_BYTES_MAX:
            return self.plain_records(position)
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

    def plain_records(self, position: int) -> Iterator[PlainRecord]:
        """Its records from the offset ``position`` on, without their headers. Raises CorruptRecordException.

        aiokafka raises UnicodeDecodeError at a header whose name is not UTF-8, which brokers and other clients allow.
        And it copies values of any size: to copy one of 32 MiB takes 20 ms.
        """
        content: Any = self.content
        at = HEADER.size
        timestamp = struct.unpack_from(">q", content, _LARGEST_TIMESTAMP_AT)[0] if self.by_broker else 0
        try:
            for _ in range(self.record_count):
                size, at = varint(content, at)
                end = at + size
                _, at = varint(content, at + 1)  # behind the record's attributes: the difference of its time
                offset_delta, at = varint(content, at)
                key, at = bytes_at(content, at, PLAIN_VALUE_MAX)
                value_size, _ = varint(content, at)
                value, at = bytes_at(content, at, PLAIN_VALUE_MAX)
                if not at <= end <= len(content):
                    raise CorruptRecordException("a record is longer than it says")
                at = end
                if self.base_offset + offset_delta >= position:
                    offset = self.base_offset + offset_delta
                    truncated = value_size if value_size > PLAIN_VALUE_MAX else None
                    yield PlainRecord(offset, timestamp, key, value, (), truncated)
        except (IndexError, ValueError) as error:
            raise CorruptRecordException(f"a record cannot be decoded: {error}") from error

    def unpacked(self) -> RecordBatch:
        """The same record batch, unpacked; or with a ``fault``, if that is not possible. Takes up to 100 ms."""
        if self.old is not None:
            return self._replace(attributes=self.attributes & ~CODEC_MASK)
        head = bytearray(self.content[: HEADER.size])
        attributes = self.attributes & ~CODEC_MASK
        struct.pack_into(">h", head, _ATTRIBUTES_AT, attributes)
        try:
            content = unpack_behind(bytes(head), self.attributes & CODEC_MASK, self.content[HEADER.size :])
        except NotUnpacked as error:
            return self._replace(fault=str(error))
        struct.pack_into(">i", content, LENGTH_END - 4, len(content) - LENGTH_END)
        return self._replace(content=content, attributes=attributes)


def _unstamped(content: memoryview) -> bytes:
    """A copy of record batches which says that the broker has stamped all records with 0.

    So a record of a producer's time costs no more than others.
    """
    copy, begin = bytearray(content), 0
    while begin < len(copy):
        _, length = _START.unpack_from(copy, begin)
        copy[begin + _ATTRIBUTES_AT + 1] |= BY_BROKER
        copy[begin + _LARGEST_TIMESTAMP_AT : begin + _LARGEST_TIMESTAMP_AT + 8] = bytes(8)
        begin += LENGTH_END + length
    return bytes(copy)


def _old_records(batch: Any, *, by_broker: bool) -> Iterator[PlainRecord]:
    try:
        for record in batch:
            yield PlainRecord(record.offset, record.timestamp if by_broker else 0, record.key, record.value)
    except CorruptRecordException:
        raise
    except (UnsupportedCodecError, ValueError, RuntimeError, EOFError, OSError) as error:  # of the codecs
        raise CorruptRecordException(str(error)) from error
