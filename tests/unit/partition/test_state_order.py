"""PartitionState: what follows the order of the log, as ends given by the system; and balances, which do not."""

from __future__ import annotations

from typing import Any

from tests.support.builders import CallScript, Feed, call, event, kept, ms, picked, restored

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
LINGER, SUSPECT, MAX_CALL = 15 * MINUTE, 2 * HOUR, 4 * HOUR
A_MS = 0.001
LATE = [("late", "ts")]


def restart(at: float, switch: str = "s", user: str | None = None) -> dict[str, Any]:
    """switch.restarted, for all users or for one."""
    return event("switch.restarted", at, user, switchId=switch)


def snapshot(at: float, *calls: str, switch: str = "s", user: str = "u1") -> dict[str, Any]:
    """switch.snapshot: those calls are live."""
    return event("switch.snapshot", at, user, switchId=switch, callIds=list(calls))


def test_a_restart_ends_the_switchs_calls_of_all_users() -> None:
    """At its ts, with status -2: those of the switch, live, started at or before it."""
    feed = Feed().take(
        call("c1").started(0, switchId="s").answered(5),
        call("c1", "u2").started(60, switchId="s"),
        call("c2").started(0, switchId="other"),
        call("c3").started(0),
        call("c4").started(60.001, switchId="s"),
        call("c5").started(0, switchId="s").ended(9, 16),
        call("c6").ringing(1),
    )
    feed.take(restart(60))
    assert picked(feed, "CST", "LCT", "actualTT") == ({"-2": 1, "16": 1}, {"CTC": 3}, 55)
    assert picked(feed, "CST", user="u2") == ({"-2": 1},)


def test_a_restart_of_one_user_ends_that_users_calls_only() -> None:
    """With a userId the others' calls go on."""
    feed = Feed().take(call("c1").started(0, switchId="s"), call("c1", "u2").started(0, switchId="s"))
    feed.take(restart(60, user="u2"))
    assert (picked(feed, "CST"), picked(feed, "CST", user="u2")) == (({},), ({"-2": 1},))


def test_a_snapshot_ends_what_it_does_not_hold() -> None:
    """At its ts, with status -3: the user's calls of that switch that are not in callIds."""
    feed = Feed().take(
        call("c1").started(0, switchId="s"),
        call("c2").started(0, switchId="s"),
        call("c1", "u2").started(0, switchId="s"),
        call("c3").started(0, switchId="other"),
        call("c4").started(60.001, switchId="s"),
    )
    feed.take(snapshot(60, "c2"))
    assert picked(feed, "CST", "LCT") == ({"-3": 1}, {"CTC": 3})
    assert picked(feed, "CST", user="u2") == ({},)


def test_the_starts_own_switch_counts() -> None:
    """Not the switch of another event of the call, and of several starts the current one's."""
    feed = Feed().take(call("c1").started(5, switchId="s"), call("c1").started(4, switchId="other"))
    feed.take(call("c2").started(0).add("leg.ringing", 1, switchId="s"))
    assert picked(feed.take(restart(60)), "CST") == ({},)


def test_a_system_end_stands_until_a_real_one_comes() -> None:
    """An event of its own time or before does not lift it; a real end replaces it, also one that is earlier."""
    feed = Feed().take(call().started(0, switchId="s").answered(5), restart(60), call().heartbeat(60))
    assert picked(feed, "CST", "actualTT", "LCT") == ({"-2": 1}, 55, {})
    feed.take(snapshot(80))
    assert picked(feed, "CST", "actualTT") == ({"-2": 1}, 55)
    feed.take(call().ended(90, 16))
    assert picked(feed, "CST", "actualTT") == ({"16": 1}, 85)
    feed.take(call().ended(50, 3))
    assert picked(feed, "CST", "actualTT") == ({"3": 1}, 45)


def test_a_system_end_is_lifted_by_what_is_heard_later() -> None:
    """By an event of the call, or by a snapshot that names it; then silence and later snapshots judge it anew."""
    for heard in (call().heartbeat(70).events[0], snapshot(70, "c1")):
        feed = Feed().take(call().started(0, switchId="s").answered(5), restart(60), heard)
        assert picked(feed, "CST", "actualTT", "LCT") == ({}, 0, {"CTC": 1})
        assert picked(feed.clock(70 + MAX_CALL), "CST", "LCT") == ({"-1": 1}, {})
    feed.take(call().heartbeat(80), restart(75))
    assert picked(feed.pass_time(), "CST", "LCT") == ({}, {"CTC": 1})


def test_a_restart_that_comes_late_ends_no_call_that_was_heard_of_after_it() -> None:
    """The switch restarted before that event."""
    feed = Feed().take(call().started(0, switchId="s").heartbeat(100), restart(60), snapshot(70))
    assert picked(feed, "CST", "LCT") == ({}, {"CTC": 1})
    assert picked(feed.take(restart(100)), "CST", "LCT") == ({"-2": 1}, {})


def test_a_snapshot_amid_a_calls_start_hides_it_for_seconds() -> None:
    """The table's row 6: the call was not in the switch's list yet."""
    feed = Feed().take(call().started(59.999, switchId="s"), snapshot(60))
    assert picked(feed, "LCT", "CST") == ({}, {"-3": 1})
    feed.take(call().answered(66))
    assert picked(feed, "LCT", "CST") == ({"CTC": 1}, {})
    feed.take(call().heartbeat(120), snapshot(180, "c1"))
    assert picked(feed, "LCT", "CST") == ({"CTC": 1}, {})


def test_a_snapshot_is_a_heartbeat_for_the_calls_that_it_names() -> None:
    """On whatever switch they are; it makes no record of a call that is unknown."""
    feed = Feed().take(call("c1").started(0, switchId="s"), call("c2").started(0, switchId="other"))
    feed.take(call("c3").ringing(0), snapshot(SUSPECT - 1, "c1", "c2", "c3", "c4"))
    assert picked(feed.clock(SUSPECT + 1), "LCT") == ({"CTC": 2},)
    assert feed.state.users["u1"].suspected == 0
    assert sorted(feed.state.users["u1"].calls) == ["c1", "c2", "c3"]
    assert {record.last_ts for record in feed.state.users["u1"].calls.values()} == {ms(SUSPECT - 1)}


def test_a_snapshot_keeps_the_record_that_has_an_end_and_waits_for_its_start() -> None:
    """It is a heartbeat whether or not the call has started, so the record waits from the snapshot on."""
    feed = Feed().take(call().ended(0), snapshot(MAX_CALL - 1, "c1")).clock(MAX_CALL + 2 * MINUTE)
    assert kept(feed) == ["c1"]
    assert kept(feed.clock(2 * MAX_CALL + 2 * MINUTE)) == []


def test_a_call_id_that_is_used_again_is_refused() -> None:
    """Another call.started after the end of the call of this id: a real, a system's or a reaped end."""
    reused = [("call_id_reused", "callId")]
    again = call().started(70, campaignId=9)
    feed = Feed().take(call().started(0, switchId="s"), restart(60))
    assert feed.refused(again) == reused
    assert picked(feed, "TC", "CST", "CMPID") == (1, {"-2": 1}, {})
    feed = Feed().take(call().started(0).ended(60))
    assert feed.refused(again) == reused
    assert feed.refused(call().started(60 + A_MS)) == reused
    feed = Feed().take(call().started(0), call("c2").started(MAX_CALL))
    assert feed.refused(call().started(1)) == reused
    assert Feed().take(call().started(0)).refused(call().started(MAX_CALL)) == reused


def test_other_starts_of_a_call_are_no_second_call() -> None:
    """The same event again, one that is not after the end, one of a call that lives, one whose end came first."""
    feed = Feed().take(call().started(0).ended(60), call().started(0), call().started(60, campaignId=1))
    feed.take(call("c2").started(0), call("c2").started(9), call("c3").ended(5), call("c3").started(9))
    assert picked(feed, "TC", "CMPID", "CST") == (3, {}, {"16": 2})


def test_a_start_that_was_accepted_may_come_again() -> None:
    """As one more start of a call that lived; after its end, and after a restore. A new one is another call."""
    reused = [("call_id_reused", "callId")]
    starts = call().started(30, campaignId=2).started(9).started(50)
    feed = Feed().take(starts, call().ended(20), starts)
    before = feed.answer()
    feed.state = restored(feed.state.take_changes())
    feed.state.position = len(feed.log)
    assert feed.refused(starts, call().started(40)) == reused
    assert (feed.answer(), before["CMPID"]) == (before, {})


def test_a_call_has_at_most_200_starts() -> None:
    """One more is refused and changes nothing; those that were accepted come again, also after the end."""
    starts = [call().started(at) for at in range(201)]
    feed = Feed().take(*starts[:200])
    watermark = feed.state.watermark
    assert feed.refused(starts[200]) == [("call_too_large", "callId")]
    assert feed.state.watermark == watermark
    assert feed.take(call().ended(0.5)).refused(*starts) == [("call_id_reused", "callId")]


def test_a_call_that_starts_after_the_restart_was_read_is_not_ended_by_it() -> None:
    """Only calls that are live when it arrives; a smaller start that comes later changes nothing of that."""
    feed = Feed().take(restart(60), call("c1").started(0, switchId="s"))
    assert picked(feed, "CST") == ({},)
    feed.take(call("c2").started(100, switchId="s"), restart(90), call("c2").started(70, switchId="s"))
    assert picked(feed, "LCT") == ({"CTC": 1},) and picked(feed, "CST") == ({"-2": 1},)


def test_a_call_that_is_silent_too_long_is_not_ended_by_a_switch() -> None:
    """Live goes by the watermark, that of the switch's event included, and not by the wall clock."""
    for silent, status in ((MAX_CALL - A_MS, "-2"), (MAX_CALL, "-1")):
        feed = Feed().take(call().started(0, switchId="s"), restart(silent)).pass_time(99 * HOUR)
        assert picked(feed, "CST") == ({status: 1},)
    feed = Feed().take(call().started(0, switchId="s")).pass_time(99 * HOUR)
    assert picked(feed, "CST") == ({"-1": 1},)
    assert picked(feed.take(restart(60)).pass_time(), "CST") == ({"-2": 1},)


def test_a_call_ended_by_the_system_is_dropped_a_day_after_that_end() -> None:
    """An old restart gives an old end: the day counts from the end, not from when it was read."""
    feed = Feed().take(call().started(0, switchId="s"), call("c2").heartbeat(HOUR), restart(60)).clock(60 + DAY - A_MS)
    assert kept(feed) == ["c1"]
    assert feed.clock(60 + DAY).refused(call().ended(61)) == LATE
    assert picked(feed, "CST") == ({"-2": 1},)


# ------------------------------------------------------------------------------ repeat or fresh, balances


def numbered(call_id: str, at: float) -> CallScript:
    """The start of a call with one number."""
    return call(call_id).started(at, number="+15550001111")


def test_repeat_or_fresh_is_settled_by_the_first_start_processed() -> None:
    """Another start of the call changes neither it nor what is remembered of the number."""
    feed = Feed().take(call("c1").heartbeat(0), numbered("c1", 100), numbered("c1", 50))
    feed.take(call("c1").started(10, number="+15550002222"))
    assert picked(feed, "freshCall", "repeatCall") == (1, 0)
    feed.take(call("c2").started(100, number="+15550002222"))
    assert picked(feed, "freshCall", "repeatCall") == (2, 0)
    feed.take(call("c3").heartbeat(100), call("c3").started(100), numbered("c3", 99))
    assert picked(feed, "freshCall", "repeatCall") == (2, 0)


def test_the_last_start_of_a_number_is_the_largest() -> None:
    """A late start does not set it back."""
    feed = Feed().take(*(call(f"c{at}").heartbeat(DAY) for at in range(3)))
    feed.take(numbered("c0", DAY), numbered("c1", -A_MS), numbered("c2", 2 * DAY))
    assert picked(feed, "freshCall", "repeatCall") == (2, 1)


def test_a_number_is_forgotten_after_28_hours_by_the_watermark() -> None:
    """A start that is within a day of it but comes later than that is fresh; whether the house was swept or not."""
    for advanced in (False, True):
        for beyond, expected in ((0.0, (1, 1)), (A_MS, (2, 0))):
            feed = Feed().take(numbered("c0", 0))
            feed.clock(20 * HOUR)
            feed.take(call("c1").heartbeat(26 * HOUR))
            clock = event("balance.updated", DAY + MAX_CALL + beyond, "ticker", balance=0)
            feed.take(clock)
            if advanced:
                feed.pass_time().pass_time()
            assert picked(feed.take(numbered("c1", DAY)), "freshCall", "repeatCall") == expected


def test_balances_go_by_their_own_time() -> None:
    """The largest (ts, id) counts in any order, and callBalance by the events that have one."""
    events = [
        event("balance.updated", 5, balance=5, callBalance=1) | {"id": "a"},
        event("balance.updated", 9, balance=9) | {"id": "a"},
        event("balance.updated", 9, balance=10) | {"id": "b"},
        event("balance.updated", 2, balance=2, callBalance=8),
    ]
    for order in (events, events[::-1], events * 2):
        assert picked(Feed().take(*order), "ucBl", "cBl") == (10, 1)
