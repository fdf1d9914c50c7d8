"""Every documented error over HTTP, and requests that are no HTTP."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Any

import pytest
from redis import Redis

from streams.web.paths import SERIES_PATHS, STREAM_PATHS
from tests.support.accounts import TOKEN, open_session
from tests.support.replies import CREDENTIALS, assert_error, send_raw
from tests.support.stream_listener import StreamListener
from tests.support.workers import PATH, Deployment, Worker


@pytest.fixture
def worker_settings() -> dict[str, object]:
    """No throttle: the tests send many wrong credentials."""
    return {"THROTTLE_PER_MIN": 1_000}


def filtered(**condition: object) -> dict[str, Any]:
    """A request body whose second condition is this one."""
    return {**CREDENTIALS, "filter": [{"field": "date", "value": "today"}, condition]}


def test_every_documented_error_has_its_code_status_and_text(deployment: Deployment, worker: Worker) -> None:
    """Each error has its code, HTTP status, text and headers as documented."""
    rows: list[tuple[object, int, int, str]] = [
        (b"", 400, 1000, "Invalid parameter: the body is empty.*"),
        (b"{", 400, 1000, "Invalid parameter: the body is not JSON"),
        (b'{"a":' * 5_000, 400, 1000, "Invalid parameter: the body is not JSON"),
        (b'{"ssid":NaN}', 400, 1000, "Invalid parameter: the body is not JSON"),
        (b'"\xff"', 400, 1000, "Invalid parameter: the body is not JSON"),
        (b'{"ssid":"\\ud800"}', 400, 1000, "Invalid parameter: the body is not JSON"),
        (b"[]", 400, 1000, "Invalid parameter: the body is not a JSON object"),
        ({**CREDENTIALS, "colour": 1}, 400, 1000, 'Invalid parameter: unknown parameter "colour"'),
        ({**CREDENTIALS, "Field": ["UC", "XX"]}, 400, 1000, r'Invalid parameter: Field\[1\] "XX" .*'),
        (filtered(field="shoe", value="1"), 400, 1000, r'Invalid parameter: filter\[1\]\.field "shoe" .*'),
        (filtered(field="date", op="like", value="1"), 400, 1000, r'Invalid parameter: filter\[1\]\.op "like" .*'),
        (filtered(field="date", value="soon"), 400, 1000, r'Invalid parameter: filter\[1\]\.value "soon" .*'),
        (
            filtered(field="date", value="2001-01-01"),
            400,
            1000,
            r"Invalid parameter: filter\[1\]\.value: .* back to .*",
        ),
        (b" " * 65_537, 413, 1000, "Invalid parameter: the body .*"),
        ({"userId": 1, "token": "x"}, 400, 1001, "Invalid data type: userId must be a string"),
        ({"ssid": 1}, 400, 1001, "Invalid data type: ssid must be a string"),
        ({"userId": "u1", "token": []}, 400, 1001, "Invalid data type: token must be a string"),
        ({**CREDENTIALS, "filter": {}}, 400, 1001, "Invalid data type: filter must be an array"),
        ({**CREDENTIALS, "Field": "UC"}, 400, 1001, "Invalid data type: Field must be an array"),
        (filtered(field="date", value=1.5), 400, 1001, r"Invalid data type: filter\[1\]\.value .*"),
        ({}, 400, 1002, "UserId not provided.*"),
        ({"token": TOKEN}, 400, 1002, "UserId not provided.*"),
        ({"userId": "nobody", "token": TOKEN}, 403, 1015, "Permission denied"),
        ({"userId": "u1", "token": "wrong"}, 403, 1015, "Permission denied"),
        ({"userId": "u1"}, 403, 1015, "Permission denied"),
        ({"ssid": "wrong"}, 403, 1015, "Permission denied"),
        ({"ssid": open_session(deployment), "userId": "u2"}, 403, 1015, "Permission denied"),
        ({"ssid": open_session(deployment, agent="ann", logged_in=False)}, 403, 1043, "Agent is not logged in"),
    ]
    for body, status, code, message in rows:
        assert_error(worker.request("POST", PATH, body), status, code, message)
    assert worker.ask(CREDENTIALS).status == 200


def test_an_unforeseen_error_shows_an_id_and_is_logged_under_it(deployment: Deployment, worker: Worker) -> None:
    """The reply is 1032 with an id; the log has the cause under that id, and no token."""
    with Redis.from_url(deployment.redis_url) as redis:
        redis.hset("ecounters:user:u1", "zone", "No/Where")
        reply = worker.ask(CREDENTIALS)
        redis.hset("ecounters:user:u1", "zone", "UTC")
    assert_error(reply, 500, 1032, "Internal server error: error id [0-9a-f]{12}")
    log = worker.log.read_text()
    assert reply.json["message"].split()[-1] in log
    assert "ZoneInfo" in log or "IANA" in log
    assert TOKEN not in log


def test_without_redis_a_new_client_gets_1010_and_is_not_throttled(deployment: Deployment) -> None:
    """Without Redis the reply is 1010 with Retry-After, and does not count as a wrong token."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"redis://127.0.0.1:{closed.getsockname()[1]}/0"
    with Worker(replace(deployment, redis_url=url).with_settings(THROTTLE_PER_MIN=1)).wait_ready() as worker:
        for _ in range(3):
            reply = worker.ask(CREDENTIALS)
            assert_error(reply, 503, 1010, "Error in DB connect.*")
            assert reply.headers["Retry-After"] == "1"


def test_wrong_methods_get_405_unknown_paths_404_and_preflights_204(worker: Worker) -> None:
    """Methods, paths and preflights get the documented status, headers and form."""
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        reply = worker.request(method, PATH)
        assert_error(reply, 405, 1000, f"{method} is not allowed here: OPTIONS, POST")
        assert reply.headers["Allow"] == "OPTIONS, POST"
    head = worker.request("HEAD", PATH)
    assert (head.status, head.headers["Allow"], head.body) == (405, "OPTIONS, POST", b"")
    assert worker.request("HEAD", "/healthz").status == 200
    assert_error(worker.request("PUT", "/healthz"), 405, 1000, "PUT is not allowed here: GET, HEAD")
    options = worker.request("OPTIONS", "/healthz")
    assert (options.status, options.headers["Allow"]) == (405, "GET, HEAD")
    for path in ("/", "/nowhere", PATH + "//", "/Healthz", "/healthz/", "/%ff%00", "//", "/..%2f", "/" * 8_000):
        assert_error(worker.request("POST", path, b"{}"), 404, 1000, "there is nothing at this path")
    assert_error(worker.request("OPTIONS", "/nowhere"), 404, 1000, "there is nothing at this path")
    wanted = {
        "Origin": "https://wall.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    preflight = worker.request("OPTIONS", PATH, headers=wanted)
    assert (preflight.status, preflight.body) == (204, b"")
    allowed = preflight.headers["Access-Control-Allow-Headers"].lower().split(",")
    ours = {"content-encoding", "if-none-match", "last-event-id", "x-request-id"}
    assert {"x-requested-with", "content-type", *ours} == set(allowed)
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    given = worker.ask(CREDENTIALS, {"Origin": "https://wall.example", "Content-Type": "application/json"})
    assert (given.status, given.headers["Access-Control-Allow-Origin"]) == (200, "*")


def test_paths_of_the_api_are_served_in_any_case_and_with_a_slash(deployment: Deployment, worker: Worker) -> None:
    """As by the vendor's server: 200, with queries, in the absolute form too, and 405 and 204 as at the path itself."""
    expected = worker.ask(CREDENTIALS)
    for path in (PATH + "/", PATH.lower(), PATH.upper() + "/?", f"http://{worker.port}.example:1{PATH.upper()}"):
        reply = worker.request("POST", path, CREDENTIALS)
        assert (reply.status, reply.body) == (200, expected.body), path
        assert worker.request("OPTIONS", path).status == 204
        assert_error(worker.request("GET", path), 405, 1000, "GET is not allowed here: OPTIONS, POST")
    series = {**CREDENTIALS, "interval": "1h"}
    assert worker.request("POST", "/DeepCall" + SERIES_PATHS[0] + "/", series).status == 200
    query = {"ssid": open_session(deployment), "Field": "UC"}
    with StreamListener(worker, query, path=STREAM_PATHS[0].upper() + "/") as one:
        assert "UC" in one.until().json["message"]
    metrics = worker.request("GET", "/metrics").body.decode()
    assert f'route="{PATH}"' in metrics
    for spelled in (PATH.lower(), PATH.upper(), PATH + "/"):
        assert f'"{spelled}' not in metrics, "a label has the route, and not the path as somebody spells it"


def test_a_request_that_is_no_http_gets_a_400_in_the_documented_form(worker: Worker) -> None:
    """Malformed requests, the vendor's sample among them, get a 400 that says why, and log no error."""
    start = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n".encode()
    many = b"".join(b"X-%d: y\r\n" % at for at in range(300))
    rows = {
        start + b"Content-Length: \r\n\r\n": "Empty Content-Length",
        start + b"Content-Length: ten\r\n\r\n": "Invalid character in Content-Length",
        start + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}": ".*Content-Length.*",
        start + b"X: a\x00b\r\n\r\n": "Invalid header value char",
        start + b"X: " + b"y" * 9_000 + b"\r\n\r\n": "the address or a header is too long",
        start + many + b"\r\n": "Too many headers received",
        b"POST /" + b"y" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n": "the address or a header is too long",
        b"POST http://[::1/p HTTP/1.1\r\nHost: x\r\n\r\n": "the address is none",
        f"POST {PATH} HTTP/1.1\r\n\r\n".encode(): "Missing 'Host' header in request",
        b"SING / HTTP/1.1\r\nHost: x\r\n\r\n": "Invalid method encountered",
        b"\x16\x03\x01\x00\x05\x01\r\n\r\n": ".*",
        start + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n": "Invalid character in chunk size",
    }
    for sent, why in rows.items():
        assert_error(send_raw(worker.port, sent), 400, 1000, f"this is no valid HTTP: {why}")
    close = b"Connection: close\r\n"
    assert_error(
        send_raw(worker.port, start + close + b"Expect: tea\r\nContent-Length: 0\r\n\r\n"),
        417,
        1000,
        "Expectation Failed",
    )
    with socket.create_connection(("127.0.0.1", worker.port), timeout=5) as gone:
        gone.sendall(start + b"Content-Length: 10\r\n\r\n{")
    assert worker.ask(CREDENTIALS).status == 200
    assert "ERROR" not in worker.log.read_text()


def test_a_request_of_another_version_gets_a_response_of_http_1_0(worker: Worker) -> None:
    """And the connection is closed. The response was of HTTP/0.9 or HTTP/2.0, which clients take for no HTTP."""
    lines = (b"GET /healthz\r\n", b"GET /healthz?toRHTTP/1.1\r\nHost: h\r\n", b"GET /healthz HTTP/2.0\r\nHost: h\r\n")
    for line in lines:
        with socket.create_connection(("127.0.0.1", worker.port), timeout=20) as connection:
            connection.sendall(line + b"\r\n")
            reply = b"".join(iter(lambda: connection.recv(65_536), b""))
        assert reply.startswith(b"HTTP/1.0 200 "), reply[:200]
