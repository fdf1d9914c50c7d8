"""Series: a user's counters step by step, for charts.

Each step has a message as a reply has it, with the counters of the calls that started in the step. Live calls and
balances are left out, because they are known for now only. Steps begin where ``ecounters.windows.steps`` says, but
never inside a rolled-up day.
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

    begin, end  what the steps cover, in ms since the Unix epoch: ``time_range``, widened to whole steps
    message     for each step its "from" and "to" (RFC 3339, in the zone) and its "message", oldest first

    The constructor settles the user. It raises RequestRefused (1000) if there are more than STEPS_MAX steps, or if
    ``interval`` is shorter than a day and the range has time of rolled-up days, which have counts by day alone. Without
    a user (None), all counters are 0.
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
        bounds = series_bounds(user, time_range, interval, zone)
        self.begin, self.end = bounds[0], bounds[-1]
        self.message: list[dict[str, Any]] = [
            {
                **from_to(begin, end, zone),
                "message": message_without_live(totals_of(user, begin, end, where, live=False), fields),
            }
            for begin, end in pairwise(bounds)
        ]


def series_bounds(user: User | None, time_range: tuple[int, int], interval: str, zone: ZoneInfo) -> list[int]:
    """The bounds of the steps of a series: each step's begin, then the last step's end. Raises as ``Series`` does."""
    return _with_whole_days(user, steps(*time_range, interval, zone), interval, zone)


def from_to(begin: int, end: int, zone: ZoneInfo) -> dict[str, str]:
    """The bounds of a step as a series has them."""
    return {"from": _local(begin, zone), "to": _local(end, zone)}


def _with_whole_days(user: User | None, bounds: list[int], interval: str, zone: ZoneInfo) -> list[int]:
    """The bounds of steps of days, changed so that no bound lies inside a rolled-up day.

    Raises RequestRefused (1000) if the steps are shorter than a day and share time with a rolled-up day. A bound can
    lie inside a rolled-up day because the account may have had another zone when that day was rolled up:

        bounds            |         |         |         |
        rolled-up days         [---------)
        returned          |                   |         |     the day is within one step

    A first bound inside a day moves back to the day's begin, a last bound inside a day on to the day's end.
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
