"""Saved states that move to another number of partitions."""

from __future__ import annotations

import pytest

from ecounters.changelog.entries import FORMAT, POSITION, Entry, keep_last, position_entry, user_of
from ecounters.changelog.saved import Position
from ecounters.events.partitioner import partition_of
from ecounters.partition.moving import exchanging, position_in, settle_due, times_of
from ecounters.partition.policy import Policy
from tests.support.builders import Feed, call, event, kept, ms, restored

HOUR_S = 3_600
OF_0, OF_1 = (next(f"u{n}" for n in range(99) if partition_of(f"u{n}", 2) == at) for at in range(2))


def saved(feed: Feed) -> dict[bytes, bytes]:
    """What the changelog of a partition holds once the state is flushed."""
    last: dict[bytes, bytes] = {}
    keep_last(last, feed.state.take_changes())
    return last


def joined(*feeds: Feed) -> Feed:
    """The states of all partitions, moved to one."""
    found = [saved(feed) for feed in feeds]
    for partition, last in enumerate(found):
        settle_due(last, partition, len(feeds), Policy())
    times = times_of(map(position_in, found))
    entries: list[Entry] = [entry for last in found for entry in last.items() if entry[0] != POSITION]
    moved = Feed()
    moved.state = restored([*entries, position_entry(Position(FORMAT, 0, *times))])
    return moved


@pytest.mark.parametrize(
    ("old", "new", "groups"),
    [
        (4, 8, [([0], [0, 4]), ([1], [1, 5]), ([2], [2, 6]), ([3], [3, 7])]),
        (8, 4, [([0, 4], [0]), ([1, 5], [1]), ([2, 6], [2]), ([3, 7], [3])]),
        (4, 6, [([0, 2], [0, 2, 4]), ([1, 3], [1, 3, 5])]),
        (2, 3, [([0, 1], [0, 1, 2])]),
    ],
)
def test_partitions_exchange_users_in_groups(old: int, new: int, groups: list[tuple[list[int], list[int]]]) -> None:
    """By the greatest common divisor of both numbers; and no user leaves the group."""
    found = [(list(sources), list(targets)) for sources, targets in exchanging(old, new)]
    assert found == groups
    for at in range(500):
        user = f"user{at}"
        assert any(partition_of(user, old) in one and partition_of(user, new) in other for one, other in found)


def test_an_event_that_a_slower_partition_had_not_counted_yet_is_not_late() -> None:
    """Though it is hours behind what the faster one has counted."""
    slow = Feed(0, 2).take(call("c1", OF_0).started(0).ended(1))
    fast = Feed(1, 2).take(call("c1", OF_1).started(5 * HOUR_S).ended(5 * HOUR_S + 1))
    moved = joined(slow, fast)
    assert moved.refused(call("c2", OF_0).started(10).ended(11)) == []
    assert moved.answer(OF_0)["TC"] == 2 and moved.answer(OF_1)["TC"] == 1


def test_the_watermark_goes_on_from_events_that_are_behind_their_call() -> None:
    """An event of a call that has later ones already, as of a faster partition, moves the watermark all the same."""
    slow = Feed(0, 2).take(call("c1", OF_0).started(0))
    fast = Feed(1, 2).take(call("c1", OF_1).started(0).heartbeat(600))
    moved = joined(slow, fast).take(call("c1", OF_1).heartbeat(300))
    assert moved.state.watermark == ms(300)


def test_a_partition_that_has_counted_nothing_holds_no_other_back() -> None:
    """Its watermark is none."""
    fast = Feed(1, 2).take(call("c1", OF_1).started(5 * HOUR_S))
    assert joined(Feed(0, 2), fast).state.watermark == ms(5 * HOUR_S)
    assert joined(Feed(0, 2), Feed(1, 2)).state.watermark == 0


def test_what_was_due_does_not_come_to_life_again() -> None:
    """A record that the faster partition would have dropped is gone, and its call stays counted."""
    slow = Feed(0, 2).take(event("balance.updated", 0, OF_0, balance=1))
    fast = Feed(1, 2).take(call("old", OF_1).started(0).ended(1), call("new", OF_1).started(HOUR_S))
    assert kept(fast, OF_1) == ["new", "old"]  # ``advance`` has not run yet
    moved = joined(slow, fast)
    assert kept(moved, OF_1) == ["new"] and moved.answer(OF_1)["TC"] == 2
    assert moved.state.watermark == ms(0)


def test_the_account_of_each_entry_is_known() -> None:
    """So that it finds its new partition."""
    feed = Feed(1, 2).take(call("c1", OF_1).started(0, "IBD", number="+15550001111").dtmf(1, "1"))
    assert {user_of(key) for key in saved(feed) if key != POSITION} == {OF_1}
