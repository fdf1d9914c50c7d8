"""Writes one partition's changelog and dead letters: one worker at a time, in transactions.

Each partition has a transactional id of its own. A takeover and what follows::

    new owner                     broker                               previous owner, if it still runs
    ─────────                     ──────                               ────────────────────────────────
    ChangelogTakeover.open()  ─►  raises the id's epoch,               every further write and commit is refused:
                                  ends its open transaction            it is fenced, and restores the partition
    read_changelog()          ─►  all that was committed: there will never be another record of a former owner
    settle_dead_letters()     ─►  ends open transactions of dead letters, if the broker has forgotten some
    ChangelogWriter.write()   ─►  one transaction per flush

One transaction holds the entries, the position and the dead letters of one flush. All of it is committed or none of it,
however many batches it takes.

The broker ends only transactions that its coordinator knows to be open. It may have forgotten some: see
``streams.kafka.open_transactions``. Such records have no transaction marker, and the next marker of the same producer
id decides them too. So both topics are looked at before the next marker is written.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import IllegalOperation, KafkaError

from streams.basics.tasks import end_tasks
from streams.basics.text import one_line
from streams.kafka import internals
from streams.kafka.open_transactions import POLL_S, open_records, open_transactions, until_no_open_transaction
from streams.kafka.outbox import Outbox

BATCH_BYTES: Final = 700_000
"""Of one batch at most. Brokers take 1 MiB by default."""
REQUEST_BYTES_MAX: Final = 4 * 1_048_576
"""A dead letter is as large as its message, and the topic of dead letters takes messages of 2 MiB."""
LIMIT_S: Final = 15.0
"""For one transaction, and for a takeover. aiokafka itself would try for ever."""
CLOSE_S: Final = 0.5
TRANSACTION_LIMIT_MS: Final = 30_000
"""The broker aborts a transaction that was begun and not ended after this time."""
DEAD_LETTERS_LIMIT_S: Final = 5.0
"""For settling dead letters. Counting does not depend on it, so it must not take long."""

_NO_KAFKA_ERRORS: Final = (AssertionError, IllegalOperation)
"""What aiokafka raises, beside KafkaErrors, if a transaction has failed in the background, or no broker is known."""


class NotWritten(Exception):
    """A transaction may not have been committed. The writer cannot go on: the partition must be restored."""


class ChangelogTakeover:
    """Takes one partition's changelog over from its previous owner; holds the connection until ``close``."""

    def __init__(self, broker: str, transactional_id: str, changelog: TopicPartition, dlq: TopicPartition) -> None:
        self._changelog = changelog
        self._dlq = dlq
        self._id = transactional_id
        self._producer = AIOKafkaProducer(
            bootstrap_servers=broker,
            client_id=transactional_id,
            transactional_id=transactional_id,
            transaction_timeout_ms=TRANSACTION_LIMIT_MS,
            max_batch_size=BATCH_BYTES,
            max_request_size=REQUEST_BYTES_MAX,
            request_timeout_ms=int(LIMIT_S * 1000),
        )

    async def open(self) -> ChangelogWriter:
        """Fence the previous owner: from here on no other worker can write. Read the changelog after it.

        An open transaction in the changelog is aborted: its entries could not be read, so their events are counted
        again. Raises KafkaError or TimeoutError if the id cannot be taken now; ``close`` is due then as well.
        """
        writer = ChangelogWriter(self._producer, self._id, self._changelog, self._dlq)
        try:
            async with asyncio.timeout(LIMIT_S):
                await self._producer.start()
                await writer.abort_open_transaction()
        except _NO_KAFKA_ERRORS as error:  # the cluster is starting and knows no broker, or another worker took the id
            raise KafkaError(f"{self._id}: {type(error).__name__} {error}") from error
        return writer

    async def close(self) -> None:
        """Close the connection. Never raises; a transaction that was not committed is aborted by the next owner.

        A producer whose broker is away would wait for ever, so each of its two steps is cut off after CLOSE_S. A
        ``stop`` that is cut off leaves the sending task and the connections behind: they are ended here.
        """
        with suppress(KafkaError, TimeoutError, AssertionError):
            async with asyncio.timeout(CLOSE_S):
                await self._producer.stop()
                return
        sender = internals.sender_task_of(self._producer)
        if sender is not None:
            await end_tasks(sender)
        with suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._producer.client.close()


class ChangelogWriter:
    """Writes one partition's changelog and dead letters. ``ChangelogTakeover.open`` makes it.

    Call ``settle_dead_letters`` once, with the position that the changelog was read to hold, before the first
    ``write``.
    """

    def __init__(
        self, producer: AIOKafkaProducer, transactional_id: str, changelog: TopicPartition, dlq: TopicPartition
    ) -> None:
        self._producer = producer
        self._id = transactional_id
        self._changelog = changelog
        self._dlq = dlq
        self._unsettled_position: int | None = None  # set while dead letters are still to be settled, by this position
        self._last_had_dead_letters = False  # the last transaction; its marker may be missing

    async def abort_open_transaction(self) -> None:
        """Abort what is open in the changelog, though the broker's coordinator may have forgotten it."""
        if await open_transactions(self._client, self._changelog):
            await self._write_markers(self._changelog, commit=False)
            await until_no_open_transaction(self._client, self._changelog)

    async def settle_dead_letters(self, position: int) -> None:
        """Commit or abort dead letters that a crash has left in an open transaction.

        ``position``: the committed state's offset. Dead letters of events before it belong to the committed state:
        they are committed. Those of later events are aborted, because those events will be read and refused again.

        Raises KafkaError or TimeoutError (after DEAD_LETTERS_LIMIT_S) if that cannot be done now; ``write`` tries again
        before the next dead letters.
        """
        self._unsettled_position = position
        marked = False
        try:
            async with asyncio.timeout(DEAD_LETTERS_LIMIT_S):
                while offsets := await self._event_offsets_of_open_dead_letters():
                    if not marked:
                        await self._write_markers(self._dlq, commit=min(offsets) < position)
                        marked = True
                    await asyncio.sleep(POLL_S)
        except _NO_KAFKA_ERRORS as error:
            raise KafkaError(f"{self._id}: {type(error).__name__} {error}") from error
        self._unsettled_position = None

    def outbox(self) -> Outbox:
        """An empty outbox, for ``write``."""
        return Outbox(self._producer.create_batch)

    async def write(self, outbox: Outbox) -> None:
        """Write the outbox in one transaction, which is committed on return. Raises NotWritten if that is not certain.

        After NotWritten the writer is of no more use.
        """
        try:
            async with asyncio.timeout(LIMIT_S):
                await self._settle_before(outbox)
                await self._producer.begin_transaction()
                await self._send(self._changelog, outbox.changelog_batches)
                await self._send(self._dlq, outbox.dlq_batches)
                await self._producer.commit_transaction()
        except (KafkaError, TimeoutError, *_NO_KAFKA_ERRORS) as error:
            raise NotWritten(f"{self._id}: {type(error).__name__} {one_line(error)}") from error
        self._last_had_dead_letters = outbox.has_dead_letters

    async def _settle_before(self, outbox: Outbox) -> None:
        """End what is still open before a transaction, where its own markers would decide dead letters by mistake.

        If the last transaction held dead letters whose marker is still missing, it is committed first: an abort of the
        next transaction would abort these dead letters as well.
        """
        if self._last_had_dead_letters and await open_transactions(self._client, self._dlq):
            await self._write_markers(self._changelog, self._dlq, commit=True)
            await until_no_open_transaction(self._client, self._changelog)
        if self._unsettled_position is not None and outbox.has_dead_letters:
            await self.settle_dead_letters(self._unsettled_position)

    async def _send(self, tp: TopicPartition, batches: list[Any]) -> None:
        """Send the batches that are not empty, and wait until all of them are acknowledged."""
        acknowledgements = []
        for batch in batches:
            if batch.record_count():
                batch.close()
                acknowledgements.append(await self._producer.send_batch(batch, tp.topic, partition=tp.partition))
        for acknowledgement in acknowledgements:
            await acknowledgement

    async def _write_markers(self, *tps: TopicPartition, commit: bool) -> None:
        """Run a transaction without records. Its markers decide all open records of this producer id in ``tps``."""
        await self._producer.begin_transaction()
        for tp in tps:
            internals.add_to_transaction(self._producer, tp)
        await (self._producer.commit_transaction() if commit else self._producer.abort_transaction())

    async def _event_offsets_of_open_dead_letters(self) -> list[int]:
        """Of the dead letters that this producer id has left open: the offset of the event that each was made of."""
        offsets = await open_transactions(self._client, self._dlq)
        if not offsets:
            return []
        records = await open_records(self._client, self._dlq, offsets, internals.producer_id_of(self._producer))
        return [int(dict(record.headers)["offset"]) for record in records]

    @property
    def _client(self) -> Any:
        """The producer's AIOKafkaClient, which is replaced by nothing as long as the producer lives."""
        return self._producer.client
