"""Limits of requests: large, compressed and unfinished ones."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket

import brotli
import pytest
from aiohttp import web

from ecounters.errors import RequestRefused
from streams.web import responses
from streams.web import server as serving
from streams.web.paths import PEER_PATH
from tests.support.replies import CREDENTIALS, assert_error, send_raw
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


def bomb() -> bytes:
    """1.6 KB of br that unpack to a gigabyte of blanks."""
    packer, blanks = brotli.Compressor(quality=5), b" " * (1 << 24)
    first, again = (packer.process(blanks) + packer.flush() for _ in range(2))
    return b"".join([first, again * 60, packer.finish()])


def test_a_compressed_body_gets_415_unread_on_any_path(worker: Worker) -> None:
    """A body with a Content-Encoding is refused before it is read, whether it is right, broken or a bomb."""
    body = json.dumps(CREDENTIALS).encode()
    told = "Invalid parameter: Content-Encoding {} is not taken: send the body as it is"
    ways = [("POST", PATH), ("POST", PEER_PATH), ("GET", PATH), ("GET", "/healthz"), ("PUT", "/nowhere")]
    packed = bomb()
    assert len(packed) < 2_000
    for method, path in ways:
        refused = worker.request(method, path, packed, {"Content-Encoding": "br"})
        assert_error(refused, 415, 1000, told.format('"br"'))
        assert worker.ask(CREDENTIALS).status == 200
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
