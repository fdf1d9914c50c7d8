"""The form of errors, and what is read of a request's headers."""

from __future__ import annotations

import json

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from prometheus_client import CollectorRegistry

from ecounters.errors import INTERNAL, INVALID_PARAMETER, RequestRefused
from streams.metrics.catalogue import Metrics
from streams.web.paths import READY_PATH
from streams.web.responses import (
    add_common_headers,
    client_address,
    error_response,
    http_error,
    middleware,
    plain_error,
)


def content_of(response: web.Response) -> object:
    """The JSON in a response's body."""
    assert isinstance(response.body, bytes)
    return json.loads(response.body)


@pytest.mark.parametrize(("status", "retry_after"), [(400, None), (429, "7"), (500, None), (503, "7")])
def test_a_refusal_says_when_to_try_again_where_that_helps(status: int, retry_after: str | None) -> None:
    """With 429 and 503 alone."""
    response = error_response(RequestRefused(INTERNAL, "why", http_status=status, retry_after_s=7))
    assert (response.status, response.headers.get("Retry-After")) == (status, retry_after)
    assert content_of(response) == {"status": "error", "message": "Internal server error: why", "code": INTERNAL}


def test_errors_of_http_have_the_form_of_the_others() -> None:
    """404 and 405 in our words, others in HTTP's; all with code 1000."""
    assert content_of(plain_error(400, "x")) == {"status": "error", "message": "x", "code": INVALID_PARAMETER}
    for error, status, message in (
        (web.HTTPNotFound(), 404, "there is nothing at this path"),
        (web.HTTPMethodNotAllowed("PUT", ["POST", "GET"]), 405, "PUT is not allowed here: GET, POST"),
        (web.HTTPExpectationFailed(), 417, "Expectation Failed"),
    ):
        response = http_error(error)
        assert response.status == status
        assert content_of(response) == {"status": "error", "message": message, "code": INVALID_PARAMETER}


def test_common_headers_leave_a_response_its_own() -> None:
    """What a handler has set stays; aiohttp's name does not go out."""
    response = web.Response(headers={"Vary": "Origin, Accept-Encoding"})
    add_common_headers(response)
    assert response.headers["Vary"] == "Origin, Accept-Encoding"
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["Server"] == "ecounters"


@pytest.mark.parametrize(
    ("forwarded", "proxies", "address"),
    [
        ([], 0, "peer"),
        (["1.1.1.1"], 0, "peer"),
        (["1.1.1.1, 2.2.2.2"], 1, "2.2.2.2"),
        (["1.1.1.1, 2.2.2.2"], 2, "1.1.1.1"),
        (["1.1.1.1", "2.2.2.2"], 1, "2.2.2.2"),
        (["1.1.1.1"], 2, "peer"),
        ([""], 1, "peer"),
    ],
)
def test_an_address_is_what_the_first_trusted_proxy_saw(forwarded: list[str], proxies: int, address: str) -> None:
    """What a client itself puts before that is not believed; without proxies the peer counts."""
    request = make_mocked_request("GET", "/")
    headers = request.headers.copy()
    for value in forwarded:
        headers.add("X-Forwarded-For", value)
    request = request.clone(headers=headers, remote="peer")
    assert client_address(request, proxies) == address


def test_replies_to_readyz_are_counted_from_0() -> None:
    """Of a series that begins with 1 `increase` sees no rise: a worker that is ready would alert as one that is not."""
    registry = CollectorRegistry()
    middleware(Metrics.create(registry, "w1"))
    found = [
        registry.get_sample_value("ecounters_probes_total", {"route": READY_PATH, "code": code})
        for code in ("200", "503")
    ]
    assert found == [0, 0]
