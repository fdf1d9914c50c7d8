"""Dates of a filter: which range they make, in whose time zone, and how far back."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ecounters.errors import RequestRefused
from ecounters.query.conditions import read_filter
from ecounters.query.dates import time_range
from ecounters.windows.calendar import DAY_MS

KEEP_MS = 400 * DAY_MS
KOLKATA = ZoneInfo("Asia/Kolkata")


def at(text: str) -> int:
    """ms of a time in UTC, as "03-10 12:07" of 2026 or with a year."""
    return int(datetime.fromisoformat((text if text[:2] == "20" else "2026-" + text) + "+00:00").timestamp()) * 1000


NOW_MS = at("03-10 12:07")
"""A Tuesday, 17:37 in Kolkata."""


def ranged(*conditions: dict[str, Any], zone: ZoneInfo = KOLKATA, now_ms: int = NOW_MS) -> tuple[int, int]:
    """The range that conditions on the date make."""
    dates = read_filter([{"field": "date"} | condition for condition in conditions])[0]
    return time_range(dates, zone, now_ms, KEEP_MS)


def no_range(*conditions: dict[str, Any]) -> str:
    """Why conditions make no range."""
    with pytest.raises(RequestRefused) as caught:
        ranged(*conditions)
    assert caught.value.code == 1000
    return caught.value.detail


def test_the_default_is_today_until_now() -> None:
    """Without a date the range is from 00:00 in the user's zone to the end of the window that holds now."""
    assert time_range([], KOLKATA, NOW_MS, KEEP_MS) == (at("03-09 18:30"), at("03-10 12:15"))
    assert time_range([], KOLKATA, at("03-10 12:00"), KEEP_MS) == (at("03-09 18:30"), at("03-10 12:15"))
    assert time_range([], KOLKATA, at("03-10 18:30"), KEEP_MS) == (at("03-10 18:30"), at("03-10 18:45"))


@pytest.mark.parametrize(
    ("condition", "begin", "end"),
    [
        ({"value": "today"}, "03-09 18:30", "03-10 18:30"),
        ({"op": "eq", "value": "yesterday"}, "03-08 18:30", "03-09 18:30"),
        ({"value": "last7days"}, "03-03 18:30", "03-10 18:30"),
        ({"value": "last30days"}, "02-08 18:30", "03-10 18:30"),
        ({"value": "thisMonth"}, "02-28 18:30", "03-10 18:30"),
        ({"value": "2026-03-01"}, "02-28 18:30", "03-01 18:30"),
        ({"value": ["2026-03-01", "2026-03-02"]}, "02-28 18:30", "03-02 18:30"),
        ({"op": "between", "value": ["2026-03-01", "2026-03-01"]}, "02-28 18:30", "03-01 18:30"),
        ({"value": ["yesterday", "today"]}, "03-08 18:30", "03-10 18:30"),
        ({"value": ["2026-03-10 10:00:00", "2026-03-10 10:15:00"]}, "03-10 04:30", "03-10 04:45"),
        ({"value": ["2026-03-10 10:00:01", "2026-03-10 10:15:01"]}, "03-10 04:30", "03-10 05:00"),
        ({"value": ["2026-03-10 10:00:00", "2026-03-10 10:00:00"]}, "03-10 04:30", "03-10 04:45"),
        ({"value": ["2026-03-10T04:30:00Z", "2026-03-10T10:30:00+05:30"]}, "03-10 04:30", "03-10 05:00"),
        ({"value": [at("03-10 04:30"), at("03-10 04:45") + 1]}, "03-10 04:30", "03-10 05:00"),
        ({"value": ["2026-03-09", "2026-03-10 10:15:00"]}, "03-08 18:30", "03-10 04:45"),
        ({"value": "2026-03-10 10:07:00"}, "03-10 04:30", "03-10 04:45"),
        ({"op": "gte", "value": "2026-03-09"}, "03-08 18:30", "03-10 12:15"),
        ({"op": "gt", "value": "2026-03-08"}, "03-08 18:30", "03-10 12:15"),
        ({"op": "gte", "value": "2026-03-10 10:00:00"}, "03-10 04:30", "03-10 12:15"),
        ({"op": "lte", "value": "2026-03-08"}, "2025-02-03 18:30", "03-08 18:30"),
        ({"op": "lt", "value": "2026-03-08"}, "2025-02-03 18:30", "03-07 18:30"),
        ({"op": "lt", "value": "2026-03-10 10:15:00"}, "2025-02-03 18:30", "03-10 04:45"),
        ({"op": "lte", "value": "2026-03-10 10:15:00"}, "2025-02-03 18:30", "03-10 05:00"),
        ({"op": "lt", "value": "2026-03-10T04:45:00.001Z"}, "2025-02-03 18:30", "03-10 05:00"),
    ],
)
def test_dates(condition: dict[str, Any], begin: str, end: str) -> None:
    """Days are those of the user's zone, moments are exact, and both bounds snap outward to windows."""
    assert ranged(condition) == (at(begin), at(end))


def test_every_ms_after_a_windows_begin_is_in_it() -> None:
    """A bound with milliseconds is taken exactly: none of them is lost to a fraction."""
    for ms in range(1, 1000):
        moment = f"2026-03-10T04:45:00.{ms:03}Z"
        assert ranged({"op": "lt", "value": moment})[1] == at("03-10 05:00"), moment
        before = f"2026-03-10T04:44:59.{ms:03}Z"
        assert ranged({"op": "gte", "value": before})[0] == at("03-10 04:30"), before


def test_days_are_as_long_as_the_zone_makes_them() -> None:
    """The day on which clocks go forward has 23 hours."""
    berlin = ZoneInfo("Europe/Berlin")
    now = at("03-30 12:00")
    assert ranged({"value": "yesterday"}, zone=berlin, now_ms=now) == (at("03-28 23:00"), at("03-29 22:00"))
    assert ranged({"value": "2026-03-29 03:00:00"}, zone=berlin, now_ms=now)[0] == at("03-29 01:00")


def test_several_dates_are_cut_with_one_another() -> None:
    """Several conditions make the range in which all of them hold."""
    cut = ranged({"op": "gte", "value": "2026-03-08"}, {"op": "lt", "value": "2026-03-09"}, {"value": "last7days"})
    assert cut == (at("03-07 18:30"), at("03-08 18:30"))
    assert "no time in common" in no_range({"value": "today"}, {"value": "yesterday"})


@pytest.mark.parametrize(
    "value", [["2026-03-10", "2026-03-09"], ["today", "yesterday"], [at("03-10 01:00"), at("03-10 00:00")]]
)
def test_a_range_ends_after_it_begins(value: list[Any]) -> None:
    """A range that ends before it begins is refused and not turned round."""
    assert no_range({"value": value}).startswith("filter[0].value")


@pytest.mark.parametrize(
    "value",
    [253_402_300_799_999, "9999-12-31 23:59:59", "9999-12-31T23:59:59Z",
     "", "now", "Today", "2026-3-1", "2026-02-29", "2026-03-10T10:00:00", "2026-03-10 25:00:00", "20260310",
     " 2026-03-10",
     "2026-03-10\n", "\u0662026-03-10", "9999-12-31", "0000-01-01", "1773144000000", "x" * 9_000, 10**18, -(10**18),
     10**40, "10:00"],
)  # fmt: skip
def test_what_is_no_date_is_refused_with_what_would_be(value: object) -> None:
    """A value that is no date is refused with a text that shows it, shortened, and the known forms."""
    detail = no_range({"value": value})
    assert detail.startswith("filter[0].value") and "YYYY-MM-DD" in detail and len(detail) < 250


@pytest.mark.parametrize(
    "condition",
    [{"value": "2025-02-03"}, {"op": "gte", "value": at("2025-02-03 18:29")}, {"value": 0},
     {"op": "lt", "value": "2025-02-04"}, {"op": "lte", "value": "2024-01-01"}],
)  # fmt: skip
def test_a_range_that_begins_before_retention_says_how_far_back_it_goes(condition: dict[str, Any]) -> None:
    """A range that begins before retention is refused with the first whole day that is kept, in the user's time."""
    detail = no_range(condition)
    assert detail.startswith("filter[0].value") and "2025-02-04T00:00:00+05:30" in detail


def test_the_first_day_kept_can_be_queried() -> None:
    """With 400 days of retention the first whole one of them can be queried."""
    assert ranged({"value": "2025-02-04"}) == (at("2025-02-03 18:30"), at("2025-02-04 18:30"))
