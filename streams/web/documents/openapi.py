"""The OpenAPI document of a worker, from the tables that the worker itself goes by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from ecounters.errors import API_ERRORS, DENIED, INTERNAL, INVALID_PARAMETER
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
    DASHBOARD_PATH,
    DOCS_PATH,
    HEALTH_PATH,
    METRICS_PATH,
    OPENAPI_PATH,
    READY_PATH,
)

JSON: Final = "application/json"

TEXT: Final = """\
All live and windowed counters of one account in one answer.

Errors have one form, and their message says what was wrong and where. A path that is not here gives 404 in that form,
a method that a path does not have 405 with `Allow`, and bytes that are no HTTP 400. `OPTIONS` is answered at the paths
of the counters, the series and the stream.
What is published to Kafka so that it is counted is described by [/asyncapi.json](/asyncapi.json).
"""

_NUMBER: Final[Schema] = {"type": "integer", "minimum": 0}
_MOMENT: Final[Schema] = {"type": "string", "format": "date-time"}


def _like(pattern: str) -> Schema:
    return {"type": "string", "pattern": pattern}


ANSWER_HEADERS: Final[dict[str, tuple[str, Schema, bool]]] = {
    "ETag": ("Of the plain body: send it as If-None-Match", _like('^W/"[0-9a-f]+-.{27}"$'), True),
    "X-Ecounters-As-Of": ("Time of the newest event that is in it", _MOMENT, False),
    "X-Ecounters-Lag-Ms": ("How far the partition is behind its end", _NUMBER, True),
    "X-Ecounters-Complete": ("false: restoring, or no word from Kafka", {"type": "boolean"}, True),
    "X-Ecounters-Suspected": ("Live calls not heard of for long", _NUMBER, True),
    "X-Ecounters-Range": ("What was counted: begin/end in RFC 3339", _like("^[^/]+/[^/]+$"), True),
    "X-Ecounters-Position": ("partition:offset of the next event that is not in it", _like("^[0-9]+:[0-9]+$"), True),
}
"""Of an answer with counters, beside the common ones: (meaning, schema, whether it is always there)."""

ALSO: Final[dict[int, tuple[str, tuple[int, ...]]]] = {
    408: ("The body did not come in time", (INVALID_PARAMETER,)),
    413: ("The body is larger than 64 KiB", (INVALID_PARAMETER,)),
    415: ("The body has a Content-Encoding", (INVALID_PARAMETER,)),
    429: ("Wrong credentials too often from this address or for this user", (DENIED,)),
    503: ("The store or the counters cannot be had for now", (INTERNAL,)),
}
"""Statuses that are no code's own: what they mean, and the codes that come with them."""


class Operation(NamedTuple):
    """What is asked for by POST. The schemas are names of components; ``answer``: the answer's ``message``."""

    name: str
    summary: str
    body: str
    answer: str


COUNTERS: Final = Operation("counters", "All counters of one account", "Parameters", "Message")
SERIES: Final = Operation("series", "The counters of one account, step by step", "SeriesParameters", "Steps")


def document(
    version: str,
    common_headers: Mapping[str, str],
    counters_paths: Iterable[str],
    series_paths: Iterable[str],
    stream_paths: Iterable[str],
) -> dict[str, Any]:
    """The whole document. ``version``: of this program; ``common_headers``: what every answer has."""
    always = {name: _constant(value) for name, value in common_headers.items()}
    always["Vary"] = _header("", _like("^(Origin|Accept-Encoding)"), True)
    asked = {path: _asked(COUNTERS, always, at) for at, path in enumerate(counters_paths)}
    asked |= {path: _asked(SERIES, always, at) for at, path in enumerate(series_paths)}
    asked |= {path: _stream(always, at) for at, path in enumerate(stream_paths)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Ecounters", "version": version, "description": TEXT, "license": {"name": "MIT"}},
        "servers": [{"url": "/"}],
        "tags": [{"name": "counters"}, {"name": "worker", "description": "For those who run it"}],
        "paths": {**asked, **_worker(always)},
        "components": {
            "schemas": {
                "Parameters": parameters(),
                "SeriesParameters": series_parameters(),
                "Date": date(),
                "Condition": condition(),
                "Message": payload(),
                "Steps": steps(),
                "StepMessage": payload(of_now=False),
            },
            "headers": {name: _header(*told) for name, told in ANSWER_HEADERS.items()},
        },
    }


def _constant(value: str) -> dict[str, Any]:
    return {"required": True, "schema": {"type": "string", "const": value}}


def _header(meaning: str, schema: Schema, always: bool) -> dict[str, Any]:
    return {"description": meaning, "required": always, "schema": schema}


RETRY_AFTER: Final = _header("Seconds", {"type": "integer", "minimum": 1}, True)


def _content(schema: Schema) -> dict[str, Any]:
    return {JSON: {"schema": schema}}


def _errors(statuses: Iterable[int], always: Mapping[str, Any]) -> dict[str, Any]:
    """The refusals with these statuses."""
    found = {}
    for status in statuses:
        meaning, more = ALSO.get(status, ("", ()))
        codes = [code for code, of in API_ERRORS.items() if of.http_status == status] + list(more)
        lines = [meaning] if meaning else []
        lines += [f"{code} {API_ERRORS[code].text}" for code in codes]
        headers = {**always, "Retry-After": RETRY_AFTER} if status in (429, 503) else dict(always)
        found[str(status)] = {
            "description": "; ".join(lines), "headers": headers, "content": _content(error(codes)),
        }  # fmt: skip
    return found


def _asked(what: Operation, always: Mapping[str, Any], at: int) -> dict[str, Any]:
    """POST and OPTIONS of one of the paths of ``what``: operation ids are told apart by ``at``."""
    told = {name: {"$ref": f"#/components/headers/{name}"} for name in ANSWER_HEADERS}
    success = {
        "type": "object",
        "required": ["message", "status"],
        "properties": {"message": {"$ref": f"#/components/schemas/{what.answer}"}, "status": {"const": "success"}},
        "additionalProperties": False,
    }
    post = {
        "operationId": what.name + "ByOtherPath" * at,
        "tags": ["counters"],
        "summary": what.summary,
        "description": "The body is JSON, whatever its Content-Type says, and has no Content-Encoding.",
        "parameters": [{"name": "If-None-Match", "in": "header", "schema": {"type": "string"}}],
        "requestBody": {"required": True, "content": _content({"$ref": f"#/components/schemas/{what.body}"})},
        "responses": {
            "200": {"description": what.summary, "headers": {**always, **told}, "content": _content(success)},
            "304": {"description": "What the client has still holds", "headers": {**always, **told}},
            **_errors((400, 403, 408, 413, 415, 429, 500, 503), always),
        },
    }
    return {"post": post, "options": _preflight(what.name, always, at)}


def _preflight(name: str, always: Mapping[str, Any], at: int) -> dict[str, Any]:
    return {
        "operationId": name + "Preflight" + "ByOtherPath" * at,
        "tags": ["counters"],
        "summary": "What a browser asks before it sends",
        "responses": {"204": {"description": "The headers are the answer", "headers": dict(always)}},
    }


def _stream(always: Mapping[str, Any], at: int) -> dict[str, Any]:
    """GET and OPTIONS of one of the paths of the stream."""
    text: Schema = {"type": "string"}
    get = {
        "operationId": "stream" + "ByOtherPath" * at,
        "tags": ["counters"],
        "summary": "The counters of one account as they change: Server-Sent Events",
        "description": "An event without a name has the same data as the answer to a POST, at once and then at most "
        "once a second, when it has changed; its id is the version. An event `status` tells how old it is.",
        "parameters": [
            {"name": "ssid", "in": "query", "schema": text, "description": "A session's id; or else a cookie"},
            {"name": "filter", "in": "query", "schema": text, "description": "As in a POST, as JSON text"},
            {"name": "Field", "in": "query", "schema": {"type": "array", "items": text}, "explode": False},
            {"name": "Last-Event-ID", "in": "header", "schema": text, "description": "What the client has already"},
            {"name": "ecounters", "in": "cookie", "schema": text, "description": "A session of the dashboard"},
        ],
        "responses": {
            "200": {"description": "It does not end", "headers": dict(always), "content": _text("text/event-stream")},
            **_errors((400, 403, 429, 500, 503), always),
        },
    }
    return {"get": get, "options": _preflight("stream", always, at)}


def _worker(always: Mapping[str, Any]) -> dict[str, Any]:
    """The other routes, which ask for nothing."""
    status: Schema = {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}}
    not_ready = _errors((503,), always)["503"] | {"description": "Why not", "content": _content(error([1000]))}
    not_ready["headers"] = dict(always)
    return {
        HEALTH_PATH: _get("healthz", "The process is alive", _content(status), always),
        READY_PATH: _get("readyz", "Restored, connected, and not far behind", _content(status), always, not_ready),
        METRICS_PATH: _get("metrics", "For Prometheus", _text("text/plain"), always),
        OPENAPI_PATH: _get("openapi", "This document", _content({"type": "object"}), always),
        ASYNCAPI_PATH: _get("asyncapi", "The events, machine readable", _content({"type": "object"}), always),
        DASHBOARD_PATH: _get("dashboard", "A live page of the counters", _text("text/html"), always),
        DOCS_PATH: _get("docs", "This document, for people", _text("text/html"), always),
    }


def _text(kind: str) -> dict[str, Any]:
    return {kind: {"schema": {"type": "string"}}}


def _get(
    name: str, summary: str, content: dict[str, Any], always: Mapping[str, Any], or_503: dict[str, Any] | None = None
) -> dict[str, Any]:
    responses = {"200": {"description": summary, "headers": dict(always), "content": content}}
    if or_503 is not None:
        responses["503"] = or_503
    responses |= _errors((500,), always)
    return {"get": {"operationId": name, "tags": ["worker"], "summary": summary, "responses": responses}}
