"""A worker refuses topics and saved states that do not fit its settings, before it touches anything."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from ecounters.changelog.binding import Binding, EventsLog
from ecounters.changelog.entries import FORMAT, POSITION, position_entry, read_position
from ecounters.changelog.saved import Position
from streams.kafka.positions import read_positions
from tests.support.accounts import add_users
from tests.support.published_calls import RecentCall, publish_values, wait_for_counter
from tests.support.topics import make_topics, read_topic, wait_until_flushed
from tests.support.workers import Deployment, Worker

ON_KAFKA = pytest.mark.skipif(
    not os.environ.get("ECOUNTERS_TEST_BROKER"),
    reason="the embedded broker tells no topic ids",
)
HOUR_MS = 3_600_000


def changelog_of(deployment: Deployment) -> str:
    """The name of the changelog."""
    return f"{deployment.name}-state-changelog"


def with_admin(deployment: Deployment, work: Callable[[AIOKafkaAdminClient], Any]) -> Any:
    """The result of a coroutine function that uses an admin client."""

    async def run() -> Any:
        admin = AIOKafkaAdminClient(bootstrap_servers=deployment.broker)
        await admin.start()
        try:
            return await work(admin)
        finally:
            await admin.close()

    return asyncio.run(run())


def groups_and_topics(deployment: Deployment) -> tuple[set[str], set[str]]:
    """The consumer groups and topics of a deployment's name, and of those with a like one."""

    async def ask(admin: AIOKafkaAdminClient) -> tuple[set[str], set[str]]:
        groups = {group for group, *_ in await admin.list_consumer_groups()}
        return groups, set(await admin.list_topics())

    groups, topics = with_admin(deployment, ask)
    return {one for one in groups if deployment.name in one}, {one for one in topics if deployment.name in one}


def positions(deployment: Deployment) -> dict[int, Position]:
    """partition -> the saved position."""
    found = asyncio.run(read_positions(deployment.kafka, changelog_of(deployment), deployment.partitions))
    return {partition: read_position(value) for partition, value in found.items()}


def refused(deployment: Deployment) -> str:
    """Start a worker that must end by itself with exit code 2. Returns the one line that it ends with."""
    with Worker(deployment) as worker:
        assert worker.process.wait(60) == 2, worker.log_tail()
        lines = worker.log.read_text().splitlines()
    (last,) = [line for line in lines if line.startswith("ecounters: ")]
    assert lines[-1] == last
    assert not any("Traceback" in line or "serving on" in line for line in lines)
    return last


def write_positions(deployment: Deployment, values: Mapping[int, bytes]) -> None:
    """Write positions into the changelog, as a release or an import would."""

    async def write() -> None:
        async with AIOKafkaProducer(bootstrap_servers=deployment.broker) as producer:
            for partition, value in values.items():
                await producer.send_and_wait(changelog_of(deployment), value, POSITION, partition)

    asyncio.run(write())


def call_of(user: str, call: str) -> list[bytes]:
    """A whole call."""
    return RecentCall(call, user).started(0, "IBD").ringing(1).answered(2).ended(9, 3).values()


# ----------------------------------------------------------------------------------------------- bound


def test_a_worker_binds_all_partitions_at_once(deployment: Deployment) -> None:
    """Those without an event too, so that a mistake is noticed there as well. A restart keeps what is there."""
    with Worker(deployment).wait_ready() as worker:
        worker.end()
    found = positions(deployment)
    assert set(found) == set(range(deployment.partitions))
    bindings = {position.binding for position in found.values()}
    (binding,) = bindings
    assert binding is not None
    assert binding.log.topic == deployment.name
    assert (binding.log.partitions, binding.history, binding.import_id) == (deployment.partitions, (), "")
    assert binding.release
    with Worker(deployment, replaces=worker).wait_ready():
        assert {position.binding for position in positions(deployment).values()} == bindings


def test_a_changelog_of_before_is_bound_and_goes_on(deployment: Deployment) -> None:
    """A release that bound nothing has left positions without a binding: the first worker binds them, and says so."""
    unbound = {at: position_entry(Position(FORMAT, 0, 0, 0))[1] or b"" for at in range(deployment.partitions)}
    write_positions(deployment, unbound)
    assert {position.binding for position in positions(deployment).values()} == {None}
    with Worker(deployment).wait_ready() as worker:
        assert worker.log.read_text().count("is bound to") == deployment.partitions
        assert {position.binding.log.topic for position in positions(deployment).values() if position.binding} == {
            deployment.name
        }


def test_what_an_import_has_left_is_kept(deployment: Deployment) -> None:
    """The next flush writes the history and the id of the import again, under this worker's release."""
    with Worker(deployment).wait_ready() as worker:
        worker.end()
    found = positions(deployment)
    imported = {at: replace_binding(position, release="0.1", import_id="import-1") for at, position in found.items()}
    write_positions(deployment, imported)
    with Worker(deployment, replaces=worker).wait_ready() as worker:
        add_users(deployment, ["u1"])
        publish_values(deployment, "u1", *call_of("u1", "c1"))
        wait_for_counter(worker, "u1", "TC", 1)
        wait_until_flushed(deployment)
    bindings = [position.binding for position in positions(deployment).values() if position.position]
    assert [(binding.import_id, binding.release != "0.1") for binding in bindings if binding] == [("import-1", True)]


def replace_binding(position: Position, **fields: object) -> bytes:
    """The encoded position with another binding."""
    assert position.binding is not None
    of = position.binding
    values = {"log": of.log, "release": of.release, "history": of.history, "import_id": of.import_id, **fields}
    binding = Binding(**values)  # type: ignore[arg-type]
    return position_entry(Position(FORMAT, position.position, position.watermark, position.arrival, binding))[1] or b""


# --------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize("counted", [False, True])
def test_another_topic_under_the_same_app_id_is_refused(deployment: Deployment, counted: bool) -> None:
    """Also before anything was counted. The worker at work is not fenced, and counts on."""
    add_users(deployment, ["u1"])
    other = replace(deployment, name=f"{deployment.name}x", settings={**deployment.settings, "APP_ID": deployment.name})
    other.create_topics()
    with Worker(deployment).wait_ready() as worker:
        if counted:
            publish_values(deployment, "u1", *call_of("u1", "c1"))
            wait_until_flushed(deployment)
        before = worker.metric("ecounters_restore_entries_total")
        line = refused(other)
        assert f"is of topic {deployment.name}, but ECOUNTERS_TOPIC is {other.name}" in line
        assert "ecounters state export" in line
        publish_values(deployment, "u1", *call_of("u1", "c2"))
        wait_for_counter(worker, "u1", "TC", 2 if counted else 1)
        wait_until_flushed(deployment)
        assert worker.metric("ecounters_restore_entries_total") == before
        said = worker.log.read_text()
    assert "could not be flushed" not in said
    assert "fenced" not in said.lower()


def test_a_typo_in_the_topic_is_refused_and_makes_nothing(deployment: Deployment) -> None:
    """The line names the topic, the nearest that is there, and the command; no topic and no group is made."""
    typo = replace(deployment, name=f"{deployment.name}s", settings={**deployment.settings, "APP_ID": deployment.name})
    before = groups_and_topics(deployment)
    line = refused(typo)
    assert f"there is no topic {typo.name} (ECOUNTERS_TOPIC); did you mean {deployment.name}?" in line
    assert "`ecounters topics` creates it" in line
    assert groups_and_topics(deployment) == before


def test_more_partitions_than_were_counted_are_refused(deployment: Deployment) -> None:
    """All three topics have more: half of the users would have lost what was counted of them."""
    with Worker(deployment).wait_ready() as worker:
        worker.end()
    grown = EventsLog("", deployment.name, "", deployment.partitions * 2)
    bound_to_more = {at: replace_binding(position, log=grown) for at, position in positions(deployment).items()}
    write_positions(deployment, bound_to_more)
    line = refused(deployment)
    assert f"is of {grown.partitions} partitions, but topic {deployment.name} has {deployment.partitions}" in line
    assert f"`ecounters topics --grow {deployment.partitions}`" in line


@ON_KAFKA
def test_topics_that_were_grown_by_hand_are_refused(deployment: Deployment) -> None:
    """On one topic the partitions are uneven, on all three the state is of another number."""
    with Worker(deployment).wait_ready() as worker:
        worker.end()

    def grow(*topics: str) -> None:
        more = {topic: NewPartitions(total_count=8) for topic in topics}
        with_admin(deployment, lambda admin: admin.create_partitions(more))

    grow(deployment.name)
    line = refused(deployment)
    assert f"topic {deployment.name} has 8 partitions and {changelog_of(deployment)} has 4" in line
    assert "`ecounters topics --grow 8`" in line
    grow(changelog_of(deployment), f"{deployment.name}.dlq")
    line = refused(deployment)
    assert f"is of 4 partitions, but topic {deployment.name} has 8" in line
    assert "`ecounters topics --grow 8`" in line


@ON_KAFKA
@pytest.mark.parametrize("counted", [False, True])
def test_a_topic_that_was_made_anew_is_refused(deployment: Deployment, counted: bool) -> None:
    """By its id, whether anything was counted or not. As many events as before would be passed over."""
    if counted:
        publish_values(deployment, "u1", *call_of("u1", "c1"))
    with Worker(deployment).wait_ready() as worker:
        worker.end()

    async def anew(admin: AIOKafkaAdminClient) -> None:
        await admin.delete_topics([deployment.name])
        while deployment.name in await admin.list_topics():  # noqa: ASYNC110 - the broker tells nobody
            await asyncio.sleep(0.05)
        await admin.create_topics([NewTopic(deployment.name, deployment.partitions, 1)])

    with_admin(deployment, anew)
    before = asyncio.run(read_topic(deployment.broker, changelog_of(deployment)))
    line = refused(deployment)
    assert "made anew" in line
    assert "ecounters state import" in line
    assert asyncio.run(read_topic(deployment.broker, changelog_of(deployment))) == before


def test_a_half_done_import_and_a_newer_format_are_refused(deployment: Deployment) -> None:
    """An import that was killed amid its partitions; a changelog of a release to come."""
    with Worker(deployment).wait_ready() as worker:
        worker.end()
    found = positions(deployment)
    write_positions(deployment, {at: replace_binding(found[at], import_id="i1") for at in (0, 2)})
    assert "partitions 1, 3 of 4 lack it; run `ecounters state import FILE` again" in refused(deployment)
    newer = position_entry(Position(FORMAT + 1, 0, 0, 0))[1] or b""
    write_positions(deployment, {3: newer})
    assert f"partition 3 of {changelog_of(deployment)} has format {FORMAT + 1}" in refused(deployment)


# ------------------------------------------------------------------------------------ unsuitable topics


@ON_KAFKA
@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"cleanup.policy": "compact"}, ("cleanup.policy=compact", "--add-config cleanup.policy=delete")),
        ({"cleanup.policy": "compact,delete"}, ("cleanup.policy=compact,delete", "--add-config cleanup.policy=delete")),
        ({"retention.ms": "60000"}, ("retention.ms=60000", "less than an hour", "--add-config retention.ms=")),
    ],
)
def test_an_events_topic_that_loses_events_is_refused(
    broker: str, redis_url: str, tmp_path: Any, config: dict[str, str], words: tuple[str, ...]
) -> None:
    """At the start of a worker, and by `ecounters topics`."""
    deployment = Deployment(broker, redis_url, tmp_path)
    deployment.create_topics()

    async def spoil(admin: AIOKafkaAdminClient) -> None:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, deployment.name, configs=config)])

    with_admin(deployment, spoil)
    line = refused(deployment)
    assert all(word in line for word in words), line
    with pytest.raises(Exception, match=words[0]):
        deployment.create_topics()


@ON_KAFKA
def test_a_start_warns_of_what_should_be_mended(broker: str, redis_url: str, tmp_path: Any) -> None:
    """Retention under a day or by bytes, one copy, producers' times, small messages, few partitions of dead letters."""
    deployment = Deployment(broker, redis_url, tmp_path)
    config = {"retention.ms": str(2 * HOUR_MS), "retention.bytes": "1000000000", "max.message.bytes": "1048588"}

    async def few(admin: AIOKafkaAdminClient) -> None:
        await admin.create_topics([NewTopic(f"{deployment.name}.dlq", 1, 1)])

    with_admin(deployment, few)
    make_topics(deployment, {deployment.name: config})
    with Worker(deployment).wait_ready() as worker:
        warned = [line for line in worker.log.read_text().splitlines() if ": warning: " in line]
    of_events = "\n".join(line for line in warned if f" {deployment.name}: " in line)
    for words in (
        "retention.ms=7200000, less than a day",
        "retention.bytes=1000000000",
        "one copy",
        "message.timestamp.type=CreateTime",
        "a switch.snapshot can have 1 MiB",
    ):
        assert words in of_events, (words, warned)
    assert any(f"{deployment.name}.dlq: warning: 1 partitions" in line for line in warned), warned
    deployment.end_all()
