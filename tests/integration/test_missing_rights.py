"""Rights that a worker lacks, and a small or changing topic of dead letters: no event is lost, and counting goes on."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest

from ecounters.events.partitioner import partition_of
from streams.kafka.topics import count_partitions
from tests.support import secured
from tests.support.accounts import add_users
from tests.support.audits import audited, ran
from tests.support.kafka_cluster import Cluster
from tests.support.published_calls import RecentCall, publish_values, wait_for_counter
from tests.support.recount_check import dead_letters
from tests.support.topics import wait_until_flushed
from tests.support.workers import Deployment, Worker

AUTHORIZER: Final = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}
TOPIC, LITERAL, ALL, WRITE, DENY, ALLOW = 2, 3, 2, 4, 2, 3
"""Numbers in Kafka's requests: a resource type, a pattern type, two operations, two permissions."""
EVERYBODY: Final = "User:ANONYMOUS"
LIMIT_S: Final = 40.0
USERS: Final = [f"u{at}" for at in range(8)]

pytestmark = pytest.mark.usefixtures("no_users")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an Apache Kafka that looks at rights."""
    if not os.environ.get("ECOUNTERS_TEST_BROKER"):
        pytest.skip("rights are those of Apache Kafka: `make test-kafka` runs it")
    if secured.is_on():
        pytest.skip("rights are taken from those who log in as nobody")
    with Cluster(tmp_path_factory.mktemp("guarded"), settings=AUTHORIZER) as made:
        yield made.address


async def make_topic(deployment: Deployment, name: str, partitions: int) -> None:
    """Create a topic with the broker's own settings."""
    admin = AIOKafkaAdminClient(bootstrap_servers=deployment.broker)
    await admin.start()
    await admin.create_topics([NewTopic(name, partitions, 1)])
    await admin.close()


@pytest.fixture
def deployment(guarded: str, redis_url: str, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment on that Kafka, whose topic of dead letters has 2 partitions, and that of events 4."""
    made = Deployment(guarded, redis_url, tmp_path, settings={"SESSION_TIMEOUT_S": 6, "FLUSH_INTERVAL_MS": 200})
    asyncio.run(make_topic(made, made.loaded().dlq_topic, 2))
    made.create_topics()
    yield made
    made.end_all()


def change_rights(deployment: Deployment, topic: str, *, may_write: bool) -> None:
    """Deny everybody to write to a topic, or allow it again."""

    async def change() -> None:
        client = AIOKafkaClient(bootstrap_servers=deployment.broker)
        await client.bootstrap()
        try:
            for operation, permission in ((ALL, ALLOW), (WRITE, DENY)):
                if may_write and permission == ALLOW:
                    continue
                request = DeleteAclsRequest if may_write else CreateAclsRequest
                asked = request(TOPIC, topic, LITERAL, EVERYBODY, "*", operation, permission)
                response = await client.send(client.get_random_node(), asked)
                (result, *_), *_ = response.filter_responses if may_write else response.creation_responses
                assert not result, response
        finally:
            await client.close()

    asyncio.run(change())


def publish_call(deployment: Deployment, user: str, name: str) -> None:
    """Publish the events of one ended call."""
    script = RecentCall(name, user).started(0, "IBD").ringing(1).answered(2).ended(9, 3)
    publish_values(deployment, user, *script.values())


def publish_misrouted(deployment: Deployment, user: str, name: str) -> None:
    """Publish a live call to a partition that is not its user's."""
    wrong = (partition_of(user, deployment.partitions) + 1) % deployment.partitions

    async def send() -> None:
        async with AIOKafkaProducer(bootstrap_servers=deployment.broker) as producer:
            for value in RecentCall(name, user).started(0, "IBD").values():
                await producer.send_and_wait(deployment.name, value, b"wrong", wrong)

    asyncio.run(send())


def wait_for_metric(worker: Worker, name: str, value: float) -> None:
    """Wait until a metric has that value, or more."""
    deadline = time.monotonic() + LIMIT_S
    while worker.metric(name) < value or (not value and worker.metric(name)):
        assert time.monotonic() < deadline, (worker.metric(name), worker.log_tail())
        time.sleep(0.1)


def test_dead_letters_go_to_a_partition_that_is_there(deployment: Deployment) -> None:
    """With 2 partitions for the dead letters of 4: no partition restores itself, and each letter is there once."""
    assert asyncio.run(count_partitions(deployment.kafka, deployment.loaded().dlq_topic, "Read")) == 2
    users = [f"u{at}" for at in range(8)]
    add_users(deployment, users)
    with Worker(deployment).wait_ready() as worker:
        for user in users:
            publish_values(deployment, user, b"no event")
            publish_call(deployment, user, "c1")
        wait_until_flushed(deployment)
        for user in users:
            wait_for_counter(worker, user, "TC", 1)
        assert worker.log.read_text().count("could not be flushed") == 0
        assert audited(deployment, worker)[0] == 0
    assert len(dead_letters(deployment)) == len(users)


def test_without_the_right_to_write_dead_letters_counting_goes_on_and_nothing_is_lost(deployment: Deployment) -> None:
    """They are kept, the log and a metric say which right is missing; also over a kill. With the right they are there
    once each."""
    dlq = deployment.loaded().dlq_topic
    change_rights(deployment, dlq, may_write=False)
    add_users(deployment, ["u1"])
    with Worker(deployment).wait_ready() as first:
        publish_values(deployment, "u1", b"no event")
        publish_call(deployment, "u1", "c1")
        wait_for_counter(first, "u1", "TC", 1)
        wait_for_metric(first, "ecounters_dead_letters_kept", 1)
        publish_call(deployment, "u1", "c2")
        assert wait_for_counter(first, "u1", "TC", 2).headers["X-Ecounters-Complete"] == "true"
        assert first.why_not_settled() == ""
        first.kill()
    with Worker(deployment, replaces=first).wait_ready() as second:
        wait_for_counter(second, "u1", "TC", 2)
        publish_call(deployment, "u1", "c3")
        wait_for_counter(second, "u1", "TC", 3)
        wait_for_metric(second, "ecounters_dead_letters_kept", 1)
        said = second.log.read_text()
        assert "could not be flushed" not in said
        assert f"topic {dlq} refuses dead letters" in said
        assert said.count("needs the right Write on it") == 1
        change_rights(deployment, dlq, may_write=True)
        wait_for_metric(second, "ecounters_dead_letters_kept", 0)
        wait_until_flushed(deployment)
        exit_code, lines, err = audited(deployment, second)
        assert (exit_code, lines[0].split(":")[0]) == (0, "equal"), (lines, err)
    assert len(dead_letters(deployment)) == 1


def test_without_the_right_to_write_events_misrouted_ones_become_dead_letters(deployment: Deployment) -> None:
    """The partition goes on; the log says which right is missing. With the right, a replay counts them."""
    users = [f"u{at}" for at in range(1, 9)]
    add_users(deployment, users)
    for user in users:
        publish_call(deployment, user, "c1")
    publish_misrouted(deployment, "u1", "c2")
    change_rights(deployment, deployment.name, may_write=False)
    with Worker(deployment).wait_ready() as worker:
        for user in users:
            wait_for_counter(worker, user, "TC", 1)
        wait_until_flushed(deployment)
        said = worker.log.read_text()
        assert "could not be flushed" not in said
        assert f"topic {deployment.name} refuses misrouted events" in said
        assert [letter[2] for letter in dead_letters(deployment)] == ["not_forwarded"]
        change_rights(deployment, deployment.name, may_write=True)
        exit_code, lines, err = ran(deployment, "dlq", "--replay", "--yes")
        assert exit_code == 0, (lines, err)
        wait_for_counter(worker, "u1", "LCT", {"IBD": 1})


async def change_topic(deployment: Deployment, what: str, partitions: int = 0) -> None:
    """Delete, make or grow the topic of dead letters."""
    topic = deployment.loaded().dlq_topic
    admin = AIOKafkaAdminClient(bootstrap_servers=deployment.broker)
    await admin.start()
    try:
        if what == "delete":
            await admin.delete_topics([topic])
        elif what == "make":
            await admin.create_topics([NewTopic(topic, partitions, 1)])
        else:
            await admin.create_partitions({topic: NewPartitions(partitions)})
    finally:
        await admin.close()


def publish(deployment: Deployment, call: str) -> None:
    """Publish a bad event and a call of each user."""
    for user in USERS:
        publish_values(deployment, user, b"no event")
        publish_call(deployment, user, call)


def test_a_topic_of_dead_letters_that_changes_stops_nothing(deployment: Deployment) -> None:
    """Deleted: the letters are kept, and the log and a metric say so. Made anew with fewer partitions, and grown: they
    are there, once each. No partition restores itself."""
    add_users(deployment, USERS)
    with Worker(deployment).wait_ready() as worker:
        publish(deployment, "c1")
        wait_until_flushed(deployment)
        asyncio.run(change_topic(deployment, "delete"))
        publish(deployment, "c2")
        for user in USERS:
            wait_for_counter(worker, user, "TC", 2)
        wait_for_metric(worker, "ecounters_dead_letters_kept", len(USERS))
        asyncio.run(change_topic(deployment, "make", 1))
        wait_for_metric(worker, "ecounters_dead_letters_kept", 0)
        wait_until_flushed(deployment)
        assert len(dead_letters(deployment)) == len(USERS)
        asyncio.run(change_topic(deployment, "grow", 6))
        publish(deployment, "c3")
        for user in USERS:
            wait_for_counter(worker, user, "TC", 3)
        wait_until_flushed(deployment)
        assert len(dead_letters(deployment)) == 2 * len(USERS)
        said = worker.log.read_text()
        assert "could not be flushed" not in said, said
        assert f"topic {deployment.loaded().dlq_topic} refuses dead letters" in said
        assert "`ecounters topics` makes it" in said
        exit_code, lines, err = audited(deployment, worker)
        assert (exit_code, lines[0].split(":")[0]) == (0, "equal"), (lines, err)
