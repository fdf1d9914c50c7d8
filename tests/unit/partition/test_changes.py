"""Changes: what a flush writes: everything that changed, once, and the position last."""

from __future__ import annotations

import msgspec

from ecounters.changelog.entries import CALL, CELL, POSITION
from tests.support.builders import Feed, busy_feed, call, picked


def test_a_flush_holds_what_changed_and_the_position_last() -> None:
    """Everything once; then only what changes; the position always."""
    feed = busy_feed()
    first = list(feed.state.take_changes())
    assert [key[:1] for key, _ in first].count(CALL) == 3
    assert len({key for key, _ in first}) == len(first)
    assert first[-1][0] == POSITION
    assert [key for key, _ in list(feed.state.take_changes())] == [POSITION]
    feed.take(call("c2").leg_ended(12))
    again = list(feed.state.take_changes())
    assert [key[:1] for key, _ in again] == [CALL, CELL, POSITION]
    assert all(dict(first).get(key) != value for key, value in again)


def test_a_dropped_call_leaves_a_tombstone_if_it_was_saved() -> None:
    """And none if the changelog never had it."""
    saved, unsaved = busy_feed(), busy_feed()
    list(saved.state.take_changes())
    for feed, tombstones in ((saved, 1), (unsaved, 0)):
        feed.clock(3600)
        assert [value for key, value in list(feed.state.take_changes()) if key[:1] == CALL].count(None) == tombstones


def test_a_call_id_that_comes_back_after_it_was_dropped_is_saved() -> None:
    """The tombstone of the old record stands before the new one, within one flush too."""
    feed = busy_feed()
    list(feed.state.take_changes())
    feed.clock(3600).take(call("c2").started(3600, "OBD"))
    entries = [
        (key, value)
        for key, value in list(feed.state.take_changes())
        if key == CALL + msgspec.msgpack.encode(("u1", "c2"))
    ]
    assert [value is None for _, value in entries] == [True, False]


def test_a_flush_counts_what_it_saves() -> None:
    """A call that was touched is counted as it is saved, once, and an answer that was kept is known to be old."""
    feed = Feed().take(*(call(f"c{n}").started(n) for n in range(3)))
    user = feed.state.users["u1"]
    before = user.version
    entries = iter(feed.state.take_changes())
    next(entries)
    assert sum(user.live.values()) == 1
    assert user.version > before
    assert picked(feed, "TC") == (3,)  # a reply is given meanwhile
    list(entries)
    assert picked(feed, "TC", "LCT") == (3, {"CTC": 3})
