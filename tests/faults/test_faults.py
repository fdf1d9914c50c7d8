"""Faults of a cluster while a log with chaos is published; after each, every counter equals the recount.

Each test publishes 30,000 events at 1,500 a second, and then compares all counters of all users and all dead letters.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import cycle

from aiokafka.admin import NewTopic

from ecounters.events.partitioner import partition_of
from streams.kafka.admin import admin_client
from streams.kafka.clients import Kafka
from streams.kafka.topics import CHANGELOG_CONFIG, DLQ_CONFIG, EVENTS_CONFIG, TopicsSpec, ensure_topics
from tests.support.accounts import TOKEN, add_users
from tests.support.kafka_cluster import Cluster
from tests.support.log_publisher import USERS, LogPublisher, chaos_plan, first_messages
from tests.support.published_calls import RecentCall, publish_values, wait_for_counter
from tests.support.recount_check import assert_recounted, dead_letters
from tests.support.topics import wait_until_flushed
from tests.support.workers import Deployment, Reply, Worker

EVENTS = 30_000
RATE = 1_500.0
BUSY = 3
"""Limits in seconds are multiplied by this: the machine is busy with brokers and other tests."""


def started(deployment: Deployment, seed: int) -> tuple[LogPublisher, Worker]:
    """Users, a ready worker, and a publisher of the log."""
    add_users(deployment, (f"u{n + 1}" for n in range(USERS)))
    worker = Worker(deployment, named=False).wait_ready()
    return LogPublisher(deployment, first_messages(chaos_plan(seed), EVENTS), RATE, misroute_every=500), worker


def test_a_worker_that_wakes_after_its_session_changes_no_counter(deployment: Deployment) -> None:
    """A worker is stopped until another has its partitions, then continues; the counters equal the recount."""
    feed, zombie = started(deployment, 11)
    time.sleep(2)
    zombie.process.send_signal(signal.SIGSTOP)
    second = Worker(deployment, named=False).wait_ready()
    deadline = time.monotonic() + 60
    while second.metric("ecounters_partitions") < deployment.partitions:  # after the session timeout and a rebalance
        assert time.monotonic() < deadline, second.log_tail()
        time.sleep(0.1)
    zombie.process.send_signal(signal.SIGCONT)
    feed.wait()
    assert_recounted(deployment, [zombie.wait_ready(), second.wait_ready()])


def test_a_killed_worker_is_replaced_within_15_s(deployment: Deployment) -> None:
    """When the session of a killed worker ends, another has all partitions, and the counters equal the recount."""
    feed, first = started(deployment, 12)
    second = Worker(deployment, named=False).wait_ready()
    first.kill()
    began = time.monotonic()
    while second.metric("ecounters_partitions") < deployment.partitions or second.why_not_settled():
        assert time.monotonic() - began < 15 * BUSY, second.log_tail()
        time.sleep(0.1)
    feed.wait()
    assert_recounted(deployment, [second])


def test_a_stopped_worker_is_replaced_within_3_s(deployment: Deployment) -> None:
    """A worker ends within 5 s of SIGTERM, another has all partitions 3 s later, and the counters equal the recount."""
    feed, first = started(deployment, 13)
    second = Worker(deployment, named=False).wait_ready()
    assert first.end() < 5 * BUSY
    began = time.monotonic()
    while second.metric("ecounters_partitions") < deployment.partitions or second.why_not_settled():
        assert time.monotonic() - began < 3 * BUSY, second.log_tail()
        time.sleep(0.05)
    feed.wait()
    assert_recounted(deployment, [second])


def test_killing_each_broker_in_turn_changes_no_counter(deployment: Deployment, cluster: Cluster) -> None:
    """Each of three brokers is killed and restarted in turn; the counters equal the recount."""
    feed, worker = started(deployment, 14)
    for node in (1, 2, 3):
        time.sleep(2)
        cluster.kill(node)
        time.sleep(3)
        cluster.restart(node)
        cluster.wait_in_sync()
    feed.wait()
    assert_recounted(deployment, [worker.wait_ready()])


def test_restored_partitions_reply_while_others_wait_for_a_broker(deployment: Deployment, cluster: Cluster) -> None:
    """While the only copy of some partitions is away, their users get 503 with Retry-After and all others get 200."""
    here = in_one_copy(deployment, cluster)
    add_users(here, (f"u{n + 1}" for n in range(USERS)))
    LogPublisher(here, first_messages(chaos_plan(16), 10_000), 0).wait()
    with Worker(here).wait_ready():
        wait_until_flushed(here)
    led = leaders(cluster, f"{here.name}-state-changelog"), leaders(cluster, here.name)
    users = {f"u{n + 1}": partition_of(f"u{n + 1}", here.partitions) for n in range(USERS)}
    gone = led[0][users["u1"]]
    waiting = [user for user, partition in users.items() if led[0][partition] == gone]
    others = [user for user, partition in users.items() if gone not in (led[0][partition], led[1][partition])]
    assert waiting and others
    cluster.kill(gone)
    cluster.wait()
    worker = Worker(here, named=False)
    for user in others:
        wait_for_status(worker, user, 200)
    for user in waiting:
        reply = wait_for_status(worker, user, 503)
        assert (reply.json["code"], reply.headers["Retry-After"]) == (1032, "1")
    assert "being restored" in worker.why_not_settled()
    cluster.restart(gone)
    cluster.wait_in_sync()
    assert_recounted(here, [worker.wait_ready(120)])


def test_a_bad_event_whose_dead_letter_has_no_broker_stops_no_counting(
    deployment: Deployment, cluster: Cluster
) -> None:
    """It is kept, and what follows it is counted: the partition is not restored again and again. Its letter comes
    later, once."""
    here = in_one_copy(deployment, cluster)
    add_users(here, ["u1"])
    partition = partition_of("u1", here.partitions)
    gone = leaders(cluster, here.loaded().dlq_topic)[partition]
    assert gone not in (leaders(cluster, name)[partition] for name in (here.name, f"{here.name}-state-changelog"))
    with Worker(here, named=False).wait_ready() as worker:
        cluster.kill(gone)
        cluster.wait()
        publish_values(
            here, "u1", b"no event", *RecentCall("c1", "u1").started(0, "CTC", number="+15550000001").values()
        )
        wait_for_counter(worker, "u1", "TC", 1)
        wait_until(lambda: worker.metric("ecounters_dead_letters_kept") == 1, 30 * BUSY, worker)
        cluster.restart(gone)
        cluster.wait_in_sync()
        wait_until(lambda: worker.metric("ecounters_dead_letters_kept") == 0, 30 * BUSY, worker)
        wait_until_flushed(here)
        assert len(dead_letters(here)) == 1


def wait_until(condition: Callable[[], bool], limit_s: float, worker: Worker) -> None:
    """Wait until the condition holds. AssertionError with the worker's log after ``limit_s``."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, worker.log_tail()
        time.sleep(0.1)


def in_one_copy(deployment: Deployment, cluster: Cluster) -> Deployment:
    """A deployment whose topics have one copy, so that partitions are away while their only broker is.

    Partitions 0 to 3 of each topic are on nodes 1, 2, 3, 1: Kafka's own choice may put all users on one node. Those of
    the topic of dead letters are on the next node.
    """
    here = replace(deployment, name=f"{deployment.name}-one", settings={**deployment.settings, "REPLICATION": 1})
    settings = here.loaded()
    configs = {here.name: EVENTS_CONFIG, settings.changelog_topic: CHANGELOG_CONFIG, settings.dlq_topic: DLQ_CONFIG}
    nodes = {partition: [node] for partition, node in zip(range(here.partitions + 1), cycle(cluster.nodes))}

    async def make() -> None:
        async with admin_client(Kafka.of(settings)) as admin:
            for topic, config in configs.items():
                alone, next_node = {**config, "min.insync.replicas": "1"}, int(topic == settings.dlq_topic)
                on = {partition: nodes[partition + next_node] for partition in range(here.partitions)}
                await admin.create_topics([NewTopic(topic, -1, -1, replica_assignments=on, topic_configs=alone)])
        await ensure_topics(Kafka.of(settings), TopicsSpec.of(settings))

    asyncio.run(make())
    return here


def leaders(cluster: Cluster, topic: str) -> dict[int, int]:
    """partition -> the node that leads it."""
    (found,) = [one for one in cluster.nodes[1].metadata().topics if one[1] == topic]
    return {partition: leader for _, partition, leader, *_ in found[3]}


def wait_for_status(worker: Worker, user: str, status: int) -> Reply:
    """Ask until a reply has that status. AssertionError after 30 s times BUSY."""
    deadline = time.monotonic() + 30 * BUSY
    while True:
        with suppress(OSError):
            reply = worker.ask({"userId": user, "token": TOKEN})
            if reply.status == status:
                return reply
        assert time.monotonic() < deadline, worker.log_tail()
        time.sleep(0.1)


def test_killing_all_brokers_at_once_changes_no_counter(deployment: Deployment, cluster: Cluster) -> None:
    """All brokers are dead for 16 s; the worker answers and is ready meanwhile, and the counters equal the recount."""
    feed, worker = started(deployment, 15)
    time.sleep(2)
    for node in (1, 2, 3):
        cluster.kill(node)
    time.sleep(16)
    assert worker.ask({"userId": "u1", "token": TOKEN}).status == 200
    assert worker.why_not_settled()
    assert worker.why_not_ready() == ""
    cluster.restart(1, 2, 3)
    cluster.wait_in_sync()
    feed.wait()
    assert_recounted(deployment, [worker.wait_ready(120)])
