"""Replies for accounts of which many calls have changed: these are settled in steps before."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

import streams.web.replies
from streams.web.large_replies import Moving
from streams.web.replies import Reply
from tests.support.builders import Feed, call, event
from tests.support.one_partition import OnePartition, counters, replace


@pytest.fixture
def partition(monkeypatch: pytest.MonkeyPatch) -> Iterator[OnePartition]:
    """A partition with an event loop of its own."""
    with asyncio.Runner() as runner:
        yield OnePartition(monkeypatch, runner)


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than five changed calls without inputs are settled in steps."""
    monkeypatch.setattr(streams.web.replies, "SLOTS_MAX", 50)


async def half_settled(partition: OnePartition) -> asyncio.Task[Reply]:
    """A query that has settled some of 200 changed calls."""
    partition.feed.take(*(call(f"more{n}").started(n) for n in range(200)))
    touched = partition.feed.state.users["u1"].touched
    count = len(touched)
    asking = asyncio.create_task(partition.ask())
    async with asyncio.timeout(5):
        while len(touched) == count:  # noqa: ASYNC110 - the query goes on in between
            await asyncio.sleep(0)
    assert len(touched) > 5
    return asking


@pytest.mark.usefixtures("few_at_once")
def test_many_changed_calls_are_settled_in_steps_for_a_reply_that_is_small(partition: OnePartition) -> None:
    """Other work goes on in between, and also events of the account: the reply has all that came before it was made."""

    async def run() -> Reply:
        asking = await half_settled(partition)
        partition.feed.take(call("last").started(300))
        return await asking

    assert counters(partition.run(run()))["TC"] == 221
    assert partition.made == []


def test_few_changed_calls_with_many_inputs_are_settled_in_steps(partition: OnePartition) -> None:
    """A thousand inputs take as long to count as a hundred calls."""
    calls = [call(f"large{n}").started(0) for n in range(6)]
    for one in calls:
        for n in range(1_000):
            one.dtmf(1 + n / 10, str(n % 10))
    partition.feed.take(*calls)
    touched = partition.feed.state.users["u1"].touched
    assert len(touched) == 26

    async def run() -> Reply:
        asking, left = asyncio.create_task(partition.ask()), set()
        async with asyncio.timeout(20):
            while not asking.done():
                left.add(len(touched))
                await asyncio.sleep(0)
        assert len(left) > 2
        return await asking

    assert counters(partition.run(run()))["DTMF"]["1"] >= 600
    assert partition.made == []


@pytest.mark.usefixtures("few_at_once")
def test_many_changed_calls_are_settled_also_of_an_account_whose_reply_is_cached(partition: OnePartition) -> None:
    """The cached reply is of before they changed."""
    assert counters(partition.run(partition.ask()))["TC"] == 20
    partition.feed.take(*(call(f"c{n}").ended(99) for n in range(6)))
    assert sum(counters(partition.run(partition.ask()))["CST"].values()) == 6
    assert partition.made == []


@pytest.mark.usefixtures("few_at_once")
def test_changed_calls_are_not_settled_any_more_once_the_state_is_replaced(partition: OnePartition) -> None:
    """It is emptied meanwhile. The reply is of the new state."""

    async def run() -> Reply:
        asking = await half_settled(partition)
        user = partition.feed.state.users["u1"]
        version = user.version
        await replace(partition, Feed().take(call("c1").started(0, did="7")))
        reply = await asking
        assert user.version == version
        return reply

    assert counters(partition.run(run()))["DID"] == {"7": 1}


@pytest.mark.usefixtures("few_at_once")
def test_changed_calls_are_not_settled_any_more_once_the_user_is_erased(partition: OnePartition) -> None:
    """The next flush deletes what was saved of the user: nothing may change that any more."""
    list(partition.feed.state.take_changes())

    async def run() -> Reply:
        asking = await half_settled(partition)
        user = partition.feed.state.users["u1"]
        version, touched = user.version, len(user.touched)
        partition.feed.take(event("account.erased", 400))
        reply = await asking
        assert (user.version, len(user.touched)) == (version, touched)
        return reply

    assert counters(partition.run(run()))["TC"] == 0


@pytest.mark.usefixtures("few_at_once")
def test_a_reply_whose_calls_are_being_settled_is_refused_once_the_partition_is_given_up(
    partition: OnePartition,
) -> None:
    """503, as for a large one."""

    async def run() -> None:
        asking = await half_settled(partition)
        await replace(partition, None)
        await asking

    with pytest.raises(Moving):
        partition.run(run())
