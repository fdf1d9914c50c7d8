"""Producers that publish in transactions: one that commits, one that aborts, one that dies amid its transaction.

``python -m tests.support.transactions BROKER ID TOPIC PARTITION TIMEOUT_MS`` publishes each line of its input in one
transaction of this transactional id, and then kills itself with SIGKILL. Apache Kafka aborts the transaction after the
timeout, the embedded broker when another producer takes the id.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer

from ecounters.events.partitioner import partition_of
from tests.support.workers import ROOT, Deployment


async def _begin(
    broker: str, transactional_id: str, topic: str, partition: int, timeout_ms: int, values: Sequence[bytes]
) -> AIOKafkaProducer:
    """Publish the values in a transaction that stays open."""
    producer = AIOKafkaProducer(
        bootstrap_servers=broker, transactional_id=transactional_id, transaction_timeout_ms=timeout_ms
    )
    await producer.start()
    await producer.begin_transaction()
    for value in values:
        await producer.send_and_wait(topic, value, key=b"u1", partition=partition)
    return producer


def publish_transaction(deployment: Deployment, user: str, *values: bytes, commit: bool) -> None:
    """Publish messages to the user's partition in one transaction, which is committed or aborted."""

    async def publish() -> None:
        partition = partition_of(user, deployment.partitions)
        producer = await _begin(deployment.broker, uuid.uuid4().hex, deployment.name, partition, 60_000, values)
        await (producer.commit_transaction() if commit else producer.abort_transaction())
        await producer.stop()

    asyncio.run(publish())


def die_in_transaction(deployment: Deployment, user: str, *values: bytes, timeout_ms: int) -> str:
    """Publish messages to the user's partition in one transaction, by a process that dies before it ends it.

    Returns the transactional id.
    """
    transactional_id = uuid.uuid4().hex
    where = deployment.name, str(partition_of(user, deployment.partitions)), str(timeout_ms)
    command = [sys.executable, "-m", "tests.support.transactions", deployment.broker, transactional_id, *where]
    done = subprocess.run(command, cwd=ROOT, input=b"\n".join(values), check=False)
    assert done.returncode == -signal.SIGKILL
    return transactional_id


def take_over(deployment: Deployment, transactional_id: str) -> None:
    """Take a transactional id from its producer, so that the broker aborts the producer's open transaction."""

    async def take() -> None:
        async with AIOKafkaProducer(bootstrap_servers=deployment.broker, transactional_id=transactional_id):
            pass

    asyncio.run(take())


if __name__ == "__main__":
    given = sys.argv[1:]
    events = sys.stdin.buffer.read().splitlines()
    asyncio.run(_begin(given[0], given[1], given[2], int(given[3]), int(given[4]), events))
    os.kill(os.getpid(), signal.SIGKILL)
