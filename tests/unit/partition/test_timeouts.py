"""Timeouts: when records are dropped, calls suspected and reaped, accounts forgotten; time passes in steps."""

from __future__ import annotations

import sys

import pytest

from ecounters.partition.policy import Policy
from tests.support.builders import CallScript, Feed, call, event, kept, ms, picked, restored

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
KEEP_DAYS = 400 * DAY
LINGER, MAX_CALL, SUSPECT = 15 * MINUTE, 4 * HOUR, 2 * HOUR
A_MS = 0.001
LATE = [("late", "ts")]


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
    reply, user = feed.answer(), feed.state.users["u1"]
    assert (reply["TC"], reply["MC"], reply["DTMF"], reply["freshCall"]) == (200, 200, {"1": 200}, 200)
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
        state.changes._calls,
        state.changes._dropped,
        user.new_numbers,
    )
    assert not any(left)
    assert (
        len(state.timeouts._silence_timers),
        len(state.timeouts._reused_timers),
        len(state.timeouts._drop_timers),
        user.suspected,
        state.tally.orphaned,
    ) == (0, 0, 0, 0, 1)


def test_a_call_is_counted_once_however_late_it_comes_again() -> None:
    """Its whole log once more, while it lingers and after it was dropped, changes no number."""
    feed = Feed().take(ended_call())
    reply = feed.answer()
    feed.clock(60 + LINGER - 1).take(ended_call())
    assert feed.answer() == reply
    feed.clock(60 + LINGER)
    assert feed.refused(ended_call()) == LATE * 3
    assert feed.answer() == reply


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


def test_balances_are_forgotten_when_nothing_else_is_kept() -> None:
    """Older than keep_days, of an account without calls and counters: in replies at once, in memory within an hour."""
    feed = Feed().take(event("balance.updated", 0, balance=5), event("balance.updated", 60, balance=7, callBalance=1))
    feed.take(call(user="u2").started(0).ended(9), event("balance.updated", 0, "u2", balance=3))
    entries = list(feed.state.take_changes())
    feed.clock(60 + KEEP_DAYS)
    assert feed.answer()["ucBl"] == 7
    feed.clock(60 + KEEP_DAYS + 0.001)
    assert (feed.state.account("u1"), picked(feed, "ucBl", "cBl"), picked(feed, "ucBl", user="u2")) == (
        feed.state.users["u1"],
        (0, 0),
        (3,),
    )
    feed.clock(2 * DAY + KEEP_DAYS)
    assert list(feed.state.users) == ["ticker"]
    entries += feed.state.take_changes()
    assert list(restored(entries).users) == ["ticker"]


def test_an_old_balance_costs_no_look_at_each_call() -> None:
    """After a gap in the log, all calls that were not dropped yet were looked at in one step."""

    def looked_at(calls: int) -> int:
        """How many functions are called to find out that the balance is forgotten."""
        feed = Feed().take(event("balance.updated", 0, balance=5))
        feed.take(*(call(f"c{n}").ringing(1 + KEEP_DAYS) for n in range(calls)))
        list(feed.state.take_changes())
        feed.take(event("balance.updated", 2 * KEEP_DAYS, "u2", balance=1))
        called = 0

        def count(*_: object) -> None:
            nonlocal called
            called += 1

        sys.setprofile(count)
        try:
            assert feed.state.account("u1") is not None
        finally:
            sys.setprofile(None)
        assert feed.answer()["ucBl"] == 0
        return called

    assert looked_at(500) == looked_at(5)


def test_what_is_left_of_a_forgotten_account_is_saved_before_a_new_one_of_its_id() -> None:
    """Its tombstones came after the entries of the new one, which were lost at the next restore."""
    feed = Feed().take(event("balance.updated", 0, balance=5))
    entries = list(feed.state.take_changes())
    feed.clock(2 * DAY + KEEP_DAYS)
    assert "u1" not in feed.state.users
    feed.take(event("balance.updated", 2 * DAY + KEEP_DAYS, balance=9))
    entries += feed.state.take_changes()
    balance = restored(entries).users["u1"].balance
    assert balance is not None and balance[2] == 9


def test_a_balance_that_was_forgotten_is_erased_too() -> None:
    """It was not set any more, so no tombstone was written, and it came back at the next restore."""
    feed = Feed().take(event("balance.updated", 0, balance=5))
    entries = list(feed.state.take_changes())
    feed.take(event("balance.updated", 10 + KEEP_DAYS, "u2", balance=1))
    feed.take(event("account.erased", 10 + KEEP_DAYS), call("c").started(10 + KEEP_DAYS))
    entries += feed.state.take_changes()
    assert restored(entries).users["u1"].balance is None


@pytest.mark.parametrize("asks", [True, False])
def test_a_window_that_has_lost_its_only_call_keeps_no_balance(asks: bool) -> None:
    """A second call.started has moved the call to an earlier window; whether somebody asked before."""
    feed = Feed(policy=Policy(keep_days_ms=86_400_000)).take(event("balance.updated", 0, balance=5))
    feed.take(call("c").started(3_600))
    if asks:
        feed.answer()
    feed.take(call("c").started(0), event("balance.updated", 900 + DAY, "u2", balance=1))
    assert feed.answer()["ucBl"] == 0
