"""Records that Kafka has left undecided in a changelog count for nobody, then or later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import InvalidTxnState, KafkaError

from ecounters.calls import Call
from ecounters.routing import partition_of
from ecounters.saving import call_entry
from streams.changelog import ChangelogWriter, Letter, read_changelog
from streams.turns import Turns
from tests.integration.test_answer import Now, publish, told_when
from tests.support.audit import add_users, dead_letters, recounts, refused, wait_until_flushed
from tests.support.workers import Place, Worker


def test_what_was_left_undecided_is_never_committed(place: Place) -> None:
    """A transaction that neither ends nor is known to be open, as when all brokers die amid its commit.

    It holds a call's end and a dead letter for the second time. The next commit under the same id must not commit them
    with it: the worker after that would know nothing of a live call, and there would be a letter too many.
    """
    add_users(place, ["u1"])
    with Worker(place).wait_ready() as worker:
        publish(place, "u1", *Now("c1", "u1").started(0, "IBD").values(), b"no event")
        told_when(worker, "u1", "LCT", {"IBD": 1})
        wait_until_flushed(place)
        (letter,) = dead_letters(place)
        worker.kill()
        asyncio.run(leave_undecided(place, letter[1]))
        worker = Worker(place, again=worker).wait_ready()
        publish(place, "u1", *Now("c2", "u1").started(1, "IBD").values(), b"nor this")
        told_when(worker, "u1", "LCT", {"IBD": 2})
        wait_until_flushed(place)
        worker.kill()
        with Worker(place, again=worker).wait_ready() as last:
            told_when(last, "u1", "LCT", {"IBD": 2})
    letters = dead_letters(place)
    assert letters == refused(place, recounts(place)) and len(letters) == 2


async def leave_undecided(place: Place, offset: int) -> None:
    """Send a cut of a worker's as one transaction, without the transaction's coordinator being told of anything."""
    at = partition_of("u1", place.partitions)
    changelog, dlq = TopicPartition(f"{place.name}-state-changelog", at), TopicPartition(f"{place.name}.dlq", at)
    head = {"reason": "not_json", "field": "", "topic": place.name, "partition": str(at), "offset": str(offset)}
    letter = Letter(b"u1", b"no event", [(name, text.encode()) for name, text in head.items()])
    async with unverified(place):
        async with asyncio.timeout(20):
            while not await sent_untold(place, changelog, dlq, letter):
                pass  # the brokers have not heard of the setting yet
    assert await decided(place, changelog, "read_committed") < await decided(place, changelog, "read_uncommitted")


async def sent_untold(place: Place, changelog: TopicPartition, dlq: TopicPartition, letter: Letter) -> bool:
    """Whether the brokers took it."""
    writer = ChangelogWriter(place.broker, f"{place.name}-state-{changelog.partition}", changelog, dlq)
    await writer.open()
    async for _ in read_changelog(place.broker, changelog, Turns(1_000), writer.opened):
        pass  # until what stood there is decided
    outbox = writer.outbox()
    outbox.take(iter([call_entry("u1", Call("c1"), gone=True)]), 10)
    outbox.take_letter(letter)
    producer: Any = writer._producer
    try:
        await producer.begin_transaction()
        producer._txn_manager._txn_partitions |= writer.opened.keys()  # it takes them for told
        await writer._send(changelog, outbox.changelog)
        await writer._send(dlq, outbox.dlq)
    except InvalidTxnState:
        return False
    finally:
        await writer.close()
    return True


async def decided(place: Place, tp: TopicPartition, isolation: str) -> int:
    """The end of what somebody can read."""
    consumer = AIOKafkaConsumer(bootstrap_servers=place.broker, isolation_level=isolation)
    await consumer.start()
    try:
        return int((await consumer.end_offsets([tp]))[tp])
    finally:
        await consumer.stop()


@asynccontextmanager
async def unverified(place: Place) -> AsyncIterator[None]:
    """Meanwhile brokers take records of a transaction that its coordinator knows nothing of; else Kafka asks it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=place.broker)
    await admin.start()
    nodes = [str(broker["node_id"]) for broker in (await admin.describe_cluster())["brokers"]]

    async def configure(config: dict[str, str]) -> None:
        with suppress(KafkaError):  # the embedded broker has no such setting
            await admin.alter_configs([ConfigResource(ConfigResourceType.BROKER, n, configs=config) for n in nodes])

    try:
        await configure({"transaction.partition.verification.enable": "false"})
        yield
        await configure({})
    finally:
        await admin.close()
