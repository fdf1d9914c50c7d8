"""A changelog with an entry that cannot be read: its partition waits and says why, and everybody else goes on."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Final

import pytest
from aiokafka import AIOKafkaProducer

from ecounters.changelog.entries import CALL, CELL
from ecounters.events.partitioner import partition_of
from streams.web.paths import READY_PATH
from tests.support.accounts import TOKEN, add_users
from tests.support.audits import audited
from tests.support.published_calls import RecentCall, publish_values, wait_for_counter
from tests.support.topics import wait_until_flushed
from tests.support.workers import Deployment, Reply, Worker

WAITS_LIMIT_S: Final = 40.0
"""Within this time a partition waits, or goes on after a repair, for which it looks every 10 s."""

pytestmark = pytest.mark.usefixtures("no_users")


def users_of_each_partition(deployment: Deployment) -> list[str]:
    """A user of partition 0, one of partition 1, and so on."""
    names = [f"u{at}" for at in range(100)]
    return [
        next(name for name in names if partition_of(name, deployment.partitions) == partition)
        for partition in range(deployment.partitions)
    ]


def publish_call(deployment: Deployment, user: str, name: str) -> None:
    """Publish the events of one ended call."""
    script = RecentCall(name, user).started(0, "IBD").ringing(1).answered(2).ended(9, 3)
    publish_values(deployment, user, *script.values())


def plant(deployment: Deployment, partition: int, key: bytes | None, value: bytes | None) -> int:
    """Write a record to the changelog as a stranger would. Returns its offset."""

    async def send() -> int:
        async with AIOKafkaProducer(bootstrap_servers=deployment.broker) as producer:
            topic = deployment.loaded().changelog_topic
            sent = await producer.send_and_wait(topic, value, key, partition)
            return int(sent.offset)

    return asyncio.run(send())


def waiting_of(workers: list[Worker]) -> list[str]:
    """What /readyz of all workers says of partitions that wait, sorted."""
    replies = [worker.request("GET", READY_PATH) for worker in workers]
    return sorted(line for reply in replies for line in json.loads(reply.body).get("waiting", ()))


def wait_until_waiting(workers: list[Worker], count: int) -> list[str]:
    """Wait until so many partitions wait and all workers are ready. Returns what /readyz says of them."""
    deadline = time.monotonic() + WAITS_LIMIT_S
    while True:
        lines = waiting_of(workers)
        if len(lines) == count and not any(worker.why_not_settled() for worker in workers):
            return lines
        said = [(worker.why_not_settled(), worker.process.poll(), worker.log_tail()) for worker in workers]
        assert time.monotonic() < deadline, (lines, said)
        time.sleep(0.1)


def asked(worker: Worker, user: str) -> Reply:
    """The reply to a request for a user's counters."""
    return worker.ask({"userId": user, "token": TOKEN})


def assert_named(lines: list[str], changelog: str, offsets: list[int]) -> None:
    """The lines name partition, offset, kind and what helps."""
    for partition, kind in enumerate(("unknown thing with the key b'\\xff0391234567'", "call", "cell")):
        where = f"partition {partition} waits: {changelog} has at offset {offsets[partition]} "
        assert lines[partition].startswith(where), lines
        assert f"cannot be read: {kind} (" in lines[partition], lines
    assert all("`ecounters state check`" in line for line in lines)
    assert all("`ecounters state repair`" in line for line in lines)


def test_entries_that_cannot_be_read_stop_their_partitions_alone(deployment: Deployment) -> None:
    """A stranger's record and damaged entries: two workers stay ready, and say what to do; once the
    changelog is repaired all counters equal the recount, without a restart."""
    users = users_of_each_partition(deployment)
    add_users(deployment, users)
    with Worker(deployment).wait_ready() as first:
        for user in users:
            publish_call(deployment, user, "c1")
        wait_until_flushed(deployment)
        first.end()
    changelog = deployment.loaded().changelog_topic
    offsets = [
        plant(deployment, 0, b"\xff0391234567", b"of a stranger"),
        plant(deployment, 1, CALL + b"\xff0391234567", b"damaged"),
        plant(deployment, 2, CELL + b"\xff0391234567", b"damaged"),
    ]
    workers = [Worker(deployment), Worker(deployment)]
    for worker in workers:
        worker.wait_ready()
    lines = wait_until_waiting(workers, 3)
    assert_named(lines, changelog, offsets)
    assert [sum(worker.metric("ecounters_partitions") for worker in workers)] == [deployment.partitions]
    for user in users:
        publish_call(deployment, user, "c2")
    for worker in workers:
        wait_for_counter(worker, users[3], "TC", 2)
        for partition, user in enumerate(users[:3]):
            reply = asked(worker, user)
            assert (reply.status, reply.json["code"]) == (503, 1032)
            assert f"partition {partition} has a saved entry that cannot be read" in reply.json["message"]
            assert "0391234567" not in reply.json["message"]
            assert "Retry-After" in reply.headers
    logs = [worker.log.read_text() for worker in workers]  # the first worker had all partitions for a moment
    assert {log.count(f"partition {at} waits") for log in logs for at in range(3)} <= {0, 1}, logs
    assert all(any(f"partition {at} waits" in log for log in logs) for at in range(3)), logs
    assert not any(
        "0391234567" in line and "partition 0 waits" not in line for log in logs for line in log.splitlines()
    )
    plant(deployment, 0, b"\xff0391234567", None)
    plant(deployment, 1, CALL + b"\xff0391234567", None)
    plant(deployment, 2, CELL + b"\xff0391234567", None)
    wait_until_waiting(workers, 0)
    for worker in workers:
        for user in users:
            wait_for_counter(worker, user, "TC", 2)
        assert worker.process.poll() is None
    exit_code, said, err = audited(deployment, workers[0])
    assert (exit_code, said[0].split(":")[0]) == (0, "equal"), (said, err)
