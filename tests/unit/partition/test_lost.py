"""A state whose next events Kafka has deleted."""

from __future__ import annotations

from ecounters.changelog.holes import OPEN, Hole
from ecounters.partition.lost import STEP, losing_to
from tests.support.builders import Feed, call, event, ms, restored


def lose_to(feed: Feed, offset: int) -> int:
    """Take all steps; returns how many there were."""
    return sum(1 for _ in losing_to(feed.state, offset))


def test_a_hole_begins_where_counting_stood() -> None:
    """At the watermark, if no call was live; the position is behind it."""
    feed = Feed().take(call("c1").started(0).ringing(1).answered(2).ended(9)).clock(20)
    lose_to(feed, 1_000)
    assert feed.state.position == 1_000
    assert feed.state.holes == (Hole(ms(20), OPEN),)


def test_a_hole_begins_with_the_oldest_call_that_was_live() -> None:
    """Its end may have been deleted: then the window of its start is wrong as well. Ended calls do not matter."""
    feed = Feed().take(call("c0").started(0).ended(3), call("c1").started(5), call("c2").started(7)).clock(20)
    lose_to(feed, 1_000)
    assert feed.state.holes == (Hole(ms(5), OPEN),)


def test_holes_are_saved_and_restored() -> None:
    """Open ones and closed ones, with the position."""
    feed = Feed().take(event("balance.updated", 5, balance=1))
    before = Hole(ms(1), ms(2))
    feed.state.holes = (before,)
    lose_to(feed, 1_000)
    assert restored(list(feed.state.take_changes())).holes == (before, Hole(ms(5), OPEN))


def test_many_calls_are_looked_at_in_steps() -> None:
    """The first of them began first."""
    feed = Feed().take(*(call(f"c{n}", f"u{n % 2}").started(5 + n) for n in range(3 * STEP)))
    assert lose_to(feed, 10_000) == 3
    assert feed.state.holes == (Hole(ms(5), OPEN),)
