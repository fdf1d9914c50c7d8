"""Checksums of what is fetched, by the processor's own instruction for them.

aiokafka looks them up in a table, which takes three to six times as long. And here a batch that was spoilt on its way
is as if the broker had said so of its partition: it is fetched again, and what was well beside it is not lost.
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

_HEAD: Final = struct.Struct(">qiibI")
"""Of a batch: first offset, length of what follows the length, leader's epoch, format, checksum."""
_LENGTH_END: Final = 12
_SUMMED_FROM: Final = 21
_FORMAT: Final = 2
"""That of Kafka 0.11 and later. The checksums of older ones are of another kind, and in another place."""
_CORRUPT_MESSAGE: Final = 2
"""Kafka's code for it."""
AGAIN_S: Final = 0.1
"""The pause before what was spoilt more than once is fetched again, for it may be the broker's own copy that is. The
other partitions' records wait that long as well."""

_checksum: Final[Callable[[bytes], int]] = google_crc32c.value if google_crc32c.implementation == "c" else calc_crc32c
"""Where there is no C for google-crc32c it is Python, and slower than aiokafka's."""


class Spoilt(NamedTuple):
    """The first batch that is not what its checksum says: where it begins, and its first offset."""

    at: int
    offset: int


def check_fetched(consumer: Any) -> None:
    """Let everything that a started AIOKafkaConsumer fetches be checked, which need not check it once more."""
    internals.wrap_client_of_fetches(consumer, _Checking)


class _Checking:
    """aiokafka's client, but that what is spoilt is cut off, and is the partition's error if it comes first."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._told: dict[tuple[str, int], int] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def send(self, node_id: int, request: Any, **options: Any) -> Any:
        """Send a request; its answer."""
        response = await self._client.send(node_id, request, **options)
        if isinstance(request, FetchRequest):
            again = False
            for topic, partitions in response.topics:
                for at, (partition, error, *more, records) in enumerate(partitions):
                    spoilt = None if error else first_spoilt(records)
                    if spoilt is not None:
                        again |= self._tell(topic, partition, spoilt.offset)
                        code = 0 if spoilt.at else _CORRUPT_MESSAGE
                        partitions[at] = partition, code, *more, records[: spoilt.at]
            if again:
                await asyncio.sleep(AGAIN_S)
        return response

    def _tell(self, topic: str, partition: int, offset: int) -> bool:
        """Once for each place; whether it had been told before."""
        if self._told.get((topic, partition)) == offset:
            return True
        self._told[topic, partition] = offset
        log.error("%s, partition %s: the records from offset %s on are not what their checksum says; "
                  "fetching them again", topic, partition, offset)  # fmt: skip
        return False


def first_spoilt(fetched: bytes) -> Spoilt | None:
    """The first batch that is not what its checksum says; None: all are well.

    ``fetched``: batches as a broker sends them, of which the last, if there are several, may have been cut off.
    """
    at = 0
    while at + _HEAD.size <= len(fetched):
        offset, length, _, form, checksum = _HEAD.unpack_from(fetched, at)
        if form != _FORMAT:
            return _first_spoilt_of_old(fetched, at, offset)
        end = at + _LENGTH_END + length
        if at and end > len(fetched):
            return None
        if end < at + _HEAD.size or end > len(fetched) or _checksum(fetched[at + _SUMMED_FROM : end]) != checksum:
            return Spoilt(at, offset)
        at = end
    return None


def _first_spoilt_of_old(fetched: bytes, at: int, offset: int) -> Spoilt | None:
    """The same where a batch of an old format follows; those after it go with it."""
    try:
        records = MemoryRecords(fetched[at:])
        while records.has_next():
            if not records.next_batch().validate_crc():
                return Spoilt(at, offset)
    except CorruptRecordException:
        return Spoilt(at, offset)
    return None
