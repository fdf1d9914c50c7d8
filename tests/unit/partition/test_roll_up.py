"""The roll-up and retention of a partition's counters: which accounts are due, and what replies show then."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from ecounters.partition.policy import Policy
from ecounters.reports.totals import totals_of
from ecounters.windows.calendar import DAY_MS, HOUR_MS, day_of
from tests.support.builders import T0_MS, Feed, answer_of, call, event, ms, roll_up

HOUR, DAY = 3600.0, 86_400.0
UTC_ZONE = ZoneInfo("UTC")


def test_a_partition_says_who_is_due_and_rolls_up() -> None:
    """48 hours are kept as windows, the rest as days; no number of an answer changes by it."""
    feed = Feed()
    for hour in range(0, 120, 3):
        feed.take(
            call(f"c{hour}")
            .started(hour * HOUR, "IBD", did=f"d{hour % 2}")
            .ringing(hour * HOUR + 1)
            .ended(hour * HOUR + 9)
        )
    feed.clock(120 * HOUR)
    reply = feed.answer()
    assert feed.state.due_for_roll_up("u1")
    roll_up(feed.state, "u1", ZoneInfo("Asia/Kolkata"))
    user = feed.state.users["u1"]
    assert feed.answer() == reply
    assert not feed.state.due_for_roll_up("u1")
    oldest = min(user.spans.windows)
    assert day_of(oldest, ZoneInfo("Asia/Kolkata"))[1] > feed.state.watermark - 48 * HOUR_MS
    assert [(day.begin, day.end) for day in user.spans.days] == [
        day_of(T0_MS + n * DAY_MS, ZoneInfo("Asia/Kolkata")) for n in range(len(user.spans.days))
    ]


def test_an_answer_says_that_days_count_whole() -> None:
    """A bound inside a day that has been rolled up snaps outward to it."""
    feed = Feed().take(call("c1").started(0).ended(9)).clock(5 * DAY)
    roll_up(feed.state, "u1", UTC_ZONE)
    user = feed.state.users["u1"]
    totals = totals_of(user, ms(HOUR), ms(2 * HOUR))
    assert (totals.begin, totals.end) == day_of(T0_MS, UTC_ZONE)
    assert totals.counts["TC"] == 1


def test_a_live_call_of_a_day_long_past_is_corrected_there() -> None:
    """A call may outlive its window; its end is counted in the day that the window went into."""
    feed = Feed()
    feed.take(call().started(0, "IBD", campaignId=7).answered(5))
    for hour in range(0, 100, 3):
        feed.take(call().heartbeat(hour * HOUR))
    feed.clock(100 * HOUR)
    roll_up(feed.state, "u1", UTC_ZONE)
    feed.take(call().ended(100 * HOUR, 16)).pass_time()
    reply = feed.answer(span=day_of(T0_MS, UTC_ZONE))
    assert (reply["CT"], reply["CST"], reply["CMPID"], reply["actualTT"]) == (
        {"IBD": 1},
        {"16": 1},
        {"7": 1},
        100 * 3600 - 5,
    )
    assert not feed.state.users["u1"].spans.windows


def test_retention_is_kept_by_the_watermark() -> None:
    """Days that were over before what is kept are forgotten as time goes on, an hour at a time."""
    feed = Feed(policy=Policy(keep_days_ms=4 * DAY_MS))
    for day in range(9):
        feed.take(call(f"c{day}").started(day * DAY).ended(day * DAY + 9)).clock(day * DAY + HOUR)
        if feed.state.due_for_roll_up("u1"):
            roll_up(feed.state, "u1", UTC_ZONE)
    for _ in range(9):
        feed.clock(8 * DAY + 3 * HOUR)
    user = feed.state.users["u1"]
    assert (
        min(span.end for span in (*user.spans.days, *user.spans.windows.values())) > feed.state.watermark - 4 * DAY_MS
    )
    assert answer_of(feed.state)["TC"] in (4, 5)


def test_nothing_is_due_for_a_user_without_windows() -> None:
    """An account that only has a balance never waits for a zone."""
    feed = Feed().take(event("balance.updated", 0, balance=1)).clock(9 * DAY)
    assert not feed.state.due_for_roll_up("u1")
