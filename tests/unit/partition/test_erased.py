"""account.erased: everything that was kept of the user is forgotten, what comes later counts anew."""

from __future__ import annotations

from sys import getrefcount

import pytest

from ecounters.changelog.entries import POSITION, SLOT, Entry
from tests.support.builders import Feed, answer_of, busy_feed, call, event, picked, restored

NOTHING = Feed().answer()


def test_everything_of_the_user_is_forgotten() -> None:
    """In replies at once; another user's counters stay."""
    feed = busy_feed().take(call("c9", "u2").started(100, did="77"))
    other = feed.answer("u2")
    feed.take(event("account.erased", 200))
    assert (feed.answer(), feed.answer("u2")) == (NOTHING, other)
    assert "u1" not in feed.state.users


def test_the_changelog_has_nothing_of_the_user_any_more() -> None:
    """Each entry that was saved gets its tombstone, also of a large call, and what was dirty is not saved."""
    feed = busy_feed().take(call("c9", "u2").started(100, did="77"))
    large = call("c8").started(0, number="+15550003333")
    for number in range(40):
        large.dtmf(1 + number, str(number % 10))
    of_one_did = (call(f"i{n}").started(n, did="55").dtmf(n, f"{n:04}").ended(n + 1) for n in range(100))
    entries: list[Entry] = list(feed.take(large, *of_one_did).state.take_changes())
    assert [key[:1] for key, _ in entries].count(SLOT) >= 200
    feed.take(call("c7").started(150, did="99", number="+15550004444"), event("account.erased", 200))
    entries += feed.state.take_changes()
    left = {key: value for key, value in dict(entries).items() if value is not None}
    assert [key for key in left if b"u1" in key] == []
    assert b"15550003333" not in b"".join(left) + b"".join(left.values())
    again = restored(entries)
    assert (answer_of(again), answer_of(again, "u2")) == (NOTHING, feed.answer("u2"))
    assert list(again.users) == ["u2"]


def test_what_comes_later_counts_anew() -> None:
    """A call that lived meets its record no more; a number is fresh again; balances begin anew."""
    feed = Feed().take(call().started(0, number="+15550001111"), event("balance.updated", 0, balance=5))
    feed.take(event("account.erased", 10), call().ended(20), call("c2").started(30, number="+15550001111"))
    assert picked(feed, "TC", "freshCall", "ucBl", "CST") == (1, 1, 0, {})
    entries = list(feed.state.take_changes())
    assert answer_of(restored(entries)) == feed.answer()
    assert entries[-1][0] == POSITION


def test_timers_of_erased_calls_do_nothing() -> None:
    """The calls are neither reaped nor dropped nor counted when their limits pass."""
    feed = Feed().take(call().started(0, switchId="s"), call("c2").ringing(0), call("c3").started(0).ended(9))
    feed.pass_time().take(event("account.erased", 10))
    tally = feed.state.tally
    for at in (20_000, 200_000):
        feed.clock(at)
        assert (tally.reaped, tally.orphaned, feed.answer()) == (0, 0, NOTHING)
    assert [key[:1] for key, _ in feed.state.take_changes()].count(b"c") == 0


@pytest.mark.parametrize("flush_first", [True, False])
def test_the_memory_of_an_erased_account_is_freed(flush_first: bool) -> None:
    """Calls refer to their account, and the garbage collector does not look at calls."""
    feed = busy_feed()
    user = feed.state.users["u1"]
    feed.take(call("c8").started(0, did="55"))
    cells, calls = list(user.spans.cells()), list(user.calls.values())
    list(feed.state.take_changes())
    feed.take(call("c9").started(1), call("c8").dtmf(2, "1"), event("account.erased", 10))
    for _ in range(2):
        if flush_first:
            list(feed.state.take_changes())
        feed.pass_time()
        list(feed.state.take_changes())
    assert not (user.calls or user.touched or user.numbers or any(user.spans.cells()) or user.live)
    feed.clock(200_000)  # the timer wheels keep a call that was taken out until its minute
    unused = object()
    one_reference = getrefcount(unused)
    while calls:
        call_of_user = calls.pop()
        assert getrefcount(call_of_user) == one_reference
    while cells:
        cell = cells.pop()
        assert getrefcount(cell) == one_reference
    del call_of_user
    assert getrefcount(user) == one_reference


def test_an_unknown_user_is_erased_without_a_trace() -> None:
    """And one of another partition is sent there."""
    feed = Feed().take(event("account.erased", 10, "nobody"))
    assert (len(feed.state.users), feed.state.watermark > 0) == (0, True)
    refused = {Feed(partition, 8).refused(event("account.erased", 0))[:1] == [] for partition in range(8)}
    assert refused == {True, False}
