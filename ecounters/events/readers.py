"""The readers of the fields of events: ``fields`` has one for each field.

Every reader takes a decoded JSON value that is not null and the field's name, and returns the value in the form which
the classes of ``types`` declare; the reader of ``callIds`` takes undecoded JSON. It raises BadEvent(reason, name) for a
value that it cannot read. A reader may return "": ``parse`` decides whether the field may be empty. For an event that
msgspec accepts, the readers must give the same values.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from ecounters.errors import BadEvent
from ecounters.events.campaigns import campaign_of
from ecounters.events.long_integer import LongInteger
from ecounters.events.types import (
    AMOUNT_MAX,
    CALL_TYPES,
    RETRY_MAX,
    STATUS_MAX,
    TEXT_MAX,
    TS_MAX_MS,
    TS_MIN_MS,
)

Reader = Callable[[Any, str], Any]


# ------------------------------------------------------------------------------------------------- texts


def read_text(value: Any, name: str) -> str:
    if type(value) is not str:
        raise BadEvent("wrong_type", name)
    return value


def read_text_or_integer(value: Any, name: str) -> str:
    """The text, or the decimal digits of an integer: a switch may send a DID or the id of a leg as a number."""
    return read_text(str(value) if type(value) in (int, LongInteger) else value, name)


def read_id(value: Any, name: str) -> str:
    text = read_text(value, name)
    if len(text) > TEXT_MAX:
        raise BadEvent("too_long", name)
    return text


def read_id_or_integer(value: Any, name: str) -> str:
    return read_id(read_text_or_integer(value, name), name)


def read_campaign(value: Any, name: str) -> str:
    return campaign_of(read_text_or_integer(value, name))


def read_call_type(value: Any, name: str) -> str:
    text = read_text(value, name)
    if text and text not in CALL_TYPES:
        raise BadEvent("bad_value", name)
    return text


def read_ids(value: Any, name: str) -> list[str]:
    """The ids of an array, which is given as undecoded JSON: a loop over a quarter of a million ids would be long.

    msgspec stops at the first element that is bad, and its message says in what way.
    """
    try:
        ids = _decode_ids(value)
    except msgspec.ValidationError as error:
        what = str(error)
        reason = "empty_id" if "length >=" in what else "too_long" if "length <=" in what else "wrong_type"
        raise BadEvent(reason, name) from None
    if ids is None:
        raise BadEvent("missing", name)
    return ids


_Ids = list[Annotated[str, Meta(min_length=1, max_length=TEXT_MAX)]]
_decode_ids: Final[Callable[[Any], list[str] | None]] = msgspec.json.Decoder(_Ids | None).decode


# ---------------------------------------------------------------------------------- numbers and booleans

_WHOLE: Final = re.compile(r"-?[0-9]{1,15}")
_DECIMAL: Final = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")


def _integer(value: Any, name: str, low: int, high: int) -> int:
    """A whole number in [low, high], from a JSON number (7 or 7.0) or from text of at most 15 digits."""
    if type(value) is str and _WHOLE.fullmatch(value):
        value = int(value)
    return _whole(value, name, low, high, "bad_value")


def _whole(value: Any, name: str, low: int, high: int, beyond: str) -> int:
    """A whole number in [low, high], from a JSON number (7 or 7.0). ``beyond``: the reason to refuse any other one."""
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is LongInteger:
        raise BadEvent(beyond, name)
    if type(value) is not int:
        raise BadEvent("wrong_type", name)
    if not low <= value <= high:
        raise BadEvent(beyond, name)
    return value


def read_retry(value: Any, name: str) -> int:
    return _integer(value, name, 0, RETRY_MAX)


def read_status(value: Any, name: str) -> int:
    return _integer(value, name, -STATUS_MAX - 1, STATUS_MAX)


def read_amount(value: Any, name: str) -> int | float:
    if type(value) is str:
        if not _DECIMAL.fullmatch(value):
            raise BadEvent("wrong_type", name)
        value = float(value) if "." in value else int(value)
    if type(value) is LongInteger:
        raise BadEvent("bad_value", name)
    if type(value) not in (int, float):
        raise BadEvent("wrong_type", name)
    if not abs(value) <= AMOUNT_MAX:
        raise BadEvent("bad_value", name)
    return value  # type: ignore[no-any-return]  # narrowed by type() above, which mypy does not follow


def read_boolean(value: Any, name: str) -> bool:
    if type(value) is not bool:
        raise BadEvent("wrong_type", name)
    return value


# ------------------------------------------------------------------------------------------------- times

_EPOCH_MS: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
_RFC3339: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:(\d{2})(\.\d+)?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_SECONDS: Final = {f"{second:02}": second for second in range(60)}
_WITH_MS: Final = (24, 29)
"""How long a time in RFC 3339 with three digits of a fraction is: with "Z", and with an offset."""
_MINUTES: Final[dict[str, int]] = {}
"""A time in RFC 3339 without its second and fraction, as "2026-03-10T12:00:+05:30" -> when that minute begins, in ms
since the Unix epoch."""
_MINUTES_MAX: Final = 1_000
"""_MINUTES is emptied when it has so many entries: a switch sends many events in each minute, of few offsets."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def read_time(value: Any, name: str) -> int:
    """ms since the Unix epoch, from a whole JSON number, its digits as text, or RFC 3339 with an offset."""
    if type(value) is str:
        value = _time_of_text(value, name)
    return _whole(value, name, TS_MIN_MS, TS_MAX_MS - 1, "bad_ts")


def _time_of_text(text: str, name: str) -> int:
    """ms since the Unix epoch, from digits or RFC 3339. Digits of a fraction after the third are dropped.

    Raises BadEvent "bad_ts" for any other text, also for a second of 60.
    """
    if len(text) in _WITH_MS:
        # If the rest of the text is a key of _MINUTES, only the second and the fraction are left to be checked.
        minute, second, ms = _MINUTES.get(text[:17] + text[23:]), _SECONDS.get(text[17:19]), text[20:23]
        if minute is not None and second is not None and text[19] == "." and ms.isdigit() and ms.isascii():
            return minute + second * 1000 + int(ms)
    if _EPOCH_MS.fullmatch(text):
        return int(text)
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise BadEvent("bad_ts", name)
    seconds, fraction, offset = match.groups()
    try:
        minute = _minute(text[:17] + offset)
        return minute + _SECONDS[seconds] * 1000 + int((fraction or ".0")[1:4].ljust(3, "0"))
    except (ValueError, OverflowError, KeyError):
        raise BadEvent("bad_ts", name) from None


def _minute(text: str) -> int:
    """When a minute begins, in ms since the Unix epoch. ``text``: in the form of a key of _MINUTES, which it becomes.

    Raises ValueError or OverflowError if there is no such minute. ``fromisoformat`` is the slow part.
    """
    minute = _MINUTES.get(text)
    if minute is None:
        begin = datetime.fromisoformat(f"{text[:10]}T{text[11:17]}00{'+00:00' if text[17:] in 'Zz' else text[17:]}")
        minute = (begin - _EPOCH) // timedelta(milliseconds=1)
        if len(_MINUTES) >= _MINUTES_MAX:
            _MINUTES.clear()
        _MINUTES[text] = minute
    return minute
