"""Requests: what is asked for, which range that is, and how what is wrong is named."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ecounters.counters.definitions import FIELDS
from ecounters.errors import RequestRefused
from ecounters.query.dates import time_range
from ecounters.query.request import Query, parse_request
from ecounters.windows.calendar import DAY_MS

KEEP_MS = 400 * DAY_MS
KOLKATA = ZoneInfo("Asia/Kolkata")


def at(text: str) -> int:
    """ms of a time in UTC, as "03-10 12:07" of 2026 or with a year."""
    return int(datetime.fromisoformat((text if text[:2] == "20" else "2026-" + text) + "+00:00").timestamp()) * 1000


NOW_MS = at("03-10 12:07")
"""A Tuesday, 17:37 in Kolkata."""


def asked(**given: Any) -> Query:
    """The request of a body with a session and what is given."""
    return parse_request(json.dumps({"ssid": "s"} | given).encode())


def refusal(content: bytes | dict[str, Any]) -> tuple[int, int, str]:
    """(code, HTTP status, detail) with which a body is refused; a dict has a session added."""
    with pytest.raises(RequestRefused) as caught:
        parse_request(content if isinstance(content, bytes) else json.dumps({"ssid": "s"} | content).encode())
    return caught.value.code, caught.value.http_status, caught.value.detail


def ranged(*conditions: dict[str, Any], zone: ZoneInfo = KOLKATA, now_ms: int = NOW_MS) -> tuple[int, int]:
    """The range that conditions on the date make."""
    dates = asked(filter=[{"field": "date"} | one for one in conditions]).dates
    return time_range(dates, zone, now_ms, KEEP_MS)


def no_range(*conditions: dict[str, Any]) -> str:
    """Why conditions make no range."""
    with pytest.raises(RequestRefused) as caught:
        ranged(*conditions)
    assert caught.value.code == 1000
    return caught.value.detail


# --------------------------------------------------------------------------------------------------- form


def test_a_session_or_a_user_is_enough() -> None:
    """A ssid stands for its user; with a userId the token is asked for by who knows the accounts."""
    assert parse_request(b' {"ssid":"s1"} ') == Query(ssid="s1")
    assert parse_request(b'{"userId":"u1","token":"t"}') == Query(user_id="u1", token="t")
    assert parse_request(b'{"ssid":"s1","userId":"u1","token":"t","filter":[],"Field":[]}') == Query("s1", "u1", "t")


@pytest.mark.parametrize("content", [b"{}", b'{"token":"t"}', b'{"ssid":""}', b'{"ssid":"","userId":""}'])
def test_without_either_the_user_is_missing(content: bytes) -> None:
    """1002, whatever else there is."""
    assert refusal(content)[:2] == (1002, 400)


@pytest.mark.parametrize(
    "content",
    [b"", b" \n", b"x", b"[]", b"null", b'"s"', b"1", b'{"ssid":"s"', b'{"ssid":"s"}x', b'{"ssid":"\xff"}',
     b'{"ssid":"\\ud800"}',
     b"[" * 60_000, b'{"ssid":"s","filter":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
     b'{"ssid":"s","filter":[1e999]}', b"ssid=s"],
)  # fmt: skip
def test_what_is_no_json_object_is_an_invalid_parameter(content: bytes) -> None:
    """1000, and nothing else is raised."""
    assert refusal(content)[:2] == (1000, 400)


def test_a_body_may_have_64_kib() -> None:
    """65,536 bytes are read; one more is 413."""
    content = b'{"ssid":"s"}'
    assert parse_request(content + b" " * (65_536 - len(content))).ssid == "s"
    assert refusal(content + b" " * (65_537 - len(content)))[:2] == (1000, 413)


@pytest.mark.parametrize("name", ["user", "SSID", "field", "filters", "", "x" * 5_000, "\N{GRINNING FACE}"])
def test_unknown_parameters_are_refused_by_name(name: str) -> None:
    """The name is shown, shortened if it is long."""
    code, status, detail = refusal({name: 1})
    assert (code, status) == (1000, 400)
    assert json.dumps(name, ensure_ascii=False)[:50] in detail and len(detail) < 120


@pytest.mark.parametrize("name", ["ssid", "userId", "token"])
@pytest.mark.parametrize("value", [None, 1, 1.5, True, [], {}])
def test_credentials_are_strings(name: str, value: object) -> None:
    """1001, naming which."""
    code, status, detail = refusal({name: value})
    assert (code, status) == (1001, 400) and name in detail


@pytest.mark.parametrize("name", ["filter", "Field", "fields"])
@pytest.mark.parametrize("value", [None, "TC", 1, {}, True])
def test_filter_and_field_are_arrays(name: str, value: object) -> None:
    """1001, naming which."""
    code, status, detail = refusal({name: value})
    assert (code, status) == (1001, 400) and name in detail


def test_fields() -> None:
    """In the order asked for, once each, under either name but not both."""
    assert asked(Field=["UC", "AC", "UC"]).fields == asked(fields=["UC", "AC"]).fields == ("UC", "AC")
    assert set(asked(Field=sorted(FIELDS)).fields) == FIELDS
    assert refusal({"Field": ["UC"], "fields": ["AC"]})[0] == 1000
    assert refusal({"Field": ["UC", 7]})[::2] == (1001, "Field[1] must be a string")
    for wrong in ("uc", "LCT", "", "RC"):
        code, _, detail = refusal({"fields": [wrong]})
        assert code == 1000 and "fields[0]" in detail and f'"{wrong}"' in detail
    assert refusal({"Field": ["UC"] * 1_001})[0] == 1000


@pytest.mark.parametrize(
    ("condition", "code", "place"),
    [
        (1, 1001, "filter[1]"),
        ([], 1001, "filter[1]"),
        ({}, 1000, "filter[1]"),
        ({"field": "date"}, 1000, "filter[1]"),
        ({"value": "today"}, 1000, "filter[1]"),
        ({"field": "colour", "value": 1}, 1000, "filter[1].field"),
        ({"field": 7, "value": 1}, 1000, "filter[1].field"),
        ({"field": 10**30, "value": 1}, 1000, "filter[1].field"),
        ({"field": {"a": [1]}, "value": 1}, 1000, "filter[1].field"),
        ({"field": "date", "value": "today", "why": 1}, 1000, "filter[1]"),
        ({"field": "date", "op": "like", "value": "today"}, 1000, "filter[1].op"),
        ({"field": "date", "op": 1, "value": "today"}, 1001, "filter[1].op"),
        ({"field": "date", "op": "between", "value": "today"}, 1001, "filter[1].value"),
        ({"field": "date", "op": "between", "value": ["today"]}, 1001, "filter[1].value"),
        ({"field": "date", "value": ["today", "today", "today"]}, 1001, "filter[1].value"),
        ({"field": "date", "value": []}, 1001, "filter[1].value"),
        ({"field": "date", "op": "gte", "value": ["today", "today"]}, 1001, "filter[1].value"),
        ({"field": "date", "value": 1.5}, 1001, "filter[1].value"),
        ({"field": "date", "value": True}, 1001, "filter[1].value"),
        ({"field": "date", "value": None}, 1001, "filter[1].value"),
        ({"field": "date", "value": ["today", {}]}, 1001, "filter[1].value"),
    ],
)
def test_what_is_wrong_with_a_condition_is_named_with_its_place(condition: object, code: int, place: str) -> None:
    """The code says whether it is the type or the value; the text begins with where."""
    found, status, detail = refusal({"filter": [{"field": "date", "value": "today"}, condition]})
    assert (found, status) == (code, 400)
    assert detail.startswith(place)


def test_at_most_32_conditions() -> None:
    """A longer filter is refused."""
    one = {"field": "date", "value": "today"}
    assert len(asked(filter=[one] * 32).dates) == 32
    assert refusal({"filter": [one] * 33})[0] == 1000


# -------------------------------------------------------------------------------------------------- dates


def test_the_default_is_today_until_now() -> None:
    """From 00:00 in the user's zone to the end of the window that holds now."""
    assert time_range([], KOLKATA, NOW_MS, KEEP_MS) == (at("03-09 18:30"), at("03-10 12:15"))
    assert time_range([], KOLKATA, at("03-10 12:00"), KEEP_MS) == (at("03-09 18:30"), at("03-10 12:15"))
    assert time_range([], KOLKATA, at("03-10 18:30"), KEEP_MS) == (at("03-10 18:30"), at("03-10 18:45"))


@pytest.mark.parametrize(
    ("condition", "begin", "end"),
    [
        ({"value": "today"}, "03-09 18:30", "03-10 18:30"),
        ({"op": "eq", "value": "yesterday"}, "03-08 18:30", "03-09 18:30"),
        ({"value": "last7days"}, "03-03 18:30", "03-10 18:30"),
        ({"value": "last30days"}, "02-08 18:30", "03-10 18:30"),
        ({"value": "thisMonth"}, "02-28 18:30", "03-10 18:30"),
        ({"value": "2026-03-01"}, "02-28 18:30", "03-01 18:30"),
        ({"value": ["2026-03-01", "2026-03-02"]}, "02-28 18:30", "03-02 18:30"),
        ({"op": "between", "value": ["2026-03-01", "2026-03-01"]}, "02-28 18:30", "03-01 18:30"),
        ({"value": ["yesterday", "today"]}, "03-08 18:30", "03-10 18:30"),
        ({"value": ["2026-03-10 10:00:00", "2026-03-10 10:15:00"]}, "03-10 04:30", "03-10 04:45"),
        ({"value": ["2026-03-10 10:00:01", "2026-03-10 10:15:01"]}, "03-10 04:30", "03-10 05:00"),
        ({"value": ["2026-03-10 10:00:00", "2026-03-10 10:00:00"]}, "03-10 04:30", "03-10 04:45"),
        ({"value": ["2026-03-10T04:30:00Z", "2026-03-10T10:30:00+05:30"]}, "03-10 04:30", "03-10 05:00"),
        ({"value": [at("03-10 04:30"), at("03-10 04:45") + 1]}, "03-10 04:30", "03-10 05:00"),
        ({"value": ["2026-03-09", "2026-03-10 10:15:00"]}, "03-08 18:30", "03-10 04:45"),
        ({"value": "2026-03-10 10:07:00"}, "03-10 04:30", "03-10 04:45"),
        ({"op": "gte", "value": "2026-03-09"}, "03-08 18:30", "03-10 12:15"),
        ({"op": "gt", "value": "2026-03-08"}, "03-08 18:30", "03-10 12:15"),
        ({"op": "gte", "value": "2026-03-10 10:00:00"}, "03-10 04:30", "03-10 12:15"),
        ({"op": "lte", "value": "2026-03-08"}, "2025-02-03 18:30", "03-08 18:30"),
        ({"op": "lt", "value": "2026-03-08"}, "2025-02-03 18:30", "03-07 18:30"),
        ({"op": "lt", "value": "2026-03-10 10:15:00"}, "2025-02-03 18:30", "03-10 04:45"),
        ({"op": "lte", "value": "2026-03-10 10:15:00"}, "2025-02-03 18:30", "03-10 05:00"),
        ({"op": "lt", "value": "2026-03-10T04:45:00.001Z"}, "2025-02-03 18:30", "03-10 05:00"),
    ],
)
def test_dates(condition: dict[str, Any], begin: str, end: str) -> None:
    """Days are the user's, moments are what they are, and bounds snap outward to windows."""
    assert ranged(condition) == (at(begin), at(end))


def test_every_ms_after_a_windows_begin_is_in_it() -> None:
    """A bound with milliseconds is taken exactly: none of them is lost to a fraction."""
    for ms in range(1, 1000):
        moment = f"2026-03-10T04:45:00.{ms:03}Z"
        assert ranged({"op": "lt", "value": moment})[1] == at("03-10 05:00"), moment
        before = f"2026-03-10T04:44:59.{ms:03}Z"
        assert ranged({"op": "gte", "value": before})[0] == at("03-10 04:30"), before


def test_days_are_as_long_as_the_zone_makes_them() -> None:
    """The day on which clocks go forward has 23 hours."""
    berlin = ZoneInfo("Europe/Berlin")
    now = at("03-30 12:00")
    assert ranged({"value": "yesterday"}, zone=berlin, now_ms=now) == (at("03-28 23:00"), at("03-29 22:00"))
    assert ranged({"value": "2026-03-29 03:00:00"}, zone=berlin, now_ms=now)[0] == at("03-29 01:00")


def test_several_dates_are_cut_with_one_another() -> None:
    """All conditions must hold."""
    cut = ranged({"op": "gte", "value": "2026-03-08"}, {"op": "lt", "value": "2026-03-09"}, {"value": "last7days"})
    assert cut == (at("03-07 18:30"), at("03-08 18:30"))
    assert "no time in common" in no_range({"value": "today"}, {"value": "yesterday"})


@pytest.mark.parametrize(
    "value", [["2026-03-10", "2026-03-09"], ["today", "yesterday"], [at("03-10 01:00"), at("03-10 00:00")]]
)
def test_a_range_ends_after_it_begins(value: list[Any]) -> None:
    """The other way round is refused and not turned."""
    assert no_range({"value": value}).startswith("filter[0].value")


@pytest.mark.parametrize(
    "value",
    [253_402_300_799_999, "9999-12-31 23:59:59", "9999-12-31T23:59:59Z",
     "", "now", "Today", "2026-3-1", "2026-02-29", "2026-03-10T10:00:00", "2026-03-10 25:00:00", "20260310",
     " 2026-03-10",
     "2026-03-10\n", "\u0662026-03-10", "9999-12-31", "0000-01-01", "1773144000000", "x" * 9_000, 10**18, -(10**18),
     10**40, "10:00"],
)  # fmt: skip
def test_what_is_no_date_is_refused_with_what_would_be(value: object) -> None:
    """The text shows the value, shortened, and the forms that are known."""
    detail = no_range({"value": value})
    assert detail.startswith("filter[0].value") and "YYYY-MM-DD" in detail and len(detail) < 250


@pytest.mark.parametrize(
    "condition",
    [{"value": "2025-02-03"}, {"op": "gte", "value": at("2025-02-03 18:29")}, {"value": 0},
     {"op": "lt", "value": "2025-02-04"}, {"op": "lte", "value": "2024-01-01"}],
)  # fmt: skip
def test_a_range_that_begins_before_retention_says_how_far_back_it_goes(condition: dict[str, Any]) -> None:
    """Never a silent part answer: the first whole day that is kept is named, in the user's time."""
    detail = no_range(condition)
    assert detail.startswith("filter[0].value") and "2025-02-04T00:00:00+05:30" in detail


def test_the_first_day_kept_can_be_asked_for() -> None:
    """400 days back, to the day."""
    assert ranged({"value": "2025-02-04"}) == (at("2025-02-03 18:30"), at("2025-02-04 18:30"))
