"""What a reply's signature covers. A real client reads what a real server sends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from streams.web.signing import (
    REPLY_CONTENT,
    REPLY_SIGNATURE,
    is_signed_request,
    new_nonce,
    request_signature,
    sign_reply,
    signed_body,
)

SECRET, ASKED, BODY = "the secret", "the request's signature", b'{"message":{}}'
Change = Callable[[web.Response], None]


def received(change: Change, body: bytes | None = BODY, *, secret: str = SECRET, asked: str = ASKED) -> bytes | None:
    """What ``signed_body`` makes of a reply that ``change`` has changed after it was signed."""

    async def reply(request: web.Request) -> web.Response:
        headers = {"ETag": 'W/"1"', "X-Ecounters-Lag-Ms": "7", "X-Ecounters-Complete": "true"}
        response = web.Response(body=body, headers=headers)
        await sign_reply(SECRET, ASKED, response)
        change(response)
        return response

    async def ask() -> bytes | None:
        app = web.Application()
        app.router.add_get("/", reply)
        async with (
            TestServer(app) as server,
            aiohttp.ClientSession() as session,
            session.get(server.make_url("/")) as response,
        ):
            return await signed_body(secret, asked, response)

    return asyncio.run(ask())


def set_header(name: str, value: str) -> Change:
    """Sets a header; an empty value removes it."""

    def change(response: web.Response) -> None:
        response.headers.popall(name, None)
        if value:
            response.headers[name] = value

    return change


def set_body(body: bytes) -> Change:
    """Replaces the body."""
    return lambda response: setattr(response, "body", body)


@pytest.mark.parametrize("body", [None, b"", BODY, b"x" * 3_000_000])
def test_a_reply_that_nobody_changed_is_read(body: bytes | None) -> None:
    """Without a body, with a small one, with one that is hashed in a thread; a header that is not signed may come."""
    assert received(set_header("Vary", "Origin"), body) == (body or b"")


@pytest.mark.parametrize(
    "change",
    [
        lambda response: response.set_status(403),
        set_header("ETag", 'W/"2"'),
        set_header("X-Ecounters-Lag-Ms", "8"),
        set_header("X-Ecounters-Lag-Ms", ""),
        set_header("X-Ecounters-More", "1"),
        lambda response: response.headers.add("X-Ecounters-Complete", "true"),
        set_header(REPLY_SIGNATURE, ""),
        set_header(REPLY_SIGNATURE, "\u00e9"),
        set_header(REPLY_CONTENT, ""),
        set_header(REPLY_CONTENT, "9999999999 " + "0" * 64),
        set_body(BODY[:-1]),
        set_body(BODY + b" "),
        set_body(BODY.upper()),
        set_body(b"x" * 3_000_000),
    ],
)
def test_a_reply_that_was_changed_is_none(change: Change) -> None:
    """The signature covers status, headers of a reply, and body."""
    assert received(change) is None


def test_a_reply_to_another_request_or_with_another_secret_is_none() -> None:
    """Nor is a request's signature one of a reply, or the other way round."""
    unchanged = set_header("Vary", "Origin")
    assert received(unchanged, secret="another") is None
    assert received(unchanged, asked=request_signature(SECRET, b"another")) is None


def test_a_request_is_signed_by_secret_and_body() -> None:
    """HMAC-SHA-256 in hex; without a secret nothing is signed; requests differ by their nonce."""
    assert is_signed_request("secret", b"a", request_signature("secret", b"a"))
    for secret, body, signature in (
        ("other", b"a", request_signature("secret", b"a")),
        ("secret", b"b", request_signature("secret", b"a")),
        ("secret", b"a", ""),
        ("secret", b"a", "\udcff"),
        ("", b"a", request_signature("", b"a")),
    ):
        assert not is_signed_request(secret, body, signature)
    assert len(request_signature("secret", b"a")) == 64
    assert new_nonce() != new_nonce()
