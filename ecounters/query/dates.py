"""What a filter says of the date: conditions -> the range of time to count.

Days, words and times without an offset are those of the user's time zone. Ranges are whole windows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from ecounters.errors import INVALID_PARAMETER, INVALID_TYPE, RequestRefused
from ecounters.text import shown
from ecounters.windows.calendar import day_of, local_date, midnight, snap_outward


@dataclass(frozen=True, slots=True)
class DateCondition:
    """One condition on the date. ``place``: where in the request, for messages."""

    op: str
    values: tuple[str | int, ...]
    place: str


def read_date(given: dict[str, Any], place: str) -> DateCondition:
    """The condition in an object that has a field and a value; its dates are looked at by ``time_range``."""
    value = given["value"]
    op = given.get("op", "between" if type(value) is list else "eq")
    if type(op) is not str:
        raise RequestRefused(INVALID_TYPE, f"{place}.op must be a string")
    if op not in DATE_OPS:
        raise RequestRefused(INVALID_PARAMETER, f"{place}.op {shown(op)} is none of {', '.join(DATE_OPS)}")
    values = value if type(value) is list else [value]
    if (op == "between") != (type(value) is list) or (op == "between" and len(values) != 2):
        raise RequestRefused(INVALID_TYPE, f"{place}.value must be " + ("two dates" if op == "between" else "one date"))
    for one in values:
        if type(one) not in (str, int):
            raise RequestRefused(INVALID_TYPE, f"{place}.value must hold strings or whole numbers")
    return DateCondition(op, tuple(values), place)


Range = tuple[int, int]
"""[begin, end) in ms."""

DATE_OPS: Final[dict[str, Callable[[list[Range], Range], Range]]] = {
    "between": lambda at, all_: (at[0][0], _up_to(at)),
    "gte": lambda at, all_: (at[0][0], all_[1]),
    "gt": lambda at, all_: (at[0][1], all_[1]),
    "lte": lambda at, all_: (all_[0], at[0][1]),
    "lt": lambda at, all_: (all_[0], at[0][0]),
    "eq": lambda at, all_: at[0],
}
"""The range that each op makes of its values' ranges and of all that is kept."""


def _up_to(at: list[Range]) -> int:
    """The end of a pair: a day counts whole; a moment is where it ends, so that 10:00 to 10:15 is one window."""
    begin, end = at[1]
    return end if end - begin > 1 or begin == at[0][0] else begin


def time_range(dates: Sequence[DateCondition], zone: ZoneInfo, now_ms: int, keep_ms: int) -> Range:
    """The range that conditions on the date make, in whole windows; today until now if there are none.

    ``keep_ms``: how far back counts are kept. Several dates are cut with one another.
    """
    kept = day_of(now_ms - keep_ms, zone)[1], now_ms + 1
    if not dates:
        return snap_outward(day_of(now_ms, zone)[0], kept[1])
    begin, end = kept[0], None
    for condition in dates:
        at = [_moment(value, condition.place, zone, now_ms) for value in condition.values]
        first, last = DATE_OPS[condition.op](at, kept)
        if first >= last and condition.op in ("between", "eq"):
            raise RequestRefused(INVALID_PARAMETER, f"{condition.place}.value: the range ends before it begins")
        if first < kept[0] or last <= kept[0]:
            back_to = datetime.fromtimestamp(kept[0] / 1000, UTC).astimezone(zone).isoformat()
            raise RequestRefused(INVALID_PARAMETER, f"{condition.place}.value: counts are kept back to {back_to}")
        begin, end = max(begin, first), last if end is None else min(end, last)
    if end is None or begin >= end:
        raise RequestRefused(INVALID_PARAMETER, "filter: the dates have no time in common")
    return snap_outward(begin, end)


WORDS: Final[dict[str, Callable[[date], tuple[date, date]]]] = {
    "today": lambda day: (day, day),
    "yesterday": lambda day: (day - timedelta(days=1), day - timedelta(days=1)),
    "last7days": lambda day: (day - timedelta(days=6), day),
    "last30days": lambda day: (day - timedelta(days=29), day),
    "thisMonth": lambda day: (day.replace(day=1), day),
}
"""Words for ranges of whole days: (first, last) from today's date."""

LAST_MS: Final = 253_402_128_000_000
"""9999-12-30: a bound after it could widen to a time that the calendar has not got, in some zone."""
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_LOCAL: Final = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}", re.ASCII)
_RFC3339: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)


def _moment(value: str | int, place: str, zone: ZoneInfo, now_ms: int) -> Range:
    """The time that one value names: a whole day, several, or a moment (1 ms long)."""
    try:
        named = _named(value, zone, now_ms)
        if named[1] > LAST_MS:
            raise ValueError(value)
        return named
    except (ValueError, OverflowError, OSError):
        raise RequestRefused(
            INVALID_PARAMETER,
            f"{place}.value {shown(value)} is no date: YYYY-MM-DD, YYYY-MM-DD HH:MM:SS, RFC 3339, ms since 1970 or "
            f"one of {', '.join(WORDS)}",
        ) from None


def _named(value: str | int, zone: ZoneInfo, now_ms: int) -> Range:
    if type(value) is int:
        datetime.fromtimestamp(value / 1000, UTC)  # raises where no calendar goes
        return value, value + 1
    text = str(value)
    if text in WORDS:
        first, last = WORDS[text](local_date(now_ms, zone))
        return _days(first, last, zone)
    if _DAY.fullmatch(text):
        day = date.fromisoformat(text)
        return _days(day, day, zone)
    if _LOCAL.fullmatch(text):
        moment = datetime.fromisoformat(text).replace(tzinfo=zone)
    elif _RFC3339.fullmatch(text):
        moment = datetime.fromisoformat(text.upper())
    else:
        raise ValueError(text)
    at = int(moment.timestamp() * 1000)
    return at, at + 1


def _days(first: date, last: date, zone: ZoneInfo) -> Range:
    return midnight(first, zone), midnight(last + timedelta(days=1), zone)
