"""What goes wrong over HTTP: every documented error, what is no HTTP, guessing; and answers that are compressed."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import brotli
import pytest
from aiohttp import web
from redis import Redis

from ecounters.errors import RequestRefused
from streams.access.sessions import Sessions
from streams.settings.table import Settings
from streams.web import responses
from streams.web import server as serving
from streams.web.paths import PEER_PATH
from tests.support.accounts import TOKEN, add_users, open_session
from tests.support.builders import ALL_FIELDS
from tests.support.published_calls import RecentCall, publish_values, wait_for_counter
from tests.support.replies import assert_error
from tests.support.workers import PATH, Deployment, Reply, Worker

GOOD = {"userId": "u1", "token": TOKEN}


@pytest.fixture
def worker(deployment: Deployment) -> Iterator[Worker]:
    """A worker that is ready, and knows the user u1. Guessing is no matter here."""
    add_users(deployment, ["u1"])
    with Worker(deployment.with_settings(THROTTLE_PER_MIN=1_000)) as one:
        yield one.wait_ready()


def filtered(**condition: object) -> dict[str, Any]:
    """A request whose second condition is this one."""
    return {**GOOD, "filter": [{"field": "date", "value": "today"}, condition]}


def test_every_row_of_the_table_of_errors(deployment: Deployment, worker: Worker) -> None:
    """Code, HTTP status and place, in the documented form, with the documented headers."""
    rows: list[tuple[object, int, int, str]] = [
        (b"", 400, 1000, "Invalid parameter: the body is empty.*"),
        (b"{", 400, 1000, "Invalid parameter: the body is not JSON"),
        (b'{"a":' * 5_000, 400, 1000, "Invalid parameter: the body is not JSON"),
        (b'{"ssid":NaN}', 400, 1000, "Invalid parameter: the body is not JSON"),
        (b'"\xff"', 400, 1000, "Invalid parameter: the body is not JSON"),
        (b'{"ssid":"\\ud800"}', 400, 1000, "Invalid parameter: the body is not JSON"),
        (b"[]", 400, 1000, "Invalid parameter: the body is not a JSON object"),
        ({**GOOD, "colour": 1}, 400, 1000, 'Invalid parameter: unknown parameter "colour"'),
        ({**GOOD, "Field": ["UC", "XX"]}, 400, 1000, r'Invalid parameter: Field\[1\] "XX" .*'),
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
        ({**GOOD, "filter": {}}, 400, 1001, "Invalid data type: filter must be an array"),
        ({**GOOD, "Field": "UC"}, 400, 1001, "Invalid data type: Field must be an array"),
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
    assert worker.ask(GOOD).status == 200


def test_what_nobody_foresaw_is_told_by_an_id_alone(deployment: Deployment, worker: Worker) -> None:
    """1032; the cause is in the log, under the id that the answer gives."""
    with Redis.from_url(deployment.redis_url) as redis:
        redis.hset("ecounters:user:u1", "zone", "No/Where")
        reply = worker.ask(GOOD)
        redis.hset("ecounters:user:u1", "zone", "UTC")
    assert_error(reply, 500, 1032, "Internal server error: error id [0-9a-f]{12}")
    log = worker.log.read_text()
    assert reply.json["message"].split()[-1] in log
    assert "ZoneInfo" in log or "IANA" in log
    assert TOKEN not in log


def test_without_redis_nobody_new_is_let_in(deployment: Deployment) -> None:
    """1010 with Retry-After, and it is not counted as a wrong token."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"redis://127.0.0.1:{closed.getsockname()[1]}/0"
    with Worker(replace(deployment, redis_url=url).with_settings(THROTTLE_PER_MIN=1)).wait_ready() as worker:
        for _ in range(3):
            reply = worker.ask(GOOD)
            assert_error(reply, 503, 1010, "Error in DB connect.*")
            assert reply.headers["Retry-After"] == "1"


def test_methods_paths_and_preflights(worker: Worker) -> None:
    """405 with Allow, 404 in the same form; what a browser asks before it sends JSON from another site."""
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
    for path in ("/", "/nowhere", PATH + "/", "/%ff%00", "//", "/..%2f"):
        assert_error(worker.request("POST", path, b"{}"), 404, 1000, "there is nothing at this path")
    assert_error(worker.request("OPTIONS", "/nowhere"), 404, 1000, "there is nothing at this path")
    wanted = {
        "Origin": "https://wall.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    preflight = worker.request("OPTIONS", PATH, headers=wanted)
    assert (preflight.status, preflight.body) == (204, b"")
    assert "content-type" in preflight.headers["Access-Control-Allow-Headers"]
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    given = worker.ask(GOOD, {"Origin": "https://wall.example", "Content-Type": "application/json"})
    assert (given.status, given.headers["Access-Control-Allow-Origin"]) == (200, "*")


def raw(port: int, *parts: bytes) -> Reply:
    """What is answered to these bytes, up to the end of the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
        got = b""
        while more := connection.recv(65_536):
            got += more
    head, _, body = got.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return Reply(int(first.split()[1]), dict(line.split(": ", 1) for line in lines), body)


def test_what_is_no_http_gets_a_clean_400(worker: Worker) -> None:
    """In the documented form; the first as one of the vendor's samples sends it. The log stays quiet."""
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
        assert_error(raw(worker.port, sent), 400, 1000, f"this is no valid HTTP: {why}")
    close = b"Connection: close\r\n"
    assert_error(
        raw(worker.port, start + close + b"Expect: tea\r\nContent-Length: 0\r\n\r\n"), 417, 1000, "Expectation Failed"
    )
    with socket.create_connection(("127.0.0.1", worker.port), timeout=5) as gone:
        gone.sendall(start + b"Content-Length: 10\r\n\r\n{")
    assert worker.ask(GOOD).status == 200
    assert "ERROR" not in worker.log.read_text()


def test_a_body_is_too_large_however_it_comes(worker: Worker) -> None:
    """64 KiB are taken, a byte more is not: not in one piece, and not in chunks."""
    body = json.dumps(GOOD).encode()
    assert worker.request("POST", PATH, body + b" " * (65_536 - len(body))).status == 200
    large = body + b" " * (65_537 - len(body))
    too_large = "Invalid parameter: the body .*"
    assert_error(worker.request("POST", PATH, large), 413, 1000, too_large)
    chunk = b"%x\r\n%b\r\n" % (1_000, b" " * 1_000)
    start = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    assert_error(raw(worker.port, start, chunk * 70, b"0\r\n\r\n"), 413, 1000, too_large)


def bomb() -> bytes:
    """1.6 KB of br that unpack to a gigabyte of blanks."""
    packer, blanks = brotli.Compressor(quality=5), b" " * (1 << 24)
    first, again = (packer.process(blanks) + packer.flush() for _ in range(2))
    return b"".join([first, again * 60, packer.finish()])


def test_a_coded_body_is_refused_unread_on_any_path(worker: Worker) -> None:
    """415, though it is right, broken or a bomb, and before it comes; a body that is as it is goes on to be taken."""
    body = json.dumps(GOOD).encode()
    told = "Invalid parameter: Content-Encoding {} is not taken: send the body as it is"
    ways = [("POST", PATH), ("POST", PEER_PATH), ("GET", PATH), ("GET", "/healthz"), ("PUT", "/nowhere")]
    packed = bomb()
    assert len(packed) < 2_000
    for method, path in ways:
        refused = worker.request(method, path, packed, {"Content-Encoding": "br"})
        assert_error(refused, 415, 1000, told.format('"br"'))
        assert worker.ask(GOOD).status == 200
    for given, name in {
        "gzip": '"gzip"',
        "GZIP": '"GZIP"',
        "identity, deflate": '"deflate"',
        "zstd": '"zstd"',
        "\xff": r'"\?"',
        "x" * 100: '"x{56}...',
    }.items():
        coded = gzip.compress(body) if "gzip" in given.lower() else body
        assert_error(worker.request("POST", PATH, coded, {"Content-Encoding": given}), 415, 1000, told.format(name))
    with socket.create_connection(("127.0.0.1", worker.port), timeout=5) as waiting:
        waiting.sendall(
            f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Encoding: br\r\nContent-Length: 9\r\n\r\n".encode()
        )
        assert waiting.recv(65_536).startswith(b"HTTP/1.1 415 ")
    for plain in ({}, {"Content-Encoding": ""}, {"Content-Encoding": "identity"}, {"Content-Encoding": "Identity"}):
        assert worker.request("POST", PATH, body, plain).status == 200
    assert "ERROR" not in worker.log.read_text()


async def _serving(head: bytes) -> bytes:
    """What our server sends to a client who sends so much and no more, over a real connection."""

    async def length(request: web.Request) -> web.Response:
        try:
            return web.Response(text=str(len(await responses.body_of(request))))
        except RequestRefused as refused:
            return responses.error_response(refused)

    app = web.Application()
    app.router.add_post("/", length)
    runner = serving.Runner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        reader, writer = await asyncio.open_connection(*runner.addresses[0])
        writer.write(head)
        async with asyncio.timeout(10):
            got = await reader.read()
        writer.close()
        return got
    finally:
        await runner.cleanup()


def test_who_stops_in_the_middle_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """408 for half a body; a connection that never asks anything is closed."""
    monkeypatch.setattr(responses, "BODY_LIMIT_S", 0.2)
    monkeypatch.setattr(serving, "LINGER_LIMIT_S", 0.2)
    monkeypatch.setattr(serving, "IDLE_LIMIT_S", 0.5)
    half = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf"
    got = asyncio.run(_serving(half))
    assert got.startswith(b"HTTP/1.1 408 ")
    assert b'"message":"Invalid parameter: the body did not come within 0.2 s","code":1000}' in got
    assert asyncio.run(_serving(half[:20])) == b""


def test_guessing_is_slowed_and_locks_nobody_out(deployment: Deployment) -> None:
    """After so many wrong ones 429, for a new right one too; whoever was in before goes on, and so do sessions."""
    add_users(deployment, ["u1", "u2"])
    with Worker(deployment.with_settings(THROTTLE_PER_MIN=3, PROXIES=1)).wait_ready() as worker:

        def ask(body: dict[str, str], address: str) -> Reply:
            # The client's own word for where it comes from is the first; the proxy's is the last.
            return worker.ask(body, {"X-Forwarded-For": f"10.9.9.{ask.turn}, {address}"})  # type: ignore[attr-defined]

        ask.turn = 0  # type: ignore[attr-defined]
        assert ask(GOOD, "10.0.0.1").status == 200
        for _ in range(3):
            ask.turn += 1  # type: ignore[attr-defined]
            assert_error(ask({"userId": "u1", "token": "guess"}, "10.0.0.2"), 403, 1015, "Permission denied")
        for address in ("10.0.0.2", "10.0.0.3"):
            refused = ask({"userId": "u1", "token": "guess"}, address)
            assert_error(refused, 429, 1015, r"Permission denied: wrong too often, try again in \d+ s")
            assert 50 <= int(refused.headers["Retry-After"]) <= 60
        assert ask({"userId": "u2", "token": TOKEN}, "10.0.0.2").status == 429
        assert ask({"userId": "u2", "token": TOKEN}, "10.0.0.3").status == 200
        assert ask(GOOD, "10.0.0.2").status == 200
        assert ask({"ssid": open_session(deployment)}, "10.0.0.3").status == 200
        assert ask({"ssid": open_session(deployment)}, "10.0.0.2").status == 429
        for at in range(3):  # around the proxy
            assert worker.ask({"userId": f"nobody{at}", "token": "guess"}).status == 403
        assert worker.ask({"userId": "nobody", "token": "guess"}, {"X-Forwarded-For": "127.0.0.1"}).status == 429


def test_a_large_answer_is_compressed_where_asked_for(deployment: Deployment, worker: Worker) -> None:
    """The same bytes and ETag; a small one goes out as it always did."""
    calls = [
        RecentCall(f"c{at}", "u1").started(0, "IBD", did=f"1555{at:04}").ringing(1).answered(2) for at in range(200)
    ]
    publish_values(deployment, "u1", *(value for call in calls for value in call.values()))
    body = {**GOOD, "Field": list(ALL_FIELDS)}
    plain = wait_for_counter(worker, "u1", "CNC", 200)
    plain = worker.ask(body)
    assert len(plain.body) > 4_000
    assert (plain.headers["Vary"], plain.headers.get("Content-Encoding")) == ("Origin, Accept-Encoding", None)
    unpack = {"gzip": gzip.decompress, "br": brotli.decompress}
    for asked, coding in (("gzip", "gzip"), ("br", "br"), ("gzip, deflate, br", "br"), ("br;q=0, *;q=0.5", "gzip")):
        for _ in range(2):  # the second time from what is kept
            packed = worker.ask(body, {"Accept-Encoding": asked})
            assert (packed.status, packed.headers["Content-Encoding"]) == (200, coding)
            assert unpack[coding](packed.body) == plain.body
            assert len(packed.body) < len(plain.body) / 2
            assert {**packed.headers, "Date": ""}.keys() == {**plain.headers, "Content-Encoding": coding}.keys()
            assert (packed.headers["ETag"], packed.headers["Vary"]) == (plain.headers["ETag"], plain.headers["Vary"])
    again = worker.ask(body, {"Accept-Encoding": "br", "If-None-Match": plain.headers["ETag"]})
    assert (again.status, again.body, again.headers["Vary"]) == (304, b"", "Origin, Accept-Encoding")
    add_users(deployment, ["u2"])
    small = worker.ask({"userId": "u2", "token": TOKEN}, {"Accept-Encoding": "br"})
    assert (small.status, small.headers["Vary"], small.headers.get("Content-Encoding")) == (200, "Origin", None)


def test_tokens_are_compared_in_constant_time(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """By compare_digest, over hashes of equal length, for a user that is not there too; and no token is kept."""
    compared: list[tuple[int, int]] = []

    def compare(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return one == other

    async def ask() -> None:
        sessions = Sessions.connect(deployment.redis_url, Settings().session_cache_s)
        try:
            for user, token in (("u1", "a"), ("u1", "b" * 400), ("nobody", "c")):
                with pytest.raises(RequestRefused):
                    await sessions.authorize(_Given(user, token))
        finally:
            await sessions.close()

    add_users(deployment, ["u1"])
    monkeypatch.setattr("streams.access.store.hmac.compare_digest", compare)
    asyncio.run(ask())
    assert compared == [(64, 64), (64, 64), (64, 0)]
    with Redis.from_url(deployment.redis_url) as redis:
        kept = repr([redis.hgetall(key) for key in redis.keys("ecounters:*") if redis.type(key) == b"hash"])
    assert TOKEN not in kept


class _Given:
    """Credentials without a session."""

    ssid = None

    def __init__(self, user_id: str, token: str) -> None:
        self.user_id = user_id
        self.token = token
