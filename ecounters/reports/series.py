"""Series: a user's counters step by step, for charts. Each step is a message over one part of the range.

Live calls and balances are not in a step: they are of now. ``ecounters.windows.steps`` says where steps begin.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from ecounters.errors import INVALID_PARAMETER, RequestRefused
from ecounters.partition.user import User
from ecounters.query.conditions import Where
from ecounters.reports.payload import message_without_live
from ecounters.reports.totals import totals_of
from ecounters.windows.steps import steps


class Series:
    """The steps of one user's counters over a range, computed by the constructor.

    begin, end  what the steps cover, in ms since the Unix epoch: the range given, widened to whole steps
    message     for each step its "from" and "to" (RFC 3339, in the zone) and its "message", oldest first

    Settles the user. Raises RequestRefused (1000) if there are more than STEPS_MAX steps, or if ``interval`` is shorter
    than a day and the range reaches back to rolled-up days, of which only sums by day are kept.
    """

    def __init__(
        self,
        user: User | None,
        time_range: tuple[int, int],
        interval: str,
        zone: ZoneInfo,
        where: Where | None = None,
        fields: Iterable[str] = (),
    ) -> None:
        bounds = _with_whole_days(user, steps(*time_range, interval, zone), interval, zone)
        self.begin, self.end = bounds[0], bounds[-1]
        self.message: list[dict[str, Any]] = [
            {
                "from": _local(begin, zone),
                "to": _local(end, zone),
                "message": message_without_live(totals_of(user, begin, end, where, live=False), fields),
            }
            for begin, end in pairwise(bounds)
        ]


def _with_whole_days(user: User | None, bounds: list[int], interval: str, zone: ZoneInfo) -> list[int]:
    """The bounds of steps, changed so that no bound lies inside a rolled-up day. Raises RequestRefused; see Series.

    Days were rolled up by the zone that the account had then. In another zone a bound can lie inside such a day:

        bounds            |         |         |         |
        rolled-up days         [---------)
        returned          |                   |         |     the day is within one step

    Where a day reaches beyond the first or last bound, that bound moves outward to the end of the day.
    """
    days = user.spans.days_within(bounds[0], bounds[-1]) if user is not None else []
    if user is None or not days:
        return bounds
    if interval != "1d":
        days_end = user.spans.days[-1].end
        later_bounds = steps(days_end, days_end + 1, interval, zone)
        first = _local(next(bound for bound in later_bounds if bound >= days_end), zone)
        raise RequestRefused(
            INVALID_PARAMETER, f"interval {interval} can be told from {first} on; before that, 1d alone"
        )
    inside = {b for day in days for b in bounds[bisect_right(bounds, day.begin) : bisect_left(bounds, day.end)]}
    ends = min(bounds[0], days[0].begin), max(bounds[-1], days[-1].end)
    return sorted({*bounds, *ends} - inside)


def _local(time_ms: int, zone: ZoneInfo) -> str:
    """A time as RFC 3339 with the zone's offset, to the second."""
    return datetime.fromtimestamp(time_ms // 1000, UTC).astimezone(zone).isoformat()
