"""PartitionState: what is late, when records are dropped, suspected and reaped calls, positions, versions."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from ecounters.events.partitioner import partition_of
from ecounters.partition.policy import Policy
from ecounters.partition.state import PartitionState
from tests.support.builders import CallScript, Feed, LogRecord, call, encoded, event, kept, ms, picked

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
    assert [one.reason for one in state.apply([record], ms(0))] == ["clock_ahead"]


def test_misrouted_goes_before_ahead_and_late() -> None:
    """An event of another partition is not judged here, and comes back with the user it is to be sent to."""
    state = PartitionState(partition_of("u1", 8), 8, Policy())
    other = next(user for user in map(str, range(99)) if partition_of(user, 8) != state.partition)
    record = LogRecord(0, 0, encoded(call("c1", other).started(DAY).events[0]))
    (refused,) = state.apply([record], 0)
    assert (refused.reason, refused.user_id, refused.record) == ("misrouted", other, record)
    assert (state.users, state.watermark) == ({}, 0)


def test_a_restart_of_all_users_is_never_misrouted() -> None:
    """It has no user; one that names a user belongs where the user does."""
    own = partition_of("u1", 8)
    for partition in range(8):
        feed = Feed(partition, 8)
        assert feed.refused(event("switch.restarted", 0, None, switchId="s")) == []
        assert feed.refused(event("switch.restarted", 0, switchId="s")) == (
            [] if partition == own else [("misrouted", "")]
        )


# ----------------------------------------------------------------------------------------------- dropping


def ended_call() -> CallScript:
    """A call from 0 to 60."""
    return call().started(0).answered(5).ended(60)


@pytest.mark.parametrize(
    ("script", "drop_at"),
    [
        (ended_call(), 60 + LINGER),
        (call().started(60).ended(0), 60 + LINGER),
        (call().started(0).ended(60).heartbeat(300), 60 + LINGER),
        (call().started(0, switchId="s").add("switch.restarted", 60, switchId="s"), 60 + DAY),
        (call().started(0).heartbeat(60), 60 + MAX_CALL + DAY),
        (call().heartbeat(60), 60 + MAX_CALL),
        (call().ended(60), 60 + MAX_CALL),
        (call().ended(60).heartbeat(100).heartbeat(90), 100 + MAX_CALL),
    ],
    ids=["ended", "ended before it started", "ended, then heard of", "system", "silent", "waiting", "end only", "last"],
)
@pytest.mark.parametrize("advanced", [False, True], ids=["applied at once", "time let pass"])
def test_when_a_record_is_dropped(script: CallScript, drop_at: float, advanced: bool) -> None:
    """Exactly when the watermark reaches the drop time: an old event is then of an unknown call, and late."""
    for at, late in ((drop_at - A_MS, []), (drop_at, LATE)):
        feed = Feed().take(script)
        feed.clock(at) if advanced else feed.take(event("balance.updated", at, "ticker", balance=0))
        assert feed.refused(call().heartbeat(0)) == late


def test_dropping_goes_by_the_watermark_before_the_event() -> None:
    """An event that itself moves the watermark over the drop time still finds the record."""
    feed = Feed().take(ended_call()).take(call().leg_ended(60 + LINGER + 5, "1"))
    assert feed.refused(call().ringing(1)) == LATE
    feed.take(ended_call().events[0] | {"ts": ms(60 + LINGER), "id": "again"})
    assert picked(feed, "TC") == (2,), "a start that is not late, of a call that is not known any more, is another call"


def test_a_dropped_call_stays_counted_and_leaves_nothing_else() -> None:
    """Memory follows live calls, not calls seen; the counters stay."""
    feed = Feed()
    for at in range(200):
        feed.take(
            call(f"c{at}").started(at, number=f"+1555{at:07}", did="d").ringing(at + 1).dtmf(at + 2, "1").ended(at + 9)
        )
    feed.take(call("w").ringing(9)).clock(DAY).clock(2 * DAY).clock(3 * DAY)
    told, user = feed.answer(), feed.state.users["u1"]
    assert (told["TC"], told["MC"], told["DTMF"], told["freshCall"]) == (200, 200, {"1": 200}, 200)
    for _ in range(3):
        feed.pass_time()
    state = feed.state
    list(state.take_changes())
    left = (
        user.calls,
        user.numbers,
        user.live,
        user.touched,
        state.timeouts._silent,
        state._changes._calls,
        state._changes._dropped,
        user.new_numbers,
    )
    assert left == ({}, {}, {}, [], {}, [], [], {})
    assert (
        len(state.timeouts._silence_timers),
        len(state.timeouts._drop_timers),
        user.suspected,
        state.tally.orphaned,
    ) == (0, 0, 0, 1)


def test_a_call_is_counted_once_however_late_it_comes_again() -> None:
    """Its whole log once more, while it lingers and after it was dropped, changes no number."""
    feed = Feed().take(ended_call())
    told = feed.answer()
    feed.clock(60 + LINGER - 1).take(ended_call())
    assert feed.answer() == told
    feed.clock(60 + LINGER)
    assert feed.refused(ended_call()) == LATE * 3
    assert feed.answer() == told


# -------------------------------------------------------------------------------- reaped and suspected


def test_a_silent_call_is_suspected_and_then_reaped() -> None:
    """Suspected 2 hours after its last event, ended at it with status -1 after 4, by the clock."""
    feed = Feed().take(call().started(0, "IBD").answered(60))
    steps = [(60 + SUSPECT - A_MS, 0, 1), (60 + SUSPECT, 1, 1), (60 + MAX_CALL - A_MS, 1, 1), (60 + MAX_CALL, 0, 0)]
    for at, suspected, live in steps:
        feed.clock(at)
        assert (feed.state.users["u1"].suspected, picked(feed, "LCT")[0].get("IBD", 0)) == (suspected, live), at
    assert picked(feed, "CST", "CNC", "actualTT") == ({"-1": 1}, 1, 0)


def test_the_wall_clock_reaps_at_the_end_of_the_log_only() -> None:
    """While the log has been read to its end time goes on from the arrival of the last event accepted."""
    feed = Feed().take(call().started(0), arrived=100)
    feed.pass_time(100 + MAX_CALL - A_MS)
    assert picked(feed, "CST") == ({},)
    feed.pass_time(100 + MAX_CALL)
    assert picked(feed, "CST", "LCT") == ({"-1": 1}, {})
    feed.pass_time()
    assert picked(feed, "CST", "LCT") == ({}, {"CTC": 1})
    assert feed.state.clock == ms(0)


def test_the_wall_clock_does_not_go_back() -> None:
    """A wall clock behind the arrival of the last event takes nothing off the watermark."""
    feed = Feed().take(call().started(0), arrived=100).pass_time(50)
    assert feed.state.clock == ms(0)


def test_an_event_makes_a_reaped_call_live_again() -> None:
    """Being reaped is a function of the record and the clock, nothing more."""
    feed = Feed().take(call().started(0).answered(5).held(6).resumed(9)).clock(5 * HOUR)
    assert picked(feed, "LCT", "CST", "actualTT") == ({}, {"-1": 1}, 1)
    feed.take(call().heartbeat(5 * HOUR - 60)).pass_time()
    assert picked(feed, "LCT", "CST", "actualTT") == ({"CTC": 1}, {}, 0)
    feed.take(call().ended(5 * HOUR, 16)).pass_time()
    assert picked(feed, "LCT", "CST", "actualTT") == ({}, {"16": 1}, 5 * HOUR - 5 - 3)


def test_an_old_event_does_not_make_a_reaped_call_live() -> None:
    """It is corrected by it all the same, and ends at its last event as before."""
    feed = Feed().take(call().started(0).heartbeat(60)).clock(5 * HOUR).take(call().answered(10)).pass_time()
    assert picked(feed, "LCT", "CST", "CNC", "actualTT") == ({}, {"-1": 1}, 1, 50)


def test_a_reaped_call_is_dropped_a_day_later_and_stays_ended() -> None:
    """Even if the watermark leaps over all its limits at once."""
    for leap in ((60 + MAX_CALL + DAY,), (60 + MAX_CALL, 60 + MAX_CALL + DAY), (60 + MAX_CALL + DAY - A_MS, 9 * DAY)):
        feed = Feed().take(call().started(0).heartbeat(60))
        for at in leap:
            feed.clock(at)
        assert feed.refused(call().heartbeat(100)) == LATE
        assert (kept(feed), *picked(feed, "LCT", "CST")) == ([], {}, {"-1": 1})
        assert feed.state.users["u1"].suspected == 0


def test_a_call_that_ends_is_not_suspected() -> None:
    """Whoever ends it, and a call that waits for its start is not suspected either."""
    feed = (
        Feed().take(call("c1").started(0), call("c2").started(0, switchId="s"), call("c3").heartbeat(0)).clock(3 * HOUR)
    )
    assert feed.state.users["u1"].suspected == 2
    feed.take(call("c1").ended(3 * HOUR)).pass_time()
    assert feed.state.users["u1"].suspected == 1
    feed.take(event("switch.restarted", 3 * HOUR, None, switchId="s")).pass_time()
    assert feed.state.users["u1"].suspected == 0


# -------------------------------------------------------------------------------------- positions, versions


def test_records_below_the_position_are_skipped() -> None:
    """A fetch that begins too early, holes in the offsets, and a slice of a batch are all the same to it."""
    events = [*call("c1").started(0).ended(9, 16).events, *call("c2").started(1).events]
    log = [LogRecord(7 * at, ms(99), encoded(one)) for at, one in enumerate(events)]
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
        told = feed.answer()
        seen.append((feed.state.users["u1"].version, told, feed.state.users["u1"].suspected))
    for (before, *_), (after, *_) in pairwise(seen):
        assert before < after


# ------------------------------------------------------------------------------------- time in steps, and housekeeping


@pytest.mark.parametrize("steps", [1, 7, 30])
def test_time_that_stops_passing_half_way_has_passed(steps: int) -> None:
    """Whoever lets time pass in steps and is cancelled leaves no call behind that nothing looks at any more."""

    def fed() -> Feed:
        feed = Feed().take(*(call(f"c{n}").started(n) for n in range(20)), call("over").started(0).ended(1))
        return feed.take(event("balance.updated", 3 * HOUR, "ticker", balance=0))

    whole, broken = fed().pass_time(), fed()
    half = broken.state.advancing(0, at_end=False)
    for _, _ in zip(range(steps), half, strict=False):
        pass
    half.close()
    for feed in (whole, broken):
        assert (feed.state.users["u1"].suspected, "over" in kept(feed)) == (20, False)
        feed.clock(5 * HOUR)
        assert picked(feed, "LCT", "CST") == ({}, {"-1": 20, "16": 1})


def test_an_account_of_which_nothing_is_left_is_forgotten() -> None:
    """Its calls, numbers and days have gone; with it goes its entry. A new call begins a new one."""
    feed = Feed(policy=Policy(keep_days_ms=4 * 86_400_000)).take(call().started(0, number="+15550001111").ended(9))
    entries = dict(feed.state.take_changes())
    for day in (1, 3, 6, 7):
        feed.clock(day * DAY).pass_time().pass_time()
    assert set(feed.state.users) == {"ticker"}
    entries.update(feed.state.take_changes())
    assert [key for key, value in entries.items() if value is not None and b"u1" in key] == []
    assert picked(feed.take(call("c2").started(7 * DAY)), "TC") == (1,)


def test_a_cut_counts_what_it_saves() -> None:
    """A call that was touched is counted as it is saved, once, and an answer that was kept is known to be old."""
    feed = Feed().take(*(call(f"c{n}").started(n) for n in range(3)))
    user = feed.state.users["u1"]
    before = user.version
    entries = iter(feed.state.take_changes())
    next(entries)
    assert sum(user.live.values()) == 1
    assert user.version > before
    assert picked(feed, "TC") == (3,)  # somebody asks meanwhile
    list(entries)
    assert picked(feed, "TC", "LCT") == (3, {"CTC": 3})
