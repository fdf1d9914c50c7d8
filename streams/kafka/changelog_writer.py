"""A partition's changelog: written by one worker at a time, in transactions, and read back whole.

Fencing: every partition has a transactional id of its own. To take it (``ChangelogWriter.open``) raises its epoch at
the broker, which from then on refuses whatever a worker with an older epoch sends, and aborts what that one left open.
So whoever lost the partition, however late it wakes up, cannot get another record into the log; and what is read by
its successor after that is all there will ever be.

What the broker aborts is what its coordinator knows to be open. It may have forgotten some: see
``streams.kafka.open_transactions``.

A cut is one transaction: calls, cells and position count together or not at all, however many batches it takes.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any, Final

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import IllegalOperation, KafkaError

from streams.basics.tasks import end_tasks
from streams.basics.text import one_line
from streams.kafka import internals
from streams.kafka.open_transactions import POLL_S, open_transactions, records_of, until_no_open_transaction
from streams.kafka.outbox import Outbox

log = logging.getLogger(__name__)

BATCH_BYTES: Final = 700_000
"""Of one batch. Brokers take 1 MiB unless told otherwise."""
REQUEST_BYTES_MAX: Final = 4 * 1_048_576
"""A dead letter is as large as the message was, and its topic may take 2 MiB."""
LIMIT_S: Final = 15.0
"""For one transaction, and for taking an id over. aiokafka itself would go on trying for ever."""
CLOSE_S: Final = 0.5
TRANSACTION_LIMIT_MS: Final = 30_000
"""After that a broker aborts what a worker has begun and not ended."""
LETTERS_LIMIT_S: Final = 5.0
"""To find out about undecided dead letters; counting goes on without."""

_ITS_OWN: Final = (AssertionError, IllegalOperation)
"""aiokafka's errors that are no KafkaError: when a transaction has failed in the background meanwhile."""


class NotWritten(Exception):
    """A transaction may not have been committed; this writer cannot go on, and the state must be restored."""


class ChangelogWriter:
    """Writes one partition's changelog and dead letters, alone of all workers. ``open`` it, read the changelog, and
    ``settle_letters`` first."""

    def __init__(self, broker: str, transactional_id: str, changelog: TopicPartition, dlq: TopicPartition) -> None:
        self.changelog = changelog
        self._dlq = dlq
        self._id = transactional_id
        self._unsettled: int | None = None  # the position to settle letters by, until that is done
        self._had_letters = False
        self._producer = AIOKafkaProducer(
            bootstrap_servers=broker,
            client_id=transactional_id,
            transactional_id=transactional_id,
            transaction_timeout_ms=TRANSACTION_LIMIT_MS,
            max_batch_size=BATCH_BYTES,
            max_request_size=REQUEST_BYTES_MAX,
            request_timeout_ms=int(LIMIT_S * 1000),
        )

    async def open(self) -> None:
        """Take the id: from here on no other worker can write. KafkaError or TimeoutError if it cannot be had now.

        What was left undecided in the changelog is aborted: it could not be read, so it is counted again.
        """
        try:
            async with asyncio.timeout(LIMIT_S):
                await self._producer.start()
                if await open_transactions(self._client, self.changelog):
                    await self._mark(self.changelog, commit=False)
                    await until_no_open_transaction(self._client, self.changelog)
        except _ITS_OWN as error:  # of a cluster that starts and knows no broker yet, or when another has taken the id
            raise KafkaError(f"{self._id}: {type(error).__name__} {error}") from error

    async def settle_letters(self, position: int) -> None:
        """Decide on dead letters that were left undecided, by the position that the changelog was committed up to.

        Those of events before it belong to what is committed; the others' events are going to be refused again. Tried
        once more before the next letters are written, if it ends in a KafkaError or TimeoutError.
        """
        self._unsettled = position
        marked = False
        try:
            async with asyncio.timeout(LETTERS_LIMIT_S):
                while offsets := await self._undecided_letters():
                    if not marked:
                        await self._mark(self._dlq, commit=min(offsets) < position)
                        marked = True
                    await asyncio.sleep(POLL_S)
        except _ITS_OWN as error:
            raise KafkaError(f"{self._id}: {type(error).__name__} {error}") from error
        self._unsettled = None

    async def _undecided_letters(self) -> list[int]:
        """The events' offsets of those that this producer id has written."""
        where = await open_transactions(self._client, self._dlq)
        if not where:
            return []
        found = await records_of(self._client, self._dlq, where, internals.producer_id_of(self._producer))
        return [int(dict(record.headers)["offset"]) for record in found]

    async def _mark(self, *tps: TopicPartition, commit: bool) -> None:
        """An empty transaction. Its marks decide on all that this producer id has written in these partitions."""
        await self._producer.begin_transaction()
        for tp in tps:
            internals.add_to_transaction(self._producer, tp)
        await (self._producer.commit_transaction() if commit else self._producer.abort_transaction())

    @property
    def _client(self) -> Any:
        return self._producer.client

    async def close(self) -> None:
        """Give up the connection. Never raises: what was not committed is to be done again by whoever comes next."""
        with suppress(KafkaError, TimeoutError, AssertionError):
            # A producer that was fenced has nothing to wait for, one whose broker is away would wait for ever.
            async with asyncio.timeout(CLOSE_S):
                await self._producer.stop()
                return
        # Cut short, it leaves its sender running and its connections open.
        sender = internals.sender_task_of(self._producer)
        if sender is not None:
            await end_tasks(sender)
        with suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._producer.client.close()

    def outbox(self) -> Outbox:
        """An empty one, for ``write``."""
        return Outbox(self._producer.create_batch)

    async def write(self, outbox: Outbox) -> None:
        """One transaction, committed when this returns. NotWritten if that is not certain."""
        try:
            async with asyncio.timeout(LIMIT_S):
                await self._before_a_transaction(outbox)
                await self._producer.begin_transaction()
                await self._send(self.changelog, outbox.changelog)
                await self._send(self._dlq, outbox.dlq)
                await self._producer.commit_transaction()
        except (KafkaError, TimeoutError, *_ITS_OWN) as error:
            raise NotWritten(f"{self._id}: {type(error).__name__} {one_line(error)}") from error
        self._had_letters = outbox.has_letters

    async def _before_a_transaction(self, outbox: Outbox) -> None:
        """Where letters are at stake, what came before is decided first: an abort of the next would be of it too."""
        if self._had_letters and await open_transactions(self._client, self._dlq):
            await self._mark(self.changelog, self._dlq, commit=True)
            await until_no_open_transaction(self._client, self.changelog)
        if self._unsettled is not None and outbox.has_letters:
            await self.settle_letters(self._unsettled)

    async def _send(self, tp: TopicPartition, batches: list[Any]) -> None:
        sent = []
        for batch in batches:
            if batch.record_count():
                batch.close()
                sent.append(await self._producer.send_batch(batch, tp.topic, partition=tp.partition))
        for future in sent:
            await future
