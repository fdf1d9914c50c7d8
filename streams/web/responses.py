"""The documented form of every answer: headers, errors, and the middleware that sees to both."""

from __future__ import annotations

import logging
import secrets
import time
from typing import Final

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from ecounters.errors import Refused
from streams.metrics import Metrics

log = logging.getLogger(__name__)

COMMON_HEADERS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET, OPTIONS, PATCH, DELETE",
    "Access-Control-Allow-Headers": "X-Requested-With,content-type",
    "Access-Control-Allow-Credentials": "true",
    "Vary": "Origin",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
}
"""As the vendor's sample answer has them."""

JSON_TYPE: Final = "application/json; charset=utf-8"
RETRY_AFTER_S: Final = "1"


def json_response(content: bytes, headers: dict[str, str] | None = None, status: int = 200) -> web.Response:
    """A body that is JSON already."""
    return web.Response(body=content, status=status, headers={"Content-Type": JSON_TYPE, **(headers or {})})


def error_body(refused: Refused) -> bytes:
    """A refusal in the documented form."""
    return orjson.dumps({"status": "error", "message": str(refused), "code": refused.code})


def error_response(refused: Refused, headers: dict[str, str] | None = None) -> web.Response:
    """The answer that a refusal is."""
    content = error_body(refused)
    headers = dict(headers or {})
    if refused.http_status in (429, 503):
        headers.setdefault("Retry-After", RETRY_AFTER_S)
    return json_response(content, headers, refused.http_status)


def plain_error(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    """An error of HTTP itself (no such path, no such method), in the same form."""
    content = orjson.dumps({"status": "error", "message": text, "code": 1000})
    return json_response(content, headers, status)


def middleware(metrics: Metrics) -> Middleware:
    """Turn whatever a handler raises into an answer, add the common headers, and measure."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        begun = time.perf_counter()
        try:
            response = await handler(request)
        except Refused as refused:
            response = error_response(refused)
        except web.HTTPRequestEntityTooLarge:
            response = error_response(Refused(1000, "the body is larger than 64 KiB", http_status=413))
        except web.HTTPMethodNotAllowed as wrong:
            allow = ", ".join(sorted(wrong.allowed_methods | {"OPTIONS"}))
            response = plain_error(405, f"{request.method} is not allowed here: {allow}", {"Allow": allow})
        except web.HTTPNotFound:
            response = plain_error(404, "there is nothing at this path")
        except web.HTTPException:
            raise
        except Exception:
            # The cause goes to the log, its id into the answer: nothing of the inside may leak.
            error_id = secrets.token_hex(6)
            log.exception("request failed, error id %s", error_id)
            response = error_response(Refused(1032, f"error id {error_id}"))
        if not response.prepared:
            for name, value in COMMON_HEADERS.items():
                response.headers.setdefault(name, value)
        metrics.requests.labels(response.status).inc()
        if not response.prepared:  # a stream lasts as long as it is listened to
            metrics.request_seconds.observe(time.perf_counter() - begun)
        return response

    return answer
