"""The dashboard's routes over real HTTP: what a browser is told, and who may log in from where."""

from __future__ import annotations

import gzip
import json
import re
from zoneinfo import ZoneInfo

import pytest

from streams.web.paths import SERIES_PATHS
from tests.support.accounts import TOKEN, add_users
from tests.support.published_calls import RecentCall, publish_values, wait_for_counter
from tests.support.stream_listener import StreamListener
from tests.support.workers import Deployment, Reply, Worker

JSON = {"Content-Type": "application/json"}
SERIES = SERIES_PATHS[0]


def log_in(worker: Worker, token: str = TOKEN, **headers: str) -> Reply:
    """What a log-in is answered."""
    return worker.request("POST", "/dashboard/login", {"userId": "u1", "token": token}, JSON | headers)


def cookie_of(reply: Reply) -> dict[str, str]:
    """The header that brings the cookie back."""
    return {"Cookie": reply.headers["Set-Cookie"].split(";")[0]}


def test_page_and_files_may_do_nothing_but_what_they_are_for(worker: Worker) -> None:
    """A strict policy; files for ever, packed where wanted, and found by the page; nothing else of the package."""
    page = worker.request("GET", "/dashboard")
    assert page.status == 200 and page.headers["Cache-Control"] == "no-cache"
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert (page.headers["X-Content-Type-Options"], page.headers["Referrer-Policy"]) == ("nosniff", "no-referrer")
    assert worker.request("GET", "/dashboard", headers={"If-None-Match": page.headers["ETag"]}).status == 304
    assert worker.request("GET", "/dashboard/").body == page.body
    found = set(re.findall(r'"(/dashboard/files/[^"]+)"', page.body.decode()))
    assert {path.rpartition("/")[2] for path in found} == {"icon.svg", "dashboard.css", "app.js", "Chart.bundle.js"}
    assert b"<script>" not in page.body and b"style=" not in page.body and b"http:" not in page.body
    for path in found:
        plain = worker.request("GET", path)
        packed = worker.request("GET", path, headers={"Accept-Encoding": "gzip, br"})
        assert plain.status == packed.status == 200 and "immutable" in plain.headers["Cache-Control"]
        assert gzip.decompress(packed.body) == plain.body and len(packed.body) < len(plain.body)
        assert plain.headers["Vary"] != "Origin"
    version = next(iter(found)).split("/")[3]
    for path in (f"/dashboard/files/{version}/dashboard.html", "/dashboard/files/old/app.js", "/dashboard/files/../x"):
        assert worker.request("GET", path).status == 404


def test_a_log_in_opens_a_session_that_stream_and_series_take(deployment: Deployment, worker: Worker) -> None:
    """The cookie is the only thing that it gives; after the log-out it is worth nothing."""
    publish_values(deployment, "u1", *RecentCall("c1", "u1").started(0, "IBD").values())
    wait_for_counter(worker, "u1", "TC", 1)
    reply = log_in(worker)
    assert (reply.status, reply.json["message"]["userId"]) == (200, "u1")
    assert ZoneInfo(reply.json["message"]["zone"]).key == reply.json["message"]["zone"]
    parts = reply.headers["Set-Cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=2592000"} <= set(parts) and "Secure" not in parts
    assert "; Secure" in log_in(worker, **{"X-Forwarded-Proto": "https"}).headers["Set-Cookie"]
    cookie = cookie_of(reply)
    asked = {"interval": "1h", "Field": ["UC"]}
    series = worker.request("POST", "/dashboard/series", asked, JSON | cookie)
    ssid = cookie["Cookie"].partition("=")[2]
    assert (series.status, series.body) == (200, worker.request("POST", SERIES, {**asked, "ssid": ssid}).body)
    with StreamListener(worker, {}, cookie) as listener:
        assert listener.until().json["message"]["TC"] == 1
        out = worker.request("POST", "/dashboard/logout", {}, JSON | cookie)
        assert out.status == 200 and 'ecounters=""' in out.headers["Set-Cookie"]
        assert listener.rest()[-1].name == "end"
    assert worker.request("GET", "/dashboard/session", headers=cookie).json["message"] is None
    assert worker.request("POST", "/dashboard/series", asked, JSON | cookie).status == 403
    assert worker.request("POST", "/dashboard/logout", {}, JSON | cookie).status == 200


def test_a_wrong_log_in_gets_no_session(worker: Worker) -> None:
    """Whatever is wrong with it."""
    for given, status, code in (
        ({"userId": "u1", "token": "wrong"}, 403, 1015),
        ({"userId": "u1"}, 400, 1002),
        ({"ssid": "x"}, 400, 1002),
        ({}, 400, 1002),
        ({"userId": "u1", "token": 7}, 400, 1001),
    ):
        reply = worker.request("POST", "/dashboard/login", given, JSON)
        assert (reply.status, reply.json["code"]) == (status, code)
        assert "Set-Cookie" not in reply.headers
    assert worker.request("POST", "/dashboard/series", {"interval": "1h"}, JSON).status == 403


def test_a_log_in_over_another_ends_the_other(deployment: Deployment, worker: Worker) -> None:
    """The cookie was the only way to it."""
    first = cookie_of(log_in(worker))
    with StreamListener(worker, {}, first) as listener:
        listener.until()
        second = cookie_of(log_in(worker, **first))
        assert listener.rest()[-1].json["code"] == 1015
    assert worker.request("GET", "/dashboard/session", headers=first).json["message"] is None
    assert worker.request("GET", "/dashboard/session", headers=second).json["message"]["userId"] == "u1"


def test_who_logs_in_where_others_guess_is_in(deployment: Deployment) -> None:
    """A user that the worker knows is let in, and so is the session that comes of it."""
    add_users(deployment, ["u1"])
    with Worker(deployment.with_settings(THROTTLE_PER_MIN=2)).wait_ready() as worker:
        assert log_in(worker).status == 200
        for at in range(3):
            worker.ask({"userId": f"nobody{at}", "token": "guess"})
        assert worker.ask({"userId": "nobody", "token": "guess"}).status == 429
        known = log_in(worker)
        assert known.status == 200
        assert worker.request("GET", "/dashboard/session", headers=cookie_of(known)).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://by.a.proxy"}, 200),
    ],
)
def test_no_other_site_can_log_anybody_in_or_out(worker: Worker, headers: dict[str, str], status: int) -> None:
    """A form's types are no JSON, and a browser says where a request comes from."""
    cookie = cookie_of(log_in(worker))
    for path, given in (
        ("/dashboard/series", {"interval": "1h"}),
        ("/dashboard/login", {"userId": "u1", "token": TOKEN}),
        ("/dashboard/logout", {}),
    ):
        reply = worker.request("POST", path, json.dumps(given).encode(), JSON | cookie | headers)
        assert reply.status == status, (path, reply)
    here = {"Origin": f"http://127.0.0.1:{worker.port}"}
    assert log_in(worker, **here).status == 200


def test_another_sites_preflight_is_not_granted(worker: Worker) -> None:
    """So a browser does not send it JSON from there."""
    assert worker.request("OPTIONS", "/dashboard/login", headers={"Origin": "http://evil.example"}).status == 405
