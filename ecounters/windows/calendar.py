"""Windows and days: arithmetic on times, which are ms since the Unix epoch. This module reads no clock.

00:00     00:15     00:30
  [---------)[--------)        a window holds its begin and not its end

A call belongs to the window in which it started.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
WINDOW_MS: Final = 15 * MINUTE_MS
"""15 minutes: every zone in use is a whole number of windows away from UTC, so its days are whole windows too."""
FOREVER_MS: Final = 2**60
"""Later than every time of an event. Compiled code makes objects of integers from 2**62 on, also of a sum of this."""


def window_of(ts_ms: int) -> int:
    """The begin, in ms, of the window that holds ``ts_ms``."""
    return ts_ms - ts_ms % WINDOW_MS


def snap_outward(begin_ms: int, end_ms: int) -> tuple[int, int]:
    """[begin, end) widened to whole windows."""
    return window_of(begin_ms), -(-end_ms // WINDOW_MS) * WINDOW_MS


def local_date(ts_ms: int, zone: ZoneInfo) -> date:
    """The date in the zone at ``ts_ms``."""
    return datetime.fromtimestamp(ts_ms / 1000, UTC).astimezone(zone).date()


def midnight(day: date, zone: ZoneInfo) -> int:
    """When the day begins in the zone, ms.

    If the clocks skip midnight, the day begins after the gap; if they show midnight twice, it begins at the first.
    """
    begin = datetime.combine(day, time.min, zone)
    return int(begin.timestamp()) * 1000


def day_of(ts_ms: int, zone: ZoneInfo) -> tuple[int, int]:
    """[begin, end) of the zone's day that holds ``ts_ms``. When clocks change, it can be 23 or 25 hours long.

    ``begin`` and ``end`` are rounded down to bounds of windows, which changes nothing for a zone in use today.
    """
    day = local_date(ts_ms, zone)
    return window_of(midnight(day, zone)), window_of(midnight(day + timedelta(days=1), zone))
