"""Checks the CRC of every batch that a consumer fetches, with the processor's own instruction for CRCs.

aiokafka's own check is switched off. It computes CRCs from a table, which takes three to six times as long. And it
would raise an exception in the middle of ``getmany``, so that records already taken from other partitions were lost.
This module changes a fetched partition before aiokafka sees it, as if the broker had noticed the corrupt batch::

    a fetched partition               what aiokafka sees
    [ok] [ok] [corrupt] [ok]    ->    [ok] [ok]                  the next fetch begins at the corrupt batch
    [corrupt] [ok]              ->    error CORRUPT_MESSAGE      the same offset is fetched again
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import google_crc32c
from aiokafka.errors import CorruptRecordException
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c

from streams.kafka import internals

log = logging.getLogger(__name__)

_HEADER: Final = struct.Struct(">qiibI")
"""The start of a record batch: base offset, length, leader epoch, magic (its format), CRC."""
_LENGTH_END: Final = 12
"""Where the length field ends. Its value is the count of bytes from here to the end of the batch."""
_CRC_FROM: Final = 21
"""Where the CRC field ends. The CRC covers the bytes from here to the end of the batch. The broker may change the ones
before."""
_MAGIC: Final = 2
"""The record format of Kafka 0.11 and later. Older formats have another kind of checksum, at another position."""
_CORRUPT_MESSAGE: Final = 2
"""Kafka's error code CORRUPT_MESSAGE."""
REFETCH_PAUSE_S: Final = 0.1
"""The pause after a fetch of a batch that was corrupt before as well: the broker's own copy may be corrupt. The records
of the other partitions in the same response wait as long."""

_crc32c: Final[Callable[[bytes], int]] = google_crc32c.value if google_crc32c.implementation == "c" else calc_crc32c
"""Computes a CRC. Without its C extension, google-crc32c is written in Python and slower than aiokafka's table."""


class CorruptBatch(NamedTuple):
    """A batch with a wrong CRC or length. ``begin``: the index of its first byte in the fetched bytes; ``offset``: its
    base offset."""

    begin: int
    offset: int


def check_fetched(consumer: Any) -> None:
    """Check everything that a started consumer fetches. Create the consumer with ``check_crcs=False``."""
    internals.wrap_client_of_fetches(consumer, _CheckingClient)


class _CheckingClient:
    """Wraps aiokafka's client, and removes the first corrupt batch and all behind it from a fetched partition.

    If that is the partition's first batch, the partition gets error CORRUPT_MESSAGE, and aiokafka fetches it again.
    Logs an error once per corrupt batch, however often it is fetched in a row.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._logged: dict[tuple[str, int], int] = {}  # (topic, partition) -> offset of the last corrupt batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def send(self, node_id: int, request: Any, **options: Any) -> Any:
        """Send a request and return its response. Removes corrupt batches from the response to a FetchRequest.

        Pauses for REFETCH_PAUSE_S if the same batch of a partition was corrupt the last time too.
        """
        response = await self._client.send(node_id, request, **options)
        if isinstance(request, FetchRequest):
            repeated = False
            for topic, partitions in response.topics:
                for index, (partition, error, *more, records) in enumerate(partitions):
                    corrupt = None if error else first_corrupt_batch(records)
                    if corrupt is not None:
                        repeated |= not self._log_once(topic, partition, corrupt.offset)
                        code = 0 if corrupt.begin else _CORRUPT_MESSAGE
                        partitions[index] = partition, code, *more, records[: corrupt.begin]
            if repeated:
                await asyncio.sleep(REFETCH_PAUSE_S)
        return response

    def _log_once(self, topic: str, partition: int, offset: int) -> bool:
        """Log a corrupt batch and return True. If it is the last one logged of this partition, only return False."""
        if self._logged.get((topic, partition)) == offset:
            return False
        self._logged[topic, partition] = offset
        log.error("%s, partition %s: the records from offset %s on are not what their checksum says; "
                  "fetching them again", topic, partition, offset)  # fmt: skip
        return True


def first_corrupt_batch(fetched: bytes) -> CorruptBatch | None:
    """The first batch with a wrong CRC or an impossible length; None if all batches are right.

    ``fetched``: record batches as a broker sends them. The broker may have truncated the last of several batches; that
    one is not checked and not corrupt. A single batch that is truncated is corrupt.
    """
    begin = 0
    while begin + _HEADER.size <= len(fetched):
        offset, length, _, magic, crc = _HEADER.unpack_from(fetched, begin)
        if magic != _MAGIC:
            return _first_corrupt_of_old_format(fetched, begin, offset)
        end = begin + _LENGTH_END + length
        if begin and end > len(fetched):
            return None
        if end < begin + _HEADER.size or end > len(fetched) or _crc32c(fetched[begin + _CRC_FROM : end]) != crc:
            return CorruptBatch(begin, offset)
        begin = end
    return None


def _first_corrupt_of_old_format(fetched: bytes, begin: int, offset: int) -> CorruptBatch | None:
    """Check the batches from byte ``begin`` on with aiokafka's own code. The first of them has an old format.

    ``offset``: the base offset of the first. If any of them is corrupt, returns the first one as the corrupt batch, so
    that all of them are removed.
    """
    try:
        records = MemoryRecords(fetched[begin:])
        while records.has_next():
            if not records.next_batch().validate_crc():
                return CorruptBatch(begin, offset)
    except CorruptRecordException:
        return CorruptBatch(begin, offset)
    return None
