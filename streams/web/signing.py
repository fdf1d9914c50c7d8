"""Signatures of what workers send one another: requests, and the replies to them.

    POST /internal/answer                        200
    X-Ecounters-Signature: <of the body>         Ecounters-Content: <length of the body> <its SHA-256>
                                                 Ecounters-Signature: <of that, the status, some headers, the request>

All are HMAC-SHA-256 in hex, by the secret that all workers have. The signature of a reply is checked before its body is
read, and says how long the body is. So a stranger at the address of a worker can send neither counters nor a body
without end. The signature covers the request's signature, so no reply fits another request.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from typing import Final

import aiohttp
from aiohttp import hdrs, web

REQUEST_SIGNATURE: Final = "X-Ecounters-Signature"
"""The header with a request's signature."""
REPLY_SIGNATURE: Final = "Ecounters-Signature"
"""The header with a reply's signature. This name and the next one do not begin with REPLY_HEADERS: a worker of release
0.2.0, which knows neither, would pass them on to its clients."""
REPLY_CONTENT: Final = "Ecounters-Content"
"""The header with the length of a reply's body in bytes, and the SHA-256 of the body in hex."""
REPLY_HEADERS: Final = "X-Ecounters-"
"""The prefix of the names of a reply's other headers that are signed, all except ETag."""

NONCE_BYTES: Final = 8
THREAD_BYTES_MIN: Final = 1_000_000
"""Longer bodies are hashed in a thread: that takes some ms, in which other requests are served."""

_CONTENT: Final = re.compile(r"(\d{1,12}) ([0-9a-f]{64})")


def new_nonce() -> str:
    """A random text that makes a request unlike all others, so that its signature is too."""
    return secrets.token_hex(NONCE_BYTES)


def request_signature(secret: str, content: bytes) -> str:
    """The signature of a request with this body."""
    return hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()


def is_signed_request(secret: str, content: bytes, signature: str) -> bool:
    """Whether a request with this body has the right signature. False without a secret."""
    return bool(secret) and _equal(request_signature(secret, content), signature)


async def sign_reply(secret: str, asked: str, response: web.Response) -> None:
    """Add the two headers to a reply that is complete but for them. ``asked``: the signature of the request."""
    body = response.body
    assert body is None or isinstance(body, bytes)
    response.headers[REPLY_CONTENT] = await _content_line(body or b"")
    response.headers[REPLY_SIGNATURE] = _reply_signature(secret, asked, response.status, response.headers)


async def signed_body(secret: str, asked: str, response: aiohttp.ClientResponse) -> bytes | None:
    """The body of a reply to the request with the signature ``asked``; None unless the reply is as it was signed.

    Reads no more than the signed length, and nothing without a signature. Raises aiohttp.ClientError and OSError.
    """
    line = _CONTENT.fullmatch(response.headers.get(REPLY_CONTENT, ""))
    expected = _reply_signature(secret, asked, response.status, response.headers)
    if line is None or not _equal(expected, response.headers.get(REPLY_SIGNATURE, "")):
        return None
    body, length = bytearray(), int(line[1])
    async for part in response.content.iter_any():
        body += part
        if len(body) > length:
            return None
    return bytes(body) if await _content_line(bytes(body)) == line[0] else None


def _reply_signature(secret: str, asked: str, status: int, headers: Mapping[str, str]) -> str:
    """The signature of a reply, from its status and its headers ETag, REPLY_CONTENT and those of REPLY_HEADERS."""
    signed = (REPLY_CONTENT.lower(), hdrs.ETAG.lower())
    lines = sorted(
        f"{name.lower()}: {value}"
        for name, value in headers.items()
        if name.lower() in signed or name.lower().startswith(REPLY_HEADERS.lower())
    )
    # A request's body is JSON, which never begins so: no signature of a request is one of a reply.
    text = "\n".join(["reply", asked, str(status), *lines])
    return hmac.new(secret.encode(), text.encode(errors="surrogateescape"), hashlib.sha256).hexdigest()


async def _content_line(body: bytes) -> str:
    """The value of REPLY_CONTENT for a body."""
    if len(body) < THREAD_BYTES_MIN:
        return f"{len(body)} {hashlib.sha256(body).hexdigest()}"
    return f"{len(body)} {(await asyncio.to_thread(hashlib.sha256, body)).hexdigest()}"


def _equal(expected: str, given: str) -> bool:
    """Whether two signatures are equal, in constant time. False if one is not ASCII: compare_digest would raise."""
    return given.isascii() and hmac.compare_digest(expected, given)
