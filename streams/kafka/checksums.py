"""Checks the CRC of every batch that a consumer fetches, with the processor's own instruction for it.

aiokafka computes CRCs from a table, which takes three to six times as long, so its own check is switched off. It would
also raise an exception in the middle of ``getmany``, and the records already taken from other partitions would be lost.
Here a corrupt batch looks as if the broker had reported error CORRUPT_MESSAGE for its partition::

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
"""The length counts the bytes behind itself, which is from byte 12 of the batch."""
_CRC_FROM: Final = 21
"""The CRC covers everything behind itself. The broker writes what is before it."""
_MAGIC: Final = 2
"""The format of Kafka 0.11 and later. Older ones have another kind of checksum, in another position."""
_CORRUPT_MESSAGE: Final = 2
"""Kafka's error code of that name."""
REFETCH_PAUSE_S: Final = 0.1
"""The pause before a batch that was corrupt twice is fetched once more: the broker's own copy may be corrupt. The
records of the other partitions in the same response wait as long."""

_crc32c: Final[Callable[[bytes], int]] = google_crc32c.value if google_crc32c.implementation == "c" else calc_crc32c
"""google-crc32c without its C extension is Python, and slower than aiokafka's table."""


class CorruptBatch(NamedTuple):
    """The first batch with a wrong CRC. ``begin``: its first byte in what was fetched; ``offset``: its base offset."""

    begin: int
    offset: int


def check_fetched(consumer: Any) -> None:
    """Let everything that a started AIOKafkaConsumer fetches be checked. Create it with ``check_crcs=False``."""
    internals.wrap_client_of_fetches(consumer, _CheckingClient)


class _CheckingClient:
    """Wraps aiokafka's client: truncates a fetched partition before its first corrupt batch.

    If that is the partition's first batch, the partition gets error CORRUPT_MESSAGE, and aiokafka fetches it again.
    Logs an error once per corrupt batch, however often it is fetched.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._logged: dict[tuple[str, int], int] = {}  # (topic, partition) -> offset of the last corrupt batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def send(self, node_id: int, request: Any, **options: Any) -> Any:
        """Send a request and return its response; that of a FetchRequest without corrupt batches.

        Pauses for REFETCH_PAUSE_S if a batch was corrupt before, at the same offset.
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
        """Log a corrupt batch. False if it was the last one logged of this partition, and nothing was logged."""
        if self._logged.get((topic, partition)) == offset:
            return False
        self._logged[topic, partition] = offset
        log.error("%s, partition %s: the records from offset %s on are not what their checksum says; "
                  "fetching them again", topic, partition, offset)  # fmt: skip
        return True


def first_corrupt_batch(fetched: bytes) -> CorruptBatch | None:
    """The first batch with a wrong CRC or an impossible length; None if all are right.

    ``fetched``: record batches as a broker sends them. The broker may have cut off the last one, if it is not the
    only one; a batch that was cut off is not corrupt.
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
    """Check the batches from byte ``begin`` on, of which the first has an old format, by aiokafka's own means.

    If any of them is corrupt, all of them are left out: the result names the first, with its ``offset``.
    """
    try:
        records = MemoryRecords(fetched[begin:])
        while records.has_next():
            if not records.next_batch().validate_crc():
                return CorruptBatch(begin, offset)
    except CorruptRecordException:
        return CorruptBatch(begin, offset)
    return None
