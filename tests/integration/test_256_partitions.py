"""A worker with 256 partitions of Apache Kafka: little work until it is ready and after, few connections, small."""

from __future__ import annotations

import asyncio
import os
import re
import time
from pathlib import Path
from typing import Final

import pytest
from aiokafka import AIOKafkaProducer

from ecounters.events.partitioner import partition_of
from streams.kafka.changelog_reader import READERS_MAX
from streams.kafka.shared_clients import CLIENTS_MAX
from tests.support.accounts import add_users
from tests.support.published_calls import RecentCall, wait_for_counter
from tests.support.topics import wait_until_flushed
from tests.support.workers import READY_LIMIT_S, Deployment, Worker

PARTITIONS: Final = 256
STARTS: Final = 4
START_CPU_S_MAX: Final = 5.0
"""Processor time of the worker until it is ready. It took 1.6 s on two idle cores, and 1.9 s beside 12 busy processes.
By the clock that was 4 and 16 s, which says more about the machine: `tests.bench starts` prints it."""
USERS: Final = 300
"""Enough for most of the partitions to have something to restore."""
CONNECTIONS_MAX: Final = 2 * CLIENTS_MAX + 3
"""To one broker: of each client for the changelogs one for records and one for transactions; of the consumer one for
fetches and one for the group; and one of the producer of misrouted events."""
STARTING_MAX: Final = CONNECTIONS_MAX + 2 * READERS_MAX + 4
"""While all partitions are restored: also those of the readers, and one more of each client that is connecting."""
MEMORY_MIB_MAX: Final = 100
IDLE_S: Final = 10.0
IDLE_SHARE_MAX: Final = 0.05
"""The share of a core, in one of IDLE_LOOKS: other processes of the machine make everything dearer."""
IDLE_LOOKS: Final = 3


@pytest.fixture
def many(broker: str, redis_url: str, tmp_path: Path) -> Deployment:
    """New topics with 256 partitions."""
    if not os.environ.get("ECOUNTERS_TEST_BROKER"):
        pytest.skip("its figures are those of Apache Kafka: `make test-kafka` runs it")
    settings = {"SESSION_TIMEOUT_S": 6}
    made = Deployment(broker, redis_url, tmp_path, partitions=PARTITIONS, settings=settings)
    made.create_topics()
    return made


def publish_calls(deployment: Deployment) -> None:
    """Publish a live call of each user."""

    async def send() -> None:
        async with AIOKafkaProducer(bootstrap_servers=deployment.broker) as producer:
            for at in range(USERS):
                for value in RecentCall("c1", f"u{at}").started(0, "IBD").ringing(1).values():
                    partition = partition_of(f"u{at}", PARTITIONS)
                    await producer.send(deployment.name, value, f"u{at}".encode(), partition)
            await producer.flush()

    asyncio.run(send())


def connections_of(worker: Worker) -> int:
    """How many TCP connections the worker has to the broker."""
    port = int(worker.deployment.broker.rsplit(":", 1)[1])
    descriptors = Path(f"/proc/{worker.process.pid}/fd")
    sockets = set()
    for descriptor in descriptors.iterdir():
        try:
            sockets.add(re.sub(r"\D", "", str(descriptor.readlink())))
        except OSError:  # closed meanwhile
            continue
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and row[9] in sockets for row in rows)


def cpu_s(worker: Worker) -> float:
    """The processor time that the worker has used."""
    fields = Path(f"/proc/{worker.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def idle_share(worker: Worker) -> float:
    """The share of a core that the worker uses in IDLE_S."""
    before = cpu_s(worker)
    time.sleep(IDLE_S)
    return (cpu_s(worker) - before) / IDLE_S


def memory_mib(worker: Worker) -> float:
    """The resident memory of the worker."""
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def test_256_partitions_are_ready_with_little_work_each_time(many: Deployment) -> None:
    """New, after orderly ends and after kills; with few connections, little memory and little work."""
    add_users(many, ["u1"])
    most = 0
    for start in range(STARTS):
        deadline = time.monotonic() + READY_LIMIT_S
        with Worker(many) as worker:
            while worker.why_not_settled():
                assert worker.process.poll() is None, worker.log_tail()
                assert time.monotonic() < deadline, (start, worker.why_not_settled(), worker.log_tail())
                most = max(most, connections_of(worker))
                time.sleep(0.05)
            assert cpu_s(worker) < START_CPU_S_MAX, (start, worker.log_tail())
            assert 0 < connections_of(worker) <= CONNECTIONS_MAX
            if start == 0:
                publish_calls(many)
                wait_until_flushed(many)
            assert wait_for_counter(worker, "u1", "LCT", {"IBD": 1}).status == 200
            if start == STARTS - 1:
                assert memory_mib(worker) < MEMORY_MIB_MAX
                assert any(idle_share(worker) < IDLE_SHARE_MAX for _ in range(IDLE_LOOKS))
                assert connections_of(worker) <= CONNECTIONS_MAX
            if start % 2:
                worker.end()
    assert 0 < most <= STARTING_MAX
