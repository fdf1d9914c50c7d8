"""Requests: what a body asks for, and how its errors are named."""

from __future__ import annotations

import json
from time import process_time
from typing import Any

import pytest

from ecounters.counters.definitions import FIELDS
from ecounters.errors import RequestRefused
from ecounters.query.request import Query, parse_object, parse_request


def query(**parameters: Any) -> Query:
    """The query of a body with a session and these parameters."""
    return parse_request(json.dumps({"ssid": "s"} | parameters).encode())


def refusal(content: bytes | dict[str, Any]) -> tuple[int, int, str]:
    """(code, HTTP status, detail) with which a body is refused; a dict has a session added."""
    with pytest.raises(RequestRefused) as caught:
        parse_request(content if isinstance(content, bytes) else json.dumps({"ssid": "s"} | content).encode())
    return caught.value.code, caught.value.http_status, caught.value.detail


def test_a_session_or_a_user_is_enough() -> None:
    """A body needs an ssid or a userId; whether a token fits is not checked here."""
    assert parse_request(b' {"ssid":"s1"} ') == Query(ssid="s1")
    assert parse_request(b'{"userId":"u1","token":"t"}') == Query(user_id="u1", token="t")
    assert parse_request(b'{"ssid":"s1","userId":"u1","token":"t","filter":[],"Field":[]}') == Query("s1", "u1", "t")


@pytest.mark.parametrize("content", [b"{}", b'{"token":"t"}', b'{"ssid":""}', b'{"ssid":"","userId":""}'])
def test_without_either_the_user_is_missing(content: bytes) -> None:
    """A body without an ssid and a userId is refused with 1002, whatever else it has."""
    assert refusal(content)[:2] == (1002, 400)


@pytest.mark.parametrize(
    "content",
    [b"", b" \n", b"x", b"[]", b"null", b'"s"', b"1", b'{"ssid":"s"', b'{"ssid":"s"}x', b'{"ssid":"\xff"}',
     b'{"ssid":"\\ud800"}',
     b"[" * 60_000, b'{"ssid":"s","filter":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
     b'{"ssid":"s","filter":[1e999]}', b"ssid=s"],
)  # fmt: skip
def test_what_is_no_json_object_is_an_invalid_parameter(content: bytes) -> None:
    """A body that is no JSON object is refused with 1000, and nothing else is raised."""
    assert refusal(content)[:2] == (1000, 400)


def test_floats_that_are_hard_to_read_take_no_longer_than_others() -> None:
    """Floats near the smallest one, of which msgspec reads one in 20 us; others of the same length for comparison."""

    def seconds(number: bytes) -> float:
        content = b'{"x":[' + b",".join([number.ljust(23)] * 2_600) + b"]}"
        took = []
        for _ in range(5):
            began = process_time()
            parse_object(content)
            took.append(process_time() - began)
        return min(took)

    assert seconds(b"1.2345678901234567e-308") < 8 * seconds(b"1.5")


def test_a_body_may_have_64_kib() -> None:
    """65,536 bytes are read; one more is 413."""
    content = b'{"ssid":"s"}'
    assert parse_request(content + b" " * (65_536 - len(content))).ssid == "s"
    assert refusal(content + b" " * (65_537 - len(content)))[:2] == (1000, 413)


@pytest.mark.parametrize("name", ["user", "SSID", "field", "filters", "", "x" * 5_000, "\N{GRINNING FACE}"])
def test_unknown_parameters_are_refused_by_name(name: str) -> None:
    """An unknown parameter is refused with its name, which is shortened if it is long."""
    code, status, detail = refusal({name: 1})
    assert (code, status) == (1000, 400)
    assert json.dumps(name, ensure_ascii=False)[:50] in detail and len(detail) < 120


@pytest.mark.parametrize("name", ["ssid", "userId", "token"])
@pytest.mark.parametrize("value", [None, 1, 1.5, True, [], {}])
def test_credentials_are_strings(name: str, value: object) -> None:
    """A credential of another JSON type is refused with 1001, and named."""
    code, status, detail = refusal({name: value})
    assert (code, status) == (1001, 400) and name in detail


@pytest.mark.parametrize("name", ["filter", "Field", "fields"])
@pytest.mark.parametrize("value", [None, "TC", 1, {}, True])
def test_filter_and_field_are_arrays(name: str, value: object) -> None:
    """A filter or Field that is no array is refused with 1001, and named."""
    code, status, detail = refusal({name: value})
    assert (code, status) == (1001, 400) and name in detail


def test_fields() -> None:
    """Fields are in the order of the request, each once, under either name but not under both."""
    assert query(Field=["UC", "AC", "UC"]).fields == query(fields=["UC", "AC"]).fields == ("UC", "AC")
    assert set(query(Field=sorted(FIELDS)).fields) == FIELDS
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
    """The code says whether the type or the value is wrong, and the text begins with its path."""
    actual, status, detail = refusal({"filter": [{"field": "date", "value": "today"}, condition]})
    assert (actual, status) == (code, 400)
    assert detail.startswith(place)


def test_at_most_32_conditions() -> None:
    """A filter of 33 conditions is refused."""
    condition = {"field": "date", "value": "today"}
    assert len(query(filter=[condition] * 32).dates) == 32
    assert refusal({"filter": [condition] * 33})[0] == 1000


def series_query(**parameters: Any) -> Query:
    """The query for a series, of a body with a session and these parameters."""
    return parse_request(json.dumps({"ssid": "s"} | parameters).encode(), series=True)


def test_a_series_requires_an_interval() -> None:
    """The interval is one of three, required for a series, and unknown elsewhere."""
    assert series_query(interval="15m").interval == "15m"
    for wrong, code, detail in (
        ({}, 1000, "interval is missing"),
        ({"interval": "5m"}, 1000, 'interval "5m" is none of 15m, 1h, 1d'),
        ({"interval": 15}, 1001, "interval must be a string"),
    ):
        with pytest.raises(RequestRefused) as caught:
            series_query(**wrong)
        assert caught.value.code == code and caught.value.detail.startswith(detail)
    with pytest.raises(RequestRefused) as caught:
        parse_request(b'{"ssid":"s","interval":"1h"}')
    assert caught.value.detail == 'unknown parameter "interval"'
