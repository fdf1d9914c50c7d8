"""Times as people and programs write them: read exactly, or not at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from streams.basics.times import duration_s, epoch_ms, local_time, moment_ms, utc_text, zone_named


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-09-21T14:13:21Z", 1_790_000_001_000),
        ("2026-09-21T19:43:21.250+05:30", 1_790_000_001_250),
        ("2026-09-21T14:13:21", None),
        ("2026-09-21", None),
        ("soon", None),
    ],
)
def test_a_moment_needs_an_offset(text: str, ms: int | None) -> None:
    """RFC 3339 is a moment; without an offset it could be many."""
    assert moment_ms(text) == ms


def test_a_moment_is_read_to_the_millisecond() -> None:
    """By way of floats this one would be a millisecond earlier."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=2_184_359_212_273)
    assert moment_ms(moment.isoformat()) == 2_184_359_212_273


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1_800), ("12h", 43_200), ("7d", 604_800), ("0s", None), ("1.5h", None), ("h", None)],
)
def test_a_duration_has_one_unit(text: str, seconds: int | None) -> None:
    """A whole number above 0, and s, m, h or d."""
    assert duration_s(text) == seconds


def test_milliseconds_are_digits_alone() -> None:
    """At most 15 of them: what is longer is no time, and other digits than these are none."""
    assert epoch_ms("1790000001000") == 1_790_000_001_000
    assert [epoch_ms(text) for text in ("1" * 16, "-1", "1e3", "१", "")] == [None] * 5


def test_a_moment_is_printed_in_utc_or_in_a_zone() -> None:
    """To the second or the millisecond, with Z in place of an offset of nothing."""
    at_ms = 1_790_000_001_250
    assert utc_text(at_ms, "seconds") == "2026-09-21T14:13:21Z"
    assert utc_text(at_ms, "milliseconds") == "2026-09-21T14:13:21.250Z"
    assert local_time(at_ms, ZoneInfo("Asia/Kolkata")).isoformat() == "2026-09-21T19:43:21.250000+05:30"


@pytest.mark.parametrize("name", ["UTC", "Asia/Kolkata", "Etc/GMT-5", "EST5EDT", "America/Argentina/Salta"])
def test_a_zone_has_its_iana_name(name: str) -> None:
    """Of places, of offsets, and old ones that are still in use."""
    assert zone_named(name) == ZoneInfo(name)


@pytest.mark.parametrize(
    "name",
    ["", "Asia", "Asia/Calcuta", "../UTC", "\udcff", "localtime", "posixrules", "Factory", "right/UTC", "posix/UTC"],
)
def test_what_is_no_zone_everywhere_is_refused(name: str) -> None:
    """Also names of files that this machine may have: the message says what a name must be."""
    with pytest.raises(ValueError, match="must be the IANA name of a time zone, such as UTC or Asia/Kolkata"):
        zone_named(name)
