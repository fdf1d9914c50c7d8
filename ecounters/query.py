"""What a request asks for: its bytes -> Request, and its dates -> the range of time to count.

Everything that is wrong is a Refused with the documented code, whose text names the place (``filter[1].op``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from ecounters.counters import FIELDS
from ecounters.errors import Refused
from ecounters.windows import day_of, local_date, midnight, snap_outward

BODY_BYTES_MAX: Final = 65_536
CONDITIONS_MAX: Final = 32
FIELDS_MAX: Final = 1_000

PARAMETERS: Final = ("ssid", "userId", "token", "filter", "Field", "fields")

INVALID_PARAMETER, INVALID_TYPE, NO_USER = 1000, 1001, 1002


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose form is right; whether its sender may ask is for others to say."""

    ssid: str | None = None
    user_id: str | None = None
    token: str | None = None
    conditions: tuple[Condition, ...] = ()
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition on the date. ``place``: where in the request, for messages."""

    op: str
    values: tuple[str | int, ...]
    place: str


def parse_request(content: bytes) -> Request:
    """The request in a body, whatever its Content-Type says, or Refused."""
    if len(content) > BODY_BYTES_MAX:
        raise Refused(INVALID_PARAMETER, f"the body has more than {BODY_BYTES_MAX} bytes", http_status=413)
    if not content.strip():
        raise Refused(INVALID_PARAMETER, "the body is empty; a JSON object is expected")
    try:
        given = msgspec.json.decode(content)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise Refused(INVALID_PARAMETER, "the body is not JSON") from None
    if type(given) is not dict:
        raise Refused(INVALID_PARAMETER, "the body is not a JSON object")
    for name in given:
        if name not in PARAMETERS:
            raise Refused(INVALID_PARAMETER, f"unknown parameter {_shown(name)}")
    ssid, user_id, token = (_text(given, name) for name in ("ssid", "userId", "token"))
    if not ssid and not user_id:
        raise Refused(NO_USER, "give ssid, or userId and token")
    return Request(ssid or None, user_id or None, token or None, _conditions(given), _fields(given))


def _text(given: dict[str, Any], name: str) -> str:
    value = given.get(name, "")
    if type(value) is not str:
        raise Refused(INVALID_TYPE, f"{name} must be a string")
    if len(value) > 512:
        raise Refused(INVALID_PARAMETER, f"{name} is longer than any that was given out")
    return value


def _list(given: dict[str, Any], name: str, most: int) -> list[Any]:
    value = given.get(name, [])
    if type(value) is not list:
        raise Refused(INVALID_TYPE, f"{name} must be an array")
    if len(value) > most:
        raise Refused(INVALID_PARAMETER, f"{name} has more than {most} entries")
    return value


def _fields(given: dict[str, Any]) -> tuple[str, ...]:
    if "Field" in given and "fields" in given:
        raise Refused(INVALID_PARAMETER, "Field and fields are the same parameter: give one of them")
    name = "fields" if "fields" in given else "Field"
    for at, field in enumerate(_list(given, name, FIELDS_MAX)):
        if type(field) is not str:
            raise Refused(INVALID_TYPE, f"{name}[{at}] must be a string")
        if field not in FIELDS:
            raise Refused(INVALID_PARAMETER, f"{name}[{at}] {_shown(field)} is no field that can be asked for")
    return tuple(dict.fromkeys(given.get(name, ())))


def _conditions(given: dict[str, Any]) -> tuple[Condition, ...]:
    found = _list(given, "filter", CONDITIONS_MAX)
    return tuple(_condition(condition, f"filter[{at}]") for at, condition in enumerate(found))


def _condition(given: Any, place: str) -> Condition:
    if type(given) is not dict:
        raise Refused(INVALID_TYPE, f"{place} must be an object")
    for name in given:
        if name not in ("field", "op", "value"):
            raise Refused(INVALID_PARAMETER, f"{place} has an unknown part {_shown(name)}")
    if "field" not in given or "value" not in given:
        raise Refused(INVALID_PARAMETER, f"{place} needs field and value")
    if given["field"] != "date":
        raise Refused(INVALID_PARAMETER, f"{place}.field {_shown(given['field'])} can't be filtered by; date can")
    value = given["value"]
    op = given.get("op", "between" if type(value) is list else "eq")
    if type(op) is not str:
        raise Refused(INVALID_TYPE, f"{place}.op must be a string")
    if op not in _OPS:
        raise Refused(INVALID_PARAMETER, f"{place}.op {_shown(op)} is none of {', '.join(_OPS)}")
    values = value if type(value) is list else [value]
    if (op == "between") != (type(value) is list) or (op == "between" and len(values) != 2):
        raise Refused(INVALID_TYPE, f"{place}.value must be " + ("two dates" if op == "between" else "one date"))
    for one in values:
        if type(one) not in (str, int):
            raise Refused(INVALID_TYPE, f"{place}.value must hold strings or whole numbers")
    return Condition(op, tuple(values), place)


def _shown(value: object) -> str:
    """What was given, short enough for a message."""
    text = msgspec.json.encode(value).decode(errors="replace")
    return text if len(text) <= 60 else text[:57] + "..."


# ------------------------------------------------------------------------------------------------- dates

Range = tuple[int, int]
"""[begin, end) in ms."""

_OPS: Final[dict[str, Callable[[list[Range], Range], Range]]] = {
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


def time_range(request: Request, zone: ZoneInfo, now_ms: int, keep_ms: int) -> Range:
    """The range that a request asks for, in whole windows; today until now if it names no date.

    ``keep_ms``: how far back counts are kept. Several dates are cut with one another.
    """
    kept = day_of(now_ms - keep_ms, zone)[1], now_ms + 1
    if not request.conditions:
        return snap_outward(day_of(now_ms, zone)[0], kept[1])
    begin, end = kept[0], None
    for condition in request.conditions:
        at = [_moment(value, condition.place, zone, now_ms) for value in condition.values]
        first, last = _OPS[condition.op](at, kept)
        if first < kept[0]:
            back_to = datetime.fromtimestamp(kept[0] / 1000, UTC).astimezone(zone).isoformat()
            raise Refused(INVALID_PARAMETER, f"{condition.place}.value: counts are kept back to {back_to}")
        if first >= last and condition.op in ("between", "eq"):
            raise Refused(INVALID_PARAMETER, f"{condition.place}.value: the range ends before it begins")
        begin, end = max(begin, first), last if end is None else min(end, last)
    if end is None or begin >= end:
        raise Refused(INVALID_PARAMETER, "filter: the dates have no time in common")
    return snap_outward(begin, end)


_WORDS: Final[dict[str, Callable[[date], tuple[date, date]]]] = {
    "today": lambda day: (day, day),
    "yesterday": lambda day: (day - timedelta(days=1), day - timedelta(days=1)),
    "last7days": lambda day: (day - timedelta(days=6), day),
    "last30days": lambda day: (day - timedelta(days=29), day),
    "thisMonth": lambda day: (day.replace(day=1), day),
}
"""Words for ranges of whole days: (first, last) from today's date."""

_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_LOCAL: Final = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}", re.ASCII)
_RFC3339: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)


def _moment(value: str | int, place: str, zone: ZoneInfo, now_ms: int) -> Range:
    """The time that one value names: a whole day, several, or a moment (1 ms long)."""
    try:
        if type(value) is int:
            datetime.fromtimestamp(value / 1000, UTC)  # raises where no calendar goes
            return value, value + 1
        text = str(value)
        if text in _WORDS:
            first, last = _WORDS[text](local_date(now_ms, zone))
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
    except (ValueError, OverflowError, OSError):
        raise Refused(
            INVALID_PARAMETER,
            f"{place}.value {_shown(value)} is no date: YYYY-MM-DD, YYYY-MM-DD HH:MM:SS, RFC 3339, ms since 1970 or "
            f"one of {', '.join(_WORDS)}",
        ) from None


def _days(first: date, last: date, zone: ZoneInfo) -> Range:
    return midnight(first, zone), midnight(last + timedelta(days=1), zone)
