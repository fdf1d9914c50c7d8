"""The OpenAPI 3.1 document of a worker's HTTP API.

Paths, error codes, common headers and bodies are made from the tables that the worker itself uses. Other headers and
statuses stand in REPLY_HEADERS and SHARED_STATUSES. ``document`` puts the document together. The JSON schemas of bodies
are in ``schemas``. The events on Kafka are in ``asyncapi``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from ecounters.errors import API_ERRORS, DENIED, INTERNAL, INVALID_PARAMETER
from streams.web.cookie import PLAIN_NAME, SECURE_NAME
from streams.web.dashboard import CACHED_IF_UNCHANGED
from streams.web.documents.schemas import (
    Schema,
    condition,
    date,
    error,
    parameters,
    payload,
    series_parameters,
    steps,
)
from streams.web.paths import (
    ASYNCAPI_PATH,
    COUNTERS_PATHS,
    DASHBOARD_PATH,
    DOCS_PATH,
    HEALTH_PATH,
    METRICS_PATH,
    OPENAPI_PATH,
    READY_PATH,
    SERIES_PATHS,
    STREAM_PATHS,
)
from streams.web.responses import COMMON_HEADERS, PREFLIGHT_HEADERS

_CONTENT_TYPE: Final = "application/json"

DESCRIPTION: Final = """\
All live and windowed counters of one account in one answer.

Errors have one form, and their message says what was wrong and where. A path that is not here gives 404 in that form,
a method that a path does not have 405 with `Allow`, and bytes that are no HTTP 400. `OPTIONS` is answered at the paths
of the counters, the series and the stream. These paths are taken in any case and with a slash behind them.
What is published to Kafka so that it is counted is described by [asyncapi.json](asyncapi.json).
"""

_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_MOMENT: Final[Schema] = {"type": "string", "format": "date-time"}


def _like(pattern: str) -> Schema:
    return {"type": "string", "pattern": pattern}


REPLY_HEADERS: Final[dict[str, tuple[str, Schema, bool]]] = {
    "ETag": ("Of the plain body: send it as If-None-Match", _like('^W/"[0-9a-f]+-.{27}"$'), True),
    "X-Ecounters-As-Of": ("Time of the newest event that is in it", _MOMENT, False),
    "X-Ecounters-Lag-Ms": ("How far the partition is behind its end", _COUNT, True),
    "X-Ecounters-Complete": (
        "false: restoring, Kafka silent, a changed topic, or a hole",
        {"type": "boolean"},
        True,
    ),
    "X-Ecounters-Suspected": ("Live calls not heard of for long", _COUNT, True),
    "X-Ecounters-Range": ("What was counted: begin/end in RFC 3339", _like("^[^/]+/[^/]+$"), True),
    "X-Ecounters-Position": ("partition:offset of the next event that is not in it", _like("^[0-9]+:[0-9]+$"), True),
}
"""Headers of a reply with counters, in addition to COMMON_HEADERS: name -> (description, schema, required)."""

SHARED_STATUSES: Final[dict[int, tuple[str, tuple[int, ...]]]] = {
    408: ("The body did not come in time", (INVALID_PARAMETER,)),
    413: ("The body is larger than 64 KiB, as it is sent or unpacked", (INVALID_PARAMETER,)),
    415: ("The body's Content-Encoding is none of gzip, deflate, br", (INVALID_PARAMETER,)),
    429: ("Wrong credentials too often from this address or for this user", (DENIED,)),
    503: ("The store or the counters cannot be had for now", (INTERNAL,)),
}
"""HTTP status -> (description, codes that can have this status although API_ERRORS has another status for them).

For example, API_ERRORS has 400 for code 1000. An error with code 1000 can also have the status 408, 413 or 415."""


class Operation(NamedTuple):
    """An operation that is requested by POST.

    name     its operation id in the document, at the first of its paths
    summary  what its reply has
    body     the component schema of the request's body
    message  the component schema of the ``message`` in a successful reply
    """

    name: str
    summary: str
    body: str
    message: str


COUNTERS: Final = Operation("counters", "All counters of one account", "Parameters", "Message")
SERIES: Final = Operation("series", "The counters of one account, step by step", "SeriesParameters", "Steps")


def document(version: str) -> dict[str, Any]:
    """The whole document as a JSON value. ``version``: the installed version of Ecounters."""
    common = {name: _constant(value) for name, value in COMMON_HEADERS.items()}
    common["X-Request-Id"] = _header("The request's own, or one that was made", _like("^[ -~]{1,128}$"), True)
    common["Vary"] = _header("", _like("^(Origin|Accept-Encoding)"), True)
    paths = {path: _post(COUNTERS, common, index) for index, path in enumerate(COUNTERS_PATHS)}
    paths |= {path: _post(SERIES, common, index) for index, path in enumerate(SERIES_PATHS)}
    paths |= {path: _stream(common, index) for index, path in enumerate(STREAM_PATHS)}
    paths |= _worker(common)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Ecounters", "version": version, "description": DESCRIPTION, "license": {"name": "MIT"}},
        "servers": [{"url": "."}],
        "tags": [{"name": "counters"}, {"name": "worker", "description": "For those who run it"}],
        "paths": paths,
        "components": {
            "schemas": {
                "Parameters": parameters(),
                "SeriesParameters": series_parameters(),
                "Date": date(),
                "Condition": condition(),
                "Message": payload(),
                "Steps": steps(),
                "StepMessage": payload(live=False),
            },
            "headers": {name: _header(*row) for name, row in REPLY_HEADERS.items()},
        },
    }


def _constant(value: str) -> dict[str, Any]:
    return {"required": True, "schema": {"type": "string", "const": value}}


def _header(description: str, schema: Schema, required: bool) -> dict[str, Any]:
    return {"description": description, "required": required, "schema": schema}


RETRY_AFTER: Final = _header("Seconds", {"type": "integer", "minimum": 1}, True)


def _content(schema: Schema) -> dict[str, Any]:
    return {_CONTENT_TYPE: {"schema": schema}}


def _errors(statuses: Iterable[int], common: Mapping[str, Any]) -> dict[str, Any]:
    """The error responses with these HTTP statuses: status as text -> response. 429 and 503 have Retry-After."""
    responses = {}
    for status in statuses:
        description, shared_codes = SHARED_STATUSES.get(status, ("", ()))
        codes = [code for code, row in API_ERRORS.items() if row.http_status == status] + list(shared_codes)
        lines = [description] if description else []
        lines += [f"{code} {API_ERRORS[code].text}" for code in codes]
        headers = {**common, "Retry-After": RETRY_AFTER} if status in (429, 503) else dict(common)
        responses[str(status)] = {
            "description": "; ".join(lines), "headers": headers, "content": _content(error(codes)),
        }  # fmt: skip
    return responses


def _operation_id(name: str, path_index: int) -> str:
    """The operation id for the first (0) or second (1) path of an operation: each id in a document must be unique."""
    if path_index == 0:
        return name
    return name + "ByOtherPath"


def _post(operation: Operation, common: Mapping[str, Any], path_index: int) -> dict[str, Any]:
    """POST and OPTIONS at one path of an operation."""
    reply_headers = {name: {"$ref": f"#/components/headers/{name}"} for name in REPLY_HEADERS}
    success = {
        "type": "object",
        "required": ["message", "status"],
        "properties": {
            "message": {"$ref": f"#/components/schemas/{operation.message}"},
            "status": {"const": "success"},
        },
        "additionalProperties": False,
    }
    headers = {**common, **reply_headers}
    post = {
        "operationId": _operation_id(operation.name, path_index),
        "tags": ["counters"],
        "summary": operation.summary,
        "description": "The body is JSON, whatever its Content-Type says. It may come compressed: "
        "Content-Encoding gzip, deflate or br.",
        "parameters": [{"name": "If-None-Match", "in": "header", "schema": {"type": "string"}}],
        "requestBody": {"required": True, "content": _content({"$ref": f"#/components/schemas/{operation.body}"})},
        "responses": {
            "200": {"description": operation.summary, "headers": dict(headers), "content": _content(success)},
            "304": {"description": "What the client has still holds", "headers": dict(headers)},
            **_errors((400, 403, 408, 413, 415, 429, 500, 503), common),
        },
    }
    return {"post": post, "options": _preflight(operation.name, common, path_index)}


def _preflight(name: str, common: Mapping[str, Any], path_index: int) -> dict[str, Any]:
    """OPTIONS at one path of an operation, as browsers send it before a request from another origin."""
    headers = {**common, **{name: _constant(value) for name, value in PREFLIGHT_HEADERS.items()}}
    return {
        "operationId": _operation_id(name + "Preflight", path_index),
        "tags": ["counters"],
        "summary": "What a browser asks before it sends",
        "responses": {"204": {"description": "The headers are the answer", "headers": headers}},
    }


def _stream(common: Mapping[str, Any], path_index: int) -> dict[str, Any]:
    """GET and OPTIONS at one path of the stream."""
    text: Schema = {"type": "string"}
    get = {
        "operationId": _operation_id("stream", path_index),
        "tags": ["counters"],
        "summary": "The counters of one account as they change: Server-Sent Events",
        "description": "An event without a name has the same data as the answer to a POST, at once and then at most "
        "once a second, when it has changed; its id is the version. An event `status` tells how old it is.",
        "parameters": [
            {"name": "ssid", "in": "query", "schema": text, "description": "A session's id; or else a cookie"},
            {"name": "filter", "in": "query", "schema": text, "description": "As in a POST, as JSON text"},
            {"name": "Field", "in": "query", "schema": {"type": "array", "items": text}, "explode": False},
            {"name": "Last-Event-ID", "in": "header", "schema": text, "description": "What the client has already"},
            {"name": SECURE_NAME, "in": "cookie", "schema": text, "description": "A dashboard's session, over HTTPS"},
            {"name": PLAIN_NAME, "in": "cookie", "schema": text, "description": "The same, without HTTPS"},
        ],
        "responses": {
            "200": {"description": "It does not end", "headers": dict(common), "content": _text("text/event-stream")},
            **_errors((400, 403, 429, 500, 503), common),
        },
    }
    return {"get": get, "options": _preflight("stream", common, path_index)}


def _worker(common: Mapping[str, Any]) -> dict[str, Any]:
    """GET at the paths that need no credentials."""
    page = _get("dashboard", "A live page of the counters", _text("text/html"), common)
    page["get"]["responses"]["200"]["headers"]["Cache-Control"] = _constant(CACHED_IF_UNCHANGED)
    status: Schema = {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}}
    waiting = {"type": "array", "items": {"type": "string"}, "description": "Why partitions wait for an operator"}
    delays: Schema = {
        "rebalancing": {"type": "boolean", "description": "Partitions are being shared out among the workers"},
        "restoring": {"type": "integer", "description": "So many partitions are being restored"},
        "silent": {"type": "boolean", "description": "Nothing has been heard of Kafka lately"},
        "lag_ms": {"type": "integer", "description": "The counters are so far behind"},
    }
    ready: Schema = {**status, "properties": {**status["properties"], **delays, "waiting": waiting}}
    not_ready = {
        "description": "Why not", "headers": dict(common), "content": _content(error([INVALID_PARAMETER])),
    }  # fmt: skip
    return {
        HEALTH_PATH: _get("healthz", "The process is alive", _content(status), common),
        READY_PATH: _get("readyz", "The worker can answer; what is late is named", _content(ready), common, not_ready),
        METRICS_PATH: _get("metrics", "For Prometheus", _text("text/plain"), common),
        OPENAPI_PATH: _get("openapi", "This document", _content({"type": "object"}), common),
        ASYNCAPI_PATH: _get("asyncapi", "The events, machine readable", _content({"type": "object"}), common),
        DASHBOARD_PATH: page,
        DOCS_PATH: _get("docs", "This document, for people", _text("text/html"), common),
    }


def _text(content_type: str) -> dict[str, Any]:
    return {content_type: {"schema": {"type": "string"}}}


def _get(
    name: str, summary: str, content: dict[str, Any], common: Mapping[str, Any], or_503: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A GET that takes no parameters. ``or_503``: the response with status 503, if there is one."""
    responses = {"200": {"description": summary, "headers": dict(common), "content": content}}
    if or_503 is not None:
        responses["503"] = or_503
    responses |= _errors((500,), common)
    return {"get": {"operationId": name, "tags": ["worker"], "summary": summary, "responses": responses}}
