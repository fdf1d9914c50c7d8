"""What a worker makes of topics that change while it uses them."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.errors import NodeNotReadyError

from ecounters.changelog.binding import EventsLog
from ecounters.events.partitioner import partition_of
from streams.engine import partition as partition_module
from streams.engine import topics_watch
from streams.engine.topics_watch import Change, Topics
from streams.kafka.metadata import ClusterFacts, TopicFacts
from tests.support.engine_fakes import PARTITIONS, USER, PartitionFixture, balances, batch, on_live

TOPICS = Topics(EventsLog("k1", "events", "a" * 32, PARTITIONS), "changelog", "b" * 32)


def fact(topic_id: str = "", partitions: int = PARTITIONS) -> TopicFacts:
    """A topic of one copy."""
    return TopicFacts(topic_id, partitions, 1, None)


def change(topics: dict[str, TopicFacts], cluster: str = "k1") -> Change | None:
    """What TOPICS say of these."""
    return TOPICS.change(ClusterFacts(cluster, topics))


GOOD = {"events": fact("a" * 32), "changelog": fact("b" * 32)}


def test_topics_that_are_as_before_are_no_change() -> None:
    """Nor are ids that a broker does not tell."""
    assert change(GOOD) is None
    assert change({"events": fact(), "changelog": fact()}, "") is None


@pytest.mark.parametrize(
    ("now", "words", "keeps_changelog"),
    [
        ({"changelog": GOOD["changelog"]}, "topic events was deleted:", True),
        ({**GOOD, "events": fact("c" * 32)}, "topic events was deleted and made anew", True),
        ({**GOOD, "events": fact("c" * 32, 2 * PARTITIONS)}, "topic events was deleted and made anew", True),
        ({**GOOD, "events": fact("", PARTITIONS - 1)}, "it was made anew", True),
        ({"events": GOOD["events"]}, "topic changelog was deleted:", False),
        ({**GOOD, "changelog": fact("c" * 32)}, "topic changelog was deleted and made anew", False),
        ({}, "topic changelog was deleted:", False),
    ],
)
def test_a_topic_that_is_gone_stops_everything(now: dict[str, TopicFacts], words: str, keeps_changelog: bool) -> None:
    """The line says which, and what helps."""
    found = change(now)
    assert found is not None
    assert (found.stops, found.keeps_changelog) == (True, keeps_changelog)
    assert words in found.detail
    assert "ecounters state import" in found.detail


def test_other_brokers_stop_everything() -> None:
    """The names of the brokers may lead to another cluster one day."""
    found = change(GOOD, "k2")
    assert found is not None
    assert (found.stops, found.keeps_changelog) == (True, False)
    assert "of the cluster k2, and were of k1" in found.detail


def test_a_grown_topic_stops_nothing() -> None:
    """The line says which partitions are not counted, and the command."""
    found = change({**GOOD, "events": fact("a" * 32, 6)})
    assert found is not None
    assert (found.stops, found.partitions) == (False, 6)
    assert "partitions 4 to 5 are not counted" in found.detail
    assert "`ecounters topics --grow 6`" in found.detail


def set_events(fixture: PartitionFixture, topic: TopicFacts | None) -> None:
    """Let the broker say this of the topic of events from now on."""
    topics = {"changelog": fact()} if topic is None else {"changelog": fact(), "events": topic}
    fixture.facts.now = ClusterFacts("", topics)


def test_grown_concerns_whose_partition_is_another_one() -> None:
    """The others are counted as before, and their replies are complete."""

    async def work(fixture: PartitionFixture) -> None:
        topics = fixture.context.topics
        users = [f"u{at}" for at in range(200)]
        assert not any(map(topics.concerns, users))
        set_events(fixture, fact("", 6))
        assert await topics.confirm()
        concerned = {user for user in users if topics.concerns(user)}
        assert concerned == {user for user in users if partition_of(user, 6) != partition_of(user, PARTITIONS)}
        assert 0 < len(concerned) < len(users)
        assert fixture.metrics.topics_changed._value.get() == 1
        await fixture.partition.apply_batch(batch(0, balances(0, 3)))
        assert await fixture.partition.flush()
        set_events(fixture, fact())
        assert await topics.confirm()
        assert not any(map(topics.concerns, users))
        assert fixture.metrics.topics_changed._value.get() == 0

    on_live(work)


def test_nothing_is_written_that_may_be_of_another_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    """A topic that is gone is noticed by the flush itself, whenever the last look was. What was not flushed is dropped,
    and nothing is counted, until the topic is there again."""
    monkeypatch.setattr(partition_module, "HEARTBEAT_REPLY_S", 0.0)
    monkeypatch.setattr(partition_module, "WAIT_S", 0.01)

    async def work(fixture: PartitionFixture) -> None:
        await fixture.partition.apply_batch(batch(0, balances(0, 3)))
        assert await fixture.partition.flush()
        await fixture.partition.apply_batch(batch(3, balances(3, 2)))
        written, first = len(fixture.writer.written), fixture.writer
        set_events(fixture, None)
        fixture.changelog.position, fixture.events.end = 3, 5
        assert not await fixture.partition.flush()
        assert len(first.written) == written
        status = fixture.partition.status
        await fixture.until(lambda: status.waiting is not None)
        assert status.waiting is not None and "topic events was deleted" in status.waiting.detail
        assert (status.live, fixture.state.position) == (False, 3)
        assert fixture.context.topics.concerns(USER)
        await fixture.partition.apply_batch(batch(3, balances(3, 2)))
        assert fixture.state.position == 3
        assert len(fixture.writer.written) == 0
        set_events(fixture, fact())
        assert await fixture.context.topics.confirm()
        await fixture.until(lambda: status.live)
        await fixture.partition.apply_batch(batch(3, balances(3, 2)))
        assert await fixture.partition.flush()
        assert fixture.state.position == 5

    on_live(work)


def test_a_partition_without_a_flush_stops_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing has changed there is nothing to flush: the periodic look is enough."""
    monkeypatch.setattr(topics_watch, "LOOK_S", 0.01)
    monkeypatch.setattr(partition_module, "HEARTBEAT_REPLY_S", 0.0)

    async def work(fixture: PartitionFixture) -> None:
        fixture.context.topics.start()
        set_events(fixture, None)
        await fixture.until(lambda: fixture.partition.status.waiting is not None)
        await fixture.context.topics.stop()

    on_live(work, interval_ms=10)


def test_a_changelog_that_is_gone_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new one is empty: the state that there is stays, for replies."""
    monkeypatch.setattr(partition_module, "HEARTBEAT_REPLY_S", 0.0)

    async def work(fixture: PartitionFixture) -> None:
        await fixture.partition.apply_batch(batch(0, balances(0, 3)))
        fixture.facts.now = ClusterFacts("", {"events": fact()})
        assert not await fixture.partition.flush()
        await fixture.until(lambda: fixture.partition.status.waiting is not None)
        assert (len(fixture.changelog.writers), fixture.state.position) == (1, 3)

    on_live(work)


def test_looks_are_shared_and_spaced() -> None:
    """Many flushes at once cost one request, or two if one was under way."""

    async def work(fixture: PartitionFixture) -> None:
        fixture.context.topics._spacing_s = 0.05
        before = fixture.facts.asked
        assert all(await asyncio.gather(*(fixture.context.topics.confirm() for _ in range(50))))
        assert all(await asyncio.gather(*(fixture.context.topics.confirm() for _ in range(50))))
        assert 2 <= fixture.facts.asked - before <= 4

    on_live(work)


def test_a_broker_that_is_away_confirms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The flush waits for it for a while, then the partition is restored, as after any flush that failed."""
    monkeypatch.setattr(topics_watch, "CONFIRM_LIMIT_S", 0.2)

    async def work(fixture: PartitionFixture) -> None:
        async def away() -> ClusterFacts:
            raise NodeNotReadyError

        back = fixture.facts.ask
        fixture.context.topics._ask = away
        fixture.context.topics._spacing_s = 0.01
        assert not await fixture.context.topics.confirm()
        assert fixture.context.topics.change is None
        fixture.context.topics._ask = back
        assert await fixture.context.topics.confirm()

    on_live(work)
