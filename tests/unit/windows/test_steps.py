"""Steps: where they begin and end by a zone's clocks, and how many there may be."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from ecounters.errors import RequestRefused
from ecounters.windows.steps import steps

UTC = ZoneInfo("UTC")


def at(text: str) -> int:
    """ms of a time in UTC, as "03-10 12:15" of 2026."""
    return int(datetime.fromisoformat(f"2026-{text}+00:00").timestamp()) * 1000


def hours(begin: str, end: str, zone: str, interval: str = "1h") -> list[float]:
    """How long the steps of a range are, in hours."""
    bounds = steps(at(begin), at(end), interval, ZoneInfo(zone))
    return [(bounds[n + 1] - bounds[n]) / 3_600_000 for n in range(len(bounds) - 1)]


def test_steps_snap_outward_to_the_zones_clocks() -> None:
    """Kathmandu is 5:45 ahead: its hours begin at a quarter past, in UTC."""
    assert steps(at("03-10 12:15"), at("03-10 12:45"), "15m", UTC) == [at(f"03-10 12:{m}") for m in (15, 30, 45)]
    assert steps(at("03-10 12:15"), at("03-10 13:15"), "1h", UTC) == [at(f"03-10 {h}:00") for h in (12, 13, 14)]
    kathmandu = ZoneInfo("Asia/Kathmandu")
    assert steps(at("03-10 12:15"), at("03-10 13:15"), "1h", kathmandu) == [at("03-10 12:15"), at("03-10 13:15")]
    assert steps(at("03-10 12:00"), at("03-10 12:30"), "1h", kathmandu)[::2] == [at("03-10 11:15"), at("03-10 13:15")]
    assert steps(at("03-10 12:00"), at("03-10 18:30"), "1d", kathmandu) == [
        at("03-09 18:15"), at("03-10 18:15"), at("03-11 18:15")
    ]  # fmt: skip


def test_days_and_hours_where_clocks_change() -> None:
    """23 and 25 hours; on Lord Howe clocks change by half an hour, so that an hour has 30 or 90 minutes."""
    assert hours("03-28 12:00", "03-30 12:00", "Europe/Berlin", "1d") == [24, 23, 24]
    assert hours("10-24 12:00", "10-26 12:00", "Europe/Berlin", "1d") == [24, 25, 24]
    assert hours("03-29 00:00", "03-29 03:00", "Europe/Berlin") == [1, 1, 1]
    assert hours("10-25 00:00", "10-25 03:00", "Europe/Berlin") == [1, 1, 1]
    assert hours("10-03 14:00", "10-03 17:00", "Australia/Lord_Howe") == [1, 1, 0.5, 1]
    assert hours("04-04 13:00", "04-04 17:00", "Australia/Lord_Howe") == [1, 1.5, 1, 1]


def refusal(begin: int, end: int, interval: str) -> str:
    """Why a range has no steps."""
    with pytest.raises(RequestRefused) as caught:
        steps(begin, end, interval, UTC)
    assert caught.value.code == 1000
    return caught.value.detail


@pytest.mark.parametrize(("interval", "length"), [("15m", 900_000), ("1h", 3_600_000), ("1d", 86_400_000)])
def test_at_most_1000_steps(interval: str, length: int) -> None:
    """1,001 steps are refused, and the text has their number."""
    begin = at("01-01 00:00")
    assert len(steps(begin, begin + 1_000 * length, interval, UTC)) == 1_001
    assert "1001 steps" in refusal(begin, begin + 1_001 * length, interval)
    assert "1001 steps" in refusal(begin, begin + 1_000 * length + 900_000, interval)
