"""Records that Kafka has left undecided: a transaction's, whose marks were not written to all of its partitions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import InvalidTxnState, KafkaError

from ecounters.calls.record import Call
from ecounters.changelog.entries import FORMAT, Position, call_entry, position_entry
from ecounters.events.partitioner import partition_of
from streams.kafka.changelog_writer import ChangelogWriter
from streams.kafka.open_transactions import open_transactions, until_no_open_transaction
from streams.kafka.outbox import DeadLetter
from tests.support.accounts import add_users
from tests.support.published_calls import RecentCall, publish_values, wait_for_counter
from tests.support.recount_check import dead_letters, expected_dead_letters, recounts
from tests.support.topics import wait_until_flushed
from tests.support.workers import Deployment, Worker


@pytest.mark.parametrize("committed", [(), ("changelog",), ("dlq",)], ids=lambda names: " ".join(names) or "none")
def test_an_open_transaction_is_decided_as_its_changelog_was(
    deployment: Deployment, committed: tuple[str, ...]
) -> None:
    """A worker that takes over commits dead letters of a committed flush and aborts those of an uncommitted one."""
    add_users(deployment, ["u1"])
    with Worker(deployment).wait_ready() as worker:
        publish_values(deployment, "u1", *RecentCall("c1", "u1").started(0, "IBD").values())
        wait_for_counter(worker, "u1", "LCT", {"IBD": 1})
        wait_until_flushed(deployment)
        worker.kill()
    publish_values(deployment, "u1", b"no event")
    asyncio.run(leave_open_transaction(deployment, 1, committed))
    live = 0 if committed == ("changelog",) else 1
    with Worker(deployment, replaces=worker).wait_ready() as worker:
        publish_values(deployment, "u1", *RecentCall("c2", "u1").started(1, "IBD").values(), b"nor this")
        wait_for_counter(worker, "u1", "LCT", {"IBD": live + 1})
        wait_until_flushed(deployment)
        worker.kill()
    with Worker(deployment, replaces=worker).wait_ready() as worker:
        wait_for_counter(worker, "u1", "LCT", {"IBD": live + 1})
    letters = dead_letters(deployment)
    if committed == ("dlq",):  # Kafka has committed it, and its event is refused once more
        letters = letters[1:]
    assert letters == expected_dead_letters(deployment, recounts(deployment))
    assert [letter[1] for letter in letters] == [1, 3]


def test_a_writers_own_open_transaction_is_committed_before_its_next_flush(deployment: Deployment) -> None:
    """A commit whose markers the brokers lost is repeated before the next flush, whose abort would abort it too."""

    async def test() -> None:
        async with unverified(deployment):
            writer = await written(deployment, 1, ())
            try:
                producer: Any = writer._producer
                producer._txn_manager.committing_transaction()
                producer._txn_manager.complete_transaction()
                writer._had_letters = True
                outbox = writer.outbox()
                outbox.take(iter([position_entry(Position(FORMAT, 3, 0, 0))]), 1)
                await writer.write(outbox)
                await until_no_open_transaction(writer._client, writer._dlq)
            finally:
                await writer.close()

    asyncio.run(test())
    assert [letter[1] for letter in dead_letters(deployment)] == [1]


async def leave_open_transaction(deployment: Deployment, offset: int, committed: tuple[str, ...]) -> None:
    """Send a cut as a transaction of which the coordinator is told these partitions only, and commit it if any."""
    async with unverified(deployment):
        writer = await written(deployment, offset, committed)
        try:
            if committed:
                await writer._producer.commit_transaction()
            for tp in (writer.changelog, writer._dlq):
                if tp in untold(writer, committed):
                    assert await open_transactions(writer._client, tp)
                else:
                    await until_no_open_transaction(writer._client, tp)
        finally:
            await writer.close()


async def written(deployment: Deployment, offset: int, told: tuple[str, ...]) -> ChangelogWriter:
    """A writer amid a transaction with a cut and a letter."""
    at = partition_of("u1", deployment.partitions)
    changelog, dlq = (
        TopicPartition(f"{deployment.name}-state-changelog", at),
        TopicPartition(f"{deployment.name}.dlq", at),
    )
    head = {"reason": "not_json", "field": "", "topic": deployment.name, "partition": str(at), "offset": str(offset)}
    letter = DeadLetter(b"u1", b"no event", [(name, text.encode()) for name, text in head.items()])
    now = int(time.time() * 1000)
    cut = [call_entry("u1", Call("c1"), gone=True), position_entry(Position(FORMAT, offset + 1, now - 60_000, now))]
    async with asyncio.timeout(20):
        while True:
            writer = ChangelogWriter(deployment.broker, f"{deployment.name}-state-{at}", changelog, dlq)
            try:
                await writer.open()
                outbox = writer.outbox()
                outbox.take(iter(cut), 10)
                outbox.take_letter(letter)
                await writer._producer.begin_transaction()
                producer: Any = writer._producer
                producer._txn_manager._txn_partitions |= untold(writer, told)
                await writer._send(changelog, outbox.changelog)
                await writer._send(dlq, outbox.dlq)
                return writer
            except InvalidTxnState:  # the brokers have not heard of the setting yet
                await writer.close()


def untold(writer: ChangelogWriter, told: tuple[str, ...]) -> set[TopicPartition]:
    """The partitions that the coordinator is to hear nothing of."""
    return {tp for name, tp in (("changelog", writer.changelog), ("dlq", writer._dlq)) if name not in told}


@asynccontextmanager
async def unverified(deployment: Deployment) -> AsyncIterator[None]:
    """Meanwhile brokers take records of a transaction that its coordinator knows nothing of; else Kafka asks it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=deployment.broker)
    await admin.start()
    nodes = [str(broker["node_id"]) for broker in (await admin.describe_cluster())["brokers"]]

    async def configure(config: dict[str, str]) -> None:
        with suppress(KafkaError):  # the embedded broker has no such setting
            await admin.alter_configs([ConfigResource(ConfigResourceType.BROKER, n, configs=config) for n in nodes])

    try:
        await configure({"transaction.partition.verification.enable": "false"})
        try:
            yield
        finally:
            await configure({})
    finally:
        await admin.close()
