"""Follows partitions of the changelog that other workers write, over one consumer: what is committed, as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import KafkaError

from ecounters.changelog.entries import Entry
from streams.kafka import internals
from streams.kafka.batches import next_batch
from streams.kafka.changelog_reader import LIMIT_S, entries_of
from streams.kafka.clients import Kafka
from streams.kafka.fetched import prepare

FETCH_BYTES: Final = 524_288
"""How much is fetched of a partition at once. While one is decoded, as much of each of the others waits in memory:
128 MB of 256 partitions."""
RESPONSE_BYTES: Final = 1_048_576
"""How much a broker sends at once of all partitions. aiokafka waits 40 s for it, and then asks for all of it again."""
FETCH_WAIT_MS: Final = 500
"""How long a broker may hold a fetch request while it has no records. With one it answers at once."""


class Fetched:
    """What was fetched of one partition. Take all of ``runs`` or nothing, then call ``done``.

    ``next_offset``: the offset behind all runs; None before ``runs`` has yielded the last one. ``error``: why nothing
    was fetched; then there are no runs.
    """

    def __init__(self, tp: TopicPartition, result: Any, consumer: AIOKafkaConsumer) -> None:
        self.partition = tp.partition
        self._tp = tp
        self._consumer = consumer
        self._result: FetchResult | None = None
        self.next_offset: int | None = None
        self.error: KafkaError | None = None
        if isinstance(result, FetchResult):
            self._result = result
            return
        try:
            result.check_raise()
        except KafkaError as error:
            self.error = error

    async def runs(self) -> AsyncGenerator[Iterator[list[Entry]]]:
        """Yield runs: the entries in order, each run as lists of at most STEP_RECORDS.

        Hold no time slice between two runs: what is packed is unpacked then, in a thread. Hold one while you take the
        lists of a run: they are decoded then. A run raises CorruptRecordException, which names the partition, at a
        record batch that cannot be decoded.
        """
        while self._result is not None and self._result.has_more():
            batch = next_batch(self._result, None)
            async for run in batch.runs():
                yield entries_of(run, self._tp)
            self.next_offset = batch.end

    def done(self) -> None:
        """Let the partition be fetched again: behind all runs, or the same if ``runs`` was not called.

        After a run that has raised an error ``assign`` must come next: what would be fetched is behind the error.
        """
        internals.fetch_again(internals.open_fetcher(self._consumer), self._tp)


class ChangelogFollower:
    """Reads some partitions of a changelog again and again, each from where it has been read to.

    ``start`` it, then ``assign``. One task may use it.
    """

    def __init__(self, kafka: Kafka, topic: str) -> None:
        self._kafka = kafka
        self._topic = topic
        self._consumer: AIOKafkaConsumer | None = None

    async def start(self) -> None:
        """Connect. Raises KafkaError, or TimeoutError after LIMIT_S."""
        self._consumer = self._kafka.consumer(
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="none",  # if the topic is made anew, a state of the old one must not go on
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_max_bytes=RESPONSE_BYTES,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            check_crcs=False,
        )
        async with asyncio.timeout(LIMIT_S):
            await self._consumer.start()
        prepare(self._consumer, raise_broken=True)

    async def stop(self) -> None:
        """Close the connections."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()

    async def assign(self, partitions: Collection[int], offsets: Mapping[int, int]) -> dict[int, int]:
        """Read these partitions, and no others, from these offsets on; those without one from their beginning.

        Returns all offsets. Raises KafkaError, or TimeoutError after LIMIT_S, if a broker does not tell a beginning.
        """
        consumer = self._started()
        tps = {partition: TopicPartition(self._topic, partition) for partition in partitions}
        if not tps:
            consumer.unsubscribe()
            return {}
        found = dict(offsets)
        new = [tp for partition, tp in tps.items() if partition not in offsets]
        if new:
            async with asyncio.timeout(LIMIT_S):
                begins = await consumer.beginning_offsets(new)
            found |= {tp.partition: begin for tp, begin in begins.items()}
        consumer.assign(list(tps.values()))
        for partition, tp in tps.items():
            consumer.seek(tp, found[partition])
        return found

    async def next(self, limit_s: float) -> Fetched | None:
        """The next partition of which something was fetched; None if there is none within ``limit_s``.

        Raises KafkaError if the consumer has failed.
        """
        consumer = self._started()
        fetcher = internals.open_fetcher(consumer)
        for _ in range(2):
            for tp, result in internals.fetched(fetcher):
                if isinstance(result, FetchResult) and not result.check_assignment(tp):
                    internals.fetch_again(fetcher, tp)  # it was fetched before ``assign``
                    continue
                return Fetched(tp, result, consumer)
            waiter = internals.until_fetched(fetcher)
            await asyncio.wait([waiter], timeout=limit_s)
            if not waiter.done():
                waiter.cancel()
                return None
            waiter.result()
        return None

    def end_of(self, partition: int) -> tuple[int | None, int | None]:
        """(the last stable offset, when a broker told it, in ms since the epoch), without a request; None: not yet."""
        state = internals.partition_state(self._started(), TopicPartition(self._topic, partition))
        if state is None or state.timestamp is None:
            return None, None
        return (state.highwater if state.lso is None or state.lso < 0 else state.lso), state.timestamp

    def _started(self) -> AIOKafkaConsumer:
        assert self._consumer is not None, "start comes first"
        return self._consumer
