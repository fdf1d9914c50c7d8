"""The feed of a partition: from where it reads when the topic is not as it was, and how far behind it says it is."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.errors import IllegalStateError, KafkaError

from streams.basics.times import now_ms
from streams.engine.feed import FAR_BEHIND_EVENTS
from tests.support.engine_fakes import BINDING, PARTITION, PartitionFixture, live_fixture, new_fixture


def followed(position: int, *, earliest: int, end: int) -> PartitionFixture:
    """A partition restored at that position, of a topic that holds the events from ``earliest`` to ``end``."""

    async def run() -> PartitionFixture:
        async with live_fixture(position=position) as fixture:
            fixture.events.earliest, fixture.events.end = earliest, end
            fixture.events.followed.clear()
            await fixture.partition.feed.follow()
            assert fixture.partition.status.following
            fixture.holes = fixture.state.holes
            return fixture

    return asyncio.run(run())


#     earliest        end       position -> read from
#        |-------------|
#        3             9
@pytest.mark.parametrize(
    ("position", "earliest", "end", "begin"),
    [
        (5, 3, 9, 5),
        (9, 3, 9, 9),
        (2, 3, 9, 3),  # Kafka has deleted the event at 2
        (0, 3, 9, 3),  # so for a state that has counted nothing
        (12, 3, 9, 9),  # the topic was cut off: it goes on at its end
        (12, 0, 9, 0),  # it was made anew: all of it is new
        (12, 0, 0, 0),
    ],
)
def test_where_it_reads(position: int, earliest: int, end: int, begin: int) -> None:
    """From the position on, if the topic has it; else from the nearest offset at which uncounted events can be."""
    assert followed(position, earliest=earliest, end=end).events.followed == [(PARTITION, begin)]


def test_what_kafka_has_deleted_is_a_hole() -> None:
    """Also for a state that is bound and has counted nothing. The metric counts the offsets."""
    for position in (2, 0):
        fixture = followed(position, earliest=7, end=9)
        assert len(fixture.holes) == 1
        assert fixture.metrics.skipped._value.get() == 7 - position
    fixture = followed(7, earliest=7, end=9)
    assert (fixture.holes, fixture.metrics.skipped._value.get()) == ((), 0)


def test_a_new_state_begins_where_its_topic_begins() -> None:
    """A topic may have begun long before its first worker. From then on the state is bound, and a gap is a hole."""

    async def run() -> None:
        fixture = new_fixture()
        fixture.changelog.binding = None
        fixture.events.earliest, fixture.events.end = 3, 9
        fixture.partition.start()
        await fixture.until(lambda: fixture.changelog.writers and fixture.writer.written)
        assert (fixture.state.position, fixture.state.binding, fixture.state.holes) == (3, BINDING, ())
        fixture.events.earliest = 4
        await fixture.partition.feed.follow()
        assert len(fixture.state.holes) == 1
        await fixture.partition.release()

    asyncio.run(run())


def test_a_state_is_not_bound_before_it_is_followed() -> None:
    """A flush before that, as at the end of a rebalance, saves no binding: where the topic begins is not known yet."""

    async def run() -> None:
        fixture = new_fixture()
        fixture.changelog.binding = None
        fixture.events.rebalancing = True
        fixture.partition.start()
        await fixture.until(lambda: fixture.partition.status.live)
        assert await fixture.partition.flush(always=True)
        assert (fixture.state.binding, fixture.partition.status.unbound) == (None, True)
        fixture.events.rebalancing = False
        await fixture.partition.feed.follow()
        assert await fixture.partition.flush()
        assert (fixture.state.binding, fixture.partition.status.unbound) == (BINDING, False)
        assert len(fixture.writer.written) == 2
        assert await fixture.partition.flush()
        assert len(fixture.writer.written) == 2
        await fixture.partition.release()

    asyncio.run(run())


@pytest.mark.parametrize("error", [KafkaError("away"), IllegalStateError("not assigned"), TimeoutError()])
def test_it_is_not_following_while_the_broker_is_away(error: Exception) -> None:
    """The error goes no further: the next flush tries again."""

    async def run() -> None:
        async with live_fixture() as fixture:
            fixture.events.followed.clear()
            fixture.events.fail = error
            await fixture.partition.feed.follow()
            assert not fixture.partition.status.following
            assert not fixture.events.followed

    asyncio.run(run())


def test_it_follows_nothing_during_a_rebalance_nor_before_the_restore() -> None:
    """The end of the rebalance, or of the restore, follows the partition."""

    async def run() -> None:
        async with live_fixture() as fixture:
            fixture.events.followed.clear()
            fixture.events.rebalancing = True
            await fixture.partition.feed.follow()
            assert not fixture.events.followed
        fixture = new_fixture()
        await fixture.partition.feed.follow()
        assert not fixture.events.followed

    asyncio.run(run())


@pytest.mark.parametrize(("earliest", "end"), [(7, 9), (0, 2)])
def test_a_state_is_not_changed_once_a_rebalance_has_begun(earliest: int, end: int) -> None:
    """The offsets may come after the last flush: the next owner restores what was flushed, and asks for them itself."""

    async def run() -> None:
        async with live_fixture(position=5) as fixture:
            fixture.events.earliest, fixture.events.end = earliest, end
            fixture.events.followed.clear()
            following = asyncio.create_task(fixture.partition.feed.follow())
            await asyncio.sleep(0)
            fixture.partition.status.frozen = True
            await following
            assert (fixture.state.position, fixture.state.holes, fixture.events.followed) == (5, (), [])

    asyncio.run(run())


def test_events_that_kafka_has_deleted_are_counted_once_though_a_rebalance_begins() -> None:
    """It begins while the state is in use: nothing is noted, and the next look notes all."""

    async def run() -> None:
        async with live_fixture(position=5) as fixture:
            fixture.events.earliest, fixture.events.end = 7, 9
            status = fixture.partition.status
            async with status.state_lock:
                following = asyncio.create_task(fixture.partition.feed.follow())
                for _ in range(5):
                    await asyncio.sleep(0)
                status.frozen = True
            await following
            assert (fixture.state.position, fixture.metrics.skipped._value.get()) == (5, 0)
            status.frozen = False
            await fixture.partition.feed.follow()
            assert (fixture.state.position, fixture.metrics.skipped._value.get()) == (7, 2)

    asyncio.run(run())


def test_a_state_that_was_replaced_meanwhile_is_not_followed() -> None:
    """While the offsets are asked for the partition may be released: its next owner reads it."""

    async def run() -> None:
        async with live_fixture() as fixture:
            fixture.events.followed.clear()
            following = asyncio.create_task(fixture.partition.feed.follow())
            await asyncio.sleep(0)
            fixture.partition.status.forget()
            await following
            assert not fixture.events.followed

    asyncio.run(run())


def test_lag_is_the_age_of_the_last_event_read_until_the_end_is_reached() -> None:
    """At the end it is 0, however old the last event is; while the broker is silent, at least as long as that."""

    async def run() -> None:
        async with live_fixture(position=5) as fixture:
            feed, status, events = fixture.partition.feed, fixture.partition.status, fixture.events
            status.last_record_ms = now_ms() - 60_000
            assert (feed.lag_ms(), feed.at_end(), feed.is_far_behind()) == (0, True, False)
            events.end = 6
            assert 60_000 <= feed.lag_ms() < 70_000
            assert (feed.at_end(), feed.is_far_behind()) == (False, True)
            status.last_record_ms = now_ms()
            assert (feed.lag_ms() < 1_000, feed.is_far_behind()) == (True, False)
            events.end = 6 + FAR_BEHIND_EVENTS
            assert feed.is_far_behind()
            events.end, events.age_s = 5, 9.0
            assert (feed.lag_ms(), feed.at_end(), feed.is_fresh()) == (0, True, True)
            events.age_s = 11.0
            assert (feed.lag_ms(), feed.at_end(), feed.is_fresh()) == (11_000, False, False)
            events.age_s = None
            assert (feed.at_end(), feed.is_fresh()) == (False, False)

    asyncio.run(run())
