"""The publisher puts each message into its partition, in order, and loses no failure."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.errors import KafkaError

from ecounters.events.partitioner import partition_of
from streams.kafka import publisher as module
from streams.kafka.publisher import Outgoing, Publisher
from tests.support.small_batches import SmallBatch

PARTITIONS = 4
ROOM = 2
TOPIC = "events"


class FakeProducer:
    """Acknowledges each batch one iteration of the loop later, or fails it with ``failure``."""

    def __init__(self) -> None:
        self.partitions = PARTITIONS
        self.sent: list[tuple[int, SmallBatch]] = []
        self.failure: Exception | None = None

    def create_batch(self) -> SmallBatch:
        """A batch for two messages."""
        return SmallBatch(ROOM)

    async def send_batch(self, batch: SmallBatch, topic: str, *, partition: int) -> asyncio.Future[Any]:
        """Note a closed batch; returns its acknowledgement."""
        assert batch.closed and topic == TOPIC
        self.sent.append((partition, batch))
        loop = asyncio.get_running_loop()
        acknowledgement: asyncio.Future[Any] = loop.create_future()
        if self.failure is None:
            loop.call_soon(acknowledgement.set_result, None)
        else:
            loop.call_soon(acknowledgement.set_exception, self.failure)
        return acknowledgement

    async def partitions_for(self, topic: str) -> set[int]:
        """The numbers of the topic's partitions."""
        assert topic == TOPIC
        return set(range(self.partitions))

    def records(self, partition: int) -> list[tuple[bytes | None, bytes]]:
        """(key, value) of what was sent to a partition, in order."""
        batches = [batch for number, batch in self.sent if number == partition]
        return [(message["key"], message["value"]) for batch in batches for message in batch.messages]


def published(*messages: Outgoing) -> tuple[FakeProducer, list[int]]:
    """(the producer after all messages are acknowledged, what ``put`` returned for each)."""
    producer = FakeProducer()

    async def run() -> list[int]:
        publishing = Publisher(producer, TOPIC, PARTITIONS)
        counts = [await publishing.put(message) for message in messages]
        await publishing.finish()
        return counts

    return producer, asyncio.run(run())


def test_a_users_messages_go_to_the_users_partition_in_order() -> None:
    """With the user's id as their key, also over several batches, and beside those of another user."""
    users = ("u1", "u2")
    values = [b"%d" % number for number in range(5)]
    producer, counts = published(*(Outgoing(value, user, False, None) for value in values for user in users))
    assert counts == [1] * 10
    for user in users:
        of_user = [record for record in producer.records(partition_of(user, PARTITIONS)) if record[0] == user.encode()]
        assert of_user == [(user.encode(), value) for value in values]
    assert sum(batch.record_count() for _, batch in producer.sent) == 10


def test_a_topic_that_gets_partitions_is_followed() -> None:
    """From the next batch on, with and without a user, and for everywhere. Workers would have to publish them again."""
    producer, more = FakeProducer(), 2 * PARTITIONS
    user = next(user for user in map("u{}".format, range(99)) if partition_of(user, more) >= PARTITIONS)

    async def run() -> list[int]:
        publishing = Publisher(producer, TOPIC, PARTITIONS)
        for value in (b"old", b"late", b"new"):
            await publishing.put(Outgoing(value, user, False, None))
            if value == b"late":
                await publishing.send()
            producer.partitions = more
        counts = [await publishing.put(Outgoing(b"up", who, who is None, None)) for who in (None, user)]
        await publishing.finish()
        return counts

    assert asyncio.run(run()) == [more, 1]
    key = user.encode()
    assert producer.records(partition_of(user, PARTITIONS)) == [(key, b"old"), (key, b"late"), (None, b"up")]
    assert producer.records(partition_of(user, more)) == [(key, b"new"), (None, b"up"), (key, b"up")]


def test_a_message_for_everywhere_goes_once_to_each_partition() -> None:
    """Without a key, and counted once for each partition."""
    producer, counts = published(Outgoing(b"restarted", None, True, None))
    assert counts == [PARTITIONS]
    assert [producer.records(number) for number in range(PARTITIONS)] == [[(None, b"restarted")]] * PARTITIONS


def test_messages_without_a_user_go_to_the_partitions_in_turn() -> None:
    """One each, and then from the first again."""
    producer, _ = published(*(Outgoing(b"%d" % number, None, False, None) for number in range(PARTITIONS + 1)))
    assert producer.records(0) == [(None, b"0"), (None, b"4")]
    assert [producer.records(number) for number in range(1, PARTITIONS)] == [[(None, b"%d" % n)] for n in (1, 2, 3)]


def test_a_partition_can_be_chosen() -> None:
    """``put_to`` takes partition, key and value as they are."""
    producer = FakeProducer()

    async def run() -> None:
        publishing = Publisher(producer, TOPIC, PARTITIONS)
        await publishing.put_to(3, b"u1", b"value")
        await publishing.finish()

    asyncio.run(run())
    assert producer.records(3) == [(b"u1", b"value")]


def test_a_full_cache_of_users_is_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users still get their own partitions after that."""
    monkeypatch.setattr(module, "CACHED_USERS_MAX", 2)
    users = [f"u{number}" for number in range(7)] * 2
    producer, _ = published(*(Outgoing(b"", user, False, None) for user in users))
    for user in users:
        assert producer.records(partition_of(user, PARTITIONS)).count((user.encode(), b"")) == 2


def test_a_batch_that_was_not_acknowledged_fails_the_end() -> None:
    """``finish`` raises the first failure; a later ``put`` that needs to send raises it too."""
    producer = FakeProducer()
    producer.failure, producer.partitions = KafkaError("not acknowledged"), 1

    async def run() -> None:
        publishing = Publisher(producer, TOPIC, 1)
        await publishing.put(Outgoing(b"1", None, False, None))
        with pytest.raises(KafkaError, match="not acknowledged"):
            await publishing.finish()
        with pytest.raises(KafkaError, match="not acknowledged"):
            for _ in range(ROOM + 1):
                await publishing.put(Outgoing(b"2", None, False, None))

    asyncio.run(run())
