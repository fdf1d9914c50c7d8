"""Transactions whose markers Kafka has not written to all partitions."""

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
from ecounters.changelog.entries import FORMAT, call_entry, position_entry
from ecounters.changelog.saved import Position
from ecounters.events.partitioner import partition_of
from ecounters.partition.user import User
from streams.kafka.changelog_writer import ChangelogTakeover, ChangelogWriter
from streams.kafka.open_transactions import open_transactions, until_no_open_transaction
from streams.kafka.outbox import DeadLetter
from streams.kafka.shared_clients import SharedClients
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
    if committed == ("dlq",):  # Kafka has committed the first dead letter, and its event is read and refused again
        letters = letters[1:]
    assert letters == expected_dead_letters(deployment, recounts(deployment))
    assert [letter[1] for letter in letters] == [1, 3]


def test_a_writers_own_open_transaction_is_committed_before_its_next_flush(deployment: Deployment) -> None:
    """A commit whose markers the brokers lost is repeated before the next flush, whose abort would abort it too."""

    async def test() -> None:
        async with unverified(deployment):
            clients = SharedClients(deployment.kafka)
            takeover, writer = await written(clients, deployment, 1, ())
            try:
                producer: Any = writer._producer
                producer._txn_manager.committing_transaction()
                producer._txn_manager.complete_transaction()
                writer._last_had_dead_letters = True
                outbox = writer.outbox()
                outbox.add_entries(iter([position_entry(Position(FORMAT, 3, 0, 0))]), 1)
                await writer.write(outbox)
                await until_no_open_transaction(writer._client, writer._dlq)
            finally:
                await takeover.close()
                await clients.close()

    asyncio.run(test())
    assert [letter[1] for letter in dead_letters(deployment)] == [1]


async def leave_open_transaction(deployment: Deployment, offset: int, committed: tuple[str, ...]) -> None:
    """Send a flush as a transaction of which the coordinator knows only ``committed``; commit it if that is any."""
    async with unverified(deployment):
        clients = SharedClients(deployment.kafka)
        takeover, writer = await written(clients, deployment, offset, committed)
        try:
            if committed:
                await writer._producer.commit_transaction()
            for tp in (writer._changelog, writer._dlq):
                if tp in unknown(writer, committed):
                    assert await open_transactions(writer._client, tp)
                else:
                    await until_no_open_transaction(writer._client, tp)
        finally:
            await takeover.close()
            await clients.close()


async def written(
    clients: SharedClients, deployment: Deployment, offset: int, known: tuple[str, ...]
) -> tuple[ChangelogTakeover, ChangelogWriter]:
    """A writer amid a transaction with entries and a dead letter; its coordinator knows the partitions ``known``."""
    partition = partition_of("u1", deployment.partitions)
    changelog, dlq = (
        TopicPartition(f"{deployment.name}-state-changelog", partition),
        TopicPartition(f"{deployment.name}.dlq", partition),
    )
    head = {
        "reason": "not_json",
        "field": "",
        "topic": deployment.name,
        "partition": str(partition),
    }
    letter = DeadLetter(b"u1", b"no event", [(name, text.encode()) for name, text in head.items()], offset)
    now = int(time.time() * 1000)
    entries = [
        call_entry("u1", Call("c1", User("u1")), gone=True),
        position_entry(Position(FORMAT, offset + 1, now - 60_000, now)),
    ]
    async with asyncio.timeout(20):
        while True:
            takeover = ChangelogTakeover(clients, f"{deployment.name}-state-{partition}", changelog, dlq)
            try:
                writer = await takeover.open()
                outbox = writer.outbox()
                outbox.add_entries(iter(entries), 10)
                outbox.add_dead_letter(letter)
                await writer._producer.begin_transaction()
                producer: Any = writer._producer
                producer._txn_manager._txn_partitions |= unknown(writer, known)
                await writer._sender.send(changelog, outbox.changelog_batches)
                await writer._sender.send(dlq, outbox.dlq_batches)
                return takeover, writer
            except InvalidTxnState:  # the brokers have not applied the setting yet
                await takeover.close()


def unknown(writer: ChangelogWriter, known: tuple[str, ...]) -> set[TopicPartition]:
    """The partitions of the transaction that the coordinator does not know of."""
    return {tp for name, tp in (("changelog", writer._changelog), ("dlq", writer._dlq)) if name not in known}


@asynccontextmanager
async def unverified(deployment: Deployment) -> AsyncIterator[None]:
    """Meanwhile brokers take records of a transaction that its coordinator knows nothing of; else Kafka asks it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=deployment.broker)
    await admin.start()
    nodes = [str(broker["node_id"]) for broker in (await admin.describe_cluster())["brokers"]]

    async def configure(config: dict[str, str]) -> None:
        with suppress(KafkaError):  # the embedded broker lacks this setting
            await admin.alter_configs([ConfigResource(ConfigResourceType.BROKER, n, configs=config) for n in nodes])

    try:
        await configure({"transaction.partition.verification.enable": "false"})
        try:
            yield
        finally:
            await configure({})
    finally:
        await admin.close()
