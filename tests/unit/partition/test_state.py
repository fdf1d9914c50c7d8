"""PartitionState: which events are refused, positions and versions, and what must not happen between two steps."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from ecounters.events.partitioner import partition_of
from ecounters.partition.policy import Policy
from ecounters.partition.state import PartitionState
from tests.support.builders import Feed, LogRecord, call, encoded, event, kept, ms, picked, roll_up

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
LINGER, MAX_CALL, SUSPECT = 15 * MINUTE, 4 * HOUR, 2 * HOUR
A_MS = 0.001
LATE = [("late", "ts")]


# ----------------------------------------------------------------------------------------------- lateness


def test_an_event_of_an_unknown_call_is_late_from_the_linger_on() -> None:
    """At the watermark less 15 minutes it is late; 1 ms after that it is not."""
    feed = Feed().clock(HOUR)
    assert feed.refused(call("c1").started(HOUR - LINGER)) == LATE
    assert feed.refused(call("c2").started(HOUR - LINGER + A_MS)) == []
    assert (kept(feed), picked(feed, "TC")) == (["c2"], (1,))


def test_an_event_of_a_known_call_is_never_late() -> None:
    """While there is a record, whatever belongs to it counts, however old."""
    feed = Feed().take(call().heartbeat(0)).clock(3 * HOUR)
    feed.take(call().started(-DAY).ringing(-DAY + 1))
    assert picked(feed, "TC", "LCT") == (1, {"CTC": 1})


def test_balances_and_switches_are_never_late() -> None:
    """They belong to no call; an old balance just does not replace a newer one."""
    feed = Feed().clock(DAY).take(event("balance.updated", 5, balance=7))
    assert picked(feed, "ucBl") == (7,)
    assert (
        feed.refused(event("switch.restarted", 0, switchId="s"), event("switch.snapshot", 0, switchId="s", callIds=[]))
        == []
    )


def test_what_is_refused_moves_no_watermark() -> None:
    """Late, misrouted, ahead or broken: time goes by what is accepted alone."""
    feed = Feed(partition=partition_of("u1", 8), partitions=8).take(call().started(0))
    other = next(user for user in map(str, range(99)) if partition_of(user, 8) != feed.state.partition)
    assert feed.refused(call("c9", other).started(100)) == [("misrouted", "")]
    assert feed.refused(call("c9").started(-HOUR)) == LATE
    assert feed.refused(call("c9").started(1000), arrived=0) == [("clock_ahead", "ts")]
    assert feed.refused(call("c9").add("call.ended", 100)) == [("missing", "status")]
    assert (feed.state.watermark, feed.state.arrival) == (ms(0), ms(0))
    assert feed.state.position == 5


@pytest.mark.parametrize("arrived", [0, 7])
def test_a_clock_that_is_ahead(arrived: float) -> None:
    """More than 5 minutes ahead of its arrival an event is refused; 5 minutes are taken."""
    feed = Feed()
    assert feed.refused(call("c1").started(arrived + 300), arrived=arrived) == []
    assert feed.refused(call("c2").started(arrived + 300 + A_MS), arrived=arrived) == [("clock_ahead", "ts")]


def test_a_clock_is_held_against_the_wall_too() -> None:
    """Kafka's timestamp may be the producer's own, so the wall clock is asked as well."""
    state = PartitionState(0, 1, Policy())
    record = LogRecord(0, ms(DAY), encoded(call().started(301).events[0]))
    assert [refused.reason for refused in state.apply([record], ms(0))] == ["clock_ahead"]


def test_misrouted_goes_before_ahead_and_late() -> None:
    """An event of another partition is not judged here, and comes back with the user it is to be sent to."""
    state = PartitionState(partition_of("u1", 8), 8, Policy())
    other = next(user for user in map(str, range(99)) if partition_of(user, 8) != state.partition)
    record = LogRecord(0, 0, encoded(call("c1", other).started(DAY).events[0]))
    (refused,) = state.apply([record], 0)
    assert (refused.reason, refused.user_id, refused.record) == ("misrouted", other, record)
    assert (len(state.users), state.watermark) == (0, 0)


def test_a_restart_of_all_users_is_never_misrouted() -> None:
    """It has no user; one that names a user belongs where the user does."""
    own = partition_of("u1", 8)
    for partition in range(8):
        feed = Feed(partition, 8)
        assert feed.refused(event("switch.restarted", 0, None, switchId="s")) == []
        assert feed.refused(event("switch.restarted", 0, switchId="s")) == (
            [] if partition == own else [("misrouted", "")]
        )


# -------------------------------------------------------------------------------------- positions, versions


def test_records_below_the_position_are_skipped() -> None:
    """A fetch that begins too early, holes in the offsets, and a slice of a batch are all the same to it."""
    events = [*call("c1").started(0).ended(9, 16).events, *call("c2").started(1).events]
    log = [LogRecord(7 * at, ms(99), encoded(value)) for at, value in enumerate(events)]
    feed = Feed()
    assert feed.state.apply(log[:2], ms(99)) == []
    assert feed.state.position == 8
    assert feed.state.apply(log, ms(99)) == []
    assert (feed.state.position, feed.state.tally.accepted) == (15, 3)
    assert feed.state.apply(log, ms(99)) == []
    assert feed.state.apply([], ms(99)) == []
    assert (feed.state.position, feed.state.tally.accepted, *picked(feed, "TC")) == (15, 3, 2)


def test_a_refused_record_moves_the_position() -> None:
    """It is published elsewhere, and not met again."""
    feed = Feed()
    assert feed.refused_bytes([b"x", b""], [0, 0]) == [("not_json", ""), ("empty", "")]
    assert (feed.state.position, feed.state.tally.accepted) == (2, 0)


def test_the_version_goes_up_with_every_change_that_can_be_seen() -> None:
    """An answer that is kept by version is never an old one."""
    feed, seen = Feed(), []
    steps: list[Callable[[], object]] = [
        lambda: feed.take(call().started(0, switchId="s")),
        lambda: feed.take(call().dtmf(1, "1")),
        lambda: feed.take(event("balance.updated", 1, balance=1)),
        lambda: feed.clock(SUSPECT + 1),
        lambda: feed.clock(MAX_CALL + 1),
        lambda: feed.take(call().heartbeat(MAX_CALL)).pass_time(),
        lambda: feed.take(event("switch.restarted", MAX_CALL + 1, None, switchId="s")),
        lambda: feed.take(call().ended(MAX_CALL + 1)),
    ]
    for step in steps:
        step()
        reply = feed.answer()
        seen.append((feed.state.users["u1"].version, reply, feed.state.users["u1"].suspected))
    for (before, *_), (after, *_) in pairwise(seen):
        assert before < after


# ------------------------------------------------------------------------------------------ between two steps


def test_nothing_is_applied_while_changes_are_taken_time_passes_or_windows_are_rolled_up() -> None:
    """The entries would be of two positions, and calls that are due are in no timer wheel: it is an error of ours."""
    feed = Feed().take(
        *(call(f"c{n}").started(n) for n in range(3)), event("balance.updated", SUSPECT, "u2", balance=0)
    )
    state = feed.state
    for begun in (state.rolling_up("u1", ZoneInfo("UTC")), state.advancing(0, at_end=False), state.take_changes()):
        next(begun)
        with pytest.raises(AssertionError, match="to its end"):
            feed.take(call().heartbeat(SUSPECT))
        with pytest.raises(AssertionError, match="to its end"):
            roll_up(feed.state, "u1", ZoneInfo("UTC"))
        begun.close()
        feed.state.apply([], 0)
