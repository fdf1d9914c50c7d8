"""A user's counters step by step, for charts: the same sums as an answer's, each over one step of the range."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final
from zoneinfo import ZoneInfo

from ecounters.errors import INVALID_PARAMETER, RequestRefused
from ecounters.partition.user import User
from ecounters.query.conditions import Where
from ecounters.reports.payload import Totals, message_without_live
from ecounters.windows.calendar import DAY_MS, HOUR_MS, WINDOW_MS, local_date, midnight, window_of

INTERVALS: Final = {"15m": WINDOW_MS, "1h": HOUR_MS, "1d": DAY_MS}
"""What ``interval`` may be, and how long that is in ms (a day mostly, and an hour nearly always)."""
STEPS_MAX: Final = 1_000


class Series:
    """The steps of a range of whole windows: ``message`` is theirs, ``begin`` and ``end`` (ms) are what they cover."""

    def __init__(
        self,
        user: User | None,
        asked: tuple[int, int],
        interval: str,
        zone: ZoneInfo,
        where: Where | None = None,
        fields: Iterable[str] = (),
    ) -> None:
        bounds = _whole(user, steps(*asked, interval, zone), interval, zone)
        self.begin, self.end = bounds[0], bounds[-1]
        self.message: list[dict[str, Any]] = [
            {
                "from": _local(begin, zone),
                "to": _local(end, zone),
                "message": message_without_live(Totals(user, begin, end, where, live=False), fields),
            }
            for begin, end in pairwise(bounds)
        ]


def steps(begin: int, end: int, interval: str, zone: ZoneInfo) -> list[int]:
    """Where the steps of [begin, end) begin, and where the last one ends, in ms: Refused, if there are too many.

    The range is one of whole windows; both ends are snapped outward. Days and hours are those of the zone's clocks: a
    day has 23 or 25 hours where they change.
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
        _check(len(bounds) - 1, interval)  # some are only half as long, where clocks change by half an hour
        return bounds
    _check((end - begin) // WINDOW_MS, interval)
    return list(range(begin, end + 1, WINDOW_MS))


def _check(number: int, interval: str) -> None:
    if number > STEPS_MAX:
        raise RequestRefused(
            INVALID_PARAMETER, f"interval {interval} makes {number} steps of this range, of at most {STEPS_MAX}"
        )


def _hour_at(at: int, zone: ZoneInfo, search: int) -> int:
    while not _begins_hour(at, zone):
        at += search
    return at


def _begins_hour(window: int, zone: ZoneInfo) -> bool:
    """Whether the zone's clocks show a full hour then, or were put past one."""
    now = datetime.fromtimestamp(window / 1000, zone)
    return now.minute == 0 or now.hour != datetime.fromtimestamp((window - WINDOW_MS) / 1000, zone).hour


def _whole(user: User | None, bounds: list[int], interval: str, zone: ZoneInfo) -> list[int]:
    """The bounds without those that are inside of a day which is kept as one, or Refused if these are most of them."""
    days = user.spans.days_within(bounds[0], bounds[-1]) if user is not None else []
    if user is None or not days:
        return bounds
    if interval != "1d":
        until = user.spans.days[-1].end
        first = _local(next(bound for bound in steps(until, until + 1, interval, zone) if bound >= until), zone)
        raise RequestRefused(
            INVALID_PARAMETER, f"interval {interval} can be told from {first} on; before that, 1d alone"
        )
    # Days were kept as they were in the user's zone, and that may have been another.
    inside = {b for day in days for b in bounds[bisect_right(bounds, day.begin) : bisect_left(bounds, day.end)]}
    ends = min(bounds[0], days[0].begin), max(bounds[-1], days[-1].end)
    return sorted({*bounds, *ends} - inside)


def _local(at: int, zone: ZoneInfo) -> str:
    """RFC 3339, with the zone's offset."""
    return datetime.fromtimestamp(at // 1000, UTC).astimezone(zone).isoformat()
