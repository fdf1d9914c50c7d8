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

from ecounters.calls import Call
from ecounters.routing import partition_of
from ecounters.saving import FORMAT, Entry, Position, call_entry, position_entry
from streams.changelog import ChangelogWriter, Letter
from streams.undecided import undecided, until_decided
from tests.integration.test_answer import Now, publish, told_when
from tests.support.audit import add_users, dead_letters, recounts, refused, wait_until_flushed
from tests.support.workers import Place, Worker


@pytest.mark.parametrize("committed", [(), ("changelog",), ("dlq",)], ids=lambda names: " ".join(names) or "none")
def test_what_was_left_undecided_is_decided_as_the_rest_was(place: Place, committed: tuple[str, ...]) -> None:
    """A cut with a dead letter, with the marks of its commit in some partitions only, or in none of them.

    Without one in the changelog it was never read, and the next commit must not commit it: it would end a live call for
    the worker after that. With one, its letter must not be lost.
    """
    add_users(place, ["u1"])
    with Worker(place).wait_ready() as worker:
        publish(place, "u1", *Now("c1", "u1").started(0, "IBD").values())
        told_when(worker, "u1", "LCT", {"IBD": 1})
        wait_until_flushed(place)
        worker.kill()
    publish(place, "u1", b"no event")
    asyncio.run(leave_undecided(place, 1, committed))
    live = 0 if committed == ("changelog",) else 1
    with Worker(place, again=worker).wait_ready() as worker:
        publish(place, "u1", *Now("c2", "u1").started(1, "IBD").values(), b"nor this")
        told_when(worker, "u1", "LCT", {"IBD": live + 1})
        wait_until_flushed(place)
        worker.kill()
    with Worker(place, again=worker).wait_ready() as worker:
        told_when(worker, "u1", "LCT", {"IBD": live + 1})
    letters = dead_letters(place)
    if committed == ("dlq",):  # the one case that cannot be told from a letter of nobody's: it comes twice
        letters = letters[1:]
    assert letters == refused(place, recounts(place))
    assert [letter[1] for letter in letters] == [1, 3]


async def leave_undecided(place: Place, offset: int, committed: tuple[str, ...]) -> None:
    """Send a cut as a transaction of which the coordinator is told these partitions only, and commit it if any."""
    at = partition_of("u1", place.partitions)
    tps = {
        "changelog": TopicPartition(f"{place.name}-state-changelog", at),
        "dlq": TopicPartition(f"{place.name}.dlq", at),
    }
    untold = {tp for name, tp in tps.items() if name not in committed}
    head = {"reason": "not_json", "field": "", "topic": place.name, "partition": str(at), "offset": str(offset)}
    letter = Letter(b"u1", b"no event", [(name, text.encode()) for name, text in head.items()])
    now = int(time.time() * 1000)
    cut = [call_entry("u1", Call("c1"), gone=True), position_entry(Position(FORMAT, offset + 1, now - 60_000, now))]
    async with unverified(place):
        async with asyncio.timeout(20):
            while True:
                writer = ChangelogWriter(place.broker, f"{place.name}-state-{at}", *tps.values())
                await writer.open()
                try:
                    await write_untold(writer, cut, letter, untold)
                    break
                except InvalidTxnState:
                    pass  # the brokers have not heard of the setting yet
                finally:
                    await writer.close()


async def write_untold(writer: ChangelogWriter, cut: list[Entry], letter: Letter, untold: set[TopicPartition]) -> None:
    """As ``write``, but that the producer takes these partitions for told."""
    outbox = writer.outbox()
    outbox.take(iter(cut), 10)
    outbox.take_letter(letter)
    producer: Any = writer._producer
    await producer.begin_transaction()
    producer._txn_manager._txn_partitions |= untold
    await writer._send(writer.changelog, outbox.changelog)
    await writer._send(writer._dlq, outbox.dlq)
    if len(untold) < 2:
        await producer.commit_transaction()
    for tp in (writer.changelog, writer._dlq):
        if tp in untold:
            assert await undecided(producer.client, tp)
        else:
            await until_decided(producer.client, tp)


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
