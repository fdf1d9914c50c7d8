"""A user's counters step by step, for charts: the same sums as an answer's, each over one step of the range."""

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
                "message": message_without_live(totals_of(user, begin, end, where, live=False), fields),
            }
            for begin, end in pairwise(bounds)
        ]


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
