"""The documented form of every answer: headers, errors, and the middleware that sees to both."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from typing import Final

import orjson
from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware

from ecounters.errors import INTERNAL, INVALID_PARAMETER, RequestRefused
from ecounters.text import shown
from streams.metrics.catalogue import Metrics

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
BODY_LIMIT_S: Final = 30.0
"""For a whole body, of at most 64 KiB, to come. Who sends no more must not hold a connection for ever."""


def json_response(content: bytes, headers: dict[str, str] | None = None, status: int = 200) -> web.Response:
    """A body that is JSON already."""
    return web.Response(body=content, status=status, headers={"Content-Type": JSON_TYPE, **(headers or {})})


def error_body(refused: RequestRefused) -> bytes:
    """A refusal in the documented form."""
    return orjson.dumps({"status": "error", "message": str(refused), "code": refused.code})


def error_response(refused: RequestRefused, headers: dict[str, str] | None = None) -> web.Response:
    """The answer that a refusal is."""
    content = error_body(refused)
    headers = dict(headers or {})
    if refused.http_status in (429, 503):
        headers.setdefault("Retry-After", str(refused.retry_after_s))
    return json_response(content, headers, refused.http_status)


def plain_error(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    """An error of HTTP itself (no such path, no such method), in the same form."""
    content = orjson.dumps({"status": "error", "message": text, "code": INVALID_PARAMETER})
    return json_response(content, headers, status)


def failure(error: BaseException | None) -> web.Response:
    """What nobody foresaw. The cause goes to the log, its id into the answer: nothing of the inside may leak."""
    error_id = secrets.token_hex(6)
    log.error("request failed, error id %s", error_id, exc_info=error)
    return error_response(RequestRefused(INTERNAL, f"error id {error_id}"))


def in_form(error: web.HTTPException) -> web.Response:
    """An error that aiohttp has found, in the documented form."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allow = ", ".join(sorted(error.allowed_methods))
        return plain_error(405, f"{error.method} is not allowed here: {allow}", {"Allow": allow})
    if isinstance(error, web.HTTPNotFound):
        return plain_error(404, "there is nothing at this path")
    return plain_error(error.status, error.reason)


def with_common_headers(response: web.StreamResponse) -> None:
    """Add the headers that every answer has, unless it has its own; it must not have begun."""
    for name, value in COMMON_HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Server", "ecounters")  # aiohttp would tell its version, and Python's


async def body_of(request: web.Request) -> bytes:
    """The body of a request. Raises RequestRefused: 408 if it does not come, 413 if it is too large, 400 if broken."""
    try:
        async with asyncio.timeout(BODY_LIMIT_S):
            return await request.read()
    except TimeoutError:
        raise RequestRefused(
            INVALID_PARAMETER, f"the body did not come within {BODY_LIMIT_S:g} s", http_status=408
        ) from None
    except web.HTTPRequestEntityTooLarge:
        raise RequestRefused(INVALID_PARAMETER, "the body is larger than 64 KiB", http_status=413) from None
    except (web.RequestPayloadError, HttpProcessingError):
        raise RequestRefused(INVALID_PARAMETER, "the body is not coded as its headers say") from None


def refuse_coded(request: web.Request) -> None:
    """Refused, 415, if the body is coded: nothing here unpacks one, for a small one could hold a worker up for long."""
    told = ",".join(request.headers.getall(hdrs.CONTENT_ENCODING, []))
    for coding in (part.strip() for part in told.split(",")):
        if coding.lower() not in ("", "identity"):
            name = shown(coding.encode("ascii", "replace").decode())  # a header may hold bytes that are no text
            raise RequestRefused(
                INVALID_PARAMETER, f"Content-Encoding {name} is not taken: send the body as it is", http_status=415
            )


def client_address(request: web.Request, proxies: int) -> str:
    """Where a request comes from. What the client itself says of that, before the first proxy, is not believed."""
    told = ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")
    last = told[-proxies].strip() if 0 < proxies <= len(told) else ""
    return last or request.remote or ""


def middleware(metrics: Metrics) -> Middleware:
    """Refuse coded bodies, turn whatever a handler raises into an answer, add the common headers, and measure."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        begun = time.perf_counter()
        try:
            refuse_coded(request)
            response = await handler(request)
        except RequestRefused as refused:
            response = error_response(refused)
        except web.HTTPException as error:
            response = in_form(error)
        except ConnectionError:
            raise  # whoever asked is gone
        except Exception as error:
            response = failure(error)
        if not response.prepared:
            with_common_headers(response)
        metrics.requests.labels(response.status).inc()
        if not response.prepared:  # a stream lasts as long as it is listened to
            metrics.request_seconds.observe(time.perf_counter() - begun)
        return response

    return answer
