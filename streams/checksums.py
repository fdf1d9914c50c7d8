"""Checksums of what is fetched, by the processor's own instruction for them.

aiokafka looks them up in a table, which costs as much as to decode the records. Here a batch that was spoilt on its way
is as if the broker had said so of its partition: it is fetched again, and the other partitions' records are not lost.
"""

from __future__ import annotations

import logging
import struct
from typing import Any, Final

import google_crc32c
from aiokafka.errors import CorruptRecordException
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.memory_records import MemoryRecords

log = logging.getLogger(__name__)

_HEAD: Final = struct.Struct(">qiibI")
"""Of a batch: first offset, length of what follows the length, leader's epoch, format, checksum."""
_LENGTH_END: Final = 12
_SUMMED_FROM: Final = 21
_FORMAT: Final = 2
"""That of Kafka 0.11 and later. The checksums of older ones are of another kind, and in another place."""
_CORRUPT_MESSAGE: Final = 2
"""Kafka's code for it."""


def check_fetched(consumer: Any) -> None:
    """Let everything that a started AIOKafkaConsumer fetches be checked, which must not check it once more."""
    consumer._fetcher._client = _Checking(consumer._fetcher._client)


class _Checking:
    """aiokafka's client, but that it makes an error of a partition whose records are spoilt."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._told: dict[tuple[str, int], int] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def send(self, node_id: int, request: Any, **options: Any) -> Any:
        """Send a request; its answer."""
        response = await self._client.send(node_id, request, **options)
        if isinstance(request, FetchRequest):
            for topic, partitions in response.topics:
                for at, (partition, error, highwater, *more, records) in enumerate(partitions):
                    offset = None if error else first_spoilt(records)
                    if offset is not None:
                        self._tell(topic, partition, offset)
                        partitions[at] = partition, _CORRUPT_MESSAGE, highwater, *more, b""
        return response

    def _tell(self, topic: str, partition: int, offset: int) -> None:
        """Once for each place: if it is the broker's own copy that is spoilt, it comes again and again."""
        if self._told.get((topic, partition)) != offset:
            self._told[topic, partition] = offset
            log.error("%s, partition %s: the records from offset %s on are not what their checksum says; "
                      "fetching them again", topic, partition, offset)  # fmt: skip


def first_spoilt(fetched: bytes) -> int | None:
    """The first offset of the first batch that is not what its checksum says; None: all are well.

    ``fetched``: batches as a broker sends them, of which the last may have been cut off.
    """
    at = 0
    while at + _HEAD.size <= len(fetched):
        offset, length, _, form, checksum = _HEAD.unpack_from(fetched, at)
        if form != _FORMAT:
            return _first_spoilt_of_old(fetched[at:], offset)
        end = at + _LENGTH_END + length
        if end > len(fetched):
            return None
        if end < at + _HEAD.size or google_crc32c.value(fetched[at + _SUMMED_FROM : end]) != checksum:
            return int(offset)
        at = end
    return None


def _first_spoilt_of_old(fetched: bytes, offset: int) -> int | None:
    try:
        records = MemoryRecords(fetched)
        while records.has_next():
            batch = records.next_batch()
            if not batch.validate_crc():
                return offset
            offset = batch.next_offset
    except CorruptRecordException:
        return offset
    return None
