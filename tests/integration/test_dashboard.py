"""The dashboard's routes over HTTP: page, files, log-in and log-out."""

from __future__ import annotations

import gzip
import json
import re
from zoneinfo import ZoneInfo

import pytest

from streams.web.paths import SERIES_PATHS, STREAM_PATHS
from tests.support.accounts import TOKEN, add_users
from tests.support.published_calls import RecentCall, publish_values, wait_for_counter
from tests.support.stream_listener import StreamListener
from tests.support.workers import Deployment, Reply, Worker

JSON = {"Content-Type": "application/json"}
SERIES = SERIES_PATHS[0]


def log_in(worker: Worker, token: str = TOKEN, **headers: str) -> Reply:
    """The reply to a log-in."""
    return worker.request("POST", "/dashboard/login", {"userId": "u1", "token": token}, JSON | headers)


def cookie_of(reply: Reply) -> dict[str, str]:
    """The Cookie header that sends the cookie of a reply back."""
    return {"Cookie": reply.headers["Set-Cookie"].split(";")[0]}


def test_the_page_and_its_files_have_a_strict_policy(worker: Worker) -> None:
    """The page has a strict Content-Security-Policy; its files are cached for ever, and no other file is served."""
    page = worker.request("GET", "/dashboard")
    assert page.status == 200 and page.headers["Cache-Control"] == "no-cache"
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert (page.headers["X-Content-Type-Options"], page.headers["Referrer-Policy"]) == ("nosniff", "no-referrer")
    assert worker.request("GET", "/dashboard", headers={"If-None-Match": page.headers["ETag"]}).status == 304
    moved = worker.request("GET", "/dashboard/")
    assert (moved.status, moved.headers["Location"]) == (308, "../dashboard")
    found = {f"/{path}" for path in re.findall(r'"(dashboard/files/[^"]+)"', page.body.decode())}
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


def test_a_log_in_sets_a_cookie_that_push_and_series_accept(deployment: Deployment, worker: Worker) -> None:
    """The log-in sets an HttpOnly cookie; push and series accept it until the log-out."""
    publish_values(deployment, "u1", *RecentCall("c1", "u1").started(0, "IBD").values())
    wait_for_counter(worker, "u1", "TC", 1)
    reply = log_in(worker)
    assert (reply.status, reply.json["message"]["userId"]) == (200, "u1")
    assert ZoneInfo(reply.json["message"]["zone"]).key == reply.json["message"]["zone"]
    parts = reply.headers["Set-Cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=2592000"} <= set(parts) and "Secure" not in parts
    assert "Secure" not in log_in(worker, **{"X-Forwarded-Proto": "https"}).headers["Set-Cookie"], "no proxy is set"
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


def test_behind_a_proxy_with_tls_only_the_host_cookie_is_taken(deployment: Deployment) -> None:
    """``__Host-ecounters``; not ``ecounters``, which other hosts of the domain can set, and neither of them twice."""
    add_users(deployment, ["u1"])
    with Worker(deployment.with_settings(PROXIES=1)).wait_ready() as worker:
        https = {"X-Forwarded-Proto": "https"}
        reply = log_in(worker, **https)
        assert reply.headers["Set-Cookie"].startswith("__Host-ecounters=")
        assert {"Secure", "Path=/"} <= set(reply.headers["Set-Cookie"].split("; "))
        assert "Domain" not in reply.headers["Set-Cookie"]
        pair = cookie_of(reply)["Cookie"]
        plain = pair.removeprefix("__Host-")

        def session(cookies: str, **headers: str) -> Reply:
            return worker.request("GET", "/dashboard/session", headers={"Cookie": cookies} | headers)

        assert session(pair, **https).json["message"]["userId"] == "u1"
        assert session(plain, **https).json["message"] is None
        assert session(pair).json["message"] is None, "a connection without TLS has the other name"
        assert session(f"{plain}; {pair}", **https).json["message"]["userId"] == "u1"
        twice = {"Cookie": f"{pair}; __Host-ecounters=other"} | https
        for method, path in (
            ("GET", "/dashboard/session"),
            ("GET", STREAM_PATHS[0]),
            ("POST", "/dashboard/series"),
            ("POST", "/dashboard/login"),
            ("POST", "/dashboard/logout"),
        ):
            body = {"userId": "u1", "token": TOKEN} if path.endswith("login") else {"interval": "1h"}
            refused = worker.request(method, path, body if method == "POST" else None, JSON | twice)
            assert refused.status == 400 and "there twice" in refused.json["message"], path
            assert "Set-Cookie" not in refused.headers


def test_a_wrong_log_in_opens_no_session(worker: Worker) -> None:
    """Whatever is wrong with a log-in, the reply is an error and sets no cookie."""
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
    assert worker.request("GET", "/dashboard/session", headers={"Cookie": "ecounters=\xff"}).json["message"] is None


def test_a_second_log_in_ends_the_first_session(deployment: Deployment, worker: Worker) -> None:
    """A log-in with the cookie of another session ends that session, which nobody could end any more."""
    first = cookie_of(log_in(worker))
    with StreamListener(worker, {}, first) as listener:
        listener.until()
        second = cookie_of(log_in(worker, **first))
        assert listener.rest()[-1].json["code"] == 1015
    assert worker.request("GET", "/dashboard/session", headers=first).json["message"] is None
    assert worker.request("GET", "/dashboard/session", headers=second).json["message"]["userId"] == "u1"


def test_a_right_log_in_works_while_others_guess(deployment: Deployment) -> None:
    """A user that the worker knows logs in from an address that is throttled, and the new session works."""
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
def test_another_site_can_log_nobody_in_or_out(worker: Worker, headers: dict[str, str], status: int) -> None:
    """Form types and requests that the browser marks as cross-site are refused."""
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


def test_the_preflight_of_another_site_is_not_granted(worker: Worker) -> None:
    """The reply to a preflight of another site grants nothing, so a browser sends no JSON from there."""
    assert worker.request("OPTIONS", "/dashboard/login", headers={"Origin": "http://evil.example"}).status == 405
