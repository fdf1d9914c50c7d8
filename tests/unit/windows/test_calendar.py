"""Window arithmetic, by tables and drawings."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from ecounters.windows.calendar import DAY_MS, HOUR_MS, WINDOW_MS, day_of, local_date, midnight, snap_outward, window_of

W = WINDOW_MS


def utc(text: str) -> int:
    """ms of a time in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


def test_a_window_is_15_minutes() -> None:
    """900,000 ms: a whole number of them in an hour."""
    assert W == 900_000


#          0         W         2W
#          [---------)[--------)
#          ^         ^
#          0, W - 1  W belongs to the next
@pytest.mark.parametrize(
    ("ts", "begin"),
    [
        (0, 0),
        (1, 0),
        (W - 1, 0),
        (W, W),
        (W + 1, W),
        (2 * W - 1, W),
        (-1, -W),
        (utc("2026-03-10T12:07"), utc("2026-03-10T12:00")),
    ],
)
def test_the_window_of_a_time(ts: int, begin: int) -> None:
    """A window holds its begin and not its end."""
    assert window_of(ts) == begin


#          0         W         2W        3W
#          |---------|---------|---------|
#               [====)                       (W/2, W)     -> [0, W)
#          [=========)                       (0, W)       -> [0, W)
#          [==========)                      (0, W + 1)   -> [0, 2W)
#                  [====)                    around W     -> [0, 2W)
#                    [)                      (W, W + 1)   -> [W, 2W)
@pytest.mark.parametrize(
    ("span", "snapped"),
    [
        ((W // 2, W), (0, W)),
        ((0, W), (0, W)),
        ((0, W + 1), (0, 2 * W)),
        ((W - 5, W + 5), (0, 2 * W)),
        ((W, W + 1), (W, 2 * W)),
        ((W, W), (W, W)),
        ((1, 3 * W), (0, 3 * W)),
    ],
)
def test_ranges_snap_outward(span: tuple[int, int], snapped: tuple[int, int]) -> None:
    """A range is widened to whole windows, and never narrowed."""
    assert snap_outward(*span) == snapped


@pytest.mark.parametrize(
    ("zone", "at", "begin", "hours"),
    [
        ("UTC", "2026-03-10T00:00", "2026-03-10T00:00", 24),
        ("UTC", "2026-03-10T23:59:59", "2026-03-10T00:00", 24),
        ("Asia/Kolkata", "2026-03-10T18:29:59", "2026-03-09T18:30", 24),
        ("Asia/Kolkata", "2026-03-10T18:30", "2026-03-10T18:30", 24),
        ("Asia/Kathmandu", "2026-03-10T18:15", "2026-03-10T18:15", 24),
        ("Pacific/Chatham", "2026-06-10T12:00", "2026-06-10T11:15", 24),
        ("Europe/London", "2026-03-29T12:00", "2026-03-29T00:00", 23),
        ("Europe/London", "2026-10-25T12:00", "2026-10-24T23:00", 25),
        ("America/New_York", "2026-03-08T12:00", "2026-03-08T05:00", 23),
        ("America/New_York", "2026-11-01T12:00", "2026-11-01T04:00", 25),
        ("Australia/Lord_Howe", "2026-04-04T16:00", "2026-04-04T13:00", 24.5),
        ("Australia/Lord_Howe", "2026-10-03T16:00", "2026-10-03T13:30", 23.5),
        (
            "America/Havana",
            "2026-11-01T12:00",
            "2026-11-01T04:00",
            25,
        ),  # 01:00 again 00:00: two midnights, the first counts
        ("America/Havana", "2026-03-08T12:00", "2026-03-08T05:00", 23),  # no midnight: the day begins at 01:00
        ("Asia/Beirut", "2026-03-29T12:00", "2026-03-28T22:00", 23),
        ("America/Sao_Paulo", "2018-11-04T12:00", "2018-11-04T03:00", 23),
        ("America/Sao_Paulo", "2018-02-17T12:00", "2018-02-17T02:00", 25),
        ("Pacific/Apia", "2011-12-30T05:00", "2011-12-29T10:00", 24),  # and the 30th never was
        ("Pacific/Apia", "2011-12-30T10:00", "2011-12-30T10:00", 24),
    ],
)
def test_days_of_zones(zone: str, at: str, begin: str, hours: float) -> None:
    """A day begins at its first moment and is as long as the clocks of the zone make it."""
    day = day_of(utc(at), ZoneInfo(zone))
    assert day == (utc(begin), utc(begin) + int(hours * HOUR_MS))
    assert day[0] % W == day[1] % W == 0


@pytest.mark.parametrize(
    "zone", ["Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Cairo"]
)
def test_days_follow_on_from_one_another(zone: str) -> None:
    """Through two years each day ends where the next one begins, and holds its own moments only."""
    here = ZoneInfo(zone)
    begin, end = day_of(utc("2025-01-01T12:00"), here)
    for _ in range(730):
        assert day_of(begin, here) == day_of(end - 1, here) == (begin, end)
        assert local_date(begin, here) == local_date(end - 1, here) != local_date(end, here)
        assert midnight(local_date(begin, here), here) == begin
        begin, end = day_of(end, here)


def test_a_zone_that_is_no_whole_number_of_windows_away_is_cut_to_them() -> None:
    """Such zones are history; their days still follow on from one another."""
    monrovia = ZoneInfo("Africa/Monrovia")  # 44 minutes and 30 seconds behind, until 1972
    begin, end = day_of(utc("1970-06-01T12:00"), monrovia)
    assert (begin % W, end - begin) == (0, DAY_MS)
    assert midnight(date(1970, 6, 1), monrovia) % W != 0
