"""Hypothesis strategies for requests to a worker: bodies that are nearly right, and whole requests as bytes."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import brotli
from hypothesis import strategies as st

from streams.web.paths import (
    ASYNCAPI_PATH,
    COUNTERS_PATHS,
    DASHBOARD_PATH,
    DOCS_PATH,
    HEALTH_PATH,
    METRICS_PATH,
    OPENAPI_PATH,
    PEER_PATH,
    READY_PATH,
    SERIES_PATHS,
    STREAM_PATHS,
)
from tests.support.filter_strategies import filters
from tests.support.peers import signature_of
from tests.support.replies import CREDENTIALS

texts = st.text(max_size=8) | st.sampled_from(
    ("ssid", "userId", "filter", "Field", "interval", "field", "op", "value", "and", "or", "not", "date", "did",
     "status", "campaignId", "callType", "eq", "in", "nin", "between", "gte", "today", "2026-03-10", "1h", "UC", "7")
)  # fmt: skip
_numbers = st.integers() | st.floats() | st.sampled_from((10**40, -(10**400), 7.0, 1e300, 2**63))
any_json = st.recursive(
    st.none() | st.booleans() | _numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
_dates = st.sampled_from(
    ("today", "yesterday", "last7days", "last30days", "thisMonth", "2026-03-10", "2026-11-26 10:00:00", 0, 10**15, -1,
     "2026-11-26T10:00:00Z", ["2020-01-01", "2030-01-01"], ["today", "today"], [1, 2, 3], "0001-01-01", "9999-12-31")
)  # fmt: skip
_dated = st.builds(lambda date, op: {"field": "date", "value": date, **op}, _dates, st.sampled_from(
    ({}, {"op": "between"}, {"op": "gte"}, {"op": "lt"}, {"op": "eq"}, {"op": "like"})
))  # fmt: skip
near_filters = any_json | st.lists(
    any_json
    | filters.map(lambda found: found[0])
    | _dated
    | st.fixed_dictionaries({"field": texts, "value": any_json}, optional={"op": texts}),
    max_size=4,
)
_fields = any_json | st.lists(st.sampled_from(("UC", "AC", "TC", "MC", "ringTime", "FR_UC_N", "avgTalkTime", "XX")))
_intervals = any_json | st.sampled_from(("15m", "1h", "1d"))


def near_queries(credentials: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Bodies with credentials, and whatever for the rest."""
    rest = st.fixed_dictionaries({}, optional={"filter": near_filters, "Field": _fields, "interval": _intervals})
    return st.builds(lambda known, more: {**known, **more}, credentials, rest)


# --------------------------------------------------------------------------------------------- whole requests

ROUTES: Final = (
    *[("POST", path) for path in (*COUNTERS_PATHS, *COUNTERS_PATHS, *SERIES_PATHS, PEER_PATH, PEER_PATH)],
    *[("GET", path) for path in (*STREAM_PATHS, HEALTH_PATH, READY_PATH, METRICS_PATH, OPENAPI_PATH, ASYNCAPI_PATH)],
    *[
        ("GET", path)
        for path in (DOCS_PATH, f"{DOCS_PATH}/swagger-ui.css", DASHBOARD_PATH, f"{DASHBOARD_PATH}/session")
    ],
    *[("POST", f"{DASHBOARD_PATH}/{name}") for name in ("login", "logout", "series")],
    ("GET", f"{DASHBOARD_PATH}/files/x/y"),
    ("GET", "/"),
)
METHODS: Final = ("GET", "POST", "OPTIONS", "HEAD", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "FOO", "get")
TAILS: Final = (
    "/",
    "//",
    "/.",
    "/..",
    "/%2e%2e/",
    "%00",
    "%ff",
    "%",
    "?",
    "#x",
    ";a=b",
    "/x" * 50,
    "é",
    "%F0%9F%98%80",
)
HEADERS: Final[dict[str, tuple[str, ...]]] = {
    "Content-Type": ("application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "é"),
    "Content-Encoding": ("gzip", "br", "deflate", "identity", "gzip, br", "GZIP", "x", ""),
    "Accept-Encoding": ("gzip", "br;q=1.0, gzip;q=0", "*;q=0", "br;q=x", "identity;q=0", ",,;", "gzip" * 300),
    "If-None-Match": ("*", 'W/"11a-HFF66YNcSs5WoIJy6+TSUnmUgDk"', '"x-gzip"', '"', ",", 'W/"' * 200),
    "Cookie": ("ecounters=x", "ecounters=x; ecounters=y", "=;=;", "ecounters=\xff", "__Host-ecounters=x", "a=b;" * 200),
    "Origin": ("http://127.0.0.1", "null", "http://[", "x", "http://evil.example.invalid"),
    "Sec-Fetch-Site": ("same-origin", "cross-site", ""),
    "X-Forwarded-For": ("1.2.3.4", "::1, 2.3.4.5", "x" * 300, "1.2.3.4:5", ","),
    "X-Forwarded-Proto": ("https", "http, https", "x"),
    "Last-Event-ID": ("1", "\xff", "x" * 500),
    "Range": ("bytes=0-1", "bytes=-1", "x"),
    "Expect": ("100-continue", "x"),
    "Upgrade": ("websocket", "h2c"),
    "Authorization": ("Basic !!!", "Bearer x", ""),
    "X-Ecounters-Signature": ("", "x", "0" * 64, "\xe9"),
    "If-Modified-Since": ("x", "Tue, 10 Mar 2026 12:00:00 GMT"),
    "Transfer-Encoding": ("identity", "x", "gzip, chunked"),
    "Host": ("", "[", "a b", "x:99999999"),
    "X" * 200: ("y" * 3_000,),
}
_header = st.sampled_from(sorted(HEADERS)).flatmap(
    lambda name: st.tuples(st.just(name), st.sampled_from(HEADERS[name]) | st.text('aé\t\x01,;="', max_size=6))
)
_CODINGS: Final = {"gzip": gzip.compress, "deflate": zlib.compress, "br": brotli.compress}

_credentials: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    (CREDENTIALS, CREDENTIALS, CREDENTIALS, {"userId": "u2", **{"token": CREDENTIALS["token"]}}, {"ssid": "s"}, {},
     {**CREDENTIALS, "token": "wrong"}, {"userId": "..", "token": ""}, {"userId": 7}, {**CREDENTIALS, "ssid": "s"})
)  # fmt: skip
_zones = any_json | st.sampled_from(("UTC", "Asia/Kolkata", "../../etc/passwd", "", "Etc/GMT+12", "/UTC", "x" * 500))
_forwarded = st.fixed_dictionaries(
    {"userId": st.just("u1") | any_json},
    optional={
        "zone": _zones, "filter": near_filters, "Field": _fields, "fields": _fields, "interval": _intervals,
        "at": st.integers(0, 10**13) | any_json, "nonce": texts,
    },
)  # fmt: skip
_bodies = st.one_of(
    *[near_queries(_credentials)] * 4,
    any_json,
    _forwarded,
)


@dataclass(frozen=True)
class RawRequest:
    """A request as bytes. ``whole``: the worker can know where its body ends, so it must reply. ``path``: as sent."""

    content: bytes
    whole: bool
    method: str
    path: str


@st.composite
def raw_requests(draw: st.DrawFn) -> RawRequest:
    """A request to one of the worker's routes, of which some parts may be wrong."""
    method, path = draw(st.sampled_from(ROUTES))
    odd = draw(st.integers(0, 99))
    body = json.dumps(draw(_bodies), ensure_ascii=odd % 2 == 0).encode("utf-8", "surrogatepass")
    headers = draw(st.lists(_header, max_size=3)) if odd % 3 else []
    if odd in range(10):
        method = draw(st.sampled_from(METHODS))
    elif odd in range(10, 20):
        path += draw(st.sampled_from(TAILS))
    elif odd in range(20, 24):
        path = path.swapcase()
    elif odd in range(24, 30):
        path = "/" + draw(st.text(max_size=20))
    elif odd in range(30, 40):
        coding = draw(st.sampled_from(sorted(_CODINGS)))
        body = _CODINGS[coding](body)
        body = body[: draw(st.integers(0, len(body)))] if odd % 2 else body
        headers = [*headers, ("Content-Encoding", coding)]
    elif odd in range(40, 46):
        body = draw(st.binary(max_size=300))
    elif odd == 46:
        body = body[:1] + b" " * draw(st.sampled_from((65_000, 65_536, 200_000, 1_100_000))) + body[1:]
    if method == "GET" and odd % 4:
        path += "?" + draw(_query)
        body = b"" if odd % 8 else body
    if path.startswith(PEER_PATH) and odd % 4:
        headers = [*headers, *signature_of(body).items()]
    if path.startswith(DASHBOARD_PATH) and odd % 4:
        headers = [*headers, ("Content-Type", "application/json")]
    return _written(draw, method, path, headers, body, odd)


_query = st.lists(
    st.tuples(
        st.sampled_from(("ssid", "userId", "token", "filter", "Field", "fields", "interval", "x", "")),
        (near_filters | _fields | _credentials).map(json.dumps) | texts | st.sampled_from(tuple(CREDENTIALS.values())),
    ),
    max_size=4,
).map(lambda pairs: "&".join(f"{name}={quote(value, errors='replace')}" for name, value in pairs))


def _written(
    draw: st.DrawFn, method: str, path: str, headers: list[tuple[str, str]], body: bytes, odd: int
) -> RawRequest:
    """The bytes of a request; some have chunks, a wrong length, or are changed anywhere."""
    lines = [f"{method} {path} HTTP/1.{draw(st.sampled_from((1, 1, 1, 1, 0)))}", "Connection: close"]
    lines += [] if any(name == "Host" for name, _ in headers) else ["Host: 127.0.0.1"]
    whole = all(name not in ("Transfer-Encoding", "Upgrade", "Expect") for name, _ in headers) and method != "CONNECT"
    if odd in (50, 51, 52):
        lines.append("Transfer-Encoding: chunked")
        body = b"%x\r\n%s\r\n" % (len(body), body) * (len(body) > 0) + b"0\r\n\r\n"
    elif odd == 53:
        lines.append(f"Content-Length: {draw(st.sampled_from(('-1', 'x', '+5', '99999999999', '5, 5', '')))}")
        whole = False
    elif body or method != "GET":
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers), "", ""])
    content = head.encode("utf-8", "surrogatepass") + body
    if odd in range(54, 62):
        at, cut, put = draw(st.integers(0, len(head))), draw(st.integers(0, 5)), draw(st.binary(max_size=4))
        content, whole = content[:at] + put + content[at + cut :], False
    return RawRequest(content, whole, method, path)
