"""Topics that are grown, deleted or made anew under a worker, on Apache Kafka: nothing is wrong, and it says so."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic

from ecounters.changelog.entries import read_position
from ecounters.events.partitioner import partition_of
from streams.kafka import publisher as publisher_module
from streams.kafka.positions import read_positions
from streams.kafka.publisher import Outgoing, publisher
from streams.kafka.topics import CHANGELOG_CONFIG, EVENTS_CONFIG
from streams.web.paths import READY_PATH
from tests.support.accounts import TOKEN, add_users
from tests.support.published_calls import RecentCall, publish_values, wait_for_counter
from tests.support.topics import read_topic, wait_until_flushed
from tests.support.workers import Deployment, Reply, Worker

pytestmark = pytest.mark.skipif(
    not os.environ.get("ECOUNTERS_TEST_BROKER"), reason="the embedded broker tells no topic ids, and grows no topic"
)
NOTICED_S = 30.0
GROWN = 8


def with_admin(deployment: Deployment, *work: Callable[[AIOKafkaAdminClient], Any]) -> None:
    """Do something with an admin client."""

    async def run() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=deployment.broker)
        await admin.start()
        try:
            for step in work:
                await step(admin)
        finally:
            await admin.close()

    asyncio.run(run())


def grow(deployment: Deployment) -> None:
    """Add partitions to the topic of events alone."""
    more = {deployment.name: NewPartitions(total_count=GROWN)}
    with_admin(deployment, lambda admin: admin.create_partitions(more))


def anew(topic: str, partitions: int) -> Callable[[AIOKafkaAdminClient], Any]:
    """Delete a topic and make it again."""

    async def work(admin: AIOKafkaAdminClient) -> None:
        config = CHANGELOG_CONFIG if topic.endswith("-changelog") else EVENTS_CONFIG
        await admin.delete_topics([topic])
        while topic in await admin.list_topics():  # noqa: ASYNC110 - the broker tells nobody
            await asyncio.sleep(0.01)
        await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=config)])

    return work


def call_of(user: str, call: str) -> list[bytes]:
    """A whole call."""
    return RecentCall(call, user).started(0, "IBD").ringing(1).answered(2).ended(9, 3).values()


def send(deployment: Deployment, partitions: int, user: str, calls: Iterable[str]) -> None:
    """Publish whole calls to the partition that the user has among so many."""

    async def work() -> None:
        async with AIOKafkaProducer(bootstrap_servers=deployment.broker) as producer:
            for call in calls:
                for value in call_of(user, call):
                    where = partition_of(user, partitions)
                    await producer.send(deployment.name, value, key=user.encode(), partition=where)

    asyncio.run(work())


def ask(worker: Worker, user: str) -> Reply:
    """The user's counters. A topic that comes or goes lets the group share out its partitions: 503 for that moment."""
    replies: list[Reply] = []

    def answered() -> bool:
        replies.append(worker.ask({"userId": user, "token": TOKEN}))
        return replies[-1].status != 503

    until(worker, answered)
    return replies[-1]


def until(worker: Worker, holds: Callable[[], object]) -> None:
    """Wait until something holds. AssertionError after NOTICED_S, or if the worker has ended."""
    deadline = time.monotonic() + NOTICED_S
    while not holds():
        assert worker.process.poll() is None, worker.log_tail()
        assert time.monotonic() < deadline, worker.log_tail()
        time.sleep(0.1)


def is_complete(worker: Worker, user: str) -> bool:
    """Whether a reply says so."""
    reply = ask(worker, user)
    assert reply.status == 200, reply
    return reply.headers["X-Ecounters-Complete"] == "true"


def saved(deployment: Deployment) -> dict[int, int]:
    """partition -> the saved position."""
    topic = f"{deployment.name}-state-changelog"
    found = asyncio.run(read_positions(deployment.kafka, topic, deployment.partitions))
    return {partition: read_position(value).position for partition, value in found.items()}


def test_a_topic_that_grows_is_noticed(deployment: Deployment) -> None:
    """Who keeps the partition is counted and complete; all others are told. Also after a rebalance."""
    users = [f"u{at}" for at in range(24)]
    stays = {user for user in users if partition_of(user, GROWN) == partition_of(user, deployment.partitions)}
    moves = set(users) - stays
    add_users(deployment, users)
    with Worker(deployment).wait_ready() as one:
        for user in users:
            send(deployment, deployment.partitions, user, ["c1"])
        for user in users:
            wait_for_counter(one, user, "TC", 1)
        grow(deployment)
        until(one, lambda: not is_complete(one, next(iter(moves))))
        assert {user for user in users if is_complete(one, user)} == stays
        ready = one.request("GET", READY_PATH)
        assert ready.status == 200
        (line,) = ready.json["waiting"]
        assert f"topic {deployment.name} has 8 partitions now" in line
        assert "`ecounters topics --grow 8`" in line
        assert one.metric("ecounters_topics_changed") == 1
        assert one.log.read_text().count("has 8 partitions now") == 1
        # A second worker is refused, and a rebalance (a worker that was told nothing joins) assigns the old partitions.
        with Worker(deployment) as two:
            assert two.process.wait(60) == 2
            assert "`ecounters topics --grow 8`" in two.log_tail()
        for user in users:
            send(deployment, GROWN, user, ["c2"])
        for user in stays:
            wait_for_counter(one, user, "TC", 2)
        assert {user for user in users if is_complete(one, user)} == stays
        assert {ask(one, user).json["message"]["TC"] for user in moves} == {1}
        one.end()
    assert set(saved(deployment)) == set(range(deployment.partitions))


def test_who_publishes_learns_that_a_topic_has_grown(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ecounters simulate` and `replay` published to the old partitions until they were started again."""
    monkeypatch.setattr(publisher_module, "METADATA_MS", 200)
    user = next(one for one in map("u{}".format, range(99)) if partition_of(one, GROWN) >= deployment.partitions)

    async def run() -> int:
        async with asyncio.timeout(NOTICED_S), publisher(deployment.kafka, deployment.name) as publishing:
            await asyncio.to_thread(grow, deployment)
            sent = 0
            while publishing.partitions != GROWN:
                sent += await publishing.put(Outgoing(b"before", user, False, None))
                await publishing.send()
                await asyncio.sleep(0.1)
            await publishing.put(Outgoing(b"after", user, False, None))
        return sent

    sent = asyncio.run(run())
    log = asyncio.run(read_topic(deployment.broker, deployment.name))
    assert [row.value for row in log[partition_of(user, GROWN)]] == [b"after"]
    assert len(log[partition_of(user, deployment.partitions)]) == sent


def test_the_old_partitions_are_shared_after_a_topic_has_grown(deployment: Deployment) -> None:
    """A worker that ends makes the other one take its partitions, and none of the new ones."""
    users = [f"u{at}" for at in range(24)]
    stays = {user for user in users if partition_of(user, GROWN) == partition_of(user, deployment.partitions)}
    add_users(deployment, users)
    with Worker(deployment).wait_ready() as one, Worker(deployment).wait_ready() as two:
        grow(deployment)
        until(one, lambda: one.metric("ecounters_topics_changed") == 1)
        two.end()
        for user in stays:
            send(deployment, GROWN, user, ["c1"])
        until(one, lambda: all(ask(one, user).status == 200 for user in users))
        for user in stays:
            wait_for_counter(one, user, "TC", 1)
        until(one, lambda: is_complete(one, next(iter(stays))))
        assert one.metric("ecounters_partitions") == deployment.partitions
        assert one.why_not_settled() == ""


@pytest.mark.parametrize("rows", [1, 20])
def test_a_topic_that_is_made_anew_is_not_counted(deployment: Deployment, rows: int) -> None:
    """Whether it is shorter or longer than what was counted: not one of its events is saved under the old binding."""
    add_users(deployment, ["u1"])
    with Worker(deployment).wait_ready() as worker:
        publish_values(deployment, "u1", *[value for at in range(5) for value in call_of("u1", f"c{at}")])
        wait_for_counter(worker, "u1", "TC", 5)
        wait_until_flushed(deployment)
        before = saved(deployment)
        with_admin(deployment, anew(deployment.name, deployment.partitions))
        send(deployment, deployment.partitions, "u1", [f"new{at}" for at in range(rows)])
        until(worker, lambda: not is_complete(worker, "u1"))
        until(worker, lambda: worker.metric("ecounters_topics_changed") == 1)
        until(worker, lambda: "waiting" in worker.request("GET", READY_PATH).json)
        (line,) = worker.request("GET", READY_PATH).json["waiting"]
        assert "was deleted" in line
        assert "ecounters state import" in line
        send(deployment, deployment.partitions, "u1", ["new again"])
        until(worker, lambda: ask(worker, "u1").json["message"]["TC"] == 5)
        assert not is_complete(worker, "u1")
        assert saved(deployment) == before
        worker.end()
    assert saved(deployment) == before


def test_a_changelog_that_is_made_anew_is_not_written(deployment: Deployment) -> None:
    """It would hold what changes from now on alone, and look like a whole state."""
    add_users(deployment, ["u1"])
    with Worker(deployment).wait_ready() as worker:
        publish_values(deployment, "u1", *call_of("u1", "c1"))
        wait_for_counter(worker, "u1", "TC", 1)
        wait_until_flushed(deployment)
        with_admin(deployment, anew(f"{deployment.name}-state-changelog", deployment.partitions))
        publish_values(deployment, "u1", *call_of("u1", "c2"))
        until(worker, lambda: not is_complete(worker, "u1"))
        until(worker, lambda: "waiting" in worker.request("GET", READY_PATH).json)
        assert ask(worker, "u1").json["message"]["TC"] >= 1
        worker.end()
    assert saved(deployment) == {}
    with Worker(deployment) as worker:  # what was deleted is not taken for nothing
        assert worker.process.wait(60) == 2, worker.log_tail()
        last = worker.log.read_text().splitlines()[-1]
    assert f"{deployment.name}-state-changelog has no saved state of partition" in last
    assert f"kafka-consumer-groups.sh --delete --group {deployment.name}" in last
