"""Series: what is in its steps, and which ranges are refused."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ecounters.errors import RequestRefused
from ecounters.query.conditions import read_filter
from ecounters.reports.series import Series
from tests.support.builders import T0_MS, Feed, call, event, roll_up

HOUR = 3_600
UTC = ZoneInfo("UTC")


def at(text: str) -> int:
    """ms of a time in UTC, as "03-10 12:15" of 2026."""
    return int(datetime.fromisoformat(f"2026-{text}+00:00").timestamp()) * 1000


def refusal(*arguments: Any) -> str:
    """Why there is no series."""
    with pytest.raises(RequestRefused) as caught:
        Series(*arguments)
    assert caught.value.code == 1000
    return caught.value.detail


def feed() -> Feed:
    """Calls in three hours, one of them live, and a balance."""
    return Feed().take(
        call("c1").started(0, "IBD", campaignId=7, number="+1555").answered(1).ended(9, 16),
        call("c2").started(900, "OBD").ringing(901).ended(905, 3),
        call("c3").started(2 * HOUR, "IBD", campaignId=7, number="+1555").answered(2 * HOUR + 5),
        event("balance.updated", 2 * HOUR + 6, balance=2.5),
    )


NOW_KEYS = {"LCT", "RCMPID", "RC", "LIVR", "LDID", "cBl", "ucBl"}


def test_a_step_holds_what_its_calls_count() -> None:
    """A step has times of the zone, no live calls and balances, and Fields, and is there without calls too."""
    user = feed().state.users["u1"]
    series = Series(user, (T0_MS, T0_MS + 3 * HOUR * 1000), "1h", ZoneInfo("Asia/Karachi"), None, ("UC", "avgTalkTime"))
    steps = series.message
    assert [step["from"][11:] for step in steps] == ["17:00:00+05:00", "18:00:00+05:00", "19:00:00+05:00"]
    assert steps[0]["to"] == steps[1]["from"] == "2026-03-10T18:00:00+05:00"
    keys = ("TC", "CNC", "MC", "freshCall", "repeatCall", "UC")
    assert [[step["message"][key] for key in keys] for step in steps] == [
        [2, 1, 1, 1, 0, 2], [0] * 6, [1, 1, 0, 0, 1, 1]
    ]  # fmt: skip
    assert steps[0]["message"]["CST"] == {"3": 1, "16": 1} and steps[0]["message"]["avgTalkTime"] == 8
    assert not NOW_KEYS & set(steps[0]["message"])
    assert list(steps[0]["message"])[:3] == ["CT", "CST", "CMPID"] and list(steps[0]["message"])[-1] == "avgTalkTime"
    where = read_filter([{"field": "campaignId", "value": 7}])[1]
    only = Series(user, (T0_MS, T0_MS + 3 * HOUR * 1000), "1h", UTC, where).message
    assert [step["message"]["TC"] for step in only] == [1, 0, 1]
    assert [step["message"]["TC"] for step in Series(None, (T0_MS, T0_MS + 900_000), "1h", UTC).message] == [0]


def test_rolled_up_days_have_no_shorter_steps() -> None:
    """A shorter interval over rolled-up days is refused with the time from which on it works, and works from there."""
    made = feed().clock(4 * 24 * HOUR)
    roll_up(made.state, "u1", UTC)
    made.take(call("new", "u1").started(4 * 24 * HOUR, "QC"))
    user = made.state.users["u1"]
    assert [day.begin for day in user.spans.days] == [at("03-10 00:00")]
    for interval in ("15m", "1h"):
        time_range = at("03-10 23:45"), at("03-12 00:00")
        assert "from 2026-03-11T00:00:00+00:00 on" in refusal(user, time_range, interval, UTC)
        later = Series(user, (at("03-11 00:00"), at("03-12 00:00")), interval, UTC)
        assert later.begin == at("03-11 00:00")
        assert "from 2026-03-11T06:00:00+05:45 on" in refusal(user, time_range, "1h", ZoneInfo("Asia/Kathmandu"))
    steps = Series(user, (at("03-10 13:00"), at("03-15 00:00")), "1d", UTC).message
    assert [step["message"]["TC"] for step in steps] == [3, 0, 0, 0, 1]


def test_a_day_of_another_zone_stays_whole() -> None:
    """The steps that a day of another zone lies across are merged into one."""
    made = feed().clock(4 * 24 * HOUR)
    roll_up(made.state, "u1", UTC)
    user = made.state.users["u1"]
    series = Series(user, (at("03-10 20:00"), at("03-11 20:00")), "1d", ZoneInfo("Asia/Kolkata"))
    assert [(step["from"], step["to"], step["message"]["TC"]) for step in series.message] == [
        ("2026-03-10T05:30:00+05:30", "2026-03-12T00:00:00+05:30", 3),
        ("2026-03-12T00:00:00+05:30", "2026-03-13T00:00:00+05:30", 0),
    ]
    wide = Series(user, (at("03-09 20:00"), at("03-09 21:00")), "1d", ZoneInfo("America/New_York"))
    assert (wide.begin, wide.end) == (at("03-09 04:00"), at("03-11 00:00"))
