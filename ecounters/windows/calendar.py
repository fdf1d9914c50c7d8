"""Window arithmetic: integers in, integers out. Times are ms since the Unix epoch.

00:00     00:15     00:30
  [---------)[--------)        a window holds its begin and not its end
  |  a call's start anywhere in it belongs to it
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
"""Every zone in use is a whole number of these away from UTC, so that a day of any zone is a whole number too."""


def window_of(ts_ms: int) -> int:
    """The begin of the window that holds ts_ms."""
    return ts_ms - ts_ms % WINDOW_MS


def snap_outward(begin_ms: int, end_ms: int) -> tuple[int, int]:
    """[begin, end) widened to whole windows."""
    return window_of(begin_ms), -(-end_ms // WINDOW_MS) * WINDOW_MS


def local_date(ts_ms: int, zone: ZoneInfo) -> date:
    """The day of the calendar in that zone."""
    return datetime.fromtimestamp(ts_ms / 1000, UTC).astimezone(zone).date()


def midnight(day: date, zone: ZoneInfo) -> int:
    """When that day begins in the zone (where a change of clocks skips midnight: the first moment of the day)."""
    begin = datetime.combine(day, time.min, zone)
    return int(begin.timestamp()) * 1000


def day_of(ts_ms: int, zone: ZoneInfo) -> tuple[int, int]:
    """[begin, end) of the zone's day that holds ts_ms; 23 or 25 hours long where clocks change.

    Cut to whole windows, which changes nothing for a zone in use today.
    """
    day = local_date(ts_ms, zone)
    return window_of(midnight(day, zone)), window_of(midnight(day + timedelta(days=1), zone))
