"""A URL's query string is read by the rules of a POST's body."""

from __future__ import annotations

import pytest
from multidict import MultiDict

from ecounters.errors import RequestRefused
from ecounters.query.request import Query, parse_request
from streams.web.url_query import parse_query


def query_of(*parameters: tuple[str, str], cookie: str | None = None) -> Query:
    """The query in these parameters."""
    return parse_query(MultiDict(parameters), cookie)


def refusal(*parameters: tuple[str, str], cookie: str | None = None) -> tuple[int, str]:
    """The code and the detail that these parameters are refused with."""
    with pytest.raises(RequestRefused) as caught:
        query_of(*parameters, cookie=cookie)
    return caught.value.code, caught.value.detail


def test_a_url_says_what_a_body_says() -> None:
    """ssid before the cookie; fields repeated, with commas, or both."""
    query = query_of(("ssid", "s"), ("Field", "UC,AC"), ("Field", "CM"), cookie="c")
    assert (query.ssid, query.fields) == ("s", ("UC", "AC", "CM"))
    assert query_of(cookie="c").ssid == "c"
    assert query_of(("ssid", ""), cookie="c").ssid == "c"
    assert query_of(("ssid", "s"), ("Field", "UC"), ("fields", "AC")).fields == ("UC", "AC")


def test_a_filter_is_that_of_a_body() -> None:
    """The same JSON text gives the same query, in a URL and in a body."""
    text = '[{"field": "did", "op": "in", "value": ["1", "2"]}]'
    body = parse_request(b'{"ssid":"s","Field":["UC"],"filter":' + text.encode() + b"}")
    assert query_of(("ssid", "s"), ("Field", "UC"), ("filter", text)) == body


@pytest.mark.parametrize(
    ("parameters", "code", "detail"),
    [
        ([("userId", "u")], 1000, "userId is not taken in a URL, which others get to see: open a session"),
        ([("token", "t")], 1000, "token is not taken in a URL, which others get to see: open a session"),
        ([("interval", "1h")], 1000, 'unknown parameter "interval"'),
        ([("ssid", "a"), ("ssid", "b")], 1000, "ssid is given more than once"),
        ([("filter", "[]"), ("filter", "[]")], 1000, "filter is given more than once"),
        ([("filter", "[")], 1000, "filter is not JSON"),
        ([("filter", "[" * 5_000)], 1000, "filter is not JSON"),
        ([("filter", "{}")], 1001, "filter must be an array"),
        ([("filter", '[{"field":"did","op":"eq","op":"eq"}]')], 1000, 'filter has "op" twice in one object'),
        ([("Field", "nothing")], 1000, 'Field[0] "nothing" is no field that can be asked for'),
        ([("ssid", "s" * 513)], 1000, "ssid is longer than any that was given out"),
    ],
)
def test_what_is_wrong_is_said(parameters: list[tuple[str, str]], code: int, detail: str) -> None:
    """Each mistake has the code of a body's, and a text that names the place."""
    assert refusal(*parameters, cookie="c") == (code, detail)


def test_a_request_without_credentials_gets_1002() -> None:
    """Neither ssid nor cookie; and a cookie whose bytes are no text is a wrong ssid, not an error of the server."""
    assert refusal() == (1002, "give ssid, or userId and token")
    assert query_of(cookie="\udcff").ssid == "?"
