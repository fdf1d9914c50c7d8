"""Large replies of a worker: made beside its other work, of one moment, and shared by those that ask the same."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import ecounters.reports.reading
from ecounters.errors import RequestRefused
from ecounters.windows.calendar import DAY_MS, HOUR_MS
from streams.web.large_replies import Moving
from streams.web.replies import Reply
from tests.support.builders import Feed, call, event, ms, roll_up
from tests.support.one_partition import OnePartition, counters, replace

UTC = ZoneInfo("UTC")


@pytest.fixture(autouse=True)
def _all_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every reply is made in steps of one thing, and gives way after each."""
    monkeypatch.setattr(ecounters.reports.reading, "SMALL_US", -1)
    monkeypatch.setattr(ecounters.reports.reading, "STEP", 1)
    monkeypatch.setattr(ecounters.reports.reading, "CELLS_STEP", 1)


@pytest.fixture
def partition(monkeypatch: pytest.MonkeyPatch) -> Iterator[OnePartition]:
    """A partition whose replies are all large, with an event loop of its own."""
    with asyncio.Runner() as runner:
        yield OnePartition(monkeypatch, runner)


PARAMETERS: list[dict[str, Any]] = [
    {},
    {"Field": ["UC", "avgRingTime"]},
    {"filter": [{"field": "did", "value": ["3", "4"]}]},
    {"interval": "1h"},
]


@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
def test_a_large_reply_is_the_one_that_is_made_at_once(
    partition: OnePartition, monkeypatch: pytest.MonkeyPatch, parameters: dict[str, Any]
) -> None:
    """Bytes, ETag and headers; the next one comes from the cache."""
    large = partition.run(partition.ask(**parameters))
    assert partition.made == ["new", "u1 read", "parts", "end"]
    assert partition.run(partition.ask(**parameters)).body is large.body
    monkeypatch.setattr(ecounters.reports.reading, "SMALL_US", 1_000_000)
    at_once = OnePartition(monkeypatch, partition.runner)
    assert at_once.run(at_once.ask(**parameters)) == large
    assert at_once.made == []


def test_a_large_reply_is_of_one_moment(partition: OnePartition) -> None:
    """Events wait while an account is read. Those that come while its body is made are in the next reply."""

    async def run() -> tuple[Reply, int, Reply]:
        first = asyncio.create_task(partition.ask())
        await partition.until("u1 read")
        more = asyncio.create_task(partition.take(call("c99").started(50, did="99"), call("c3").ended(51)))
        await partition.until("parts")
        await more
        position = partition.feed.state.position
        return await first, position, await partition.ask()

    position_before = partition.feed.state.position
    reply, position, later = partition.run(run())
    assert reply.headers["X-Ecounters-Position"] == f"0:{position_before}"
    assert later.headers["X-Ecounters-Position"] == f"0:{position}"
    assert [counters(one)["TC"] for one in (reply, later)] == [20, 21]
    assert [sum(counters(one)["CST"].values()) for one in (reply, later)] == [0, 1]
    assert [sum(counters(one)["LDID"].values()) for one in (reply, later)] == [20, 20]


def test_small_replies_of_the_account_may_be_made_meanwhile(
    partition: OnePartition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They change nothing that is being read."""
    quarter: dict[str, Any] = {"filter": [{"field": "date", "op": "gte", "value": ms(0)}]}
    expected = counters(partition.run(partition.ask()))
    partition.feed.take(event("balance.updated", 60, balance=1), call("c0").dtmf(2, "0"))

    async def run() -> Reply:
        task = asyncio.create_task(partition.ask())
        await partition.until("u1 read", 2)
        monkeypatch.setattr(ecounters.reports.reading, "SMALL_US", 1_000_000)
        while not task.done():
            assert counters(await partition.ask(**quarter))["TC"] == 20
            await asyncio.sleep(0)
        return await task

    pressed = {str(n): 1 + (n == 0) for n in range(20)}
    assert counters(partition.run(run())) == expected | {"ucBl": 1, "DTMF": pressed, "DTMFV": pressed}


def test_equal_queries_share_a_reply_until_it_is_read(partition: OnePartition) -> None:
    """Who comes while the account is read gets the same; who comes later gets what has changed since."""

    async def run() -> list[Reply]:
        early = [asyncio.create_task(partition.ask()) for _ in range(3)]
        await partition.until("u1 read")
        early.append(asyncio.create_task(partition.ask()))
        await partition.until("parts")
        await partition.take(call("c99").started(50))
        late = [asyncio.create_task(partition.ask()) for _ in range(2)]
        return [await task for task in (*early, *late)]

    replies = partition.run(run())
    assert partition.made.count("new") == 2
    assert [counters(reply)["TC"] for reply in replies] == [20] * 4 + [21] * 2
    assert {reply.body for reply in replies[:4]} == {replies[0].body}


def test_a_request_that_is_cancelled_takes_the_reply_from_nobody(partition: OnePartition) -> None:
    """A client may go away while others wait for the same."""

    async def run() -> Reply:
        tasks = [asyncio.create_task(partition.ask()) for _ in range(2)]
        await partition.until("u1 read")
        tasks[0].cancel()
        return await tasks[1]

    assert counters(partition.run(run()))["TC"] == 20
    assert partition.made.count("new") == 1


def test_accounts_take_turns(partition: OnePartition) -> None:
    """One large reply at a time; an account that asks for many does not make another one wait for all of them."""

    async def run() -> None:
        many = [asyncio.create_task(partition.ask(Field=[field])) for field in ("UC", "CM", "PM", "CA")]
        await partition.until("u1 read")
        await asyncio.gather(*many, partition.ask("u2"))

    partition.run(run())
    begun = [what for what in partition.made if what != "new"]
    assert begun[::3] == ["u1 read", "u2 read", "u1 read", "u1 read", "u1 read"]
    assert begun[1::3] == ["parts"] * 5 and begun[2::3] == ["end"] * 5


def test_a_refusal_reaches_everybody_who_shares_the_reply(partition: OnePartition) -> None:
    """Such as that of a series over rolled-up days; the next query is tried anew."""
    partition.feed.clock(5 * DAY_MS / 1000)
    roll_up(partition.feed.state, "u1", UTC)
    asked: dict[str, Any] = {
        "interval": "1h",
        "filter": [{"field": "date", "op": "between", "value": [ms(0), ms(0) + HOUR_MS]}],
    }

    async def run() -> list[Any]:
        asking = [asyncio.ensure_future(partition.ask(**asked)) for _ in range(2)]
        await asyncio.wait(asking)
        return [one.exception() for one in asking]

    for expected in (1, 2):
        assert [type(refused) for refused in partition.run(run())] == [RequestRefused] * 2
        assert partition.made.count("new") == expected


def test_a_large_reply_that_waits_is_made_from_the_state_that_is_there_then(partition: OnePartition) -> None:
    """The one that it was asked of was replaced by a restore, and has lost its counters."""

    async def run() -> Reply:
        async with partition.lock:
            asking = asyncio.create_task(partition.ask())
            await asyncio.sleep(0.01)
            replacing = asyncio.create_task(replace(partition, Feed().take(call("c1").started(0, did="7"))))
            partition.fresh = False
            await asyncio.sleep(0)
        await replacing
        return await asking

    reply = partition.run(run())
    assert (counters(reply)["TC"], counters(reply)["LDID"]) == (1, {"7": 1})
    assert reply.headers["X-Ecounters-Position"] == "0:1"
    assert reply.headers["X-Ecounters-Complete"] == "false"


@pytest.mark.parametrize("before_look", [True, False])
def test_a_large_reply_that_waits_is_refused_once_the_partition_is_given_up(
    partition: OnePartition, before_look: bool
) -> None:
    """503, never counters that are 0 because the state was emptied; and the next one is tried anew."""

    async def run() -> list[Any]:
        async with partition.lock:
            asking = [asyncio.create_task(partition.ask()) for _ in range(2)]
            await asyncio.sleep(0 if before_look else 0.01)
            replacing = asyncio.create_task(replace(partition, None))
            await asyncio.sleep(0)
        await replacing
        await asyncio.wait(asking)
        return [one.exception() for one in asking]

    refused = partition.run(run())
    assert [(type(one), one.http_status) for one in refused] == [(Moving, 503)] * 2
    assert "u1 read" not in partition.made
    partition.owned, partition.feed = True, Feed().take(call("c1").started(0))
    assert counters(partition.run(partition.ask()))["TC"] == 1


@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
def test_a_large_reply_that_is_being_made_is_right_though_the_state_is_replaced(
    partition: OnePartition, monkeypatch: pytest.MonkeyPatch, parameters: dict[str, Any]
) -> None:
    """It is of the moment at which it began to read, when the partition was owned. The next one is of the new state."""
    expected = partition.run(partition.ask(**parameters))
    replaced = OnePartition(monkeypatch, partition.runner)

    async def run() -> tuple[Reply, Reply]:
        asking = asyncio.create_task(replaced.ask(**parameters))
        await replaced.until("u1 read")
        replacing = asyncio.create_task(replace(replaced, Feed().take(call("c1").started(0, did="3").dtmf(1, "1"))))
        await asyncio.sleep(0)
        reply = await asking
        await replacing
        return reply, await replaced.ask(**parameters)

    reply, later = partition.run(run())
    assert reply == expected
    assert (later.headers["X-Ecounters-Position"], later.body != expected.body) == ("0:2", True)
