"""Writes much into one partition's changelog in one transaction, for ``ecounters state`` on stopped workers.

A ``ChangelogWriter`` writes one flush, and limits its time to some seconds. A whole partition may take minutes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import IllegalOperation, KafkaError

from ecounters.changelog.entries import Entry, kind_of
from ecounters.errors import Stop
from streams.basics.text import named
from streams.kafka import internals
from streams.kafka.batch_sender import BatchSender
from streams.kafka.changelog_writer import BATCH_BYTES, LIMIT_S, REQUEST_BYTES_MAX
from streams.kafka.clients import Kafka
from streams.kafka.open_transactions import open_transactions, until_no_open_transaction
from streams.kafka.rights import TOPIC, TRANSACTIONAL_ID, needing

TRANSACTION_LIMIT_MS: Final = 600_000
"""The broker aborts a transaction that its producer has not ended after this time. Kafka allows 15 minutes."""
BATCHES_AT_ONCE: Final = 16
"""How many batches are sent before their acknowledgements are awaited: about 11 MB."""
CLOSE_S: Final = 5.0
"""How long closing the connection may take."""
_NO_KAFKA_ERRORS: Final = (AssertionError, IllegalOperation)
"""What aiokafka raises besides KafkaError if a transaction has failed in the background, or no broker is known."""


class StateWriter:
    """Writes into a partition's changelog under its transactional id. ``state_writer`` makes it."""

    def __init__(self, producer: AIOKafkaProducer, changelog: TopicPartition) -> None:
        self._producer = producer
        self._changelog = changelog

    async def write(self, entries: Iterable[Entry]) -> int:
        """Write the entries in one transaction, which is committed on return. Returns how many there were.

        If this fails or the process ends before, none of them is there. Raises KafkaError, and Stop if an entry is
        larger than the topic takes.
        """
        producer, count = self._producer, 0
        await producer.begin_transaction()
        try:
            batches: list[Any] = [producer.create_batch()]
            for key, value in entries:
                if batches[-1].append(timestamp=None, key=key, value=value) is None:
                    if len(batches) == BATCHES_AT_ONCE:
                        await self._send(batches)
                        batches = []
                    batches.append(producer.create_batch())
                    batches[-1].append(timestamp=None, key=key, value=value)
                count += 1
            await self._send(batches)
        except BaseException:
            with suppress(KafkaError, *_NO_KAFKA_ERRORS):
                await producer.abort_transaction()
            raise
        await producer.commit_transaction()
        await until_no_open_transaction(producer.client, self._changelog)
        return count

    async def _send(self, batches: list[Any]) -> None:
        topic, partition = self._changelog
        with needing("Write", TOPIC, topic):
            left_out = await BatchSender(self._producer).send(self._changelog, batches)
        if left_out:
            raise Stop(
                f"{topic} takes no record of {len(left_out[0].value or b''):,} bytes (partition {partition}, a "
                f"{kind_of(left_out[0].key)}): kafka-configs.sh --alter --topic {topic} --add-config "
                "max.message.bytes=2097152, then try again"
            )


@asynccontextmanager
async def state_writer(kafka: Kafka, transactional_id: str, changelog: TopicPartition) -> AsyncIterator[StateWriter]:
    """A context with the only writer of a partition's changelog: whoever had the transactional id is fenced.

    An open transaction is aborted. Raises KafkaError, or TimeoutError after LIMIT_S, if the takeover fails.
    """
    producer = kafka.producer(
        client_id=transactional_id,
        transactional_id=transactional_id,
        transaction_timeout_ms=TRANSACTION_LIMIT_MS,
        max_batch_size=BATCH_BYTES,
        max_request_size=REQUEST_BYTES_MAX,
        request_timeout_ms=int(LIMIT_S * 1000),
    )
    try:
        async with asyncio.timeout(LIMIT_S):
            with needing("Write", TRANSACTIONAL_ID, transactional_id):
                await producer.start()
            if await open_transactions(producer.client, changelog):
                await producer.begin_transaction()
                internals.add_to_transaction(producer, changelog)
                await producer.abort_transaction()
                await until_no_open_transaction(producer.client, changelog)
        yield StateWriter(producer, changelog)
    except _NO_KAFKA_ERRORS as error:
        raise KafkaError(f"{transactional_id}: {named(error)}") from error
    finally:
        with suppress(TimeoutError, KafkaError, *_NO_KAFKA_ERRORS):
            async with asyncio.timeout(CLOSE_S):
                await producer.stop()
