"""Writes one partition's changelog and dead letters, in transactions. One worker at a time can do so.

Each partition has a transactional id of its own. A takeover, and what the new owner does after it::

    new owner                     broker                               previous owner, if it still runs
    ─────────                     ──────                               ────────────────────────────────
    ChangelogTakeover.open()  ─►  raises the id's epoch,               every further write and commit is refused:
                                  ends its open transaction            it is fenced, and restores the partition
    read_changelog()          ─►  all committed records; no former owner can add another one
    settle_dead_letters()     ─►  ends open transactions of dead letters, if the broker has forgotten some
    ChangelogWriter.write()   ─►  one transaction per flush

One transaction holds the entries, the position and the dead letters of one flush. All of them are committed or none,
in however many batches they are sent.

The broker ends only transactions that its coordinator knows to be open. The coordinator may have forgotten some (see
``streams.kafka.open_transactions``). Their records have no transaction marker, and the next marker of the same producer
id commits or aborts them as well. So the writer ends such transactions before it writes a marker that could be wrong
for them.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final, NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import IllegalOperation, KafkaError, TopicAuthorizationFailedError

from ecounters.changelog.entries import KINDS, POSITION, kind_of
from streams.basics.tasks import end_tasks
from streams.basics.text import named
from streams.kafka import internals
from streams.kafka.batch_sender import BatchSender
from streams.kafka.metadata import TopicFacts, cluster_facts
from streams.kafka.open_transactions import (
    POLL_S,
    READ_UNCOMMITTED,
    end_offset,
    open_records,
    open_transactions,
    until_no_open_transaction,
)
from streams.kafka.outbox import Outbox
from streams.kafka.shared_clients import REQUEST_LIMIT_S, SharedClients, SharingProducer

BATCH_BYTES: Final = 300_000
"""The largest size of a batch, unless a single record is larger. To send one takes some 2 ms of the event loop, because
aiokafka copies it several times; of 700,000 bytes it took 4 to 20 ms. Brokers take batches of 1 MiB by default."""
REQUEST_BYTES_MAX: Final = 4 * 1_048_576
"""The largest size of a request. A dead letter is larger than its message by its headers, and the topic of dead letters
takes batches of up to 2 MiB."""
LIMIT_S: Final = REQUEST_LIMIT_S
"""How long one transaction, or one takeover, may take. aiokafka itself would try for ever."""
CLOSE_S: Final = 0.5
"""How long ``ChangelogTakeover.close`` waits for the producer to stop."""
DLQ_LOOK_S: Final = 2.0
"""How long a takeover looks for the topic of dead letters. Counting does not need it."""
TRANSACTION_LIMIT_MS: Final = 30_000
"""The broker aborts a transaction that its producer has not ended after this time."""
DEAD_LETTERS_LIMIT_S: Final = 5.0
"""How long ``settle_dead_letters`` may take. Counting waits for it, though no count depends on it."""

DLQ_MISSING: Final = "it is not there, and `ecounters topics` makes it"
DLQ_REFUSED: Final = "this worker needs the right Write on it"
DLQ_AWAY: Final = "its partition {} has no leader: the broker that has it is away"
"""Why a topic refuses dead letters, and what helps."""
DEAD_LETTER: Final = "dead letter"
"""The ``kind`` of a dead letter that is left out."""

_NO_KAFKA_ERRORS: Final = (AssertionError, IllegalOperation)
"""What aiokafka raises besides KafkaError if a transaction has failed in the background, or no broker is known."""


class NotWritten(Exception):
    """It is not certain that a transaction was committed. The writer cannot go on: the partition must be restored."""


class LeftOut(NamedTuple):
    """A record that is larger than Kafka takes.

    ``kind``: what kind of changelog entry it is, or DEAD_LETTER. ``offset``: of the event of a dead letter, as text; ""
    for an entry. ``size``: of its value, in bytes.
    """

    kind: str
    offset: str
    size: int


class ChangelogTakeover:
    """Takes one partition's changelog over from its previous owner. ``open`` makes the ChangelogWriter.

    The writer uses the producer of this object, so ``close`` ends the writer too. ``clients`` stay connected.
    """

    def __init__(
        self, clients: SharedClients, transactional_id: str, changelog: TopicPartition, dlq: TopicPartition
    ) -> None:
        self._clients = clients
        self._changelog = changelog
        self._dlq = dlq
        self._id = transactional_id
        self._producer: SharingProducer | None = None

    async def open(self) -> ChangelogWriter:
        """Fence the previous owner, so that it cannot write any more. Read the changelog only after this.

        Aborts an open transaction in the changelog: a restore cannot read its entries, so their events are counted
        again. Raises KafkaError, or TimeoutError after LIMIT_S, if the takeover fails. Call ``close`` then as well.
        """
        try:
            async with asyncio.timeout(LIMIT_S):
                producer = self._producer = SharingProducer(
                    await self._clients.of(self._changelog.partition),
                    transactional_id=self._id,
                    transaction_timeout_ms=TRANSACTION_LIMIT_MS,
                    max_batch_size=BATCH_BYTES,
                    max_request_size=REQUEST_BYTES_MAX,
                )
                writer = ChangelogWriter(producer, self._id, self._changelog, self._dlq)
                await writer.look_at_dead_letter_topic()
                await producer.start()
                await writer.abort_open_transaction()
        except _NO_KAFKA_ERRORS as error:  # the cluster is starting and knows no broker, or another worker took the id
            raise KafkaError(f"{self._id}: {named(error)}") from error
        return writer

    async def end_of_changelog(self) -> int:
        """The end offset of the changelog, with what is not committed. Takes no id over. Raises KafkaError."""
        return await end_offset(await self._clients.of(self._changelog.partition), self._changelog, READ_UNCOMMITTED)

    async def close(self) -> None:
        """Stop the producer. Raises no error of the broker.

        The next owner aborts a transaction that was not committed, or the broker does after TRANSACTION_LIMIT_MS.

        The producer's ``stop`` would wait for ever while the broker is away, so it is cut off after CLOSE_S. If it is
        cut off or fails, it may leave the sending task. Then this method ends the task.
        """
        if self._producer is None:
            return
        with suppress(KafkaError, TimeoutError, AssertionError):
            async with asyncio.timeout(CLOSE_S):
                await self._producer.stop()
                return
        sender = internals.sender_task_of(self._producer)
        if sender is not None:
            await end_tasks(sender)


class ChangelogWriter:
    """Writes one partition's changelog and dead letters. ``ChangelogTakeover.open`` makes it.

    Read the changelog, then call ``settle_dead_letters`` with the position that was read, then ``write``.
    """

    def __init__(
        self, producer: SharingProducer, transactional_id: str, changelog: TopicPartition, dlq: TopicPartition
    ) -> None:
        self._producer = producer
        self._sender = BatchSender(producer)
        self._id = transactional_id
        self._changelog = changelog
        self._dlq = dlq
        self._dlq_id = ""  # the id of its topic, if the broker tells one
        self._unsettled_position: int | None = None  # the argument of a ``settle_dead_letters`` that has not succeeded
        self._begun = False  # whether ``begin_with_dead_letters`` has begun the next transaction
        self._last_had_dead_letters = False  # whether the last transaction had any; its marker may be missing

    async def look_at_dead_letter_topic(self) -> None:
        """Find out where dead letters go: to the partition of the same number, modulo their topic's count.

        While the topic cannot be seen, this changes nothing.
        """
        with suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(DLQ_LOOK_S):
                if (facts := await self._dead_letter_topic()) is not None:
                    self._write_dead_letters_to(facts)

    async def _dead_letter_topic(self) -> TopicFacts | None:
        """The topic of dead letters as it is now; None if it is missing. Raises KafkaError.

        If it is not the one of before, nothing is left to be settled: the open dead letters went with that one.
        """
        facts = (await cluster_facts(self._client, [self._dlq.topic])).topics.get(self._dlq.topic)
        if facts is None or (self._dlq_id and facts.topic_id != self._dlq_id):
            self._last_had_dead_letters, self._unsettled_position = False, None
        return facts

    def _write_dead_letters_to(self, topic: TopicFacts) -> None:
        dlq = TopicPartition(self._dlq.topic, self._changelog.partition % topic.partitions)
        if (dlq, topic.topic_id) != (self._dlq, self._dlq_id):
            self._client.force_metadata_update()  # it knows the topic of before
        self._dlq, self._dlq_id = dlq, topic.topic_id

    async def abort_open_transaction(self) -> None:
        """Abort an open transaction in the changelog, even one that the broker's coordinator has forgotten.

        Raises KafkaError if a transaction stays open, such as one of another producer id.
        """
        if await open_transactions(self._client, self._changelog):
            await self._write_markers(self._changelog, commit=False)
            await until_no_open_transaction(self._client, self._changelog)

    async def settle_dead_letters(self, position: int) -> None:
        """Commit or abort dead letters that a crash has left in an open transaction of this producer id.

        ``position``: the offset of the committed state. If the first of the dead letters is of an event before it,
        they belong to the committed state, and are committed. Otherwise they are aborted, because their events will be
        read and refused again. One flush wrote all of them, so one decision holds for all.

        Raises KafkaError, or TimeoutError after DEAD_LETTERS_LIMIT_S, if it fails. Then ``write`` calls it again before
        it writes the next dead letters.
        """
        self._unsettled_position = position
        markers_written = False
        try:
            async with asyncio.timeout(DEAD_LETTERS_LIMIT_S):
                while offsets := await self._event_offsets_of_open_dead_letters():
                    if not markers_written:
                        await self._write_markers(self._dlq, commit=min(offsets) < position)
                        markers_written = True
                    await asyncio.sleep(POLL_S)
        except _NO_KAFKA_ERRORS as error:
            raise KafkaError(f"{self._id}: {named(error)}") from error
        self._unsettled_position = None

    async def begin_with_dead_letters(self) -> str:
        """Begin the next transaction, which may have dead letters. Returns "", or why their topic refuses them and what
        helps.

        If it refuses, no transaction is begun, and the writer can go on without dead letters. Raises NotWritten as
        ``write`` does.
        """
        if self._begun:
            return ""
        try:
            async with asyncio.timeout(LIMIT_S):
                try:
                    topic = await self._dead_letter_topic()
                    if topic is None:
                        return DLQ_MISSING
                    if (partition := self._changelog.partition % topic.partitions) in topic.away:
                        return DLQ_AWAY.format(partition)
                    await self._settle_before(dead_letters=True)
                except TopicAuthorizationFailedError:
                    return DLQ_REFUSED
                self._write_dead_letters_to(topic)
                await self._producer.begin_transaction()
                try:
                    await self._producer.add_partition(self._dlq)
                except TopicAuthorizationFailedError:
                    await self._producer.abort_transaction()
                    return DLQ_REFUSED
        except (KafkaError, TimeoutError, *_NO_KAFKA_ERRORS) as error:
            raise NotWritten(f"{self._id}: {named(error)}") from error
        self._begun = True
        return ""

    def outbox(self) -> Outbox:
        """An empty outbox, for ``write``."""
        return Outbox(self._producer.create_batch)

    async def write(self, outbox: Outbox) -> list[LeftOut]:
        """Write the outbox in one transaction, which is committed on return.

        Returns what is larger than Kafka takes, and was left out. A dead letter that is too large is written without
        its message before it is left out. With what is left out the transaction could never be committed.

        Raises NotWritten if it is not certain that the transaction was committed, at the latest after LIMIT_S. Do not
        use the writer after that.
        """
        try:
            async with asyncio.timeout(LIMIT_S):
                if not self._begun:
                    await self._settle_before(dead_letters=outbox.has_dead_letters)
                    await self._producer.begin_transaction()
                self._begun = False
                left_out = await self._send(outbox)
                await self._producer.commit_transaction()
        except (KafkaError, TimeoutError, *_NO_KAFKA_ERRORS) as error:
            raise NotWritten(f"{self._id}: {named(error)}") from error
        self._last_had_dead_letters = outbox.has_dead_letters
        return left_out

    async def _settle_before(self, *, dead_letters: bool) -> None:
        """Before a transaction, with dead letters or without: end earlier ones of dead letters that are still open.

        The markers of the new transaction would commit or abort their dead letters as well, which may be wrong.

        1. If the last ``write`` had dead letters, and a marker in their topic is missing, they are committed.
        2. If ``settle_dead_letters`` has not succeeded, and there are dead letters, it is called again.
        """
        if self._last_had_dead_letters:
            await self._dead_letter_topic()
        if self._last_had_dead_letters and await open_transactions(self._client, self._dlq):
            await self._write_markers(self._changelog, self._dlq, commit=True)
            await until_no_open_transaction(self._client, self._changelog)
        if self._unsettled_position is not None and dead_letters:
            await self.settle_dead_letters(self._unsettled_position)

    async def _send(self, outbox: Outbox) -> list[LeftOut]:
        """Send the outbox's batches, and wait until all of them are acknowledged. Returns what is left out.

        Raises KafkaError if the position is too large: without it the rest must not be committed.
        """
        left_out = [
            LeftOut(kind_of(entry.key), "", len(entry.value or b""))
            for entry in await self._sender.send(self._changelog, outbox.changelog_batches)
        ]
        if KINDS[POSITION] in [entry.kind for entry in left_out]:
            raise KafkaError(f"{self._changelog.topic} takes no record of {left_out[-1].size} bytes")
        for letter in await self._sender.send(self._dlq, outbox.dlq_batches):
            headers = dict(letter.headers)
            size = len(letter.value or b"")
            if not letter.value or await self._sender.send(self._dlq, [self._without_message(letter)]):
                left_out.append(LeftOut(DEAD_LETTER, headers["offset"].decode(), size))
        return left_out

    def _without_message(self, letter: Any) -> Any:
        """A batch with a dead letter without key and value. The header ``size`` says how large the value was."""
        headers = [(name, value) for name, value in letter.headers if name != "size"]
        size = dict(letter.headers).get("size", b"%d" % len(letter.value))
        batch = self._producer.create_batch()
        batch.append(timestamp=None, key=None, value=None, headers=[*headers, ("size", size)])
        return batch

    async def _write_markers(self, *tps: TopicPartition, commit: bool) -> None:
        """Run a transaction without records. Its markers commit or abort all open records of this producer id in
        ``tps``."""
        await self._producer.begin_transaction()
        for tp in tps:
            internals.add_to_transaction(self._producer, tp)
        await (self._producer.commit_transaction() if commit else self._producer.abort_transaction())

    async def _event_offsets_of_open_dead_letters(self) -> list[int]:
        """The offsets of the events of which this producer id has written dead letters that are still open."""
        offsets = await open_transactions(self._client, self._dlq)
        if not offsets:
            return []
        records = await open_records(self._client, self._dlq, offsets, internals.producer_id_of(self._producer))
        return [int(dict(record.headers)["offset"]) for record in records]

    @property
    def _client(self) -> Any:
        """The producer's AIOKafkaClient. The producer keeps the same one all its life."""
        return self._producer.client
