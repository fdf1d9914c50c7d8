"""Takes the record batches of every fetch out of aiokafka's hands: ``streams.kafka.batches`` reads them itself.

aiokafka checks a CRC from a table, which takes three to six times as long as the processor's instruction. It unpacks
without a bound. And a record batch that it cannot read makes it raise an exception in the middle of ``getmany``, so
that records already taken from other partitions are lost. So aiokafka's own check is switched off, and each FetchResult
gets the record batches of ``streams.kafka.splitting`` in place of aiokafka's::

    a fetched partition                         what its FetchResult holds
    [ok] [wrong checksum] [ok]            ->    all three, the second with a ``fault``
    [ok] [impossible length] ???          ->    the first; the next fetch begins behind it
    [impossible length] ???               ->    error CORRUPT_MESSAGE: aiokafka fetches the same offset again
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.protocol.fetch import FetchRequest

from streams.kafka import internals
from streams.kafka.record_batches import RecordBatch
from streams.kafka.splitting import split

log = logging.getLogger(__name__)

_CORRUPT_MESSAGE: Final = 2
"""Kafka's error code CORRUPT_MESSAGE."""
REFETCH_PAUSE_S: Final = 0.1
"""The pause after a fetch whose bytes were broken at the same offset before as well: the broker's own copy may be
broken. The records of the other partitions in the same response wait as long."""


def prepare(consumer: Any) -> None:
    """Prepare a started consumer for ``streams.kafka.batches.next_batch``. Create it with ``check_crcs=False``."""
    splitting = _SplittingClient(internals.client_of_fetches(consumer), internals.open_fetcher(consumer))
    internals.wrap_client_of_fetches(consumer, lambda _: splitting)
    internals.wrap_fetch(consumer, splitting.wrap_fetch)


class _SplittingClient:
    """Wraps aiokafka's client: splits what a fetch returns, and then puts it into the FetchResults.

    One fetch, from top to bottom, all in one task; between the last three lines nothing else can run::

        fetch(..., request)             wrapped by ``wrap_fetch``
          send(node_id, request)          asks the broker, splits the response, keeps it with the request
          ...                             aiokafka makes a FetchResult of each partition of the response
        the FetchResults get the record batches that were kept with the request
    """

    def __init__(self, client: Any, fetcher: Any) -> None:
        self._client = client
        self._fetcher = fetcher
        # id of a request -> what its response holds, and the FetchResults that were there before aiokafka's own
        self._split: dict[int, dict[TopicPartition, tuple[list[RecordBatch], Any]]] = {}
        self._logged: dict[TopicPartition, int] = {}  # partition -> offset of the last broken bytes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def send(self, node_id: int, request: Any, **options: Any) -> Any:
        """Send a request and return its response. Splits the response to a FetchRequest.

        Pauses for REFETCH_PAUSE_S if the same bytes of a partition were broken the last time too.
        """
        response = await self._client.send(node_id, request, **options)
        if isinstance(request, FetchRequest):
            kept, repeated = self._split_response(request, response)
            if repeated:
                await asyncio.sleep(REFETCH_PAUSE_S)
            before = {tp: internals.fetched_of(self._fetcher, tp) for tp in kept}
            self._split[id(request)] = {tp: (batches, before[tp]) for tp, batches in kept.items()}
        return response

    def wrap_fetch(self, fetch: Any) -> Any:
        """A function that calls aiokafka's ``fetch``, and then puts the record batches into the FetchResults."""

        async def splitting(assignment: Any, node_id: int, request: Any) -> bool:
            try:
                has_records = bool(await fetch(assignment, node_id, request))
                for tp, (batches, before) in self._split.get(id(request), {}).items():
                    result = internals.fetched_of(self._fetcher, tp)
                    if result is not before and isinstance(result, FetchResult):
                        internals.set_undecoded(result, deque(batches))
                return has_records
            finally:
                self._split.pop(id(request), None)

        return splitting

    def _split_response(self, request: Any, response: Any) -> tuple[dict[TopicPartition, list[RecordBatch]], bool]:
        """(partition -> its record batches, whether broken bytes have come again)."""
        offsets = {(topic, row[0]): row[1] for topic, rows in request.topics for row in rows}
        kept: dict[TopicPartition, list[RecordBatch]] = {}
        repeated = False
        for topic, partitions in response.topics:
            for index, (partition, error, end_offset, *more, records) in enumerate(partitions):
                if error or not records:
                    continue
                tp = TopicPartition(topic, partition)
                batches, sound_bytes, broken = split(records, end_offset)
                if broken:
                    repeated |= not self._log_once(tp, batches[-1].next_offset if batches else offsets[tp])
                    error = 0 if batches else _CORRUPT_MESSAGE
                    partitions[index] = partition, error, end_offset, *more, records[:sound_bytes]
                if batches:
                    kept[tp] = batches
        return kept, repeated

    def _log_once(self, tp: TopicPartition, offset: int) -> bool:
        """Log broken bytes and return True. If they are the last ones logged of this partition, only return False."""
        if self._logged.get(tp) == offset:
            return False
        self._logged[tp] = offset
        log.error("%s, partition %s: what was fetched from offset %s on are no records; fetching them again",
                  tp.topic, tp.partition, offset)  # fmt: skip
        return True
