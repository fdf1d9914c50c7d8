"""Conditions on the date -> the one range of time to count, in ms since the Unix epoch.

``read_date`` checks the form of a condition while a filter is read. ``time_range`` then gives the range, for which it
needs the account's time zone and the time now: days, words as "today", and times without an offset are of the zone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from ecounters.errors import INVALID_PARAMETER, INVALID_TYPE, RequestRefused
from ecounters.text import shown
from ecounters.windows.calendar import day_of, local_date, midnight, snap_outward

Range = tuple[int, int]
"""[begin, end) in ms since the Unix epoch."""


@dataclass(frozen=True, slots=True)
class DateCondition:
    """One condition on the date. It is not checked yet whether its values are dates.

    op      a key of DATE_OPS
    values  the values of the request: two for "between", one for another op
    path    the condition's path in the request, as "filter[1]", for error messages
    """

    op: str
    values: tuple[str | int, ...]
    path: str


def read_date(condition: dict[str, Any], path: str) -> DateCondition:
    """The condition in a JSON object that has the names ``field`` and ``value``.

    Without an op, an array means "between", a single value "eq". Raises RequestRefused: 1000 for an unknown op, 1001
    for a wrong JSON type or a wrong number of values. ``time_range`` checks whether the values are dates.
    """
    value = condition["value"]
    op = condition.get("op", "between" if type(value) is list else "eq")
    if type(op) is not str:
        raise RequestRefused(INVALID_TYPE, f"{path}.op must be a string")
    if op not in DATE_OPS:
        raise RequestRefused(INVALID_PARAMETER, f"{path}.op {shown(op)} is none of {', '.join(DATE_OPS)}")
    values = value if type(value) is list else [value]
    if (op == "between") != (type(value) is list) or (op == "between" and len(values) != 2):
        raise RequestRefused(INVALID_TYPE, f"{path}.value must be " + ("two dates" if op == "between" else "one date"))
    for item in values:
        if type(item) not in (str, int):
            raise RequestRefused(INVALID_TYPE, f"{path}.value must hold strings or whole numbers")
    return DateCondition(op, tuple(values), path)


def time_range(dates: Sequence[DateCondition], zone: ZoneInfo, now_ms: int, keep_ms: int) -> Range:
    """The range for which all conditions hold, widened to whole 15-minute windows.

    Without conditions, it is today until now. "gt" and "gte" mean until now. "lt" and "lte" mean from where counts
    begin: the midnight (in ``zone``) that follows ``now_ms`` - ``keep_ms``. Raises RequestRefused (1000) if a value is
    no date, a range ends before it begins, a range begins or ends before counts begin, or no time is in all ranges.
    """
    kept = day_of(now_ms - keep_ms, zone)[1], now_ms + 1
    if not dates:
        return snap_outward(day_of(now_ms, zone)[0], kept[1])
    begin, end = kept[0], None
    for condition in dates:
        named = [_range_named_by(value, condition.path, zone, now_ms) for value in condition.values]
        first, last = DATE_OPS[condition.op](named, kept)
        if first >= last and condition.op in ("between", "eq"):
            raise RequestRefused(INVALID_PARAMETER, f"{condition.path}.value: the range ends before it begins")
        if first < kept[0] or last <= kept[0]:
            back_to = datetime.fromtimestamp(kept[0] / 1000, UTC).astimezone(zone).isoformat()
            raise RequestRefused(INVALID_PARAMETER, f"{condition.path}.value: counts are kept back to {back_to}")
        begin, end = max(begin, first), last if end is None else min(end, last)
    if end is None or begin >= end:
        raise RequestRefused(INVALID_PARAMETER, "filter: the dates have no time in common")
    return snap_outward(begin, end)


# ----------------------------------------------------------------------------------------------------- ops


class NamedRange(NamedTuple):
    """[begin, end) in ms that one value names: one or more whole days, or a moment, whose range is 1 ms long."""

    begin: int
    end: int
    is_moment: bool


def _between(named: list[NamedRange], kept: Range) -> Range:
    """From the begin of the first value until the end of the second, if that is a day or several days.

    A moment as the second value is not in the range: 10:00 to 10:15 is one 15-minute window. But two equal moments mean
    the window that holds them.
    """
    first, last = named
    if last.is_moment and last.begin != first.begin:
        return first.begin, last.begin
    return first.begin, last.end


def _from(named: list[NamedRange], kept: Range) -> Range:
    return named[0].begin, kept[1]


def _after(named: list[NamedRange], kept: Range) -> Range:
    return named[0].end, kept[1]


def _up_to(named: list[NamedRange], kept: Range) -> Range:
    return kept[0], named[0].end


def _before(named: list[NamedRange], kept: Range) -> Range:
    return kept[0], named[0].begin


def _equal(named: list[NamedRange], kept: Range) -> Range:
    return named[0].begin, named[0].end


DATE_OPS: Final[dict[str, Callable[[list[NamedRange], Range], Range]]] = {
    "between": _between,
    "gte": _from,
    "gt": _after,
    "lte": _up_to,
    "lt": _before,
    "eq": _equal,
}
"""op -> (the ranges that its values name, the range for which counts are kept) -> the range that the condition means.
The order is that of the error message and of the API's document."""


# -------------------------------------------------------------------------------------------------- values

WORDS: Final[dict[str, Callable[[date], tuple[date, date]]]] = {
    "today": lambda day: (day, day),
    "yesterday": lambda day: (day - timedelta(days=1), day - timedelta(days=1)),
    "last7days": lambda day: (day - timedelta(days=6), day),
    "last30days": lambda day: (day - timedelta(days=29), day),
    "thisMonth": lambda day: (day.replace(day=1), day),
}
"""Word -> today's date -> (first day, last day), both included."""

LAST_MS: Final = 253_402_128_000_000
"""The latest bound in ms: 9999-12-30T00:00:00Z. A later one could be widened past the year 9999, which ``datetime``
cannot hold, in some zones."""

_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_LOCAL: Final = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}", re.ASCII)
_RFC3339: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)


def _range_named_by(value: str | int, path: str, zone: ZoneInfo, now_ms: int) -> NamedRange:
    """The range that a value names. Raises RequestRefused (1000) if the value is no date or ends after LAST_MS."""
    try:
        named = _read_value(value, zone, now_ms)
        if named.end > LAST_MS:
            raise ValueError(value)
        return named
    except (ValueError, OverflowError, OSError):
        raise RequestRefused(
            INVALID_PARAMETER,
            f"{path}.value {shown(value)} is no date: YYYY-MM-DD, YYYY-MM-DD HH:MM:SS, RFC 3339, ms since 1970 or "
            f"one of {', '.join(WORDS)}",
        ) from None


def _read_value(value: str | int, zone: ZoneInfo, now_ms: int) -> NamedRange:
    """The range that a value names. Raises ValueError, OverflowError or OSError if the value is no date."""
    if type(value) is int:
        datetime.fromtimestamp(value / 1000, UTC)  # raises for a time outside of the years 1 to 9999
        return NamedRange(value, value + 1, is_moment=True)
    text = str(value)
    if text in WORDS:
        return _days(*WORDS[text](local_date(now_ms, zone)), zone)
    if _DAY.fullmatch(text):
        day = date.fromisoformat(text)
        return _days(day, day, zone)
    if _LOCAL.fullmatch(text):
        moment = datetime.fromisoformat(text).replace(tzinfo=zone)
    elif _RFC3339.fullmatch(text):
        moment = datetime.fromisoformat(text.upper())
    else:
        raise ValueError(text)
    begin = int(moment.timestamp() * 1000)
    return NamedRange(begin, begin + 1, is_moment=True)


def _days(first: date, last: date, zone: ZoneInfo) -> NamedRange:
    """The days from ``first`` to ``last``, both included, from midnight to midnight in the zone."""
    return NamedRange(midnight(first, zone), midnight(last + timedelta(days=1), zone), is_moment=False)
