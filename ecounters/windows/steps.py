"""Steps of a chart: where the quarter hours, hours or days of a range begin, by the clocks of a time zone.

This module has the arithmetic alone; ``ecounters.reports.series`` counts. Times are ms since the Unix epoch.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from ecounters.errors import INVALID_PARAMETER, RequestRefused
from ecounters.windows.calendar import DAY_MS, HOUR_MS, WINDOW_MS, local_date, midnight, window_of

INTERVALS: Final = {"15m": WINDOW_MS, "1h": HOUR_MS, "1d": DAY_MS}
"""Interval -> usual length of a step in ms. When clocks change, a day may have 23 or 25 hours, and an hour 30 or 90
minutes."""

STEPS_MAX: Final = 1_000
"""The most steps of one series: each step has a message of its own, so each makes the reply longer."""


def steps(begin: int, end: int, interval: str, zone: ZoneInfo) -> list[int]:
    """The bounds of the steps of [begin, end): each step's begin, then the last step's end.

        begin          end
    |-----[---|---------)---|    3 steps, 4 bounds: both ends move outward to whole steps
    b0        b1        b2  b3

    ``begin`` and ``end`` must be bounds of 15-minute windows. ``interval`` is a key of INTERVALS. A day begins at the
    zone's midnight, an hour when the zone's clocks show a full hour. Raises RequestRefused (1000) for more than
    STEPS_MAX steps.
    """
    if interval == "1d":
        first, last = local_date(begin, zone), local_date(end - 1, zone)
        _check((last - first).days + 1, interval)
        days = (first + timedelta(days=n) for n in range((last - first).days + 2))
        return [window_of(midnight(day, zone)) for day in days]
    if interval == "1h":
        begin, end = _hour_at(begin, zone, -WINDOW_MS), _hour_at(end, zone, WINDOW_MS)
        _check(round((end - begin) / HOUR_MS), interval)
        bounds = [at for at in range(begin, end + 1, WINDOW_MS) if _begins_hour(at, zone)]
        _check(len(bounds) - 1, interval)  # again: a change of clocks can make a step of 30 minutes
        return bounds
    _check((end - begin) // WINDOW_MS, interval)
    return list(range(begin, end + 1, WINDOW_MS))


def _check(count: int, interval: str) -> None:
    """Raise RequestRefused (1000) if ``count``, a number of steps, is above STEPS_MAX."""
    if count > STEPS_MAX:
        raise RequestRefused(
            INVALID_PARAMETER, f"interval {interval} makes {count} steps of this range, of at most {STEPS_MAX}"
        )


def _hour_at(window: int, zone: ZoneInfo, direction: int) -> int:
    """``window`` itself if it begins an hour of the zone, else the nearest window that does.

    ``direction``: -WINDOW_MS looks back, WINDOW_MS looks ahead.
    """
    while not _begins_hour(window, zone):
        window += direction
    return window


def _begins_hour(window: int, zone: ZoneInfo) -> bool:
    """Whether an hour of the zone begins with the window.

    It does if the clocks show a full hour, or another hour than one window before: they may skip the full hour.
    """
    now = datetime.fromtimestamp(window / 1000, zone)
    return now.minute == 0 or now.hour != datetime.fromtimestamp((window - WINDOW_MS) / 1000, zone).hour
