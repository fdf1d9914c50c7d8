"""Takes the record batches of every fetch out of aiokafka's hands: ``streams.kafka.batches`` reads them itself.

aiokafka checks a CRC from a table, which takes three to six times as long as the processor's instruction. It unpacks
without a bound. And a record batch that it cannot read makes it raise an exception in the middle of ``getmany``, so
that records already taken from other partitions are lost. So aiokafka's own check is switched off, and each FetchResult
gets the record batches of ``streams.kafka.splitting`` in place of aiokafka's::

    a fetched partition                         what its FetchResult holds
    [ok] [wrong checksum] [ok]            ->    all three, the second with a ``fault``
    [ok] [impossible length] ???          ->    the first; the next fetch begins behind it
    [impossible length] ???               ->    error CORRUPT_MESSAGE: aiokafka fetches the same offset again;
                                                or, if the reader wants that, a FetchError in its place
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any, Final, NamedTuple

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import CorruptRecordException
from aiokafka.protocol.fetch import FetchRequest

from streams.kafka import internals
from streams.kafka.record_batches import RecordBatch
from streams.kafka.splitting import split

log = logging.getLogger(__name__)

_CORRUPT_MESSAGE: Final = 2
"""Kafka's error code CORRUPT_MESSAGE."""
_BROKEN: Final = "what was fetched from offset %s on are no records"
REFETCH_PAUSE_S: Final = 0.1
"""The pause after a fetch whose bytes were broken at the same offset before as well: the broker's own copy may be
broken. The records of the other partitions in the same response wait as long."""


def prepare(consumer: Any, *, raise_broken: bool = False) -> None:
    """Prepare a started consumer for ``streams.kafka.batches.next_batch``. Create it with ``check_crcs=False``.

    ``raise_broken``: bytes without a record batch at their beginning are an error at once. The FetchError of their
    partition then raises CorruptRecordException. Else they are fetched again until they are sound.
    """
    splitting = _SplittingClient(internals.client_of_fetches(consumer), internals.open_fetcher(consumer), raise_broken)
    internals.wrap_client_of_fetches(consumer, lambda _: splitting)
    internals.wrap_fetch(consumer, splitting.wrap_fetch)


class _Part(NamedTuple):
    """What was fetched of a partition.

    ``offset``: from which it was fetched. ``batches``: its record batches; none if the bytes are broken from the first
    on, and that is an error. ``before``: the FetchResult that was there before aiokafka's own.
    """

    offset: int
    batches: list[RecordBatch]
    before: Any = None


class _SplittingClient:
    """Wraps aiokafka's client: splits what a fetch returns, and then puts it into the FetchResults.

    One fetch, from top to bottom, all in one task; between the last three lines nothing else can run::

        fetch(..., request)             wrapped by ``wrap_fetch``
          send(node_id, request)          asks the broker, splits the response, keeps it with the request
          ...                             aiokafka makes a FetchResult of each partition of the response
        the FetchResults get the record batches that were kept with the request
    """

    def __init__(self, client: Any, fetcher: Any, raise_broken: bool) -> None:
        self._client = client
        self._fetcher = fetcher
        self._raise_broken = raise_broken
        self._split: dict[int, dict[TopicPartition, _Part]] = {}  # id of a request -> what its response holds
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
            self._split[id(request)] = {
                tp: part._replace(before=internals.fetched_of(self._fetcher, tp)) for tp, part in kept.items()
            }
        return response

    def wrap_fetch(self, fetch: Any) -> Any:
        """A function that calls aiokafka's ``fetch``, and then puts the record batches into the FetchResults.

        It returns True if there is something to read, also if that is an error.
        """

        async def splitting(assignment: Any, node_id: int, request: Any) -> bool:
            try:
                has_news = bool(await fetch(assignment, node_id, request))
                for tp, part in self._split.get(id(request), {}).items():
                    result = internals.fetched_of(self._fetcher, tp)
                    if not part.batches:
                        has_news |= assignment.active and self._set_error(assignment.state_value(tp), tp, part.offset)
                    elif result is not part.before and isinstance(result, FetchResult):
                        internals.set_undecoded(result, deque(part.batches))
                return has_news
            finally:
                self._split.pop(id(request), None)

        return splitting

    def _set_error(self, state: Any, tp: TopicPartition, offset: int) -> bool:
        """Make broken bytes an error of whoever reads the partition. Returns whether it is read from there still."""
        error = CorruptRecordException(f"{_named(tp)}: {_BROKEN % offset}")
        return internals.set_error(self._fetcher, state, tp, offset, error)

    def _split_response(self, request: Any, response: Any) -> tuple[dict[TopicPartition, _Part], bool]:
        """(partition -> what was fetched of it, whether broken bytes have come that will be fetched a third time)."""
        offsets = {(topic, row[0]): row[1] for topic, rows in request.topics for row in rows}
        kept: dict[TopicPartition, _Part] = {}
        repeated = False
        for topic, partitions in response.topics:
            for index, (partition, error, end_offset, *more, records) in enumerate(partitions):
                if error or not records:
                    continue
                tp = TopicPartition(topic, partition)
                batches, sound_bytes, broken = split(records, end_offset)
                is_error = broken and not batches and self._raise_broken
                if broken:
                    if not is_error:
                        repeated |= not self._log_once(tp, batches[-1].next_offset if batches else offsets[tp])
                    error = 0 if batches else _CORRUPT_MESSAGE
                    partitions[index] = partition, error, end_offset, *more, records[:sound_bytes]
                if batches or is_error:
                    kept[tp] = _Part(offsets[tp], batches)
        return kept, repeated

    def _log_once(self, tp: TopicPartition, offset: int) -> bool:
        """Log broken bytes and return True. If they are the last ones logged of this partition, only return False."""
        if self._logged.get(tp) == offset:
            return False
        self._logged[tp] = offset
        log.error("%s: %s; fetching them again", _named(tp), _BROKEN % offset)
        return True


def _named(tp: TopicPartition) -> str:
    return f"{tp.topic}, partition {tp.partition}"
