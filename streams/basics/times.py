"""The wall clock, and the forms in which people write times: moments, durations, names of time zones."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
_EPOCH_MS: Final = re.compile(r"[0-9]{1,15}")
_DURATION: Final = re.compile(r"([1-9][0-9]{0,8})([smhd])")
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_NO_PLACES: Final = {"localtime", "posixrules", "Factory"}
"""Files beside the time zones that are none of a place: the first two are what this machine is set to."""
_COPIES: Final = ("posix/", "right/")
"""Folders that some machines have: copies of all time zones, those in right/ with leap seconds."""


def now_ms() -> int:
    """The wall clock, in ms since the Unix epoch."""
    return int(time.time() * 1000)


def moment_ms(text: str) -> int | None:
    """An ISO 8601 time with its offset from UTC -> ms since the Unix epoch, rounded down; None for any other text.

    Computes in integers, because floats are a ms off for some moments.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if moment.tzinfo is None else (moment - _EPOCH) // _MS


def epoch_ms(text: str) -> int | None:
    """ms since the Unix epoch, written as 1 to 15 digits -> that number; None for any other text."""
    return int(text) if _EPOCH_MS.fullmatch(text) else None


def local_time(at_ms: int, zone: ZoneInfo) -> datetime:
    """ms since the Unix epoch -> that moment as a datetime in a time zone."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone)


def utc_text(at_ms: int, timespec: str) -> str:
    """ms since the Unix epoch -> RFC 3339 in UTC, such as 2026-03-01T09:00:00Z.

    ``timespec`` is that of ``datetime.isoformat``: "seconds" or "milliseconds".
    """
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def duration_s(text: str) -> int | None:
    """A count above 0 and a unit, such as 90s, 30m, 12h or 7d -> seconds; None for any other text."""
    match = _DURATION.fullmatch(text)
    return None if match is None else int(match[1]) * _UNIT_S[match[2]]


def zone_named(name: str) -> ZoneInfo:
    """A time zone by its IANA name. Raises ValueError, which says what the name must be, if there is no such zone.

    Refuses what is a file beside the zones on some machines: others know no such zone, and browsers refuse it.
    """
    try:
        if name in _NO_PLACES or name.startswith(_COPIES):
            raise ZoneInfoNotFoundError(name)
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("must be the IANA name of a time zone, such as UTC or Asia/Kolkata") from None
