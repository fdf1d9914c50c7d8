"""What a program can see of topics and saved positions without joining the group."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from ecounters.changelog.entries import read_position
from ecounters.events.partitioner import partition_of
from streams.kafka.clients import Kafka
from streams.kafka.metadata import ClusterFacts, FactsClient, facts_of
from streams.kafka.positions import read_positions
from streams.local.children import Guard
from streams.local.embedded import Embedded
from streams.local.ports import free_ports
from tests.support.accounts import add_users
from tests.support.published_calls import RecentCall, publish_values, wait_for_counter
from tests.support.topics import make_topics, wait_until_flushed
from tests.support.workers import Deployment, Worker


def facts(broker: str, *topics: str) -> ClusterFacts:
    """What the broker says of these topics."""
    return asyncio.run(facts_of(Kafka(broker), topics))


def changelog_of(deployment: Deployment) -> str:
    """The name of the changelog."""
    return f"{deployment.name}-state-changelog"


def positions(deployment: Deployment) -> dict[int, int]:
    """partition -> the saved position."""
    found = asyncio.run(read_positions(deployment.kafka, changelog_of(deployment), deployment.partitions))
    return {partition: read_position(value).position for partition, value in found.items()}


def test_facts_of_topics(deployment: Deployment) -> None:
    """A topic that is missing is left out, and asking does not make it."""
    make_topics(deployment, {})
    for _ in range(2):
        found = facts(deployment.broker, deployment.name, f"{deployment.name}-missing")
        assert found.cluster_id
        assert set(found.topics) == {deployment.name}
        assert found.topics[deployment.name].partitions == deployment.partitions
        assert found.topics[deployment.name].copies == 1


@pytest.mark.skipif(not os.environ.get("ECOUNTERS_TEST_BROKER"), reason="the embedded broker tells no topic ids")
def test_a_topic_that_is_made_anew_has_another_id(deployment: Deployment) -> None:
    """Two topics have two ids of 32 digits."""
    make_topics(deployment, {})
    found = facts(deployment.broker, deployment.name, changelog_of(deployment)).topics
    ids = {topic.topic_id for topic in found.values()}
    assert len(ids) == 2 and {len(text) for text in ids} == {32}
    assert facts(deployment.broker, deployment.name).topics[deployment.name].topic_id in ids


def test_saved_positions_are_found_without_reading_all(deployment: Deployment) -> None:
    """Also behind many records that are none of the project's."""
    add_users(deployment, ["u1"])
    with Worker(deployment).wait_ready() as worker:
        assert set(positions(deployment).values()) <= {0}
        publish_values(deployment, "u1", *RecentCall("c1", "u1").started(0, "IBD").ringing(1).values())
        wait_for_counter(worker, "u1", "LCT", {"IBD": 1})
        wait_until_flushed(deployment)
    partition = partition_of("u1", deployment.partitions)
    assert positions(deployment) == {**dict.fromkeys(range(deployment.partitions), 0), partition: 2}
    asyncio.run(write_foreign(deployment, partition, 2_000))
    assert positions(deployment)[partition] == 2


async def write_foreign(deployment: Deployment, partition: int, count: int) -> None:
    """Write records of another program into the changelog."""
    producer = AIOKafkaProducer(bootstrap_servers=deployment.broker)
    await producer.start()
    try:
        for at in range(count):
            await producer.send(changelog_of(deployment), b"%d" % at, b"foreign", partition)
    finally:
        await producer.stop()


def test_the_topics_are_asked_for_again_where_all_brokers_have_moved(tmp_path: Path) -> None:
    """At the configured addresses: those that the first broker has told lead nowhere now."""
    with Guard() as guard:
        ports = free_ports(2)
        broker = ",".join(f"127.0.0.1:{port}" for port in ports)

        async def ask() -> None:
            facts = FactsClient(Kafka(broker), ("events",))
            for port in ports:
                server = Embedded.start(tmp_path / str(port), kafka_port=port)
                guard.watch(server.child)
                with suppress(KafkaError):  # it asks where the first one was
                    await facts.ask()
                assert (await facts.ask()).topics == {}
                server.kill()
                guard.release(server.child)
            await facts.close()

        asyncio.run(ask())
