"""A changelog with an entry that cannot be read: its partition waits and says why, and everybody else goes on."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from pathlib import Path
from typing import Final

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from ecounters.changelog.entries import CALL, CELL, POSITION
from ecounters.events.partitioner import partition_of
from streams.web.paths import READY_PATH
from tests.support.accounts import TOKEN, add_users
from tests.support.audits import audited, ran
from tests.support.kafka_cluster import Cluster
from tests.support.published_calls import RecentCall, publish_values, wait_for_counter
from tests.support.record_batches import batch, produce_raw, with_crc
from tests.support.topics import wait_until_flushed
from tests.support.workers import Deployment, Reply, Worker

WAITS_LIMIT_S: Final = 40.0
"""Within this time a partition waits, or goes on after a repair, for which it looks every 10 s."""

pytestmark = pytest.mark.usefixtures("no_users")
on_apache_kafka = pytest.mark.skipif(
    not os.environ.get("ECOUNTERS_TEST_BROKER"), reason="the embedded broker has no log segments"
)
on_embedded = pytest.mark.skipif(
    bool(os.environ.get("ECOUNTERS_TEST_BROKER")), reason="Apache Kafka refuses such record batches"
)


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
    for partition, kind in enumerate(("unknown thing with the key b'\\xff03********'", "call", "cell")):
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
    assert not any("0391234567" in log for log in logs)
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


@on_embedded
def test_a_damaged_record_batch_and_a_missing_position_stop_their_partitions_alone(
    deployment: Deployment, tmp_path: Path
) -> None:
    """A worker starts nevertheless, and says where they are and what helps. The position is put back; what the batch
    held nobody knows, so it stays, and nothing is exported. A record that only aiokafka cannot decode stops nothing."""
    users = users_of_each_partition(deployment)
    add_users(deployment, users)
    with Worker(deployment).wait_ready() as first:
        for user in users:
            publish_call(deployment, user, "c1")
        wait_until_flushed(deployment)
        first.end()
    changelog = deployment.loaded().changelog_topic
    damaged = batch(0, [b"x" * 200] * 3, 1)
    damaged[61:] = b"\xff" * len(damaged[61:])
    odd = batch(0, [None], headers=[("name", b"x")])
    odd[odd.index(b"name")] = 0xFF
    for partition, content in ((0, damaged), (2, odd)):
        asyncio.run(produce_raw(deployment.broker, TopicPartition(changelog, partition), bytes(with_crc(content))))
    at = plant(deployment, 1, POSITION, None)
    with Worker(deployment).wait_ready() as worker:
        lines = wait_until_waiting([worker], 2)
        assert re.search(
            rf"partition 0 waits: {changelog} has at offsets \d+ to \d+ damaged records: it cannot", lines[0]
        )
        assert "`ecounters state export`" in lines[0] and "ECOUNTERS" not in lines[0], lines
        assert f"{changelog} there are entries, but no position; it was taken out at offset {at}; " in lines[1], lines
        exit_code, said, err = ran(deployment, "state", "check")
        assert exit_code == 1, (said, err)
        assert any("offsets" in line and "a record batch cannot be read" in line for line in said), said
        assert any("`ecounters state repair` leaves them" in line for line in said), said
        assert ran(deployment, "state", "repair", "--yes")[:2] == (1, [*said, "Mended 1 entries."])
        assert wait_until_waiting([worker], 1) == lines[:1]
        for user in users[1:]:
            publish_call(deployment, user, "c2")
            wait_for_counter(worker, user, "TC", 2)
        assert asked(worker, users[0]).json["code"] == 1032
        worker.end()
    for command in (["state", "export", str(tmp_path / "one.state")], ["topics", "--grow", "8", "--yes"]):
        exit_code, said, err = ran(deployment, *command)
        assert exit_code == 1 and "Traceback" not in err and "partition 0" in err, (said, err)
    assert not list(tmp_path.glob("*.state"))


@on_apache_kafka
def test_records_that_a_disk_has_damaged_stop_their_partition_until_they_are_whole(
    redis_url: str, tmp_path: Path
) -> None:
    """One wrong bit in the changelog's segment of a stopped broker. Whole again, as another copy is, the partition goes
    on without a restart of the worker."""
    with Cluster(tmp_path / "kafka") as kafka:
        deployment = Deployment(kafka.address, redis_url, tmp_path, settings={"FLUSH_INTERVAL_MS": 200})
        deployment.create_topics()
        users = users_of_each_partition(deployment)
        add_users(deployment, users)
        try:
            with Worker(deployment).wait_ready() as first:
                publish_call(deployment, users[0], "c1")
                wait_until_flushed(deployment)
                first.end()
            kafka.stop(1)
            changelog = deployment.loaded().changelog_topic
            segment = kafka.directory / "node-1" / f"{changelog}-0" / "00000000000000000000.log"
            whole = segment.read_bytes()
            damaged = bytearray(whole)
            damaged[100] ^= 0x10
            segment.write_bytes(damaged)
            kafka.restart(1)
            with Worker(deployment).wait_ready() as worker:
                (line,) = wait_until_waiting([worker], 1)
                assert f"partition 0 waits: {changelog} has at offsets 0 to " in line and "checksum" in line
                publish_call(deployment, users[1], "c1")
                wait_for_counter(worker, users[1], "TC", 1)
                kafka.stop(1)
                segment.write_bytes(whole)
                kafka.restart(1)
                wait_until_waiting([worker], 0)
                publish_call(deployment, users[0], "c2")
                wait_for_counter(worker, users[0], "TC", 2)
        finally:
            deployment.end_all()
