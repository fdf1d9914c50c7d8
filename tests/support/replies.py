"""The documented form of HTTP replies: headers, errors, and what a reply must not show."""

from __future__ import annotations

import re
import socket
from typing import Final

from tests.support.accounts import TOKEN
from tests.support.workers import Reply

DOCUMENTED_HEADERS: Final = {
    "Content-Type": "application/json; charset=utf-8",
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET, OPTIONS, PATCH, DELETE",
    "Access-Control-Allow-Headers": "X-Requested-With,content-type",
    "Access-Control-Allow-Credentials": "true",
    "Access-Control-Expose-Headers": "ETag, X-Ecounters-As-Of, X-Ecounters-Lag-Ms, X-Ecounters-Complete, "
    "X-Ecounters-Suspected, X-Ecounters-Range, X-Ecounters-Position, X-Request-Id",
    "Cache-Control": "no-store",
    "Vary": "Origin",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
}
CREDENTIALS: Final = {"userId": "u1", "token": TOKEN}
INTERNALS: Final = re.compile(
    rb'Traceback|File "|\.py|streams|aiohttp|Error\(|Exception|0x[0-9a-f]{6}|/tmp|/home', re.IGNORECASE
)
"""What a reply must not show: traces, files, modules, addresses in memory."""


def send_raw(port: int, *parts: bytes) -> Reply:
    """Send bytes over a new connection and return the reply; reads until the worker closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
        got = b""
        while more := connection.recv(65_536):
            got += more
    head, _, body = got.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return Reply(int(first.split()[1]), dict(line.split(": ", 1) for line in lines), body)


def assert_error(reply: Reply, status: int, code: int, message: str) -> None:
    """Assert that a reply is an error in the documented form. ``message``: a pattern of the whole text."""
    assert (reply.status, reply.json["status"], reply.json["code"]) == (status, "error", code)
    assert list(reply.json) == ["status", "message", "code"]
    assert re.fullmatch(message, reply.json["message"]), reply.json
    assert {name: reply.headers.get(name) for name in DOCUMENTED_HEADERS} == DOCUMENTED_HEADERS
    assert not INTERNALS.search(reply.body), reply.body
    assert not INTERNALS.search(repr(reply.headers).encode()), reply.headers
