"""Limits of requests: large, compressed and unfinished ones."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import zlib
from contextlib import suppress

import brotli
import pytest
from aiohttp import web

from ecounters.errors import RequestRefused
from streams.web import responses
from streams.web import server as serving
from streams.web.paths import PEER_PATH
from tests.support.replies import CREDENTIALS, assert_error, send_raw
from tests.support.request_attacks import bomb
from tests.support.workers import PATH, Worker


@pytest.fixture
def worker_settings() -> dict[str, object]:
    """No throttle: the tests send many wrong credentials."""
    return {"THROTTLE_PER_MIN": 1_000}


def test_a_body_above_64_kib_gets_413_whole_or_in_chunks(worker: Worker) -> None:
    """65,536 bytes are accepted, one more is refused, with Content-Length and in chunks."""
    body = json.dumps(CREDENTIALS).encode()
    assert worker.request("POST", PATH, body + b" " * (65_536 - len(body))).status == 200
    large = body + b" " * (65_537 - len(body))
    too_large = "Invalid parameter: the body .*"
    assert_error(worker.request("POST", PATH, large), 413, 1000, too_large)
    chunk = b"%x\r\n%b\r\n" % (1_000, b" " * 1_000)
    start = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    assert_error(send_raw(worker.port, start, chunk * 70, b"0\r\n\r\n"), 413, 1000, too_large)


def test_a_compressed_body_is_unpacked_where_a_body_is_wanted(worker: Worker) -> None:
    """gzip, deflate and br; damaged ones get 400, other codings 415 before the body has come; no other path looks."""
    body = json.dumps({**CREDENTIALS, "Field": ["UC"] * 900}).encode()
    expected = worker.request("POST", PATH, body)
    assert expected.status == 200
    for coding, packed in {
        "gzip": gzip.compress(body),
        "deflate": zlib.compress(body),
        "BR": brotli.compress(body),
    }.items():
        given = {"Content-Encoding": coding}
        assert len(packed) < len(body) / 5
        assert worker.request("POST", PATH, packed, given).body == expected.body
        large = {"gzip": gzip.compress, "deflate": zlib.compress, "BR": brotli.compress}[coding](body + b" " * 65_536)
        why = "Invalid parameter: the body is larger than 64 KiB when it is unpacked"
        assert_error(worker.request("POST", PATH, large, given), 413, 1000, why)
        why = "Invalid parameter: the body is not coded as its Content-Encoding says"
        for broken in (packed[:-1], packed + b"x", body):
            assert_error(worker.request("POST", PATH, broken, given), 400, 1000, why)
        logged_in = worker.request("POST", "/dashboard/login", packed, given | {"Content-Type": "application/json"})
        assert logged_in.status == 200
    with socket.create_connection(("127.0.0.1", worker.port), timeout=5) as waiting:
        waiting.sendall(
            f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Encoding: zstd\r\nContent-Length: 9\r\n\r\n".encode()
        )
        assert waiting.recv(65_536).startswith(b"HTTP/1.1 415 ")
    for method, path, status in (("GET", "/healthz", 200), ("GET", PATH, 405), ("PUT", "/nowhere", 404)):
        assert worker.request(method, path, bomb(), {"Content-Encoding": "br"}).status == status
    assert worker.request("POST", PEER_PATH, bomb(), {"Content-Encoding": "br"}).status == 403
    assert "ERROR" not in worker.log.read_text()


async def _serving(head: bytes) -> bytes:
    """The bytes that our server sends to a client that sends ``head`` and nothing more."""

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


def test_an_unfinished_request_gets_408_and_a_silent_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a body gets 408 after the limit, and a connection that sends no request is closed."""
    monkeypatch.setattr(responses, "BODY_LIMIT_S", 0.2)
    monkeypatch.setattr(serving, "LINGER_LIMIT_S", 0.2)
    monkeypatch.setattr(serving, "IDLE_LIMIT_S", 0.5)
    half = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf"
    got = asyncio.run(_serving(half))
    assert got.startswith(b"HTTP/1.1 408 ")
    assert b'"message":"Invalid parameter: the body did not come within 0.2 s","code":1000}' in got
    assert asyncio.run(_serving(half[:20])) == b""


async def _unread(size: int, read_after_s: float) -> tuple[int, int]:
    """(bytes that a client got, connections that the server has then) of a response of that size.

    The client reads nothing for so long. Then it reads until the connection is closed, or for a moment.
    """

    async def blanks(request: web.Request) -> web.Response:
        return web.Response(body=b" " * size)

    app = web.Application()
    app.router.add_get("/", blanks)
    runner = serving.Runner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        reader, writer = await asyncio.open_connection(*runner.addresses[0], limit=1)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(read_after_s)
        got = 0
        with suppress(TimeoutError, ConnectionError):
            while got < size:
                async with asyncio.timeout(5):
                    piece = await reader.read(1 << 20)
                got += len(piece)
                if not piece:
                    break
        assert runner.server is not None
        connections = len(runner.server.connections)
        writer.close()
        return got, connections
    finally:
        await runner.cleanup()


def test_a_client_that_does_not_read_its_reply_loses_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a time that grows with the reply; one that reads in time gets all of it."""
    size = 50_000_000
    monkeypatch.setattr(serving, "SEND_LIMIT_S", 0.2)
    monkeypatch.setattr(serving, "SLOWEST_BYTES_PER_S", size * 10)
    got, connections = asyncio.run(_unread(size, 1.0))
    assert (got < size, connections) == (True, 0)
    monkeypatch.setattr(serving, "SLOWEST_BYTES_PER_S", size // 30)
    got, connections = asyncio.run(_unread(size, 1.0))
    assert (got >= size, connections) == (True, 1)
