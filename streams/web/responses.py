"""What all HTTP responses have in common: their headers, the form of errors, and the middleware that ensures both.

Also reads from a request what does not depend on its route: the body and the client's address.
"""

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
from ecounters.query.request import BODY_BYTES_MAX
from streams.basics.logs import REQUEST_ID
from streams.metrics.catalogue import Metrics, Platform
from streams.web.decompression import decoder_of
from streams.web.paths import PEER_PATH, PROBE_PATHS, READY_PATH
from streams.web.request_ids import ID_HEADER, id_of, new_id

log = logging.getLogger(__name__)

EXPOSED_HEADERS: Final = (
    "ETag",
    "X-Ecounters-As-Of",
    "X-Ecounters-Lag-Ms",
    "X-Ecounters-Complete",
    "X-Ecounters-Suspected",
    "X-Ecounters-Range",
    "X-Ecounters-Position",
    "X-Request-Id",
)
"""The headers of a reply that a browser shows to the scripts of a page of another origin."""
COMMON_HEADERS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET, OPTIONS, PATCH, DELETE",
    "Access-Control-Allow-Headers": "X-Requested-With,content-type",
    "Access-Control-Allow-Credentials": "true",
    "Access-Control-Expose-Headers": ", ".join(EXPOSED_HEADERS),
    "Cache-Control": "no-store",
    "Vary": "Origin",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
}
"""Headers of the vendor's sample response, and the last two of Access-Control and Cache-Control, which are ours. Every
response has them, with its own values where its handler set any."""
PREFLIGHT_HEADERS: Final = {
    "Access-Control-Allow-Headers": (
        "X-Requested-With,content-type,content-encoding,If-None-Match,Last-Event-ID,X-Request-Id"
    ),
}
"""Headers of the response to a preflight, instead of those in COMMON_HEADERS: what pages of other origins may send."""

JSON_TYPE: Final = "application/json; charset=utf-8"
BODY_LIMIT_S: Final = 30.0
"""The whole body of a request must arrive within this time. Without a limit, a client that stops sending would hold its
connection for ever."""


def json_response(content: bytes, headers: dict[str, str] | None = None, status: int = 200) -> web.Response:
    """A response whose body is ``content``, which is JSON already."""
    return web.Response(body=content, status=status, headers={"Content-Type": JSON_TYPE, **(headers or {})})


def error_body(refused: RequestRefused) -> bytes:
    """The body of an error: the JSON object with status, message and code."""
    return orjson.dumps({"status": "error", "message": str(refused), "code": refused.code})


def error_response(refused: RequestRefused, headers: dict[str, str] | None = None) -> web.Response:
    """The response to a refused request, with its HTTP status. 429 and 503 also get Retry-After, in s."""
    content = error_body(refused)
    headers = dict(headers or {})
    if refused.http_status in (429, 503):
        headers.setdefault("Retry-After", str(refused.retry_after_s))
    return json_response(content, headers, refused.http_status)


def plain_error(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    """The response to an error that has an HTTP status but no code of the API, such as 404: it gets code 1000."""
    content = orjson.dumps({"status": "error", "message": text, "code": INVALID_PARAMETER})
    return json_response(content, headers, status)


def internal_error(error: BaseException | None) -> web.Response:
    """The response to an unforeseen exception: 1032 with a random id, and nothing of the exception itself.

    Logs the exception with the same id.
    """
    error_id = secrets.token_hex(6)
    log.error("request failed, error id %s", error_id, exc_info=error)
    return error_response(RequestRefused(INTERNAL, f"error id {error_id}"))


def http_error(error: web.HTTPException) -> web.Response:
    """An error that aiohttp raised, such as 404 or 405, in the form of the API's errors."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allow = ", ".join(sorted(error.allowed_methods))
        return plain_error(405, f"{error.method} is not allowed here: {allow}", {"Allow": allow})
    if isinstance(error, web.HTTPNotFound):
        return plain_error(404, "there is nothing at this path")
    return plain_error(error.status, error.reason)


def add_common_headers(response: web.StreamResponse) -> None:
    """Add COMMON_HEADERS, the request's id and Server to a response, except those that it has already.

    The response's headers must not have been sent yet.
    """
    for name, value in COMMON_HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault(ID_HEADER, REQUEST_ID.get() or new_id())
    response.headers.setdefault("Server", "ecounters")  # aiohttp would send its version and Python's


async def body_of(request: web.Request) -> bytes:
    """The body of a request, decompressed if it has a Content-Encoding. No larger than BODY_BYTES_MAX.

    Raises RequestRefused: 415 for a coding that is not taken, before the body is read; 413 if the body is too large, as
    it is sent or decompressed; 400 if it is not coded as its headers say; 503 if too many others are decompressed; 408
    as ``body_as_sent``.
    """
    decode = decoder_of(request.headers.getall(hdrs.CONTENT_ENCODING, []))
    return await decode(await body_as_sent(request), BODY_BYTES_MAX)


async def body_as_sent(request: web.Request) -> bytes:
    """The body of a request, with its Content-Encoding if it has one.

    Raises RequestRefused: 408 if the body has not come within BODY_LIMIT_S, 413 if it is larger than the request's
    ``client_max_size``, 400 if it is not coded as its other headers say.
    """
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


def client_address(request: web.Request, proxies: int) -> str:
    """The address that a request comes from; "" if it is unknown.

    ``proxies``: how many trusted proxies a request passes. Each proxy appends the address that it got the request from
    to X-Forwarded-For. Earlier entries are the client's own and are not believed.
    """
    addresses = ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")
    first_proxied = addresses[-proxies].strip() if 0 < proxies <= len(addresses) else ""
    return first_proxied or request.remote or ""


def _route_of(request: web.Request) -> str:
    """The path of a request's route as it was registered; "?" if there is no route."""
    resource = request.match_info.route.resource
    return "?" if resource is None else resource.canonical


def _count(metrics: Platform, method: str, route: str, code: int, took_s: float | None) -> None:
    """Count a response. ``took_s``: None if its time says nothing."""
    if route in PROBE_PATHS:
        metrics.probes.labels(route, code).inc()
        return
    metrics.requests.labels(route, method if method in hdrs.METH_ALL else "?", code).inc()
    if took_s is not None:
        metrics.request_seconds.labels(route).observe(took_s)


def middleware(metrics: Metrics) -> Middleware:
    """The middleware of all routes.

    It gives each request its id, turns exceptions of handlers into error responses, adds the common headers, and counts
    responses by route, method and code in the metrics, those to probes and scrapes apart. At DEBUG it logs each request
    with its route, since a path or query may hold what must not be logged. It measures times, except for streams, which
    last as long as their client wants.
    A ConnectionError is raised on and not counted.
    """
    for code in (200, 503):
        # A series that began with 1 would have no rise: a worker that became ready, and was asked once, would alert.
        metrics.platform.probes.labels(READY_PATH, code)

    @web.middleware
    async def respond(request: web.Request, handler: Handler) -> web.StreamResponse:
        began = time.perf_counter()
        REQUEST_ID.set(id_of(request))  # its connection's task handles one request after the other
        try:
            response = await handler(request)
        except RequestRefused as refused:
            response = error_response(refused)
        except web.HTTPException as error:
            response = http_error(error)
            # aiohttp's 404 and 405 are in a cycle with the frames that raised them: thousands of them would make the
            # garbage collector traverse all that is new in one step.
            error.__traceback__ = None
        except ConnectionError:
            raise  # the client is gone: nobody to respond to
        except Exception as error:
            response = internal_error(error)
        is_stream = response.prepared  # only a stream's headers have been sent by its handler
        if not is_stream:
            add_common_headers(response)
        took_s, route = time.perf_counter() - began, _route_of(request)
        _count(metrics.platform, request.method, route, response.status, None if is_stream else took_s)
        if route != PEER_PATH and response.headers.get("X-Ecounters-Complete") == "false":
            metrics.platform.incomplete.inc()
        log.debug("%s %s: %s after %.1f ms", request.method, route, response.status, 1000 * took_s)
        return response

    return respond
